"""From executed chapters to a site: staged, built strictly and offline, looked through, then put in place."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import nbformat
import yaml
from rich.console import Console

from pdlib import __version__, api, figure_index, launch, locks, measured, paper_map, paths
from pdlib.claims import read_claims
from pdlib.errors import PrivacyError, PublishError
from pdlib.figure_index import Staged
from pdlib.params import Chapter, Project, read_chapters
from pdlib.run import FRESH, Status, is_whole, read_record, run_lock, source_hash, status
from pdlib.teaching import label_solutions

LARGEST_FILE = 2_000_000  # bytes of one committed file
LARGEST_EDITION = 25_000_000  # bytes of all of them
ABOUT = "book.json"  # in the built site: which book, version, profile and cohort it shows
_READS = "builds pages from"
ROOT_TEXTS = ("CHANGELOG.md", "CONTRIBUTING.md")  # files of the top level that pages of the book include
_CLOSED = "http://127.0.0.1:9"
# a builder whose caller was killed would go on for a minute, for nobody
_BUILDER = """
import os, sys, threading, time

def watch(caller=os.getppid()):
    while os.getppid() == caller:
        time.sleep(1)
    os._exit(1)

threading.Thread(target=watch, daemon=True).start()
from jupyter_book.cli.main import main
sys.exit(main())
"""
_SHOWN_PROBLEMS = 30


# ── what is published ──────────────────────────────────────────────────────────────────────────────────
def publish_run(project: Project, folder: Path, console: Console | None = None) -> Path:
    """Build the site from one run folder and return its index page.

    Raises
    ------
    PublishError
        Naming every page and what is wrong with it; the site that was there before stays.
    BusyError
        When another process runs these chapters, or builds pages too.
    """
    chapters = _listed_chapters(project)
    with locks.held(run_lock(folder), _READS, reading=True):
        records = check_copies(project, folder, chapters)
        for number, chapter in chapters.items():
            if records[number]["parts"]["source"] != source_hash(chapter):
                raise PublishError(
                    f"{chapter.path.name} changed after it was executed",
                    f"run it again: python -m pdlib run --profile {records[number]['profile']}",
                )
        return _publish(project, folder, chapters, records, _banner(records), console or Console())


def publish_edition(project: Project, console: Console | None = None) -> Path:
    """Build the site from ``book/edition`` without executing anything, and return its index page.

    Raises
    ------
    PublishError
        When there is no edition, or a page is not as it should be.
    """
    chapters = _edition_chapters(project)
    records = check_copies(project, project.edition, chapters)
    _refuse_unfit(chapters, records)
    return _publish(project, project.edition, chapters, records, "", console or Console())


def keep_edition(project: Project, folder: Path) -> Path:
    """Copy a run's executed chapters and side files to ``book/edition``, all of them or none.

    Raises
    ------
    PrivacyError
        When the run is not of the real cohort, or shows individual real speakers.
    PublishError
        When it is not the plain ``full`` profile, or a chapter is missing, out of date or too large.
    """
    chapters = _listed_chapters(project)
    with locks.held(run_lock(folder), _READS, reading=True), _site_lock(project, "keeps an edition from"):
        records = check_copies(project, folder, chapters)
        _refuse_unfit(chapters, records)
        for number, chapter in chapters.items():
            if records[number]["parts"]["source"] != source_hash(chapter):
                raise PublishError(
                    f"{chapter.path.name} changed after it was executed", "run `make edition` again"
                )
        return _copy_edition(project, folder, chapters)


def _copy_edition(project: Project, folder: Path, chapters: Mapping[str, Chapter]) -> Path:
    target = project.edition
    with _copying(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _tidy_up(target, ".edition-*")
        part = Path(tempfile.mkdtemp(prefix=".edition-", dir=target.parent))
        try:
            for number, chapter in chapters.items():
                shutil.copyfile(folder / chapter.path.name, part / chapter.path.name)
                if (folder / "pages" / number).is_dir():
                    shutil.copytree(folder / "pages" / number, part / "pages" / number)
            _refuse_large(part)
            part.chmod(0o755)
            _swap(part, target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return target


def check_edition(project: Project) -> list[Status]:
    """Refuse an edition that is not whole, fit to be committed, and what `make edition` would make now.

    Returns
    -------
    list of Status
        Its chapters, each up to date.

    Raises
    ------
    PrivacyError, PublishError
        When there is no edition; as `keep_edition`; or naming each chapter whose source, values, recordings, modules,
        libraries or side files are others than it was executed with, and what changed.
    """
    chapters = _edition_chapters(project)
    _refuse_unfit(chapters, check_copies(project, project.edition, chapters))
    _refuse_large(project.edition)
    rows = [row for row in status(project, "full") if row.folder == project.shown(project.edition)]
    stale = [f"{row.name} is {row.state}: {'; '.join(row.changes)}" for row in rows if row.changes]
    stale += [
        f"{row.name}: {row.state}" for row in rows if not row.changes and not row.state.startswith(FRESH)
    ]
    if stale:
        raise PublishError(
            _several(stale), "`make edition` executes what is out of date and keeps it; commit what it writes"
        )
    return rows


def _edition_chapters(project: Project) -> dict[str, Chapter]:
    if not any(project.edition.glob("*.ipynb")):
        raise PublishError(
            f"there is no edition in {project.shown(project.edition)} yet",
            "`make edition` runs the full profile on the real recordings and keeps it there; "
            "`make book` runs and builds a quick one",
        )
    return _listed_chapters(project)


def _refuse_large(folder: Path) -> None:
    sizes = {path: path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}
    for path, size in sizes.items():
        if size > LARGEST_FILE:
            raise PublishError(
                f"{path.relative_to(folder)} has {size / 1e6:.1f} MB",
                f"the edition is committed; keep every file below {LARGEST_FILE / 1e6:.0f} MB",
            )
    if sum(sizes.values()) > LARGEST_EDITION:
        raise PublishError(
            f"the edition has {sum(sizes.values()) / 1e6:.1f} MB",
            f"it is committed; keep it below {LARGEST_EDITION / 1e6:.0f} MB",
        )


def _refuse_unfit(chapters: Mapping[str, Chapter], records: Mapping[str, Mapping[str, Any]]) -> None:
    for number, chapter in chapters.items():
        record, name = records[number], chapter.path.name
        if record["cohort"]["kind"] != "real":
            raise PrivacyError(
                f"{name} was run on a cohort of the kind {record['cohort']['kind']!r}",
                "an edition is made of the public recordings only: run `python -m pdlib fetch`",
            )
        if record["parts"]["parameters"].get("individuals") == "real":
            raise PrivacyError(
                f"{name} was run with individuals = 'real' and may show single speakers",
                "an edition shows single speakers of the synthetic cohort only",
            )
        if record["profile"] != "full" or record.get("overrides"):
            raise PublishError(
                f"{name} was run with profile {record['profile']!r}, changed by {record.get('overrides')}",
                "an edition is the full profile as it stands",
            )


# ── before the build ───────────────────────────────────────────────────────────────────────────────────
def toc_files(project: Project) -> list[str]:
    """Every page that ``_toc.yml`` lists, its root first, without endings.

    Raises
    ------
    PublishError
        When the table of contents is missing or not YAML.
    """
    path = project.root / "_toc.yml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        root = content["root"]
    except (OSError, yaml.YAMLError, TypeError, KeyError) as error:
        raise PublishError(
            f"_toc.yml cannot be read: {error}", "it names its `root:` page and `parts:`"
        ) from error
    return [_without_ending(page) for page in [root, *files_of(content)]]


def _without_ending(page: str) -> str:
    return re.sub(r"\.(md|ipynb)$", "", page)


def files_of(node: Any) -> Iterable[str]:
    """Every page that a piece of ``_toc.yml`` lists, in its order and as it is written there."""
    if isinstance(node, dict):
        if isinstance(node.get("file"), str):
            yield node["file"]
        for value in node.values():
            yield from files_of(value)
    elif isinstance(node, list):
        for value in node:
            yield from files_of(value)


def _listed_chapters(project: Project) -> dict[str, Chapter]:
    """All chapters, after checking that the table of contents lists these and nothing that is not there."""
    chapters, listed = read_chapters(project), toc_files(project)
    names = {f"notebooks/{chapter.name}" for chapter in chapters.values()}
    problems = [f"{name}.ipynb is not in _toc.yml" for name in sorted(names - set(listed))]
    for page in listed:
        if page.startswith("notebooks/"):
            there = page in names
        else:
            there = (project.root / f"{page}.md").is_file()
        if not there:
            problems.append(f"_toc.yml lists {page}, which does not exist")
    problems += [
        f"_toc.yml lists {page} twice" for page in sorted({p for p in listed if listed.count(p) > 1})
    ]
    if problems:
        raise PublishError(_several(problems), "make _toc.yml and the notebooks folder agree")
    return chapters


def check_copies(
    project: Project, folder: Path, chapters: Mapping[str, Chapter]
) -> dict[str, dict[str, Any]]:
    """Refuse executed chapters that are missing, unfinished, failed, or not of one run; return their records.

    Raises
    ------
    PublishError
        Naming each chapter and cell.
    """
    problems: list[str] = []
    records: dict[str, dict[str, Any]] = {}
    for number, chapter in chapters.items():
        copy = folder / chapter.path.name
        record = read_record(copy)
        if "key" not in record:
            what = "is damaged in" if copy.is_file() else "has not been executed into"
            problems.append(f"{chapter.path.name} {what} {project.shown(folder)}")
            continue
        records[number] = record
        found = _cell_problems(copy)
        if not found and not is_whole(copy, folder / "pages" / number):
            found = [f"{copy.name}: its side files in pages/{number} are not those it was made with"]
        problems += found
    if not problems:
        seen = {_run_of(record) for record in records.values()}
        seen = {one for one in seen if one[2] or not any(o[:2] == one[:2] and o[2] for o in seen)}
        if len(seen) > 1:
            mixed = "; ".join(" ".join(filter(None, one)) for one in sorted(seen))
            problems.append(f"the chapters are of different profiles or cohorts: {mixed}")
    if problems:
        raise PublishError(_several(problems), "run the chapters again: python -m pdlib run")
    return records


def _run_of(record: Mapping[str, Any]) -> tuple[str, str, str]:
    """Profile, kind of cohort, and its hash where chapters of one run must share it.

    Each chapter makes synthetic voices from its own number and seed; some chapters read no recording.
    """
    cohort = record["cohort"]
    shared = cohort["fingerprint"] if cohort["kind"] != "synthetic" else None
    return record["profile"], cohort["kind"], (shared or "")[:12]


def _cell_problems(copy: Path) -> list[str]:
    problems = []
    try:
        notebook = nbformat.read(copy, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # nbformat and its schemas raise whatever they stumble over
        return [f"{copy.name} is not a notebook: {(str(error).splitlines() or [''])[0]}"]
    for index, cell in enumerate(notebook.cells, 1):
        if cell.cell_type != "code":
            continue
        if cell.source.strip() and cell.execution_count is None:
            problems.append(f"{copy.name}, cell {index} was not run")
        for output in cell.outputs:
            if output.output_type == "error":
                problems.append(
                    f"{copy.name}, cell {index} ended in an error: {output.ename}: {output.evalue}"
                )
    return problems


def _several(problems: list[str]) -> str:
    shown = problems[:_SHOWN_PROBLEMS]
    more = [f"… and {len(problems) - len(shown)} more"] if len(problems) > len(shown) else []
    return (
        "\n  ".join(["the pages cannot be published:", *shown, *more]) if len(problems) > 1 else problems[0]
    )


# ── staging ────────────────────────────────────────────────────────────────────────────────────────────
def _banner(records: Mapping[str, Mapping[str, Any]]) -> str:
    """What stands on top of every page that is not the edition's."""
    record = next(iter(records.values()))
    profile, kind = record["profile"], record["cohort"]["kind"]
    if kind == "synthetic":
        return (
            "<strong>SYNTHETIC DATA.</strong> Every figure and number of these pages comes from made-up "
            f"voices, not from recordings of people. Profile: {profile}."
        )
    if kind == "own":
        return f"Made from <strong>other recordings</strong> than the paper's. Profile: {profile}."
    return (
        ""
        if profile == "full"
        else f"Profile <strong>{profile}</strong>: smaller than the edition's full run."
    )


