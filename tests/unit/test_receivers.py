"""How many deliveries may be under way to one receiver."""

from collections.abc import Callable, Collection
from contextlib import ExitStack

from shared.ledger import Delivery
from worker.dispatcher.receivers import Receivers

MOST = 3


def claim_of(
    receiver: str, seen: list[Collection[str]] | None = None
) -> Callable[[Collection[str]], Delivery | None]:
    """Finds a delivery to this receiver, unless that has no place; notes in `seen` who has none."""

    def claim(occupied: Collection[str]) -> Delivery | None:
        if seen is not None:
            seen.append(occupied)
        return None if receiver in occupied else Delivery(1, "token", receiver, 0, bells=(), owed_s=0.0)

    return claim


def claimed_at_once(receivers: Receivers, receiver: str) -> int:
    """How many deliveries it gets before it has no place left."""
    with ExitStack() as held:
        for count in range(MOST + 2):
            if held.enter_context(receivers.claimed(claim_of(receiver))) is None:
                return count
    raise AssertionError("it has places without end")


def test_a_receiver_gets_so_many_at_a_time_whatever_others_get() -> None:
    receivers = Receivers(MOST)

    with receivers.claimed(claim_of("other")):
        assert claimed_at_once(receivers, "one") == MOST
        assert claimed_at_once(receivers, "one") == MOST
        assert claimed_at_once(receivers, "other") == MOST - 1


def test_one_that_gave_no_answer_gets_one_at_a_time_until_it_answers() -> None:
    receivers = Receivers(MOST)

    receivers.heard("one", answered=False)
    assert (claimed_at_once(receivers, "one"), claimed_at_once(receivers, "other")) == (1, MOST)
    receivers.heard("one", answered=True)
    assert claimed_at_once(receivers, "one") == MOST


def test_only_receivers_without_a_place_are_passed_over() -> None:
    receivers, seen = Receivers(1), list[Collection[str]]()

    with (
        receivers.claimed(claim_of("one", seen)),
        receivers.claimed(claim_of("two", seen)),
        receivers.claimed(claim_of("one", seen)) as found,
    ):
        assert found is None
    with receivers.claimed(claim_of("one", seen)):
        pass

    assert seen == [[], ["one"], ["one", "two"], []]
