"""Chapters at many values of their parameters: every point executed once, and one table of what they measured.

A point is a set of values, one for each swept parameter. It is checked and executed like any run (`run.run`), here, in
processes of this machine or on a Dask cluster (`parallel`); its executed copy comes back as bytes and is kept below
``_build/sweeps``. A point whose copy is still current is read from it, so an interrupted sweep goes on where it
stopped, and a failed point is tried again.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import platform
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pdlib import parallel, paths
from pdlib import run as runner
from pdlib.errors import ParameterError, PdlibError, UsageError, WorkerError
from pdlib.params import (
    Chapter,
    Project,
    load_profile,
    parse_assignments,
    read_chapters,
    resolve,
    select,
)

#: More points than this are refused unless they are asked for a second time.
MOST_POINTS = 10_000
SYNTHETIC = "SYNTHETIC"
_RANGE = re.compile(r"(-?\d+):(-?\d+)(?::(-?\d+))?")
_SHOWN = 12  # rows on the terminal


# ── the points ─────────────────────────────────────────────────────────────────────────────────────────
def read_axes(assignments: Sequence[str]) -> dict[str, list[Any]]:
    """The values of every parameter, from ``name=value`` texts such as ``seed=0:100`` and ``input_size=96,122``.

    ``a:b`` and ``a:b:step`` are whole numbers up to but without b, as in Python; a comma lists values and ranges; a
    list in square brackets is one value.

    Raises
    ------
    ParameterError
        When a text is not an assignment, a range is empty, or a value is given twice.
    """
    axes: dict[str, list[Any]] = {}
    for text in assignments:
        name, equals, given = text.partition("=")
        name = name.strip()
        if not equals or not given.strip():
            raise ParameterError(f"-p {text!r} is not an assignment", "write -p name=0:10 or -p name=1,2,3")
        if name in axes:
            raise ParameterError(
                f"-p gives {name!r} twice", "list its values after one -p, such as seed=0:5,10"
            )
        parts = [given] if given.lstrip().startswith(("[", '"', "'")) else given.split(",")
        axes[name] = [value for part in parts for value in _values(name, part.strip())]
        written = [json.dumps(value) for value in axes[name]]
        if twice := sorted({one for one in written if written.count(one) > 1}):
            raise ParameterError(f"-p {text!r} gives {twice[0]} twice", "give every value once")
    if not axes:
        raise UsageError("no parameter is swept", "give at least one, such as -p seed=0:10")
    return axes


def _values(name: str, text: str) -> list[Any]:
    if not (found := _RANGE.fullmatch(text)):
        return [parse_assignments([f"{name}={text}"])[name]]
    start, stop, step = int(found[1]), int(found[2]), int(found[3] or 1)
    values = list(range(start, stop, step)) if step else []
    if not values:
        raise ParameterError(
            f"-p {name}={text}: the range is empty", "write start:stop or start:stop:step; stop is left out"
        )
    return values


def chapters_for(
    chapters: Mapping[str, Chapter], names: Sequence[str], only: Sequence[str] | None = None
) -> list[str]:
    """Numbers of the chapters to sweep: those asked for, else those that have every parameter in ``names``.

    Raises
    ------
    UsageError
        When there is none; the message says which chapters have which parameter.
    """
    if only:
        return select(chapters, only)
    found = [n for n, one in chapters.items() if all(name in one.parameters for name in names)]
    if found:
        return found
    having = {name: [n for n, one in chapters.items() if name in one.parameters] for name in names}
    said = "; ".join(f"{name}: {', '.join(numbers) or 'none'}" for name, numbers in having.items())
    raise UsageError(
        f"no chapter has all of {', '.join(names)} (chapters with {said})",
        "sweep parameters of one chapter, or name the chapters with --only",
    )


@dataclass(frozen=True)
class Point:
    """Values of the swept parameters, and the folder its executed copies are kept in."""

    values: Mapping[str, Any]
    folder: Path

    @property
    def assignments(self) -> tuple[str, ...]:
        """The values as the command line writes them."""
        return tuple(f"{name}={json.dumps(value)}" for name, value in self.values.items())

    @property
    def said(self) -> str:
        """The values in one line."""
        return ", ".join(f"{name} = {value}" for name, value in self.values.items())


@dataclass(frozen=True)
class _Runs(Project):
    """A project whose executed chapters go to a folder of their own."""

    place: Path = field(default=Path())

    @property
    def runs(self) -> Path:
        return self.place


# ── one point, wherever it is executed ─────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Order:
    """What a worker needs to know to execute one point; ``root`` is None for the worker's own checkout."""

    root: Path | None
    profile: str
    chapters: tuple[str, ...]
    assignments: tuple[str, ...]
    cohort: str | None
    cell_timeout: int


