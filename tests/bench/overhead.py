"""What the book adds to its notebooks: the runner beside ``jupyter nbconvert --execute``, and laying out and building.

The chapters run in the smoke profile with everything they store already there, so that what is timed is mostly
starting, importing and drawing. nbconvert gets copies with the values that the runner would give them, and the same
environment. The pages are built from a whole run that lies on this machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.manager import start_new_kernel
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from pdlib import publish, run
from pdlib.execute import INJECTED, kernel_environment
from pdlib.params import Project, read_chapters
from tests.bench.timing import Part, Row, side_by_side, spent
from tests.determinism.compare import Comparison, compare_cells

CHAPTERS = ("01", "02", "03", "04", "05", "06", "09")
PROFILE, COHORT = "smoke", "synthetic"
ROUNDS = 3  # a round takes minutes
IMPORTS = {"the tables": "pdlib.figures", "the sounds": "pdlib.features", "the networks": "pdlib.networks"}


def injected(source: Path, values: Mapping[str, Any]) -> Any:
    """A notebook with ``values`` after its own, as the runner's copies have them."""
    notebook = load_notebook_node(str(source))
    if values:
        notebook = parameterize_notebook(notebook, dict(values), kernel_name="python3", language="python")
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        if INJECTED in cell.metadata.get("tags", []):
            cell["id"] = INJECTED
    return notebook


def nbconvert(notebooks: list[Path], target: Path, env: Mapping[str, str]) -> None:
    """Execute notebooks, one after the other, into ``target``.

    Raises
    ------
    subprocess.CalledProcessError
        When one of them fails.
    """
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--log-level", "ERROR"]
    subprocess.run(
        [*command, "--output-dir", str(target), *map(str, notebooks)],
        env=dict(env),
        check=True,
        capture_output=True,
    )


def own_seconds(notebook: Path) -> float:
    """Seconds that a notebook's cells took, by the times nbconvert notes for each; starting the kernel is not in it."""
    total = 0.0
    for cell in nbformat.read(notebook, as_version=4).cells:
        noted = cell.metadata.get("execution", {})
        if "iopub.execute_input" in noted and "shell.execute_reply" in noted:
            begin, end = (
                datetime.fromisoformat(noted[n]) for n in ("iopub.execute_input", "shell.execute_reply")
            )
            total += (end - begin).total_seconds()
    return total


def check_same(theirs: Path, ours: Path) -> int:
    """Count what both copies of a chapter print, after a check that it is the same.

    Raises
    ------
    AssertionError
        Naming the first difference.
    """
    found = Comparison(ours.stem)
    compare_cells(found, *(nbformat.read(path, as_version=4) for path in (theirs, ours)))
    if found.differences:
        raise AssertionError(f"nbconvert and the book print different things: {found.differences[0]}")
    return sum(found.compared.values())


def measure(rounds: int, small: bool) -> Part:
    """Time both ways to run the chapters, what a kernel and its imports take, and the pages."""
    chapters = CHAPTERS[:1] if small else CHAPTERS
    rounds = 1 if small else min(rounds, ROUNDS)
    project, facts, left_out = Project(), {}, []
    with tempfile.TemporaryDirectory(prefix="overhead-") as place:
        folder = Path(place)
        moved = {"PDLIB_RUNS": str(folder / "runs"), "PDLIB_RESULTS": str(folder / "results")}
        before = {name: os.environ.get(name) for name in moved}
        os.environ.update(moved)
        try:
            rows = _chapters(project, chapters, folder, rounds, facts, small)
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
    rows += _starts(small)
    whole = _whole_run(project)
    if small or whole is None:
        left_out.append(
            "the pages, for no whole run of this version of the book was there to build them from"
        )
    else:
        rows += _pages(project, whole, facts)
    return Part("What the book adds to its notebooks", rows, facts, left_out)


