"""Chapters in order: planned and checked, executed when out of date, kept whole with what they depend on."""

from __future__ import annotations

import ast
import hashlib
import json
import math
import os
import re
import shutil
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import nbformat
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from pdlib import locks, parallel, paths, provenance
from pdlib.errors import ChapterError, DataError, UsageError
from pdlib.params import (
    Chapter,
    Profile,
    Project,
    load_profile,
    parse_assignments,
    read_chapter,
    read_chapters,
    resolve,
    select,
)

CELL_TIMEOUT = 3 * 3600
WORKERS = min(2, os.cpu_count() or 1)  # chapters at a time; a network trains on one thread
MOST_CHAPTERS = 3  # at a time: a chapter waits for those it needs, while its folds wait for nobody
_MISSING = object()
FRESH = "up to date"  # the state of a chapter that a run would leave as it is
UNSEEN = ", as far as can be told without the recordings"
_DAMAGED = "the executed copy or its side files are damaged"


@dataclass(frozen=True)
class CohortInfo:
    """The cohort as resolved for a run: what a chapter is given for it, and what it is.

    ``folder`` is where the published recordings were found, when they were asked for by folder.
    """

    which: str
    kind: str
    source: str
    fingerprint: str
    folder: str | None = None


@dataclass(frozen=True)
class Plan:
    """One chapter of a run: its values, and the key of everything its executed copy depends on.

    ``changed`` are the values that are not the notebook's own, ``overrides`` those of the command line;
    ``cohort`` is None where the chapter reads no recording.
    """

    chapter: Chapter
    parameters: Mapping[str, Any]
    changed: Mapping[str, Any]
    overrides: Mapping[str, Any]
    cohort: CohortInfo | None
    parts: Mapping[str, Any]
    expected: float | None

    @cached_property
    def key(self) -> str:
        """Hash of ``parts``."""
        return hashlib.sha256(json.dumps(self.parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Outcome:
    """What became of one chapter, with the seconds it took and, where it did not run, why."""

    number: str
    state: Literal["done", "up to date", "failed", "left out"]
    seconds: float = 0.0
    problem: str = ""


@dataclass(frozen=True)
class Report:
    """A whole run: folder of the executed chapters, profile, cohort, one outcome per chapter, seconds it took."""

    folder: Path
    profile: str
    cohort: CohortInfo
    outcomes: tuple[Outcome, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether every chapter is there and current."""
        return all(outcome.state in ("done", "up to date") for outcome in self.outcomes)


# ── the cohort ─────────────────────────────────────────────────────────────────────────────────────────
def resolve_cohort(
    which: str, size: int | None = None, seed: int = 0, *, progress: bool = False, fetch: bool = True
) -> CohortInfo:
    """Load the cohort once, so that every chapter of a run gets the same one.

    Parameters
    ----------
    which : str
        ``auto``, ``real``, ``synthetic``, or a folder of own recordings.
    size, seed : int
        Number and seed of synthetic voices.
    progress : bool
        Show a download's progress.
    fetch : bool
        Whether ``auto`` may download; without it ``auto`` is what already lies on this machine.

    Raises
    ------
    DataError
        When the recordings are not there or not right.
    """
    from pdlib.cohort import load_cohort

    if which == "auto" and not fetch:
        from pdlib.data import find_local

        which = "real" if find_local() else "synthetic"
    own = paths.as_folder(which) if which not in ("auto", "real", "synthetic") else None
    which = str(own.resolve()) if own else which
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it is synthetic is said louder below
        cohort = load_cohort(which, size=size, seed=seed, progress=progress)
    known = cohort.kind in ("real", "synthetic")
    folder = which if cohort.kind == "real" and which not in ("auto", "real") else None
    return CohortInfo(cohort.kind if known else which, cohort.kind, cohort.source, cohort.fingerprint, folder)


# ── planning ───────────────────────────────────────────────────────────────────────────────────────────
def make_plans(
    project: Project,
    profile_name: str,
    *,
    only: Sequence[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    progress: bool = False,
    fetch: bool = True,
    known: CohortInfo | None = None,
) -> tuple[Profile, CohortInfo, dict[str, Plan]]:
    """Check everything asked for and work out, for each chapter, its values and its key.

    Parameters
    ----------
    only : sequence of str, optional
        Chapters asked for; those they need come along.
    overrides : mapping, optional
        Values of the command line. ``cohort`` goes to the whole run, whichever chapters are asked for.
    fetch : bool
        Whether the cohort may be downloaded.
    known : CohortInfo, optional
        The cohort, where it is known and shall not be looked for.

    Raises
    ------
    UsageError, ParameterError
        For an unknown profile, chapter or parameter, or a value of the wrong type.
    """
    chapters = read_chapters(project)
    profile = load_profile(profile_name, project)
    selected = _with_needs(chapters, select(chapters, only))
    overrides = dict(overrides or {})
    which = overrides.pop("cohort", None)
    if which is not None and not isinstance(which, str):
        raise UsageError(f"cohort = {which!r} is not a cohort", "give auto, real, synthetic or a folder")
    values = resolve(chapters, profile, overrides, selected)
    cohorts = {v["cohort"] for v in values.values() if "cohort" in v}
    if which is None and len(cohorts) > 1:
        raise UsageError(
            f"profile {profile_name!r} gives chapters different cohorts: {', '.join(sorted(cohorts))}",
            "a run has one cohort; set it under `all:`",
        )
    which = which or next(iter(cohorts), "auto")
    asked = [_synthetic(values[n]) for n in selected if "cohort" in values[n]] or [(None, 0)]
    infos: dict[tuple[int | None, int], CohortInfo] = {}
    for size, seed in asked:
        first = known or next(iter(infos.values()), None)
        if first and first.kind != "synthetic":
            infos[size, seed] = first  # recordings come whole, whatever is asked of synthetic voices
        elif (size, seed) not in infos:
            # what `auto` found for one chapter is what every chapter gets
            name = first.which if first else which
            infos[size, seed] = resolve_cohort(name, size, seed, progress=progress, fetch=fetch)
    run_cohort = next(iter(infos.values()))
    folder = run_folder(project, profile_name, run_cohort.kind)
    plans: dict[str, Plan] = {}
    for number in selected:
        chapter, own = chapters[number], dict(values[number])
        info = infos[_synthetic(own)] if "cohort" in own else None
        if info:
            own["cohort"] = info.which
        parts = key_parts(chapter, own, info, {n: plans[n].key for n in chapter.needs})
        defaults = {name: parameter.default for name, parameter in chapter.parameters.items()}
        plans[number] = Plan(
            chapter=chapter,
            parameters=own,
            changed={name: value for name, value in own.items() if value != defaults[name]},
            overrides={name: value for name, value in overrides.items() if name in own},
            cohort=info,
            parts=parts,
            expected=_expected(folder / chapter.path.name, profile, number),
        )
    return profile, run_cohort, plans


def _synthetic(values: Mapping[str, Any]) -> tuple[int | None, int]:
    """Number and seed of the synthetic voices a chapter with these values would make."""
    return values.get("synthetic_size"), values.get("seed", 0)


def run_folder(project: Project, profile: str, kind: str) -> Path:
    """Folder of the executed chapters of one profile on one kind of cohort."""
    return project.runs / f"{profile}-{kind}"


def _with_needs(chapters: Mapping[str, Chapter], numbers: Sequence[str]) -> list[str]:
    wanted, waiting = set(), list(numbers)
    while waiting:
        number = waiting.pop()
        if number not in wanted:
            wanted.add(number)
            waiting.extend(chapters[number].needs)
    return [number for number in chapters if number in wanted]


def _expected(copy: Path, profile: Profile, number: str) -> float | None:
    seconds = read_record(copy).get("seconds")
    if seconds is not None:
        return float(seconds)
    minutes = profile.minutes.get(number)
    return None if minutes is None else 60.0 * minutes


def key_parts(
    chapter: Chapter, parameters: Mapping[str, Any], cohort: CohortInfo | None, needs: Mapping[str, str]
) -> dict[str, Any]:
    """Everything an executed chapter depends on, by name, ready for JSON."""
    ours, others = imports(chapter)
    return {
        "source": source_hash(chapter),
        "parameters": dict(parameters),
        "cohort": cohort.fingerprint if cohort else None,
        "modules": provenance.code_parts(*ours),
        "libraries": {**_direct_versions(others), **provenance.versions(*ours)},
        "needs": dict(needs),
        "files": data_files(chapter),
    }


def data_files(chapter: Chapter) -> dict[str, str]:
    """Hashes of the book's own tables (``data/*.csv``) that a notebook's cells name."""
    named = {match for cell in chapter.code for match in re.findall(r"[\w-]+\.csv", cell)}
    folder = chapter.path.parent.parent / "data"
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in sorted(named)
        if (folder / name).is_file()
    }


def source_hash(chapter: Chapter) -> str:
    """Hash of a notebook's text and code cells."""
    return hashlib.sha256(chapter.source.encode()).hexdigest()


def imports(chapter: Chapter) -> tuple[list[str], list[str]]:
    """The pdlib modules and the other packages that a notebook's cells import, sorted."""
    ours: set[str] = set()
    others: set[str] = set()
    for cell in chapter.code:
        plain = "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in cell.splitlines())
        try:
            ast.parse(plain)
        except SyntaxError:
            continue  # the kernel will say so; such a chapter never becomes an executed copy
        found = provenance.imported_modules(plain)
        ours |= found[0]
        others |= found[1]
    return sorted(ours), sorted(others)


def _direct_versions(packages: Sequence[str]) -> dict[str, str]:
    return {
        name.lower(): version(name) for package in packages for name in provenance.distributions_of(package)
    }


# ── executed copies ────────────────────────────────────────────────────────────────────────────────────
def read_record(copy: Path) -> dict[str, Any]:
    """What the run wrote into an executed copy (``metadata.pdlib``); empty when the copy is not as the run wrote it.

    A record that no run writes counts as none: the chapter is then executed again.
    """
    record = dict(_whole_copy(copy).get("metadata", {}).get("pdlib", {}))
    return record if _as_written(record) else {}


_RECORD = {"key": str, "profile": str, "overrides": dict, "cohort": dict, "parts": dict, "pages": dict, "started": str}
_PARTS = {"source": str, "parameters": dict, "modules": dict, "libraries": dict, "needs": dict, "files": dict}


def _as_written(record: Mapping[str, Any]) -> bool:
    """Whether everything in a record is of its type, and all is there that readers of a whole one rely on."""
    seconds, parts, cohort = record.get("seconds", 0), record.get("parts", {}), record.get("cohort", {})
    if not all(isinstance(record[name], kind) for name, kind in _RECORD.items() if name in record):
        return False
    if not all(isinstance(parts[name], kind) for name, kind in _PARTS.items() if name in parts):
        return False
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e9:
        return False
    try:
        json.dumps(record, ensure_ascii=False).encode("utf-8")  # no text that cannot be shown
        aware = "started" not in record or datetime.fromisoformat(record["started"]).tzinfo is not None
    except ValueError:
        return False
    if not aware or "key" not in record:
        return aware
    known = isinstance(cohort.get("kind"), str) and isinstance(cohort.get("fingerprint", ""), str | None)
    return known and "profile" in record and {"source", "parameters"} <= parts.keys()


def _whole_copy(copy: Path) -> dict[str, Any]:
    """An executed copy as plain JSON; empty when it is missing or anything in it changed since it was written."""
    try:
        notebook = json.loads(copy.read_text(encoding="utf-8"))
        whole = notebook["metadata"]["pdlib"]["content"] == content_of(notebook)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return notebook if whole else {}


def content_of(notebook: Mapping[str, Any]) -> str:
    """Hash of all that an executed copy holds, but for this hash; a wrong digit on a page would show nowhere else."""
    own = {name: value for name, value in notebook["metadata"]["pdlib"].items() if name != "content"}
    plain = {**notebook, "metadata": {**notebook["metadata"], "pdlib": own}}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def sealed(notebook: Any) -> str:
    """Text of an executed copy, with the hash of its content in its record."""
    notebook.metadata["pdlib"]["content"] = content_of(json.loads(nbformat.writes(notebook)))
    return nbformat.writes(notebook) + "\n"


def is_whole(copy: Path, pages: Path) -> bool:
    """Whether an executed copy ended well and is, with its side files, to the last byte what the run wrote."""
    record, notebook = read_record(copy), _whole_copy(copy)
    try:
        nbformat.validate(nbformat.from_dict(notebook))
    except Exception:  # nbformat and its schemas raise whatever they stumble over
        return False
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    if "key" not in record or any(output["output_type"] == "error" for output in outputs):
        return False
    return side_files(pages) == dict(record.get("pages", {}))


def side_files(folder: Path) -> dict[str, str]:
    """Hash of every file below ``folder``, by its path in it."""
    found = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What makes two keys differ, one plain phrase each; empty when nothing does."""
    said = []
    if old.get("source") != new.get("source"):
        said.append("the notebook's source")
    if old.get("cohort") != new.get("cohort"):
        said.append("the data")
    for part, word in (("parameters", "parameter"), ("modules", "module"), ("libraries", "library")):
        before, after = old.get(part) or {}, new.get(part) or {}
        for name in sorted({*before, *after}):
            was, now = before.get(name, _MISSING), after.get(name, _MISSING)
            if was == now:
                continue
            label = f"{word} {'pdlib.' if part == 'modules' else ''}{name}"
            if was is _MISSING or now is _MISSING:
                said.append(f"{label} {'is new' if was is _MISSING else 'is gone'}")
            else:
                said.append(label if part == "modules" else f"{label} from {was!r} to {now!r}")
    before, after = old.get("files") or {}, new.get("files") or {}
    said += [f"data/{n}" for n in sorted({*before, *after}) if before.get(n) != after.get(n)]
    before, after = old.get("needs") or {}, new.get("needs") or {}
    said += [
        f"chapter {n}, which it needs" for n in sorted({*before, *after}) if before.get(n) != after.get(n)
    ]
    return said


# ── running ────────────────────────────────────────────────────────────────────────────────────────────
def run(
    profile: str = "quick",
    *,
    only: Sequence[str] | None = None,
    assignments: Sequence[str] = (),
    cohort: str | None = None,
    force: bool = False,
    cell_timeout: int = CELL_TIMEOUT,
    workers: int | None = None,
    project: Project | None = None,
    console: Console | None = None,
) -> Report:
    """Bring the chapters of a profile up to date, each after those it needs.

    Parameters
    ----------
    profile : str
        A file of ``notebooks/profiles`` without its ending.
    only : sequence of str, optional
        Chapters by number or name; those they need come along.
    assignments : sequence of str
        ``name=value`` texts that win over the profile.
    cohort : str, optional
        ``auto``, ``real``, ``synthetic`` or a folder; wins over the profile.
    force : bool
        Execute the chapters even where they are up to date.
    cell_timeout : int
        Seconds one cell may take.
    workers : int, optional
        Processes in all, see `shares`; `WORKERS` chapters at a time where nothing is said. What they give does not
        depend on it: each chapter has a kernel of its own, and folds come out the same wherever they are computed.

    Returns
    -------
    Report
        With one outcome per chapter; a failed chapter leaves out only those that need it.

    Raises
    ------
    UsageError
        Before any kernel starts, for anything asked for that does not exist or has the wrong type.
    BusyError
        When another process runs the chapters of this profile and cohort, or builds pages from them.
    WriteError
        When the folder of executed chapters cannot be written.
    KeyboardInterrupt
        After the kernel was stopped; chapters that ended are kept.
    """
    project = project or Project()
    console = console or Console()
    overrides = parse_assignments(assignments)
    if cohort is not None:
        if "cohort" in overrides:
            raise UsageError("the cohort is given twice, as --cohort and as -p cohort", "give it once")
        overrides["cohort"] = cohort
    _, info, plans = make_plans(
        project, profile, only=only, overrides=overrides, progress=console.is_terminal
    )
    folder = run_folder(project, profile, info.kind)
    asked = set(select({n: p.chapter for n, p in plans.items()}, only))
    begun = time.monotonic()
    with _work_folder(project, folder, profile) as work:
        current = {n for n, p in plans.items() if not (force and n in asked) and _current(p, folder)}
        at_a_time, folds = shares(workers, len(plans) - len(current)) if workers else (WORKERS, None)
        _announce(console, profile, info, plans, current, at_a_time)
        with _Board(console, plans, current) as board:
            job = _Job(project, folder, work, profile, info, cell_timeout, folds, board, threading.Event())
            try:
                outcomes = _in_turn(job, plans, current, at_a_time)
            except KeyboardInterrupt:
                board.interrupted()
                raise
    ended = tuple(outcomes[number] for number in plans)
    report = Report(folder, profile, info, ended, time.monotonic() - begun)
    _summary(console, report, project)
    return report


def shares(workers: int, chapters: int) -> tuple[int, int]:
    """How many chapters run at a time, and how many processes each has for its folds.

    Parameters
    ----------
    workers : int
        Processes in all: up to three are a chapter each, of more most go to the folds (4 are 2 × 2, 8 are 2 × 4).
    chapters : int
        How many have to run; what too few leave over goes to the folds.
    """
    at_a_time = workers if workers <= MOST_CHAPTERS else min(MOST_CHAPTERS, math.isqrt(workers))
    at_a_time = max(1, min(at_a_time, chapters))
    return at_a_time, workers // at_a_time


@dataclass(frozen=True)
class _Job:
    """What all chapters of one run share; ``stop`` is set when the run is given up.

    ``folds`` is the number of processes of a chapter, None for what the environment says.
    """

    project: Project
    folder: Path
    work: Path
    profile: str
    info: CohortInfo
    cell_timeout: int
    folds: int | None
    board: _Board
    stop: threading.Event


def _in_turn(job: _Job, plans: Mapping[str, Plan], current: set[str], workers: int) -> dict[str, Outcome]:
    """Run every chapter once those it needs have ended; of several at a time, what most waits for goes first.

    Whatever is raised here, Ctrl-C included, ends all kernels.
    """
    left = _time_left(plans)
    waiting = sorted(plans, key=lambda number: -left[number]) if workers > 1 else list(plans)
    outcomes: dict[str, Outcome] = {}
    running: dict[Future[Outcome], str] = {}
    with ThreadPoolExecutor(workers) as pool:
        try:
            while waiting or running:
                ready = [n for n in waiting if all(need in outcomes for need in plans[n].chapter.needs)]
                for number in ready[: workers - len(running)]:
                    waiting.remove(number)
                    running[pool.submit(_one, job, plans[number], number in current, dict(outcomes))] = number
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    number = running.pop(future)
                    outcomes[number] = future.result()
                    job.board.after(plans[number], outcomes[number])
        except BaseException:
            from pdlib.execute import stop_kernels

            job.stop.set()
            stop_kernels()
            raise
    return outcomes


def _time_left(plans: Mapping[str, Plan]) -> dict[str, float]:
    """Seconds from the start of each chapter to the end of the last that waits for it, as far as is known."""
    left: dict[str, float] = {}
    for number in reversed(plans):  # a chapter stands behind those it needs
        behind = [left[n] for n, plan in plans.items() if number in plan.chapter.needs]
        left[number] = (plans[number].expected or 0.0) + max(behind, default=0.0)
    return left


def _current(plan: Plan, folder: Path) -> bool:
    copy = folder / plan.chapter.path.name
    if read_record(copy).get("key") != plan.key:
        return False
    return is_whole(copy, folder / "pages" / plan.chapter.number)


def _one(job: _Job, plan: Plan, is_current: bool, earlier: Mapping[str, Outcome]) -> Outcome:
    number = plan.chapter.number
    if is_current:
        return Outcome(number, "up to date")
    missing = [n for n in plan.chapter.needs if earlier[n].state not in ("done", "up to date")]
    if missing:
        return Outcome(number, "left out", problem=f"needs chapter {', '.join(missing)}, which did not run")
    started = time.monotonic()
    try:
        job.board.before(plan)
        _execute(job, plan)
    except ChapterError as error:
        return Outcome(number, "failed", time.monotonic() - started, str(error))
    return Outcome(number, "done", time.monotonic() - started)


def _execute(job: _Job, plan: Plan) -> None:
    # imported here, for papermill takes a second that `status` and `--help` need not wait
    from pdlib.execute import execute, kernel_environment

    chapter = plan.chapter
    part, pages = job.work / chapter.path.name, job.work / "pages" / chapter.number
    with paths.writing_errors(pages):
        shutil.rmtree(pages, ignore_errors=True)
        pages.mkdir(parents=True)
    env = kernel_environment(pages, job.project.root, job.project.build)
    env.update(parallel.kernel_environment(job.folds))
    env["PDLIB_RUN_DIR"] = str(job.folder)  # the audit reads what the other chapters of this run found
    if job.info.folder:
        env["PDLIB_DATA"] = (
            job.info.folder
        )  # the chapter asks for the real cohort and finds it where the run did
    started, begun = datetime.now().astimezone(), time.monotonic()

    def on_cell(index: int) -> None:
        if job.stop.is_set():  # its kernel was starting when the others were ended
            raise ChapterError(f"{chapter.path.name} was stopped")
        job.board.cell(chapter.number, index)

    try:
        notebook = execute(
            chapter.path,
            part,
            plan.changed,
            env=env,
            folder=job.project.root,
            cell_timeout=job.cell_timeout,
            on_cell=on_cell,
        )
    except ChapterError as error:
        if job.stop.is_set():
            raise
        saved = job.folder / "failed" / chapter.path.name
        raise _with_saved_copy(error, part, saved, plan, job.project) from error
    # its key was made when the run began; what was edited since must not be kept under it
    now = key_parts(read_chapter(chapter.path), plan.parameters, plan.cohort, plan.parts["needs"])
    if changed := differences(plan.parts, now):
        raise ChapterError(
            f"{chapter.path.name} ran, but this changed while the run was under way: {'; '.join(changed)}",
            "run the same command again; stored results are kept",
        )
    notebook.metadata["pdlib"] = {
        **notebook.metadata.get("pdlib", {}),
        "key": plan.key,
        "parts": plan.parts,
        "profile": job.profile,
        "overrides": dict(plan.overrides),
        "cohort": {
            "kind": job.info.kind,
            "source": (plan.cohort or job.info).source,
            "fingerprint": plan.cohort.fingerprint if plan.cohort else None,
        },
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - begun, 1),
        "pages": side_files(pages),
    }
    _keep(notebook, pages, job.folder, chapter)


def _with_saved_copy(
    error: ChapterError, part: Path, saved: Path, plan: Plan, project: Project
) -> ChapterError:
    values = ", ".join(f"{name} = {value!r}" for name, value in plan.parameters.items()) or "none"
    problem = f"{error.problem}\n  parameters: {values}"
    if not part.is_file():
        return ChapterError(problem, error.way_out)
    with paths.writing_errors(saved):
        saved.parent.mkdir(parents=True, exist_ok=True)
        os.replace(part, saved)
    way_out = f"the notebook up to there is {project.shown(saved)}"
    return ChapterError(problem, f"{error.way_out}; {way_out}" if error.way_out else way_out)


def _keep(notebook: Any, pages: Path, folder: Path, chapter: Chapter) -> None:
    """Put side files and copy in place; the copy names their hashes, so only together are they valid.

    Everything is on the disk before anything that was there moves: what can run out of space is over by then.
    """
    text = sealed(notebook)
    copy, target = folder / chapter.path.name, folder / "pages" / chapter.number
    with paths.atomic_path(copy) as part:
        part.write_text(text, encoding="utf-8", newline="\n")
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            os.replace(target, pages.with_name(f"{chapter.number}-before"))
        os.replace(pages, target)
    (folder / "failed" / chapter.path.name).unlink(missing_ok=True)


def run_lock(folder: Path) -> Path:
    """The lock of one run folder: who writes there holds it alone, who builds pages from it shares it."""
    return folder / ".lock"


@contextmanager
def _work_folder(project: Project, folder: Path, profile: str) -> Iterator[Path]:
    """A folder of this process for unfinished work, no other run beside it; what killed ones left is removed."""
    work = folder / f".work-{os.getpid()}"
    with locks.held(run_lock(folder), f"runs the chapters of profile {profile} in"):
        with paths.writing_errors(folder):
            for left in folder.glob(".work-*"):  # of the dead, for this process alone holds the lock
                shutil.rmtree(left, ignore_errors=True)
            work.mkdir()
        places = (folder, paths.results_dir(), project.root / "data")
        for place in places:
            paths.remove_parts(place)
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
            for place in places:  # a kernel that was ended with its run may have been writing
                paths.remove_parts(place)


# ── what the reader sees ───────────────────────────────────────────────────────────────────────────────
def clock(seconds: float | None) -> str:
    """Seconds as ``m:ss`` or ``h:mm:ss``; ``?`` when not known."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _synthetic_note(console: Console, info: CohortInfo) -> None:
    if info.kind == "synthetic":
        text = "No recording of a person is used. Every figure and number is of made-up voices."
        console.print(Panel(f"{text}\n{escape(info.source)}", title="SYNTHETIC DATA", style="bold yellow"))


def _announce(
    console: Console,
    profile: str,
    info: CohortInfo,
    plans: Mapping[str, Plan],
    current: set[str],
    workers: int,
) -> None:
    _synthetic_note(console, info)
    waiting = {number: plan for number, plan in plans.items() if number not in current}
    known = [plan.expected for plan in waiting.values() if plan.expected is not None]
    # no run is shorter than its longest way through the chapters, nor than its work shared among the workers
    longest = max(_time_left(waiting).values(), default=0.0)
    expected = clock(max(longest, sum(known) / workers) if known else None)
    expected += "" if len(known) in (0, len(waiting)) else " or more"
    what = f"{len(waiting)} to run, expected {expected}" if waiting else "all up to date"
    console.print(
        f"profile {profile} · {escape(info.source)} · {len(plans)} chapters, {what}", highlight=False
    )


class _Board:
    """Progress: a live line on a terminal, one plain line per chapter anywhere."""

    def __init__(self, console: Console, plans: Mapping[str, Plan], current: set[str]) -> None:
        self.console = console
        self.waiting = [number for number in plans if number not in current]
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            TextColumn("of {task.fields[expected]}"),
        )
        self.live = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.tasks: dict[str, Any] = {}

    def __enter__(self) -> _Board:
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def _place(self, number: str) -> str:
        return f"\\[{self.waiting.index(number) + 1}/{len(self.waiting)}]" if number in self.waiting else ""

    def before(self, plan: Plan) -> None:
        chapter = plan.chapter
        label = f"{self._place(chapter.number)} {chapter.name}"
        cells = nbformat.read(chapter.path, as_version=4).cells
        self.tasks[chapter.number] = self.live.add_task(
            label, total=len(cells) + bool(plan.changed), expected=clock(plan.expected)
        )
        if not self.console.is_terminal:
            self._line(f"{label} … expected {clock(plan.expected)}")

    def cell(self, number: str, index: int) -> None:
        self.live.update(self.tasks[number], completed=index)

    def after(self, plan: Plan, outcome: Outcome) -> None:
        if plan.chapter.number in self.tasks:
            self.live.remove_task(self.tasks.pop(plan.chapter.number))
        name, place = plan.chapter.name, self._place(plan.chapter.number)
        if outcome.state == "done":
            self._line(f"{place} {name} [green]done[/] in {clock(outcome.seconds)}")
        elif outcome.state == "failed":
            self._line(
                f"{place} {name} [red]failed[/] after {clock(outcome.seconds)}\n{escape(outcome.problem)}"
            )
        elif outcome.state == "left out":
            self._line(f"{place} {name} [yellow]left out[/]: {escape(outcome.problem)}")

    def interrupted(self) -> None:
        at = f"in chapter {' and '.join(sorted(self.tasks))}; " if self.tasks else ""
        self._line(
            f"[yellow]stopped[/] {at}no kernel is left running. Chapters that ended are kept, "
            "and so are the folds a chapter had stored: the same command goes on from there."
        )

    def _line(self, text: str) -> None:
        self.console.print(text.strip(), highlight=False, soft_wrap=True)


def _summary(console: Console, report: Report, project: Project) -> None:
    states = [outcome.state for outcome in report.outcomes]
    counts = ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states))
    console.print(
        f"{counts} · {clock(report.seconds)} · {escape(project.shown(report.folder))}",
        highlight=False,
        soft_wrap=True,
    )
    _synthetic_note(console, report.cohort)


