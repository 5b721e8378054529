"""CustNet beside plain Keras and PyTorch: training and prediction per picture, and how near they come to the machine.

Every way starts from the same weights, in batches of 8, and must give the same losses for the first steps. The book
trains folds side by side, in as many processes of one thread as there are cores; a library left to itself takes one
process and all threads. So on two cores two processes of ours stand against one of Keras with two threads, and one of
ours against Keras with one.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tests.bench.network_ways import BATCH, KINDS
from tests.bench.timing import Part, Row, side_by_side

ROOT = Path(__file__).resolve().parents[2]
CORES = 2  # those the issue speaks of; a machine with more is held to them by the number of threads
PEAK_SIDE, STEPS = 2048, 4
#: How far the losses of the first steps may be from Keras's, in shares of them. A value that rounds to the other
#: side of a ReLU's zero changes a gradient in its third digit, and Adam's first steps follow a gradient's sign.
SAME_LOSS, HALF_LOSS = 0.02, 0.2
SAME_SCORE, HALF_SCORE = 1e-4, 0.05
KERAS = f"Keras, {CORES} threads"
OURS = f"pdlib, {CORES} processes of 1 thread"
KERAS_ALONE, OURS_ALONE = "Keras, 1 thread", "pdlib, 1 process of 1 thread"


@dataclass(frozen=True)
class Size:
    """A CustNet and how much of it a round handles; ``pictures`` is a multiple of `CORES` batches."""

    side: int
    width: float
    pictures: int
    epochs: int

    @property
    def title(self) -> str:
        """For rows."""
        return f"{self.side} px, width {self.width:g}"

    @property
    def network(self) -> dict[str, float]:
        """For methods of a way."""
        return {"size": self.side, "width": self.width}


QUICK, FULL, LARGE = Size(64, 0.25, 64, 4), Size(96, 0.5, 32, 2), Size(122, 1.0, 16, 1)
SMALL = Size(32, 0.125, 16, 1)


class Worker:
    """A process that obeys, see `network_ways`; ``threads`` is all it may use."""

    def __init__(self, way: str, threads: int) -> None:
        names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
        self.threads, self.processor = threads, 0.0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.network_ways", way],
            cwd=ROOT, env=os.environ | dict.fromkeys(names, str(threads)),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def start(self, do: str, **given: object) -> None:
        """Have it begin."""
        self._process.stdin.write(json.dumps({"do": do, "with": given}) + "\n")
        self._process.stdin.flush()

    def found(self) -> object:
        """Wait for what it gives."""
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a process of the bench ended with status {self._process.wait()}, see above")
        answer = json.loads(line)
        self.processor += answer["processor"]
        return answer["found"]

    def ask(self, do: str, **given: object) -> object:
        """Both in turn."""
        self.start(do, **given)
        return self.found()

    def close(self) -> None:
        """End it."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@contextmanager
def workers(wanted: Mapping[str, tuple[str, int, int]]) -> Iterator[dict[str, list[Worker]]]:
    """By name of a row: how many processes (last number) of one way with so many threads."""
    with ExitStack() as stack:
        made: dict[str, list[Worker]] = {}
        for name, (way, threads, count) in wanted.items():
            made[name] = [Worker(way, threads) for _ in range(count)]
            for worker in made[name]:
                stack.callback(worker.close)
        yield made