@dataclass(frozen=True)
class Made:
    """An executed point: its files by their path in the run's folder, and what went wrong, if anything."""

    files: Mapping[str, bytes]
    problem: str = ""


def execute_point(order: Order) -> Made:
    """Execute the chapters of one point, each after those it needs, and give back their copies and side files."""
    with tempfile.TemporaryDirectory(prefix="pdlib-sweep-") as folder:
        project = _Runs(order.root or paths.ROOT, Path(folder))
        try:
            report = runner.run(
                order.profile,
                only=order.chapters,
                assignments=order.assignments,
                cohort=order.cohort,
                cell_timeout=order.cell_timeout,
                workers=1,
                project=project,
                console=Console(file=io.StringIO()),
            )
        except WorkerError:
            raise
        except PdlibError as error:
            return Made({}, str(error))
        names = {n: chapter.path.name for n, chapter in read_chapters(project).items() if n in order.chapters}
        kept = [
            path
            for path in report.folder.rglob("*")
            if path.is_file() and _belongs(path, report.folder, names)
        ]
        files = {path.relative_to(report.folder).as_posix(): path.read_bytes() for path in kept}
        problem = "; ".join(one.problem for one in report.outcomes if one.problem)
        # the place of a failed copy is the worker's own, and gone by now
        return Made(files, problem.replace(f"{folder}/", ""))


def _belongs(path: Path, folder: Path, names: Mapping[str, str]) -> bool:
    place = path.relative_to(folder)
    return place.name in names.values() or (place.parts[0] == "pages" and place.parts[1] in names)


def _checkout(root: Path | None, numbers: tuple[str, ...]) -> dict[str, str]:
    """What of this machine and checkout a point depends on besides modules and libraries."""
    chapters = read_chapters(Project(root or paths.ROOT))
    sources = {f"notebook {n}": runner.source_hash(chapters[n])[:12] for n in numbers if n in chapters}
    threads = os.environ.get("TF_NUM_INTRAOP_THREADS") or "fixed"
    return {"processor": platform.machine(), "threads": threads, **sources}


# ── the sweep ──────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Swept:
    """A finished sweep: its folder, one row per point, and mean, sd and n over seeds for every other value."""

    folder: Path
    table: pd.DataFrame
    summary: pd.DataFrame

    @property
    def ok(self) -> bool:
        """Whether every point was executed."""
        return bool((self.table["state"] == "done").all())


