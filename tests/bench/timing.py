"""Times side by side: several ways to do one thing, in turn and in one process, so that they share the machine's moods.

A part of the bench is a module of this folder with a function ``measure(rounds, small) -> Part``; `tests.bench` finds
it by name, runs it in a process of its own and writes what it gives into one file.
"""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

ROUNDS = 7


@dataclass(frozen=True)
class Row:
    """What one way of doing a thing took.

    Attributes
    ----------
    what, name : str
        The thing, the same for all ways that are compared; the way.
    unit : str
        Of the times, such as ``ms per recording``.
    median, low, high : float
        Wall time per item: median, least and most over the rounds.
    processor : float
        Median of the processor's time per item, all threads together.
    ratio, ratio_low, ratio_high : float or None
        Time of the reference over time of this way, round by round: median, least and most; above 1 this way
        is the faster. None where the thing has no reference, 1 for the reference.
    note : str
        What the reader must know: settings, tolerance of the comparison, share of a bound.
    """

    what: str
    name: str
    unit: str
    median: float
    low: float
    high: float
    processor: float
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Part:
    """One part of the bench: a title, its rows, single numbers by name, and what was left out and why.

    ``tables`` holds what is no comparison of ways, by the table's title: rows of the same columns each.
    """

    title: str
    rows: Sequence[Row]
    facts: Mapping[str, float | int | str] = field(default_factory=dict)
    left_out: Sequence[str] = ()
    tables: Mapping[str, Sequence[Mapping[str, float | int | str]]] = field(default_factory=dict)


def spent() -> float:
    """Seconds the processors have worked for this process so far, for all its threads and the children that ended."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def side_by_side(
    what: str,
    ways: Mapping[str, Callable[[], object]],
    *,
    items: int,
    unit: str,
    scale: float = 1e3,
    rounds: int = ROUNDS,
    reference: str | None = None,
    notes: Mapping[str, str] | None = None,
    warm_up: bool = True,
) -> list[Row]:
    """Time every way once to warm it up, then ``rounds`` times in turn, starting with another one each time.

    Parameters
    ----------
    what : str
        The thing that is done.
    ways : mapping of str to callable
        By name; each call handles the same ``items`` items.
    items : int
        Items a call handles; times are given per item.
    unit : str
        Of the times as shown, such as ``ms per recording``.
    scale : float
        From seconds to ``unit``.
    rounds : int
        Calls of each way that are timed.
    reference : str, optional
        The way the others are compared with.
    notes : mapping, optional
        Note of a row, by name of the way.
    warm_up : bool
        Whether to have each way once before, which is not counted.
    """
    names = list(ways)
    for way in ways.values() if warm_up else ():
        way()
    wall: dict[str, list[float]] = {name: [] for name in names}
    busy: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            gc.collect()
            started, before = time.perf_counter(), spent()
            ways[name]()
            wall[name].append((time.perf_counter() - started) * scale / items)
            busy[name].append((spent() - before) * scale / items)
    rows = []
    for name in names:
        ratios: list[float | None] = [None, None, None]
        if reference is not None:
            pairs = [theirs / ours for theirs, ours in zip(wall[reference], wall[name], strict=True)]
            ratios = [statistics.median(pairs), min(pairs), max(pairs)]
        rows.append(
            Row(
                what, name, unit, statistics.median(wall[name]), min(wall[name]), max(wall[name]),
                statistics.median(busy[name]), *ratios, note=(notes or {}).get(name, ""),
            )
        )  # fmt: skip
    return rows