def stage(
    project: Project,
    folder: Path,
    chapters: Mapping[str, Chapter],
    records: Mapping[str, Mapping[str, Any]],
    banner: str,
) -> Path:
    """Lay configuration, pages, executed chapters and side files out as one source folder for the builder.

    Executed chapters keep their sources' relative paths, so that links made from them hold. What they show is linked
    to the cell that made it and to the notebook without outputs; the index of figures and the map of the paper are
    written from it.
    """
    target = project.build / "stage"
    with _copying(target):
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        config = yaml.safe_load((project.root / "_config.yml").read_text(encoding="utf-8"))
        config.setdefault("html", {})["announcement"] = banner
        repository = launch.read_repository(config)
        config = launch.with_buttons(config, repository)
        (target / "_config.yml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        shutil.copyfile(project.root / "_toc.yml", target / "_toc.yml")
        shutil.copytree(project.book, target / "book", ignore=_leave_out(project.edition))
        for table in sorted((project.root / "data").glob("*.csv")):
            (target / "data").mkdir(exist_ok=True)
            shutil.copyfile(table, target / "data" / table.name)
        for name in ROOT_TEXTS:
            if (project.root / name).is_file():
                shutil.copyfile(project.root / name, target / name)
        # before the docstrings are filled in, one of which names the marks of measured values
        measured.fill(target / "book", project.root / "data")
        api.fill(target / "book", toc_files(project))
        static = target / "book" / "_static"
        (target / "notebooks").mkdir()
        (static / "notebooks").mkdir(parents=True)
        more = launch.PAGE if (project.root / f"{launch.PAGE}.md").is_file() else ""
        notices = {
            number: [
                launch.how_to_run(chapter, records[number]["profile"], repository, more),
                *_notices(chapter, records[number]),
            ]
            for number, chapter in chapters.items()
        }
        staged = [
            _stage_chapter(chapter, folder, target, static, notices[number])
            for number, chapter in chapters.items()
        ]
        _fill_pages(project, target, staged)
    return target


@contextmanager
def _copying(target: Path) -> Iterator[None]:
    """As `paths.writing_errors`, for `shutil.copytree`, too: it goes on and tells at the end, in words, what failed."""
    with paths.writing_errors(target):
        try:
            yield
        except shutil.Error as error:
            number = re.search(r"\[Errno (\d+)\]", str(error))
            if not number:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def _fill_pages(project: Project, target: Path, staged: list[Staged]) -> None:
    """Write the pages that are made from what the chapters show, where the book has them."""
    ledger = project.root / "data" / "claims.csv"
    claims = read_claims(ledger) if ledger.is_file() else None
    static = target / "book" / "_static"
    shown = {chapter.number: figure_index.shown_by(chapter, static) for chapter in staged}
    for page in sorted((target / "book").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        page.write_text(figure_index.place_figures(text, shown), encoding="utf-8")
    index, paper = target / f"{figure_index.PAGE}.md", target / f"{paper_map.PAGE}.md"
    if index.is_file():
        text = figure_index.index_page(staged, shown, claims, _heading(index))
        index.write_text(text, encoding="utf-8")
    if paper.is_file():
        text = paper_map.without_ledger(_heading(paper))
        if claims is not None:
            sections = paper_map.read_sections(project.root / "data" / "sections.csv")
            text = paper_map.map_page(staged, claims, sections, _heading(paper), index.is_file())
        paper.write_text(text, encoding="utf-8")


def _heading(page: Path) -> str:
    return page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")


def _stage_chapter(chapter: Chapter, folder: Path, target: Path, static: Path, notices: list[str]) -> Staged:
    """One executed chapter with its side files and, for readers to take away, its notebook without outputs."""
    notebook, number = nbformat.read(folder / chapter.path.name, as_version=4), chapter.number
    source = static / "notebooks" / chapter.path.name
    source.write_text(nbformat.writes(figure_index.clean(notebook)) + "\n", encoding="utf-8")
    cells = figure_index.link_cells(notebook, number, chapter.name)
    label_solutions(notebook)
    for place, text in enumerate(notices):
        notebook.cells.insert(1, nbformat.v4.new_markdown_cell(text, id=f"notice-{place}"))
    (target / "notebooks" / chapter.path.name).write_text(nbformat.writes(notebook), encoding="utf-8")
    if (folder / "pages" / number).is_dir():
        shutil.copytree(folder / "pages" / number, static / "pages" / number)
        figure_index.note_cells(static / "pages" / number, number, cells)
    return Staged(number, chapter.name, chapter.title, notebook, cells)


def _leave_out(edition: Path) -> Any:
    hidden = shutil.ignore_patterns(".*")
    return lambda at, names: hidden(at, names) | ({edition.name} if Path(at) == edition.parent else set())


def _notices(chapter: Chapter, record: Mapping[str, Any]) -> list[str]:
    said = []
    if record.get("overrides"):
        values = ", ".join(f"`{name} = {value!r}`" for name, value in record["overrides"].items())
        said.append(f"Run with {values} in place of the profile's.")
    if record["parts"]["source"] != source_hash(chapter):
        said.append("Executed from an earlier version of this notebook.")
    return [":::{{warning}}\n{}\n:::".format(" ".join(said))] if said else []


# ── building ───────────────────────────────────────────────────────────────────────────────────────────
def _publish(
    project: Project,
    folder: Path,
    chapters: Mapping[str, Chapter],
    records: Mapping[str, Mapping[str, Any]],
    banner: str,
    console: Console,
) -> Path:
    console.print(f"building {len(toc_files(project))} pages", highlight=False)
    with _site_lock(project, "builds pages in"):
        return _build_site(project, folder, chapters, records, banner)


def _build_site(
    project: Project,
    folder: Path,
    chapters: Mapping[str, Chapter],
    records: Mapping[str, Mapping[str, Any]],
    banner: str,
) -> Path:
    with paths.writing_errors(project.html):
        _tidy_up(project.html, ".site-*")
        work = Path(tempfile.mkdtemp(prefix=".site-", dir=project.build))
    try:
        source = stage(project, folder, chapters, records, banner)
        site = build(source, work, project.build / "site.log")
        _offer_sources(site)
        must_say = "SYNTHETIC" if "SYNTHETIC" in banner else ""
        problems = check_site(site, toc_files(project), must_say)
        if problems:
            raise PublishError(_several(problems), "the site that was there before stays as it is")
        paths.write_text(site / ABOUT, json.dumps(_about(project, records, banner), indent=1) + "\n")
        with paths.writing_errors(project.html):
            _swap(site, project.html)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return project.html / "index.html"


def _about(project: Project, records: Mapping[str, Mapping[str, Any]], banner: str) -> dict[str, str]:
    """What a site is, for those who pack or print it."""
    record = next(iter(records.values()))
    config = yaml.safe_load((project.root / "_config.yml").read_text(encoding="utf-8"))
    return {
        "title": config.get("title", ""),
        "version": __version__,
        "profile": record["profile"],
        "cohort": record["cohort"]["kind"],
        "banner": re.sub(r"<[^>]+>", "", banner),
    }


def read_about(site: Path) -> dict[str, str]:
    """Title, version, profile, cohort and banner of a built site.

    Raises
    ------
    PublishError
        When there is no site, or one that does not say what it is.
    """
    way_out = "build it first: `make book`, or `make html` for the committed edition"
    if not (site / "index.html").is_file():
        raise PublishError(f"there is no built site in {paths.shown(site)}", way_out)
    try:
        about = json.loads((site / ABOUT).read_text(encoding="utf-8"))
        return {name: str(about[name]) for name in ("title", "version", "profile", "cohort", "banner")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PublishError(
            f"the site in {paths.shown(site)} does not say which book it is ({ABOUT}: {error})", way_out
        ) from error


def build(source: Path, work: Path, log: Path) -> Path:
    """Run Jupyter Book on a staged folder, strictly and without a network; return the folder of HTML pages.

    Raises
    ------
    PublishError
        With the builder's warnings; its whole output is kept in ``log``.
    """
    command = [sys.executable, "-c", _BUILDER, "build", str(source), "-W", "-n", "--keep-going", "--all"]
    command += ["--path-output", str(work)]
    # a builder that wants the network meets a closed port at once, here as on a machine without one
    offline = {
        name: _CLOSED for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    }
    env = {**os.environ, **offline, "NO_PROXY": "", "no_proxy": "", "NO_COLOR": "1", "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        command,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    paths.write_text(log, said)
    site = work / "_build" / "html"
    if done.returncode or not site.is_dir():
        lines = [line.replace(f"{source}/", "") for line in said.splitlines()]
        telling = [line for line in lines if re.search(r"WARNING|ERROR|Error\b|Exception", line)]
        raise PublishError(
            _several(list(dict.fromkeys(telling)) or [f"Jupyter Book left with {done.returncode}"]),
            f"its whole output is in {log.parent.name}/{log.name}; the earlier site stays as it is",
        )
    return site


def _offer_sources(site: Path) -> None:
    """Let the theme's download button give the notebook without outputs, as every other way of a page does."""
    for clean in (site / "_static" / "notebooks").glob("*.ipynb"):
        shutil.copyfile(clean, site / "_sources" / "notebooks" / clean.name)


def _site_lock(project: Project, doing: str, *, reading: bool = False) -> AbstractContextManager[None]:
    return locks.held(project.build / ".lock", doing, reading=reading)


@contextmanager
def reading_site(project: Project, doing: str) -> Iterator[None]:
    """Keep the built site as it is while the block reads it; what a killed build moved aside is put back first.

    Raises
    ------
    BusyError
        When another process builds pages.
    """
    with _site_lock(project, doing, reading=True):
        _put_back(project.html)
        yield


def _put_back(target: Path) -> None:
    """Give ``target`` back the folder that a process killed in `_swap` had moved aside."""
    kept = sorted(target.parent.glob(f".{target.name}-old-*"), key=lambda old: old.stat().st_mtime)
    if kept and not target.exists():
        with paths.writing_errors(target):
            os.replace(kept[-1], target)


def _tidy_up(target: Path, unfinished: str) -> None:
    """Remove what killed processes left beside ``target``; the caller holds the lock, so nobody works on it."""
    _put_back(target)
    for left in [*target.parent.glob(unfinished), *target.parent.glob(f".{target.name}-old-*")]:
        shutil.rmtree(left, ignore_errors=True)


def _swap(new: Path, target: Path) -> None:
    """Put folder ``new`` in the place of ``target``; should that fail, what was there is put back."""
    target.parent.mkdir(parents=True, exist_ok=True)
    old = target.with_name(f".{target.name}-old-{os.getpid()}")
    if target.exists():
        os.replace(target, old)
    try:
        os.replace(new, target)
    except OSError:
        if old.exists():
            os.replace(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)


# ── looking through the built pages ────────────────────────────────────────────────────────────────────
_LOADING_RELS = {
    "stylesheet", "preload", "prefetch", "modulepreload", "preconnect", "dns-prefetch", "icon", "manifest",
}  # fmt: skip
_LOADED = {
    "script": ("src",), "img": ("src", "srcset"), "iframe": ("src",), "embed": ("src",), "frame": ("src",),
    "source": ("src", "srcset"), "video": ("src", "poster"), "audio": ("src",), "track": ("src",),
    "object": ("data",), "input": ("src",), "image": ("href", "xlink:href"), "use": ("href", "xlink:href"),
}  # fmt: skip
_CSS_URL = re.compile(r"""(?:url\(\s*["']?|@import\s+["'])((?:https?:)?//[^"')\s]+)""", re.IGNORECASE)


@dataclass
class _Page(HTMLParser):
    """What one page names: its anchors, what it links to, loads and says, and what it plays unmarked."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    sounds: list[str] = field(default_factory=list)
    style: bool = False

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.style = tag == "style"
        self.anchors.update(given[name] for name in ("id", "name") if given.get(name))
        self.loads += _CSS_URL.findall(given.get("style", ""))
        if tag == "audio" and given.get("data-cohort") != "synthetic":
            self.sounds.append(given.get("aria-label", "a sound"))
        if tag in ("a", "area") and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and _LOADING_RELS & set(given.get("rel", "").lower().split()):
            self.loads.append(given.get("href", ""))
        for name in _LOADED.get(tag, ()):
            if given.get(name):
                self.loads += _sources(given[name]) if name == "srcset" else [given[name]]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.style = False

    def handle_endtag(self, tag: str) -> None:
        self.style = False

    def handle_data(self, data: str) -> None:
        if self.style:
            self.loads += _CSS_URL.findall(data)
        self.text.append(data)


def _sources(srcset: str) -> list[str]:
    return [part.split()[0] for part in srcset.split(",") if part.strip()]


def check_site(site: Path, pages: Iterable[str], must_say: str = "") -> list[str]:
    """Everything wrong with a built site: missing pages, external resources, links that lead nowhere.

    Parameters
    ----------
    pages : iterable of str
        Pages that must be there, relative to ``site`` and without ending.
    must_say : str
        A word that must stand on each of them.
    """
    problems: list[str] = []
    parsed: dict[Path, _Page] = {}
    for path in sorted(site.rglob("*.html")):
        parsed[path] = _Page()
        parsed[path].feed(path.read_text(encoding="utf-8", errors="replace"))
    for name in pages:
        path = site / f"{name}.html"
        if path not in parsed:
            problems.append(f"{name}.html was not built")
        elif must_say and must_say not in " ".join(parsed[path].text):
            problems.append(f"{name}.html does not say {must_say}")
    if site / "index.html" not in parsed:
        problems.append("index.html was not built")
    for path, page in parsed.items():
        name = path.relative_to(site).as_posix()
        if name.startswith("_static/"):
            continue  # fragments the theme itself does not show as pages
        problems += [
            f"{name} loads {url} from elsewhere" for url in dict.fromkeys(page.loads) if _external(url)
        ]
        problems += [
            f"{name} plays {sound}, which is not marked as a synthetic voice" for sound in page.sounds
        ]
        for url in dict.fromkeys([*page.links, *page.loads]):
            if not _external(url) and not _leads_somewhere(url, path, site, parsed):
                problems.append(f"{name} points to {url}, which is not there")
    for path in sorted(site.rglob("*.css")):
        for url in _CSS_URL.findall(path.read_text(encoding="utf-8", errors="replace")):
            problems.append(f"{path.relative_to(site).as_posix()} loads {url} from elsewhere")
    return problems


def _external(url: str) -> bool:
    return url.strip().lower().startswith(("http:", "https:", "//"))


def _leads_somewhere(url: str, page: Path, site: Path, parsed: Mapping[Path, _Page]) -> bool:
    parts = urlsplit(url.strip())
    if parts.scheme:
        return parts.scheme in ("mailto", "data", "blob", "javascript", "tel")
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page.resolve()
    if not target.is_relative_to(site.resolve()) or not target.exists():
        return False
    if not parts.fragment or target.suffix != ".html":
        return True
    found = parsed.get(site / target.relative_to(site.resolve()))
    return found is None or unquote(parts.fragment) in found.anchors
