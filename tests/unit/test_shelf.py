"""The cache of loaded things: loaded once, within its budget, never taken from who uses it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.errors import GenerationFailed
from tests.support.waiting import wait_until
from worker.gpu.models.cache import Key, Shelf, Wanted


class Maker:
    """Loads things and counts how often."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.gate = threading.Event()
        self.gate.set()

    def wanted(self, name: str, size: int = 10) -> Wanted:
        def load() -> str:
            self.gate.wait(10)
            self.loaded.append(name)
            return name.upper()

        return Wanted(Key("model", name), load, size, lambda _: size)


@pytest.fixture
def maker() -> Maker:
    return Maker()


def use(shelf: Shelf, *wanted: Wanted) -> list[Any]:
    with shelf.borrow(wanted) as lent:
        return list(lent)


def test_a_thing_is_loaded_once_however_many_want_it(maker: Maker) -> None:
    shelf = Shelf(100)
    maker.gate.clear()

    with ThreadPoolExecutor(8) as pool:
        uses = [pool.submit(use, shelf, maker.wanted("a")) for _ in range(8)]
        maker.gate.set()
        results = [each.result() for each in uses]

    assert results == [["A"]] * 8
    assert maker.loaded == ["a"]


def test_the_least_recently_used_goes_first(maker: Maker) -> None:
    shelf = Shelf(20)
    for name in ("a", "b", "a", "c"):
        use(shelf, maker.wanted(name))

    assert set(shelf.names("model")) == {"a", "c"}
    assert shelf.bytes() == 20


def test_what_is_in_use_is_never_evicted_and_others_wait_for_it(maker: Maker) -> None:
    shelf = Shelf(10)
    with ThreadPoolExecutor(1) as pool, shelf.borrow([maker.wanted("a")]):
        waiting = pool.submit(use, shelf, maker.wanted("b"))
        with pytest.raises(TimeoutError):
            wait_until(waiting.done, within_s=0.3)
        assert shelf.names("model") == ("a",)

    assert waiting.result(10) == ["B"]


def test_two_jobs_that_need_two_things_each_do_not_wait_for_each_other_for_ever(maker: Maker) -> None:
    shelf = Shelf(20)
    pairs = [("a", "b"), ("b", "c"), ("c", "a")] * 10

    with ThreadPoolExecutor(6) as pool:
        uses = [pool.submit(use, shelf, *(maker.wanted(name) for name in pair)) for pair in pairs]
        results = [each.result(10) for each in uses]

    assert results == [[name.upper() for name in pair] for pair in pairs]


def test_who_waits_for_room_is_served_before_later_jobs_of_what_is_loaded(maker: Maker) -> None:
    shelf, served = Shelf(10), []

    def serve(name: str) -> None:
        use(shelf, maker.wanted(name))
        served.append(name)

    with ThreadPoolExecutor(4) as pool, shelf.borrow([maker.wanted("a")]):
        first = pool.submit(serve, "b")
        wait_until(lambda: shelf.waiting == 1)
        later = [pool.submit(serve, "a") for _ in range(2)]
        wait_until(lambda: shelf.waiting == 3)
    for each in (first, *later):
        each.result(10)

    assert served[0] == "b"


def test_nothing_is_evicted_when_that_would_not_make_room_enough(maker: Maker) -> None:
    shelf = Shelf(30)
    use(shelf, maker.wanted("idle"))

    with ThreadPoolExecutor(1) as pool, shelf.borrow([maker.wanted("busy")]):
        waiting = pool.submit(use, shelf, maker.wanted("large", size=25))
        wait_until(lambda: shelf.waiting == 1)
        assert set(shelf.names("model")) == {"idle", "busy"}
    assert waiting.result(10) == ["LARGE"]


def test_a_thing_that_cannot_be_measured_fails_all_who_want_it(maker: Maker) -> None:
    def immeasurable(_: Any) -> int:
        raise ValueError("no size")

    wanted = Wanted(Key("model", "x"), lambda: "x", 1, immeasurable)

    with ThreadPoolExecutor(2) as pool:
        uses = [pool.submit(use, Shelf(10), wanted) for _ in range(2)]
        for each in uses:
            with pytest.raises(ValueError, match="no size"):
                each.result(10)


def test_what_is_larger_than_the_budget_is_loaded_when_it_is_alone(maker: Maker) -> None:
    shelf = Shelf(5)

    assert use(shelf, maker.wanted("huge", size=50)) == ["HUGE"]
    assert use(shelf, maker.wanted("small", size=1)) == ["SMALL"]
    assert shelf.names("model") == ("small",)


def test_a_load_that_failed_is_tried_again_by_the_next_job(maker: Maker) -> None:
    shelf, attempts = Shelf(100), []

    def fail_once() -> str:
        attempts.append(1)
        if len(attempts) == 1:
            raise GenerationFailed("broken")
        return "mended"

    wanted = Wanted(Key("model", "x"), fail_once, 1, lambda _: 1)

    with pytest.raises(GenerationFailed, match="broken"):
        use(shelf, wanted)
    assert use(shelf, wanted) == ["mended"]


def test_room_is_made_of_what_nobody_uses(maker: Maker) -> None:
    shelf = Shelf(100)
    use(shelf, maker.wanted("idle"))

    with shelf.borrow([maker.wanted("busy")]):
        assert shelf.evict_unused()
        assert shelf.names("model") == ("busy",)
        assert not shelf.evict_unused()


def test_who_borrows_nothing_waits_for_nobody(maker: Maker) -> None:
    shelf = Shelf(10)
    with ThreadPoolExecutor(1) as pool, shelf.borrow([maker.wanted("a")]):
        waiting = pool.submit(use, shelf, maker.wanted("b"))
        wait_until(lambda: shelf.waiting == 1)

        assert use(shelf) == []
        assert not waiting.done()