def _chapters(
    project: Project, chapters: tuple[str, ...], folder: Path, rounds: int, facts: dict[str, Any], small: bool
) -> list[Row]:
    pages = folder / "pages"
    env = kernel_environment(pages, project.root, project.build)
    _, _, plans = run.make_plans(project, PROFILE, only=chapters, overrides={"cohort": COHORT})
    assert list(plans) == list(chapters), "a chapter of the bench needs another one"
    copies = []
    for plan in plans.values():
        copies.append(folder / "copies" / plan.chapter.path.name)
        copies[-1].parent.mkdir(exist_ok=True)
        nbformat.write(injected(plan.chapter.path, plan.changed), copies[-1])

    def book(workers: int) -> None:
        command = [sys.executable, "-m", "pdlib", "run", "--profile", PROFILE, "--cohort", COHORT, "--force"]
        command += ["--only", ",".join(chapters), "--workers", str(workers)]
        subprocess.run(command, env=env, cwd=project.root, check=True, capture_output=True)

    def plain() -> None:
        nbconvert(copies, folder / "theirs", env)

    if not small:  # fill the store and numba's folder, for all ways
        plain()
    ways = {"nbconvert, one at a time": plain, "the book, one at a time": lambda: book(1)}
    if not small:
        ways["the book, two at a time"] = lambda: book(2)
    rows = side_by_side(
        "run the chapters", ways, items=len(chapters), unit="s per chapter", scale=1.0, rounds=rounds,
        reference="nbconvert, one at a time", warm_up=False,
        notes={"nbconvert, one at a time": f"chapters {', '.join(chapters)}, profile {PROFILE}, from a warm store"},
    )  # fmt: skip
    ours = run.run_folder(project, PROFILE, COHORT)
    facts["printed things that are equal"] = sum(
        check_same(folder / "theirs" / copy.name, ours / copy.name) for copy in copies
    )
    own = sum(own_seconds(folder / "theirs" / copy.name) for copy in copies) / len(chapters)
    facts["seconds of a chapter's own cells"] = own
    for row in rows[:2]:
        facts[f"seconds a chapter beyond its cells, {row.name.partition(',')[0]}"] = row.median - own
    facts["seconds a chapter of the book beyond nbconvert"] = rows[1].median - rows[0].median
    return rows


def _starts(small: bool) -> list[Row]:
    """A kernel from nothing to its first answer and its end; and what chapters import, each in a new Python."""

    def kernel() -> None:
        manager, client = start_new_kernel(kernel_name="python3", stderr=subprocess.DEVNULL)
        client.stop_channels()
        manager.shutdown_kernel(now=True)

    def python(code: str) -> None:
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)

    ways = {"Python and nothing": lambda: python("")}
    if not small:
        ways |= {name: lambda module=module: python(f"import {module}") for name, module in IMPORTS.items()}
    options = {"items": 1, "unit": "s", "scale": 1.0, "rounds": 1 if small else 5, "warm_up": not small}
    return side_by_side("a kernel", {"start and end": kernel}, **options) + side_by_side(
        "import", ways, **options
    )


def _whole_run(project: Project) -> Path | None:
    """A folder with an executed copy of every chapter as it is now, the latest one first."""
    chapters = read_chapters(project)
    folders = [folder for folder in (*project.runs.glob("*-*"), project.edition) if folder.is_dir()]
    for folder in sorted(folders, key=lambda folder: -folder.stat().st_mtime):
        records = [run.read_record(folder / chapter.path.name) for chapter in chapters.values()]
        sources = [record.get("parts", {}).get("source") for record in records]
        if sources == [run.source_hash(chapter) for chapter in chapters.values()]:
            return folder
    return None


def _pages(project: Project, folder: Path, facts: dict[str, Any]) -> list[Row]:
    """Lay out, build and look through all pages, once each, in a copy of the book's sources."""
    with tempfile.TemporaryDirectory(prefix="pages-") as place:
        copy = Project(Path(place))
        for name in ("notebooks", "book", "data"):
            shutil.copytree(
                project.root / name, copy.root / name, ignore=shutil.ignore_patterns("raw", "edition")
            )
        for name in ("_config.yml", "_toc.yml", *publish.ROOT_TEXTS):
            shutil.copyfile(project.root / name, copy.root / name)
        copy.build.mkdir()
        chapters = read_chapters(copy)
        steps = {
            "check": lambda: publish.check_copies(copy, folder, chapters),
            "lay out": lambda: publish.stage(copy, folder, chapters, known["check"], ""),
            "build": lambda: publish.build(known["lay out"], copy.build / "work", copy.build / "site.log"),
            "look through": lambda: publish.check_site(known["build"], publish.toc_files(copy)),
        }
        known: dict[str, Any] = {}
        rows = []
        (copy.build / "work").mkdir()
        for name, step in steps.items():
            started, before = time.perf_counter(), spent()
            known[name] = step()
            took, busy = time.perf_counter() - started, spent() - before
            rows.append(Row("the pages", name, "s", took, took, took, busy, note="once"))
        facts["pages"] = len(publish.toc_files(copy))
        facts["run the pages are of"] = folder.name
    return rows
