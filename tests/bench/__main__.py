"""Run parts of the bench in this process: ``python -m tests.bench [PART…] [--rounds N] [--small] [--json FILE]``.

`python -m pdlib bench` runs each part in a process of its own, so that none is measured in the memory of another.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pdlib import paths
from pdlib.errors import PdlibError
from tests.bench.record import record
from tests.bench.timing import ROUNDS, Part

FOLDER = Path(__file__).resolve().parent
FILE = "bench.json"


def parts(folder: Path = FOLDER) -> list[str]:
    """The modules of the folder that have a function ``measure``, by name; none is imported for this."""
    found = []
    for path in sorted(folder.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "measure" for node in tree.body):
            found.append(path.stem)
    return found


def content(part: Part) -> dict[str, Any]:
    """A part as it is kept: mappings, lists, texts and numbers."""
    return asdict(part)


def main(arguments: list[str] | None = None) -> int:
    """Measure the parts asked for, or all; write them as JSON to a file or to standard output."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help="a part; all of them when none is named")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="times each way is timed")
    parser.add_argument("--small", action="store_true", help="small inputs: does it run, not how fast")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write there in place of standard output")
    parser.add_argument("--record", action="store_true", help=f"also put each part into data/{FILE}")
    parser.add_argument("--list", action="store_true", help="name the parts and leave")
    given = parser.parse_args(arguments)
    known = parts()
    if given.list:
        print("\n".join(known))
        return 0
    if given.rounds < 1:
        parser.error("--rounds is 1 or more")
    if given.small and given.record:
        parser.error("--small is for trying out, so its times are not recorded")
    if unknown := [name for name in given.parts if name not in known]:
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(known)}")
    found = {}
    for name in given.parts or known:
        measure = importlib.import_module(f"tests.bench.{name}").measure
        found[name] = content(measure(rounds=given.rounds, small=given.small))
        if given.record:
            record(FILE, name, found[name])
    text = json.dumps(found, indent=1, ensure_ascii=False, default=lambda number: number.item()) + "\n"
    if given.json:
        paths.write_text(given.json, text)
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PdlibError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
