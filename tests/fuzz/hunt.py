"""Draw inputs for one target, judge each, and shrink what is found; in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis.strategies import SearchStrategy, deferred

from tests.fuzz import guard
from tests.fuzz.guard import Box, Verdict
from tests.fuzz.targets import Target

ROUND = 400  # inputs per call of hypothesis, which forgets after a call what it has drawn


@dataclass
class Tally:
    """Counts of one target; ``found`` holds kind, detail and content of each kind of finding."""

    target: str
    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    found: list[tuple[str, str, bytes]] = field(default_factory=list)


class _Found(Exception):
    pass


def hunt(
    target: Target, count: int, seed: int, box: Box, note: Callable[[bytes], None] = lambda content: None,
    *, shrink: bool = True, seconds: float = guard.SECONDS,
) -> Tally:  # fmt: skip
    """Judge ``count`` inputs of a target; a kind of finding is shrunk once and then passed over.

    Parameters
    ----------
    note : callable
        Told each content before it is judged, so that it is known should this process die.
    """
    tally, known = Tally(target.name), set()
    strategy = deferred(target.inputs)  # with a short name: hypothesis would spell out every fixed input
    turn = 0
    while tally.inputs < count and turn < 4 + 4 * count // ROUND:
        last: list[tuple[Verdict, bytes]] = []
        check = partial(_check, target, box, note, seconds, tally, known, last)
        _draw(strategy, check, min(ROUND, count - tally.inputs), seed * 1009 + turn, shrink)
        if last:
            verdict, content = min(last, key=lambda pair: len(pair[1]))
            known.add(verdict.kind)
            tally.found.append((verdict.kind, verdict.detail, content))
        turn += 1
    return tally


def _draw(
    strategy: SearchStrategy[bytes], check: Callable[[bytes], None], count: int, seed: int, shrink: bool
) -> None:
    @hypothesis.seed(seed)
    @settings(
        max_examples=count, database=None, deadline=None, print_blob=False, report_multiple_bugs=False,
        phases=[Phase.generate, *([Phase.shrink] if shrink else [])], suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )  # fmt: skip
    @given(strategy)
    def one(content: bytes) -> None:
        check(content)

    with contextlib.suppress(_Found, hypothesis.errors.Flaky):
        one()


def _check(
    target: Target, box: Box, note: Callable[[bytes], None], seconds: float, tally: Tally, known: set[str],
    last: list[tuple[Verdict, bytes]], content: bytes,
) -> None:  # fmt: skip
    verdict = attempt(target, content, box, note, seconds)
    if not last:  # afterwards hypothesis shrinks what was found, and no longer draws
        tally.inputs += 1
        tally.accepted += verdict.outcome == "accepted"
        tally.refused += verdict.outcome == "refused"
    if (
        verdict.outcome == "finding"
        and verdict.kind not in known
        and (not last or verdict.kind == last[0][0].kind)
    ):
        last.append((verdict, content))
        raise _Found(verdict.kind)


def attempt(
    target: Target, content: bytes, box: Box, note: Callable[[bytes], None], seconds: float = guard.SECONDS
) -> Verdict:
    """Lay one content out in a clean box and judge it."""
    box.clean()
    target.place(content, box.inside)
    note(content)
    return guard.judge(target.act, box, writes_in=target.writes_in, seconds=seconds)


def main() -> None:
    """A worker: its job as JSON in argv, its tally as JSON in the file the job names."""
    job = json.loads(sys.argv[1])
    sys.dont_write_bytecode = True
    from tests.fuzz.targets import TARGETS

    target, current = TARGETS[job["target"]], Path(job["current"])
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        box = Box(Path(folder).resolve() / "box")
        box.root.mkdir()
        # what a target imports and keeps on its first input is no matter of that input
        for _ in range(2):
            attempt(target, target.warm(), box, lambda content: None, seconds=600)
        guard.limit_memory()

        def note(content: bytes) -> None:
            current.write_bytes(content)

        tally = hunt(target, job["count"], job["seed"], box, note, shrink=job.get("shrink", True))
    found = []
    for kind, detail, content in tally.found:
        path = Path(job["findings"]) / f"{target.name}-{guard.short_hash(kind.encode())}"
        path.mkdir(parents=True, exist_ok=True)
        (path / "input").write_bytes(content)
        (path / "why.txt").write_text(
            f"{target.name}: {kind}\n\n{detail}\n", encoding="utf-8", errors="backslashreplace"
        )
        found.append((kind, str(path)))
    answer = asdict(tally) | {"found": found}
    Path(job["answer"]).write_text(json.dumps(answer), encoding="utf-8")
    os._exit(0)  # libraries that hold threads or devices take seconds to leave


if __name__ == "__main__":
    main()
