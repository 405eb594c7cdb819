"""Calls with loops of their own, run by the engine between the steps of pictures."""

from typing import Any

import pytest
import torch

from shared.errors import Cancelled
from tests.support import tiny
from tests.support.painting import painted, request, running_engine, submit
from tests.support.waiting import wait_until
from worker.gpu.engine import Note, Pause, Picture, Program, Steps, solo
from worker.gpu.models.loaded import from_pipeline
from worker.gpu.painting import Kit


def program(work: Any) -> Program:
    def run(note: Note) -> Steps[Picture]:
        result = yield from solo(work, note)
        return Picture(lambda: result)

    return run


def counting(steps: int, log: list[int]) -> Any:
    def work(pause: Pause) -> int:
        for step in range(steps):
            log.append(step)
            pause((step + 1) / steps)
        return steps

    return work


def test_a_solo_call_returns_its_result_and_tells_its_progress() -> None:
    with running_engine() as engine:
        rendering = engine.submit([program(counting(3, []))])

        assert rendering.result()[0].develop() == 3
        assert rendering.progress == 1.0


def test_pictures_are_made_between_the_steps_of_a_solo_call() -> None:
    kit = Kit.plain(from_pipeline("tiny", tiny.stable_diffusion()))
    log: list[int] = []
    with running_engine() as engine:
        endless = engine.submit([program(counting(10**9, log))])
        wait_until(lambda: log)

        painted(engine, kit, request())

        assert not endless.is_over
        endless.cancel()
        with pytest.raises(Cancelled):
            endless.result()


def test_a_cancelled_solo_call_is_unwound() -> None:
    begun, unwound = list[bool](), list[bool]()

    def work(pause: Pause) -> None:
        begun.append(True)
        try:
            while True:
                pause(0.0)
        finally:
            unwound.append(True)

    with running_engine() as engine:
        rendering = engine.submit([program(work)])
        wait_until(lambda: begun)
        rendering.cancel()
        with pytest.raises(Cancelled):
            rendering.result()

    assert unwound == [True]


def test_an_error_in_a_solo_call_fails_its_job_alone() -> None:
    def work(pause: Pause) -> None:
        pause(0.5)
        raise ValueError("broken")

    with running_engine() as engine:
        with pytest.raises(ValueError, match="broken"):
            engine.submit([program(work)]).result()

        assert engine.submit([program(counting(1, []))]).result()[0].develop() == 1


def test_a_solo_call_that_runs_out_of_memory_begins_anew_once_there_is_room() -> None:
    begun: list[int] = []

    def work(pause: Pause) -> int:
        begun.append(1)
        pause(0.5)
        if len(begun) == 1:
            raise torch.OutOfMemoryError("no room")
        return len(begun)

    with running_engine(make_room=lambda: True) as engine:
        assert engine.submit([program(work)]).result()[0].develop() == 2


def test_two_solo_calls_take_turns() -> None:
    kit = Kit.plain(from_pipeline("tiny", tiny.stable_diffusion()))
    logs: list[list[int]] = [[], []]
    with running_engine() as engine:
        both = [engine.submit([program(counting(10**9, log))]) for log in logs]
        wait_until(lambda: all(len(log) > 50 for log in logs))
        submit(engine, kit, request()).result()
        for each in both:
            each.cancel()

    assert abs(len(logs[0]) - len(logs[1])) < len(logs[0])
