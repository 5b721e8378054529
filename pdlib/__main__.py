"""The command line: ``python -m pdlib fetch | run | book | html | edition | status | why | audit | report``."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pdlib.errors import PdlibError, UsageError
from pdlib.params import Project

if TYPE_CHECKING:
    from pdlib import claims

# modules that load papermill, pandas or Sphinx are imported by the command that needs them, so help is quick

PROJECT = Project()
INTERRUPTED = 130

app = typer.Typer(
    help="The CustNetGC analysis book: fetch the recordings, run the chapters, build the pages.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ProfileOption = Annotated[
    str, typer.Option("--profile", help="A file of notebooks/profiles: smoke, quick or full.")
]
CohortOption = Annotated[
    str | None, typer.Option("--cohort", help="auto, real, synthetic, or a folder of own recordings.")
]
OnlyOption = Annotated[
    str | None, typer.Option("--only", help="Chapters such as 05,06; those they need come along.")
]
ParameterOption = Annotated[
    list[str] | None, typer.Option("--parameter", "-p", help="name=value; may be given several times.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Run chapters even where they are up to date.")]
TimeoutOption = Annotated[int, typer.Option("--cell-timeout", min=1, help="Seconds one cell may take.")]


def _console() -> Console:
    return Console()


@app.command()
def fetch(
    source: Annotated[
        Path | None, typer.Option("--from", help="A folder that already holds the data set or its archives.")
    ] = None,
) -> None:
    """Bring the recordings to data/raw and check each one."""
    from pdlib.data import fetch as bring

    folder = bring(source=source)
    _console().print(
        f"the recordings are in {escape(PROJECT.shown(folder))}", highlight=False, soft_wrap=True
    )


@app.command()
def run(
    profile: ProfileOption = "quick",
    cohort: CohortOption = None,
    only: OnlyOption = None,
    parameter: ParameterOption = None,
    force: ForceOption = False,
    cell_timeout: TimeoutOption = 3 * 3600,
    recheck: Annotated[
        int, typer.Option("--recheck", min=0, help="Run no chapter: train N stored folds again and compare.")
    ] = 0,
    recheck_seed: Annotated[int, typer.Option("--recheck-seed", help="Draws the folds of --recheck.")] = 0,
) -> None:
    """Run the chapters that are not up to date."""
    if recheck:
        _recheck(recheck, recheck_seed)
        return
    from pdlib.run import run as run_chapters

    report = run_chapters(
        profile,
        only=_list(only),
        assignments=parameter or [],
        cohort=cohort,
        force=force,
        cell_timeout=cell_timeout,
        project=PROJECT,
        console=_console(),
    )
    if not report.ok:
        raise typer.Exit(1)


def _recheck(count: int, seed: int) -> None:
    """Train ``count`` folds of the committed predictions again; leave with 1 when one is not what is stored."""
    from pdlib import recheck as check
    from pdlib.cohort import load_cohort

    console = _console()
    predictions, settings = check.read()
    units = check.units(predictions)
    console.print(
        f"training {count} of {len(units)} stored folds again, drawn with seed {seed}", highlight=False
    )
    if others := check.left_out(predictions):
        console.print(f"not trained again: {', '.join(others)}", highlight=False, soft_wrap=True)
    result = check.recheck(
        predictions, settings, count, seed, load_cohort("real"),
        on_fold=lambda rows: console.print(rows.to_string(index=False), highlight=False, soft_wrap=True),
    )  # fmt: skip
    console.print(check.said(result), highlight=False, soft_wrap=True)
    if not check.same(result):
        raise typer.Exit(1)


@app.command()
def book(
    profile: ProfileOption = "quick",
    cohort: CohortOption = None,
    parameter: ParameterOption = None,
    force: ForceOption = False,
    cell_timeout: TimeoutOption = 3 * 3600,
) -> None:
    """Run the chapters and build the pages."""
    from pdlib.publish import publish_run
    from pdlib.run import clock
    from pdlib.run import run as run_chapters

    started, console = time.monotonic(), _console()
    report = run_chapters(
        profile,
        assignments=parameter or [],
        cohort=cohort,
        force=force,
        cell_timeout=cell_timeout,
        project=PROJECT,
        console=console,
    )
    if not report.ok:
        console.print("no pages are built, for not every chapter ran; earlier pages stay as they are")
        raise typer.Exit(1)
    index = publish_run(PROJECT, report.folder, console=console)
    _done(console, index, clock(time.monotonic() - started))


@app.command()
def html() -> None:
    """Build the pages of the edition in book/edition without running anything."""
    from pdlib.publish import publish_edition
    from pdlib.run import clock

    started, console = time.monotonic(), _console()
    index = publish_edition(PROJECT, console=console)
    _done(console, index, clock(time.monotonic() - started))


@app.command()
def edition(force: ForceOption = False, cell_timeout: TimeoutOption = 3 * 3600) -> None:
    """Run the full profile on the real recordings; keep its chapters in book/edition and its values in data."""
    from pdlib.claims import record
    from pdlib.publish import keep_edition
    from pdlib.run import run as run_chapters

    console = _console()
    report = run_chapters(
        "full", cohort="real", force=force, cell_timeout=cell_timeout, project=PROJECT, console=console
    )
    if not report.ok:
        raise typer.Exit(1)
    folder = keep_edition(PROJECT, report.folder)
    record(PROJECT, report.folder)
    console.print(
        f"the edition is in {escape(PROJECT.shown(folder))}; `make html` builds it", highlight=False
    )


@app.command()
def status(
    profile: Annotated[str | None, typer.Option("--profile", help="Only this profile.")] = None,
) -> None:
    """Per chapter: executed when, how long, on which profile and cohort, and whether it is up to date."""
    from pdlib.run import clock
    from pdlib.run import status as all_status

    console, rows = _console(), all_status(PROJECT, profile)
    if not rows:
        console.print("nothing has been executed yet; `python -m pdlib run` starts", highlight=False)
        return
    for folder in dict.fromkeys(row.folder for row in rows):
        own = [row for row in rows if row.folder == folder]
        title = f"{folder} · profile {own[0].profile} · cohort {own[0].cohort}"
        table = Table("chapter", "executed", "took", "state", title=escape(title), title_justify="left")
        for row in own:
            state = f"{row.state}: {'; '.join(row.changes)}" if row.changes else row.state
            when = row.executed[:16].replace("T", " ")
            took = clock(row.seconds) if row.seconds is not None else ""
            table.add_row(*map(escape, (row.name, when, took, state)))
        console.print(table)


@app.command()
def why(
    chapter: Annotated[str, typer.Argument(help="A chapter such as 05.")],
    profile: Annotated[str | None, typer.Option("--profile", help="Only this profile.")] = None,
) -> None:
    """Why a chapter would run again: each thing that differs from when it was executed."""
    from pdlib.run import why as explain

    console, rows = _console(), explain(chapter, PROJECT, profile)
    if not rows:
        console.print(f"chapter {escape(chapter)} has not been executed yet", highlight=False)
    for row in rows:
        console.print(
            f"{escape(row.folder)}/{row.name}: {escape(row.state)}", highlight=False, soft_wrap=True
        )
        for change in row.changes:
            console.print(f"  - {escape(change)}", highlight=False, soft_wrap=True)


@app.command()
def audit(
    claim: Annotated[str, typer.Option("--claim", help="One claim by its id, with its reason.")] = "",
    verdict: Annotated[str, typer.Option("--verdict", help="Only this verdict, such as 'differs'.")] = "",
    kind: Annotated[str, typer.Option("--kind", help="number, cell, figure, table, equation, …")] = "",
    section: Annotated[str, typer.Option("--section", help="A section of the paper, such as 5.1.")] = "",
    chapter: Annotated[str, typer.Option("--chapter", help="Only claims with evidence in it.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON, for programs.")] = False,
    record: Annotated[
        bool, typer.Option("--record", help="First write what a run measured to data/.")
    ] = False,
    profile: Annotated[str, typer.Option("--profile", help="The run to record.")] = "quick",
) -> None:
    """Every claim of the paper with its verdict, our value and its evidence; fails where one is not borne out."""
    from pdlib import claims
    from pdlib.run import run_folder

    console = _console()
    if record:
        for path in claims.record(PROJECT, run_folder(PROJECT, profile, "real")):
            Console(stderr=True).print(f"wrote {escape(PROJECT.shown(path))}", highlight=False)
    done = claims.audit(PROJECT)
    rows = claims.chosen(
        done.claims, name=claim, verdict=verdict, kind=kind, section=section, chapter=chapter
    )
    if as_json:
        found = {"counts": done.counts, "compared": done.compared, "problems": list(done.problems)}
        sys.stdout.write(json.dumps(found | {"claims": done.rows(rows)}, indent=1, ensure_ascii=False) + "\n")
    else:
        _show_audit(console, done, rows, whole=bool(claim))
    if done.problems:
        raise typer.Exit(1)


def _show_audit(console: Console, done: claims.Audit, rows: Sequence[claims.Claim], whole: bool) -> None:
    table = Table("claim", "page", "printed", "ours", "verdict", "evidence")
    for one in rows:
        own = done.values.get(one.id)
        printed = one.printed + (f" {one.unit}" if one.unit not in ("", "1") else "")
        evidence = f"{one.chapter} {one.key}"
        table.add_row(
            *map(
                escape, (one.id, one.page, printed, own.said(one.unit) if own else "", one.verdict, evidence)
            )
        )
    console.print(table)
    for one in rows if whole else ():
        console.print(escape(one.note), soft_wrap=True, highlight=False)
        page = f"notebooks/{done.evidence(one)}"
        console.print(f"evidence: {escape(page)}", soft_wrap=True, highlight=False)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in done.counts.items())
    console.print(f"{len(done.claims)} claims: {counts}", highlight=False, soft_wrap=True)
    console.print(f"compared with {escape(done.compared)}", highlight=False, soft_wrap=True)
    for problem in done.problems:
        console.print(f"[red]problem:[/] {escape(problem)}", highlight=False, soft_wrap=True)


@app.command()
def report(
    wav: Annotated[
        str,
        typer.Argument(
            metavar="WAV", help="A sound file (wav, flac, mp3 …), or a recording of the cohort such as PD-01."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the page; else _build/reports.")
    ] = None,
    age: Annotated[
        float | None, typer.Option("--age", help="Of the speaker in years: asks the age models, too.")
    ] = None,
    sex: Annotated[str | None, typer.Option("--sex", help="Of the speaker, F or M.")] = None,
    profile: ProfileOption = "quick",
    cohort: Annotated[
        str | None,
        typer.Option(
            "--cohort", help="real (the default), synthetic to try it out, or a folder of recordings."
        ),
    ] = None,
    train: Annotated[
        bool, typer.Option("--train", help="Train networks that are not in the store; takes long.")
    ] = False,
) -> None:
    """One recording as a page: is it fit, its markers, what every model says of it and what that is worth."""
    # hundreds of tiny regressions: several threads for each would only wait for one another
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    started, console = time.monotonic(), _console()
    folder = report_folder(out)

    def say(text: str) -> None:
        console.print(escape(text), style="dim", highlight=False, soft_wrap=True)

    from pdlib import report as one_report
    from pdlib import report_page
    from pdlib.run import clock

    made = one_report.make(
        wav, profile=profile, cohort=cohort, age=age, sex=sex, train=train, project=PROJECT, say=say
    )
    page = report_page.write(made, folder, Path(made.file or made.name).stem)
    if made.synthetic:
        console.print(
            "[bold red]SYNTHETIC DATA:[/] the models learned from artificial voices", highlight=False
        )
    for reason in made.refused:
        console.print(f"[yellow]refused:[/] {escape(reason)}", highlight=False, soft_wrap=True)
    for check in () if made.refused else made.quality.flagged:
        console.print(f"look out: {escape(check.said)}", highlight=False, soft_wrap=True)
    _done(console, page, clock(time.monotonic() - started))
    if made.refused:
        raise typer.Exit(1)


def report_folder(out: Path | None) -> Path:
    """Where a report's page goes; a name that is meant for a file is refused before any work."""
    if out is None:
        return PROJECT.build / "reports"
    if out.is_file() or out.suffix.lower() in (".html", ".htm"):
        raise UsageError(f"-o {out} names a file", "give a folder; the page is called NAME-report.html in it")
    return out


def _list(text: str | None) -> list[str] | None:
    return [part.strip() for part in text.split(",") if part.strip()] if text else None


def _done(console: Console, index: Path, took: str) -> None:
    console.print(f"done in {took} · open {escape(str(index))}", highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; leave with 0 when done, 1 for a failure, 2 for wrong use, 130 after Ctrl-C."""
    try:
        app(list(arguments) if arguments is not None else None)
    except PdlibError as error:
        Console(stderr=True).print(f"[red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except SystemExit as left:
        if left.code == INTERRUPTED:
            Console(stderr=True).print("interrupted; the same command goes on from there")
        raise


if __name__ == "__main__":
    main()