def sweep(
    assignments: Sequence[str],
    *,
    only: Sequence[str] | None = None,
    profile: str = "quick",
    cohort: str | None = None,
    name: str | None = None,
    many: bool = False,
    cell_timeout: int = runner.CELL_TIMEOUT,
    workers: int | None = None,
    project: Project | None = None,
    console: Console | None = None,
) -> Swept:
    """Execute chapters at every combination of the given values, and tabulate the numbers they glue.

    Parameters
    ----------
    assignments : sequence of str
        See `read_axes`.
    only : sequence of str, optional
        Chapters; by default those that have every swept parameter.
    profile, cohort, cell_timeout
        As for `run.run`.
    name : str, optional
        Folder of the sweep; by default made of profile, chapters and parameters. Points are kept there by their
        values, so a longer range goes on with what a shorter one has left.
    many : bool
        Whether more than `MOST_POINTS` points are meant.
    workers : int, optional
        Points at a time on this machine. With ``PDLIB_DASK`` they go to that cluster.

    Raises
    ------
    UsageError, ParameterError
        Before anything is executed, for what does not exist, has the wrong type, or is too much.
    WorkerError
        When the cluster fails; points that came back are kept, and the table says which are missing.
    """
    project, console = project or Project(), console or Console()
    axes = read_axes(assignments)
    if cohort is not None and "cohort" in axes:
        raise UsageError("the cohort is given twice, as --cohort and as -p cohort", "give it once")
    chapters = read_chapters(project)
    numbers = _checked(project, chapters, profile, axes, only)
    count = 1
    for values in axes.values():
        count *= len(values)
    if count > MOST_POINTS and not many:
        raise UsageError(f"that is {count} points", "sweep less, or say --yes if it is meant")
    label = "-".join([profile, *numbers, *axes])
    label = name or (label if len(label) < 80 else hashlib.sha256(label.encode()).hexdigest()[:16])
    if not re.fullmatch(r"[\w.-]+", label) or label.startswith("."):
        raise UsageError(f"--name {label!r} is not a name of a folder", "use letters, digits, - and _")
    folder = project.build / "sweeps" / label
    points = [
        Point(values, folder / "points" / _short(values))
        for values in (dict(zip(axes, one, strict=True)) for one in itertools.product(*axes.values()))
    ]
    job = _Job(project, profile, tuple(numbers), cohort, cell_timeout, workers, console)
    where = f"the cluster at {parallel.scheduler()}" if parallel.scheduler() else "this machine"
    console.print(
        f"{count} points of chapter {', '.join(numbers)}, profile {profile}, on {where}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    rows: dict[int, dict[str, Any]] = {}
    try:
        for place, row in job.rows(points):
            rows[place] = row
            if row["state"] != "done":
                console.print(f"[red]failed[/] {escape(points[place].said)}: {escape(row['problem'])}",
                              highlight=False, soft_wrap=True)  # fmt: skip
    finally:
        table = _table(points, rows)
        summary = summarise(table, list(axes))
        for frame, file in ((table, "table.csv"), (summary, "summary.csv")):
            paths.write_text(folder / file, frame.to_csv(index=False, lineterminator="\n"))
        console.print(
            f"the table is {escape(project.shown(folder / 'table.csv'))}", highlight=False, soft_wrap=True
        )
    _show(console, table, summary, list(axes))
    return Swept(folder, table, summary)


def _checked(
    project: Project,
    chapters: Mapping[str, Chapter],
    profile: str,
    axes: Mapping[str, Sequence],
    only: Sequence[str] | None,
) -> list[str]:
    """The chapters, once every value of every parameter has been found to have its type."""
    settings = load_profile(profile, project)
    every = list(chapters)
    for name, values in axes.items():
        for value in values if name != "cohort" else ():
            resolve(chapters, settings, {name: value}, every)  # a name that no chapter has is answered here
    numbers = chapters_for(chapters, [name for name in axes if name != "cohort"], only)
    for name, values in axes.items():
        if name != "cohort":
            resolve(chapters, settings, {name: values[0]}, numbers)
    return numbers


def _short(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class _Job:
    """What all points of one sweep share."""

    project: Project
    profile: str
    chapters: tuple[str, ...]
    cohort: str | None
    cell_timeout: int
    workers: int | None
    console: Console

    def rows(self, points: Sequence[Point]) -> Iterator[tuple[int, dict[str, Any]]]:
        """A row for every point, as it is read or comes back."""
        chapters = read_chapters(self.project)
        needed = runner._with_needs(chapters, self.chapters)
        modules = sorted({"sweep", *(name for n in needed for name in runner.imports(chapters[n])[0])})
        root = None if self.project.root.resolve() == paths.ROOT else self.project.root.resolve()
        read: dict[int, dict[str, Any]] = {}
        plans: dict[int, Mapping[str, runner.Plan]] = {}

        def orders() -> Iterator[tuple[int, Order]]:
            for place, point in enumerate(points):
                info, plans[place] = self._plans(point)
                kept = point.folder / f"{self.profile}-{info.kind}"
                if all(runner._current(plans[place][n], kept) for n in self.chapters):
                    read[place] = self._row(point, plans.pop(place), kept)
                    continue
                if len(plans) == 1:
                    runner._synthetic_note(self.console, info)
                cohort = None if "cohort" in point.values else info.which
                yield (
                    place,
                    Order(root, self.profile, self.chapters, point.assignments, cohort, self.cell_timeout),
                )

        found = parallel.each(
            execute_point,
            orders(),
            modules=modules,
            name=lambda place: points[place].said,
            same=partial(_checkout, root, tuple(needed)),
            processes=self.workers or max(parallel.workers(), runner.WORKERS),
        )
        for place, made in found:
            yield place, self._kept(points[place], plans.pop(place), made)
            while read:
                yield read.popitem()
        while read:
            yield read.popitem()

    def _plans(self, point: Point) -> tuple[runner.CohortInfo, dict[str, runner.Plan]]:
        overrides = dict(point.values)
        if self.cohort is not None:
            overrides["cohort"] = self.cohort
        _, info, plans = runner.make_plans(
            self.project, self.profile, only=self.chapters, overrides=overrides
        )
        return info, plans

    def _kept(self, point: Point, plans: Mapping[str, runner.Plan], made: Made) -> dict[str, Any]:
        """Write what came back, once it is what was asked for, and read the row from it."""
        kind = next((p.cohort.kind for p in plans.values() if p.cohort), "")
        problem = made.problem
        for number in self.chapters if not problem else ():
            copy = made.files.get(plans[number].chapter.path.name, b"{}")
            record = json.loads(copy).get("metadata", {}).get("pdlib", {})
            if changed := runner.differences(record.get("parts", {}), plans[number].parts):
                problem = f"chapter {number} was executed on something else: {'; '.join(changed)}"
            kind = record.get("cohort", {}).get("kind", kind)
        folder = point.folder / f"{self.profile}-{kind}"
        for name in (
            sorted(made.files, key=lambda name: name.endswith(".ipynb")) if not problem else made.files
        ):
            if not problem or name.startswith("failed/"):
                with paths.atomic_path(folder / name) as part:
                    part.write_bytes(made.files[name])
        if problem:
            return {
                **_given(point),
                "cohort": _marked(kind),
                "state": "failed",
                "problem": problem.splitlines()[0],
            }
        return self._row(point, plans, folder)

    def _row(self, point: Point, plans: Mapping[str, runner.Plan], folder: Path) -> dict[str, Any]:
        """Parameters, glued numbers, cohort, state and seconds of a point that is there."""
        numbers: dict[str, Any] = {}
        kind, seconds = "", 0.0
        for number in self.chapters:
            record = runner.read_record(folder / plans[number].chapter.path.name)
            kind, seconds = record["cohort"]["kind"], seconds + record["seconds"]
            try:
                glued = json.loads((folder / "pages" / number / "numbers.json").read_text(encoding="utf-8"))
            except FileNotFoundError:
                glued = {}
            before = "" if len(self.chapters) == 1 else f"{number}/"
            numbers |= {
                before + key: found["value"] for key, found in glued.items() if found.get("value") is not None
            }
        return {
            **_given(point), **numbers, "cohort": _marked(kind), "state": "done", "seconds": round(seconds, 1),
        }  # fmt: skip


def _given(point: Point) -> dict[str, Any]:
    return {name: value for name, value in point.values.items() if name != "cohort"}


def _marked(kind: str) -> str:
    return SYNTHETIC if kind == "synthetic" else kind


# ── what came out ──────────────────────────────────────────────────────────────────────────────────────
_LAST = ("cohort", "state", "seconds", "problem")


def _table(points: Sequence[Point], rows: Mapping[int, Mapping[str, Any]]) -> pd.DataFrame:
    every = [rows.get(place, {**_given(point), "state": "not run"}) for place, point in enumerate(points)]
    first = [name for name in points[0].values if name != "cohort"]
    keys = dict.fromkeys(name for row in every for name in row if name not in (*first, *_LAST))
    return pd.DataFrame(every, columns=[*first, *sorted(keys), *_LAST])


def summarise(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Mean, standard deviation and number of points for every glued number, over seeds.

    Parameters
    ----------
    table : DataFrame
        One row per point: parameters, glued numbers, cohort, state, seconds, problem.
    names : sequence of str
        The swept parameters; rows that differ in ``seed`` alone are taken together.

    Returns
    -------
    DataFrame
        The other parameters, cohort, number, mean, sd (of a sample; empty for one point), n.
    """
    groups = [*(name for name in names if name not in ("seed", "cohort")), "cohort"]
    keys = [name for name in table if name not in (*names, *_LAST)]
    rows = []
    for values, part in table[table["state"] == "done"].groupby(groups, sort=False, dropna=False):
        for key in keys:
            found = part[key].dropna().astype(float)
            if len(found):
                rows.append((*values, key, found.mean(), found.std(ddof=1), len(found)))
    return pd.DataFrame(rows, columns=[*groups, "number", "mean", "sd", "n"])


def _show(console: Console, table: pd.DataFrame, summary: pd.DataFrame, names: Sequence[str]) -> None:
    states = table["state"].value_counts()
    console.print(", ".join(f"{count} {state}" for state, count in states.items()), highlight=False)
    if summary.empty:
        return
    shown = Table(title=f"{SYNTHETIC} DATA" if (summary["cohort"] == SYNTHETIC).any() else None)
    for column in summary:
        shown.add_column(str(column))
    for row in summary.head(_SHOWN).itertuples(index=False):
        shown.add_row(*(f"{value:.4g}" if isinstance(value, float) else escape(str(value)) for value in row))
    console.print(shown)
    if len(summary) > _SHOWN:
        console.print(f"and {len(summary) - _SHOWN} more rows in summary.csv", highlight=False)
