"""What the benchmarks print: tables whose ratios compare things that were measured beside each other."""

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter


@dataclass(frozen=True)
class Times:
    """Seconds of the baseline and of ours, one of each per round."""

    stock_s: tuple[float, ...]
    engine_s: tuple[float, ...]

    @property
    def stock(self) -> float:
        return statistics.median(self.stock_s)

    @property
    def engine(self) -> float:
        return statistics.median(self.engine_s)

    @property
    def ratios(self) -> list[float]:
        """The engine's time by the stock pipeline's, round by round."""
        return [engine / stock for stock, engine in zip(self.stock_s, self.engine_s, strict=True)]


def taking_turns(rounds: int, stock: Callable[[], object], engine: Callable[[], object]) -> Times:
    """Who goes first changes every round: a machine that others make slower or faster favours neither."""
    stock_s: list[float] = []
    engine_s: list[float] = []
    for index in range(rounds):
        turns = [(stock_s, stock), (engine_s, engine)]
        for seconds, work in turns if index % 2 == 0 else reversed(turns):
            seconds.append(timed(work))
    return Times(tuple(stock_s), tuple(engine_s))


def timed(work: Callable[[], object]) -> float:
    begun = perf_counter()
    work()
    return perf_counter() - begun


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    ordered = sorted(values)
    return next(value for rank, value in enumerate(ordered, 1) if rank >= share * len(ordered))


def middle_half(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    quarter = len(ordered) // 4
    return ordered[quarter : len(ordered) - quarter]


def spread(ratios: Sequence[float]) -> str:
    return f"{min(ratios):.2f} to {max(ratios):.2f}"


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()
) -> None:
    """Prints at once: the next benchmark may take minutes."""
    lines = [("", *columns), *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns) + 1)]
    print(f"\n{title}")
    for name, *cells in lines:
        padded = [f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True)]
        print("  ".join(["", f"{name:{widths[0]}}", *padded]).rstrip())
    for note in notes:
        print(f"  {note}")
    sys.stdout.flush()
