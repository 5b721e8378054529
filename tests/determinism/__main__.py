"""Compare two runs of the book, or make the runs and compare them.

    python -m tests.determinism RUN_A RUN_B [--record]
    python -m tests.determinism --runs [--profile quick] [--cohort real] [--ways 1x1,2x1,2x2] [--record]

A way is chapters at a time x threads of the linear algebra. Every run has a folder and a store of its own and goes
on where it was stopped. What counts as equal stands in `tests.determinism.compare`. It leaves with 1 where anything
differs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pdlib import paths
from pdlib.errors import PdlibError, UsageError
from pdlib.execute import THREADS
from tests.bench.record import record
from tests.determinism.compare import DIGITS, Comparison, compare_runs

FILE, SECTION = "robustness.json", "determinism"
WAYS = "1x1,2x1,2x2"
SHOWN = 40
PRINTED = ("glued", "page", "text output")


@dataclass(frozen=True)
class Way:
    """How a run is made: chapters at a time, and threads of the linear algebra."""

    workers: int
    threads: int

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.workers} worker{'s' * (self.workers > 1)}, {self.threads} thread{'s' * (self.threads > 1)}"


def read_ways(text: str) -> list[Way]:
    """Ways from a text such as ``1x1,2x2``.

    Raises
    ------
    UsageError
        For anything else, or fewer than two.
    """
    try:
        found = [Way(*map(int, one.split("x"))) for one in text.split(",")]
    except (TypeError, ValueError):
        found = []
    if len(found) < 2 or any(min(way.workers, way.threads) < 1 for way in found):
        raise UsageError(f"--ways {text} is not a list of ways", f"give two or more, such as {WAYS}")
    return found


def make_run(way: Way, folder: Path, profile: str, cohort: str, only: str = "") -> Path:
    """Run the chapters one way into ``folder``, and return the folder of executed chapters.

    Raises
    ------
    PdlibError
        When a chapter failed.
    """
    own = {"PDLIB_RUNS": str(folder / "run"), "PDLIB_RESULTS": str(folder / "results")}
    env = {**os.environ, **own, **dict.fromkeys(THREADS, str(way.threads))}
    command = [sys.executable, "-m", "pdlib", "run", "--profile", profile, "--cohort", cohort]
    command += ["--workers", str(way.workers), *(["--only", only] if only else [])]
    if subprocess.run(command, cwd=paths.ROOT, env=env, check=False).returncode:
        raise PdlibError(f"the run with {way.name} failed", "the same command goes on where it stopped")
    (made,) = (path for path in (folder / "run").iterdir() if path.name.startswith(f"{profile}-"))
    return made


def section(compared: Mapping[str, Sequence[Comparison]], first: str) -> dict[str, Any]:
    """What is kept: a row per chapter over all pairs, the counts, and every difference.

    Parameters
    ----------
    compared : mapping
        The chapters of each run that was compared with the first, by its name.
    first : str
        Name of the run they were compared with.
    """
    pairs = [one for found in compared.values() for one in found]
    rows = []
    for chapter in dict.fromkeys(one.chapter for one in pairs):
        own = [one for one in pairs if one.chapter == chapter]
        peaks = [peak for one in own for peak in one.peak_mib if peak is not None]
        rows.append(
            {
                "chapter": chapter,
                "printed": sum(one.compared[kind] for one in own for kind in PRINTED),
                "beside the page": sum(sum(one.compared.values()) for one in own)
                - sum(one.compared[kind] for one in own for kind in PRINTED),
                "differ": sum(len(one.differences) for one in own),
                "largest relative difference": max(one.largest for one in own),
                "pictures": sum(one.pictures for one in own),
                "the same bytes": sum(one.pictures_equal for one in own),
                "peak MiB": max(peaks, default=None),
            }
        )
    differences = [
        {
            "run": name,
            "chapter": d.chapter,
            "kind": d.kind,
            "where": d.where,
            "first": d.first,
            "second": d.second,
        }
        for name, found in compared.items()
        for one in found
        for d in one.differences
    ]
    largest = max(pairs, key=lambda one: one.largest)
    facts = {
        "runs": "; ".join([first, *compared]),
        "compared with": first,
        "chapters": len(rows),
        "printed": sum(row["printed"] for row in rows),
        "beside the page": sum(row["beside the page"] for row in rows),
        "differ": len(differences),
        "largest relative difference": largest.largest,
        "largest difference in": largest.chapter if largest.largest else "",
        "pictures": sum(row["pictures"] for row in rows),
        "pictures with the same bytes": sum(row["the same bytes"] for row in rows),
        "digits compared beside the page": DIGITS,
        "the same code, values and data": all(one.same_key for one in pairs),
    }
    made = {"title": "Determinism", "rows": rows, "facts": facts}
    return made | ({"tables": {"What differs": differences[:SHOWN]}} if differences else {})


def say(compared: Mapping[str, Sequence[Comparison]], made: Mapping[str, Any]) -> None:
    """Print every chapter, every difference (the first `SHOWN` of each run) and the counts."""
    for name, found in compared.items():
        print(f"\n{made['facts']['compared with']} and {name}")
        for one in found:
            counts = ", ".join(f"{count} {kind}" for kind, count in one.compared.items())
            print(
                f"  {one.chapter}: {counts}; {len(one.differences)} differ; raw values by {one.largest:.1e} at most"
            )
        for difference in [d for one in found for d in one.differences][:SHOWN]:
            print(f"    {difference}")
    print()
    for fact, value in made["facts"].items():
        print(f"{fact}: {value}")


def main(arguments: list[str] | None = None) -> int:
    """Compare, say, and keep what was found where that is asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.determinism",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folders", nargs="*", type=Path, metavar="RUN", help="two folders of executed chapters"
    )
    parser.add_argument("--names", nargs="*", default=[], help="how the folders were made, in words")
    parser.add_argument("--runs", action="store_true", help="make the runs")
    parser.add_argument("--profile", default="smoke", help="of the runs")
    parser.add_argument("--cohort", default="synthetic", help="of the runs")
    parser.add_argument("--only", default="", help="chapters of the runs, such as 04,09")
    parser.add_argument("--ways", default=WAYS, help=f"of the runs, workers x threads; {WAYS} if not given")
    parser.add_argument("--out", type=Path, help="folder of the runs; in _build/determinism if not given")
    parser.add_argument("--record", action="store_true", help=f"keep the counts in data/{FILE}")
    given = parser.parse_args(arguments)
    if given.runs == bool(given.folders) or (given.folders and len(given.folders) < 2):
        parser.error("give two or more folders of executed chapters, or --runs")
    if given.runs:
        ways = read_ways(given.ways)
        out = given.out or paths.BUILD / "determinism" / f"{given.profile}-{given.cohort}"
        folders = [
            make_run(way, out / f"{way.workers}x{way.threads}", given.profile, given.cohort, given.only)
            for way in ways
        ]
        names = [way.name for way in ways]
    else:
        folders = given.folders
        names = given.names or [f"run {number}" for number in range(1, len(folders) + 1)]
        if len(names) != len(folders) or len(set(names)) != len(names):
            parser.error("--names has one name for each folder, each another")
    compared = {name: compare_runs(folders[0], one) for name, one in zip(names[1:], folders[1:], strict=True)}
    made = section(compared, names[0])
    say(compared, made)
    if given.record:
        record(FILE, SECTION, made)
    return 1 if made["facts"]["differ"] else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PdlibError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