# ── status and why ─────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Status:
    """One executed chapter: where it lies, when and how long it ran, on what, and what changed since.

    ``peak_mib`` is the memory its kernel held at most, in MiB; None for a copy that was made before it was noted.
    """

    folder: str
    name: str
    executed: str
    seconds: float | None
    profile: str
    cohort: str
    state: str
    changes: tuple[str, ...]
    peak_mib: float | None = None


def status(project: Project | None = None, profile: str | None = None) -> list[Status]:
    """The executed chapters of every run folder and of the edition, against what a run would make now.

    Parameters
    ----------
    profile : str, optional
        Only this profile's folders.
    """
    project = project or Project()
    folders = sorted(p for p in project.runs.glob("*-*") if p.is_dir()) if project.runs.is_dir() else []
    folders += [project.edition] if any(project.edition.glob("*.ipynb")) else []
    rows: list[Status] = []
    for folder in folders:
        records = {path.name: read_record(path) for path in sorted(folder.glob("[!.]*.ipynb"))}
        first = next((record for record in records.values() if "key" in record), {})
        name = first.get("profile") or folder.name.rpartition("-")[0]
        if not first or (profile and name != profile):
            continue
        rows += _folder_status(project, folder, name, first, records)
    return rows


def _folder_status(
    project: Project,
    folder: Path,
    profile: str,
    first: Mapping[str, Any],
    records: Mapping[str, Mapping[str, Any]],
) -> list[Status]:
    kind = first["cohort"]["kind"]
    given = [r["parts"]["parameters"].get("cohort") for r in records.values() if r.get("parts")]
    which = kind if kind in ("real", "synthetic") else next(filter(None, given), "auto")
    fresh = FRESH
    try:
        try:
            _, _, plans = make_plans(project, profile, overrides={"cohort": which}, fetch=False)
        except DataError:
            noted = next((r["cohort"] for r in records.values() if r.get("cohort", {}).get("fingerprint")), None)
            if kind != "real" or noted is None:
                raise
            # the public recordings are the same everywhere: all the rest can be compared without them
            known = CohortInfo("real", "real", noted["source"], noted["fingerprint"])
            _, _, plans = make_plans(project, profile, overrides={"cohort": which}, known=known)
            fresh += UNSEEN
        trouble = ""
    except (DataError, UsageError) as error:
        plans, trouble = {}, f"cannot tell: {error.problem}"
    rows = []
    by_file = {plan.chapter.path.name: plan for plan in plans.values()}
    for file in sorted({*records, *by_file}):
        record, plan = records.get(file, {}), by_file.get(file)
        changes: list[str] = []
        if trouble:
            state = trouble
        elif plan is None:
            state = "no such chapter any more"
        elif "key" not in record:
            damaged = (folder / file).exists()
            state = "out of date" if damaged else "not executed"
            changes = [_DAMAGED] if damaged else []
        else:
            changes = differences(record["parts"], plan.parts)
            whole = is_whole(folder / file, folder / "pages" / plan.chapter.number)
            changes += [] if whole else [_DAMAGED]
            state = fresh if not changes else "out of date"
        rows.append(
            Status(
                folder=project.shown(folder),
                name=Path(file).stem,
                executed=record.get("started", ""),
                seconds=record.get("seconds"),
                profile=record.get("profile", profile),
                cohort=record.get("cohort", {}).get("kind", kind),
                state=state,
                changes=tuple(changes),
                peak_mib=record.get("peak_mib"),
            )
        )
    return rows


def why(number: str, project: Project | None = None, profile: str | None = None) -> list[Status]:
    """Status of one chapter in every folder that has it: what a run would execute it for.

    Raises
    ------
    UsageError
        When there is no such chapter.
    """
    project = project or Project()
    chapters = read_chapters(project)
    name = chapters[select(chapters, [number])[0]].name
    return [row for row in status(project, profile) if row.name == name]
