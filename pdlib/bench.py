"""Parts of the bench, each run in a process of its own: the bench lies in ``tests/bench`` of a checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from pdlib import paths
from pdlib.errors import PdlibError, UsageError
from pdlib.params import Project

_MODULE = "tests.bench"
_LAST_LINES = 5


def parts(project: Project, names: Sequence[str] = ()) -> list[str]:
    """The parts of the bench by name, or those of ``names``.

    Raises
    ------
    UsageError
        Where there is no checkout with the bench in it, or no part of such a name.
    """
    if not (project.root / "tests" / "bench" / "__main__.py").is_file():
        raise UsageError(
            f"there is no tests/bench in {project.root.name}",
            "the bench is a part of the repository, not of the installed package: run it from a checkout",
        )
    done = _call(project, ["--list"])
    if done.returncode:
        raise PdlibError(f"the parts of the bench cannot be listed: {_end(done.stderr)}")
    known = done.stdout.split()
    if unknown := [name for name in names if name not in known]:
        raise UsageError(
            f"the bench has no part {', '.join(map(repr, unknown))}", f"its parts are {', '.join(known)}"
        )
    return list(names) or known


def measure(
    project: Project, part: str, rounds: int | None = None, small: bool = False, record: bool = False
) -> dict[str, Any]:
    """Run one part and return what it measured: title, rows, facts, what was left out.

    Parameters
    ----------
    part : str
        Its name.
    rounds : int, optional
        Times each way is timed, in place of the bench's own number.
    small : bool
        Small inputs, to see that it runs.
    record : bool
        Put it into ``data/bench.json`` as well.

    Raises
    ------
    PdlibError
        When the part failed; with its last words. All it said is in ``_build/bench``.
    """
    folder = project.build / "bench"
    file, log = folder / f"{part}.json", folder / f"{part}.log"
    with paths.writing_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
    more = ["--rounds", str(rounds)] if rounds else []
    more += ["--small"] if small else []
    more += ["--record"] if record else []
    done = _call(project, [part, "--json", str(file), *more])
    paths.write_text(log, done.stdout + done.stderr)
    try:
        if done.returncode == 0:
            return json.loads(file.read_text(encoding="utf-8"))[part]
        why = _end(done.stderr)
    except (OSError, ValueError, KeyError) as error:
        why = f"what it wrote cannot be read: {error}"
    raise PdlibError(f"part {part} failed: {why}", f"all it said is in {project.shown(log)}")


def _call(project: Project, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(project.root), str(paths.ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-m", _MODULE, *arguments],
        cwd=project.root,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def _end(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()][-_LAST_LINES:]
    return "\n  ".join(lines) or "it said nothing"
