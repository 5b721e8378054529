"""``python -m tests.faults``: hurt a book in every way we could think of, and count what was lost."""

from __future__ import annotations

import argparse
import collections
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.faults import books
from tests.faults.kinds import EQUAL, KINDS, LOST, REFUSED, SKIPPED, Lab, Trial

SPAN = {"tiny": 8.0, "smoke": 60.0}


def table(trials: list[Trial]) -> list[dict[str, object]]:
    """Counts by kind, ready for the record."""
    rows = []
    for kind in dict.fromkeys(trial.kind for trial in trials):
        became = collections.Counter(trial.became for trial in trials if trial.kind == kind)
        rows.append(
            {
                "fault": kind,
                "tried": sum(became.values()) - became[SKIPPED],
                "same numbers": became[EQUAL],
                "refused clearly": became[REFUSED],
                "lost": became[LOST],
            }
        )
    return rows


def main() -> int:
    """Run the kinds asked for; leave with 1 where anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--book", choices=("smoke", "tiny"), default="tiny")
    parser.add_argument("--kills", type=int, default=50, help="signals in all")
    parser.add_argument("--seed", type=int, default=0, help="of moments and places")
    parser.add_argument("--span", type=float, help="seconds within which a signal comes")
    parser.add_argument(
        "--only", nargs="*", choices=tuple(KINDS), help="kinds of fault; all where none is given"
    )
    parser.add_argument(
        "--chapters", default="", help="of the smoke book, such as 01,03: the others are left out"
    )
    parser.add_argument("--folder", type=Path, help="where the books go; else a temporary folder")
    parser.add_argument("--record", action="store_true", help="write the counts to data/robustness.json")
    given = parser.parse_args()

    def say(text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)

    folder = given.folder or Path(tempfile.mkdtemp(prefix="pdlib-faults-"))
    folder.mkdir(parents=True, exist_ok=True)
    checkout = (
        folder.resolve() / "checkout"
    )  # copied once, so that whoever edits meanwhile changes nothing here

    def make(root: Path) -> books.Book:
        if given.book == "tiny":
            return books.tiny(root)
        if not checkout.exists():
            books.smoke(checkout)
        shutil.copytree(checkout, root)
        return books.real(root, given.chapters)

    lab = Lab(folder.resolve(), make, given.kills, given.span or SPAN[given.book], given.seed, say=say)
    trials: list[Trial] = []
    began = time.monotonic()
    try:
        for name in given.only or KINDS:
            for trial in KINDS[name](lab):
                trials.append(trial)
                if (
                    trial.became in (LOST, SKIPPED)
                    or "bytes" not in trial.kind
                    and trial.kind != "committed files"
                ):
                    say(f"{trial.kind} · {trial.what} · {trial.became} {trial.problem}"[:2500])
    finally:
        if given.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    rows = table(trials)
    for row in rows:
        say("  ".join(f"{name} {value}" for name, value in row.items()))
    lost = sum(row["lost"] for row in rows)
    skipped = sorted({f"{t.kind}, {t.what}: {t.problem}" for t in trials if t.became == SKIPPED})
    facts = {
        "faults tried": sum(row["tried"] for row in rows),
        "refused clearly": sum(row["refused clearly"] for row in rows),
        "lost": lost,
        "book": given.book,
        "signals": given.kills if not given.only or "signals" in given.only else 0,
        "seed": given.seed,
        "minutes": round((time.monotonic() - began) / 60, 1),
    }
    say(", ".join(f"{name}: {value}" for name, value in facts.items()))
    for line in skipped:
        say(f"left out: {line}")
    if given.record:
        from tests.bench.record import record

        title = f"Faults, {'the smoke profile' if given.book == 'smoke' else 'a tiny book'}"
        record(
            "robustness.json",
            f"faults-{given.book}",
            {"title": title, "rows": rows, "facts": facts, "left out": skipped},
        )
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