def together(team: Sequence[Worker], *, do: str, size: Size, **given: object) -> None:
    """The pictures shared out among the processes of a way, all at work at once."""
    for worker in team:
        worker.start(do, **size.network, count=size.pictures // len(team), **given)
    for worker in team:
        worker.found()


def installed(library: str) -> bool:
    """Whether a library is there; it is not imported."""
    return importlib.util.find_spec(library) is not None


def wanted(small: bool, torch: bool) -> dict[str, tuple[str, int, int]]:
    """The ways of a run: way, threads, processes."""
    ways = {KERAS_ALONE: ("keras", 1, 1), OURS_ALONE: ("pdlib", 1, 1)}
    if small:
        return ways
    ways = {KERAS: ("keras", CORES, 1), OURS: ("pdlib", 1, CORES)} | ways
    if torch:
        ways |= {
            f"PyTorch, {CORES} threads": ("torch", CORES, 1),
            f"PyTorch, {CORES} threads, channels last": ("torch-last", CORES, 1),
            f"PyTorch, {CORES} threads, channels last, bfloat16": ("torch-half", CORES, 1),
        }
    return ways


def hand_over(teams: Mapping[str, Sequence[Worker]], size: Size, folder: Path) -> None:
    """Give PyTorch the network and its weights."""
    path = str(folder / f"custnet-{size.side}-{size.width:g}.npz")
    others = [worker for name, team in teams.items() if name.startswith("PyTorch") for worker in team]
    if others:
        teams[OURS_ALONE][0].ask("save", **size.network, path=path)
        for worker in others:
            worker.ask("load", **size.network, path=path)


def differences(teams: Mapping[str, Sequence[Worker]], size: Size) -> dict[str, tuple[float, float]]:
    """How far each way is from Keras: losses of `STEPS` steps, in shares; probabilities before them.

    Raises
    ------
    RuntimeError
        When one is further away than its tolerance: then the times compare different things.
    """
    losses, scores = {}, {}
    for name, team in teams.items():
        scores[name] = np.array(team[0].ask("predict", **size.network, count=BATCH))
        losses[name] = np.array(team[0].ask("losses", **size.network, steps=STEPS))
    found = {}
    for name in teams:
        loss = float(np.max(np.abs(losses[name] / losses[KERAS_ALONE] - 1)))
        score = float(np.abs(scores[name] - scores[KERAS_ALONE]).max())
        half = name.endswith("bfloat16")
        if loss > (HALF_LOSS if half else SAME_LOSS) or score > (HALF_SCORE if half else SAME_SCORE):
            raise RuntimeError(
                f"{name} at {size.title}: losses differ by {loss:.2g} of theirs, scores by {score:.2g}"
            )
        found[name] = loss, score
    return found


def rows_of(
    what: str,
    teams: Mapping[str, Sequence[Worker]],
    size: Size,
    rounds: int,
    act: Callable[[Sequence[Worker]], None],
    items: int,
    bound: Mapping[str, float],
) -> list[Row]:
    """Rows of one comparison, with the processor's time of the processes that did the work.

    ``bound`` is the share of the peak that a way would use which took one millisecond per picture, by way.
    """
    reference = KERAS if KERAS in teams else KERAS_ALONE
    ways = {name: partial(act, team) for name, team in teams.items()}
    rows = []
    before = {name: sum(worker.processor for worker in team) for name, team in teams.items()}
    for row in side_by_side(
        f"CustNet {what}, {size.title}", ways,
        items=items, unit="ms per picture", rounds=rounds, reference=reference,
    ):  # fmt: skip
        spent = sum(worker.processor for worker in teams[row.name]) - before[row.name]
        share = f"{bound[row.name] / row.median:.0%} of the matrix-product peak of its threads"
        # `side_by_side` calls each way once more, to warm it up.
        rows.append(replace(row, processor=1e3 * spent / items / (rounds + 1), note=share))
    return rows


def memory(size: Size, fits: Sequence[int]) -> dict[str, float]:
    """Resident memory, MiB, after each of these numbers of trainings in one process."""
    found, done = {}, 0
    with workers({OURS: ("pdlib", 1, 1)}) as teams:
        worker = teams[OURS][0]
        for target in fits:
            for _ in range(target - done):
                worker.ask("train", **size.network, count=BATCH * CORES, epochs=1)
            done = target
            found[f"MiB resident after {target} fits, {size.title}"] = round(worker.ask("resident"))
    return found


def measure(rounds: int, small: bool) -> Part:
    """Times of training and prediction, shares of the peak and of the kinds of operations, memory over many fits."""
    torch = installed("torch") and not small
    rows: list[Row] = []
    facts: dict[str, float | int | str] = {}
    with TemporaryDirectory() as folder, workers(wanted(small, torch)) as teams:
        alone = teams[OURS_ALONE][0]
        peaks = {1: float(alone.ask("peak", side=512 if small else PEAK_SIDE))}
        if not small:
            peaks[CORES] = float(teams[KERAS][0].ask("peak", side=PEAK_SIDE))
        for threads, peak in peaks.items():
            facts[f"matrix product, {threads} threads, GFLOP/s"] = round(peak)
        for size in (SMALL,) if small else (QUICK, FULL, LARGE):
            hand_over(teams, size, Path(folder))
            for name, (loss, score) in differences(teams, size).items():
                facts[f"difference of losses over {STEPS} steps, {name}, {size.title}"] = loss
                facts[f"difference of scores, {name}, {size.title}"] = score
            forward = float(alone.ask("operations", **size.network))
            facts[f"million operations per picture, forward, {size.title}"] = round(forward / 1e6, 1)
            at_once = {name: sum(worker.threads for worker in team) for name, team in teams.items()}
            turns = 1 if size is LARGE else rounds
            # A gradient costs twice the forward pass: one product for the input, one for the kernel.
            for what, do, given, passes in (
                ("training", "train", {"epochs": size.epochs}, 3),
                ("prediction", "predict", {}, 1),
            ):
                bound = {n: passes * forward / (peaks[t] * 1e6) for n, t in at_once.items()}
                act = partial(together, do=do, size=size, **given)
                items = size.pictures * given.get("epochs", 1)
                rows += rows_of(what, teams, size, turns, act, items, bound)
        if not small:
            for size in (QUICK, FULL):
                for name, plain in (("plain Keras", True), ("pdlib", False)):
                    shares = alone.ask("shares", **size.network, plain=plain)
                    for kind in KINDS:
                        facts[f"share of a step, {kind}, {name}, {size.title}"] = round(shares[kind], 3)
    if not small:
        for size, fits in ((QUICK, (5, 20, 40)), (FULL, (5, 15))):
            facts |= memory(size, fits)
    left_out = () if installed("torch") else ("PyTorch is not installed (extra `bench`)",)
    return Part("CustNet: training and prediction", rows, facts, left_out)
