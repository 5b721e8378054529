"""The command line: ``python -m pdlib`` and its commands."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from pdlib import paths
from pdlib.errors import PdlibError, UsageError
from pdlib.params import Project

# modules that load papermill, pandas or Sphinx are imported by the command that needs them, so help is quick

PROJECT = Project()
INTERRUPTED = 130
_ENDINGS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]

# \b on a line of its own keeps the lines of the paragraph below it as they are
NOTES = """
\b
Start here:
  python -m pdlib status                      what has been executed, and whether it is up to date
  python -m pdlib run --profile smoke         every chapter on made-up voices, in minutes
  python -m pdlib run --only 05 -p seed=7     one chapter with a value of your own
  python -m pdlib check FOLDER                would the chapters run on my own recordings?

\b
It leaves with 0 when all is done, 1 when a chapter or a check failed, 2 for wrong use, 130 after Ctrl-C, 143 when it
was asked to end (SIGTERM). Two runs of one profile do not go together: the second says which process is at work.
Finished chapters and folds are kept: the same command goes on where it stopped.

\b
Environment variables, all optional:
  PDLIB_DATA        folder with HC_AH/, PD_AH/ and Demographics_age_sex.xlsx
  PDLIB_WEIGHTS     folder of pretrained weights (.weights.h5)
  PDLIB_RUNS        where executed chapters go, in place of _build/run
  PDLIB_RESULTS     where trained networks and other results are kept, in place of _build/results
  PDLIB_REPOSITORY  address of the public repository, for Binder and Colab buttons on the pages
  PDLIB_DASK        address of a Dask scheduler whose workers compute folds and sweeps, such as tcp://host:8786
  PDLIB_DASK_WAIT   seconds to wait for its first worker; default 120
  PDLIB_WORKERS     processes for the folds of one chapter; --workers wins
"""


def _examples(*lines: str) -> str:
    return "\b\nExamples:\n" + "\n".join(f"  python -m pdlib {line}" for line in lines)


app = typer.Typer(
    help="The CustNetGC analysis book: fetch the recordings, run the chapters, build the pages.",
    epilog=NOTES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"max_content_width": 110},
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
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Processes in all, for chapters and, of more than 3, for their folds; default 2, or 1 on one core.",
    ),
]


def _console() -> Console:
    return Console()


@app.command(
    epilog=_examples(
        "fetch",
        "fetch --from ~/Downloads",
    )
)
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


@app.command(
    epilog=_examples(
        "check ~/my_voices",
        "check ~/my_voices --profile smoke",
    )
)
def check(
    folder: Annotated[Path, typer.Argument(help="Two folders of recordings, HC… and PD…, and speakers.csv.")],
    profile: ProfileOption = "quick",
) -> None:
    """Would the chapters run on my own recordings?

    Lists everything that is missing or doubtful at once, and what each chapter would do; leaves with 0 when every
    chapter would run. Where there is a speakers.csv, writes the workbook that the chapters read. See
    book/own_recordings.md for how to lay the recordings out.
    """
    from pdlib.listing import show_check
    from pdlib.own_recordings import check as look_through

    found = look_through(folder, PROJECT, profile)
    show_check(_console(), found)
    if not found.ok:
        raise typer.Exit(1)


@app.command(
    epilog=_examples(
        "run",
        "run --profile smoke --cohort synthetic",
        "run --only 10 -p repeats=3 -p epochs=20",
        "run --cohort ~/my_voices",
        "run --recheck 3",
    )
)
def run(
    profile: ProfileOption = "quick",
    cohort: CohortOption = None,
    only: OnlyOption = None,
    parameter: ParameterOption = None,
    force: ForceOption = False,
    cell_timeout: TimeoutOption = 3 * 3600,
    workers: WorkersOption = None,
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

    _speakers(cohort, parameter)
    report = run_chapters(
        profile,
        only=_list(only),
        assignments=parameter or [],
        cohort=cohort,
        force=force,
        cell_timeout=cell_timeout,
        workers=workers,
        project=PROJECT,
        console=_console(),
    )
    if not report.ok:
        raise typer.Exit(1)


@app.command(
    epilog=_examples(
        "sweep -p seed=0:100 -p input_size=96,122",
        "sweep --only 10 -p seed=0:5 -p epochs=10,20 --workers 4",
        "sweep --only 16 --profile smoke -p seed=0:20:2",
    )
)
def sweep(
    parameter: ParameterOption = None,
    only: Annotated[
        str | None,
        typer.Option("--only", help="Chapters such as 10; without it all that have every swept parameter."),
    ] = None,
    profile: ProfileOption = "quick",
    cohort: CohortOption = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="Folder below _build/sweeps; made of what is swept if not given."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="More than 10 000 points are meant.")] = False,
    cell_timeout: TimeoutOption = 3 * 3600,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Points at a time; default 2, or 1 on one core.")
    ] = None,
) -> None:
    """Run chapters at many values, into one table.

    A value is a number, a list (96,122) or a range (0:100, 0:100:5; the end is left out); every combination is a
    point. Points that are there are read; failed ones are tried again. With PDLIB_DASK set they run on that cluster.
    Writes table.csv and summary.csv; leaves with 1 when a point failed.
    """
    from pdlib.sweep import sweep as run_points

    _speakers(cohort, parameter)
    done = run_points(
        parameter or [],
        only=_list(only),
        profile=profile,
        cohort=cohort,
        name=name,
        many=yes,
        cell_timeout=cell_timeout,
        workers=workers,
        project=PROJECT,
        console=_console(),
    )
    if not done.ok:
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


@app.command(
    epilog=_examples(
        "book",
        "book --profile full",
        "book --cohort ~/my_voices",
    )
)
def book(
    profile: ProfileOption = "quick",
    cohort: CohortOption = None,
    parameter: ParameterOption = None,
    force: ForceOption = False,
    cell_timeout: TimeoutOption = 3 * 3600,
    workers: WorkersOption = None,
) -> None:
    """Run the chapters and build the pages."""
    from pdlib.publish import publish_run
    from pdlib.run import clock
    from pdlib.run import run as run_chapters

    started, console = time.monotonic(), _console()
    _speakers(cohort, parameter)
    report = run_chapters(
        profile,
        assignments=parameter or [],
        cohort=cohort,
        force=force,
        cell_timeout=cell_timeout,
        workers=workers,
        project=PROJECT,
        console=console,
    )
    if not report.ok:
        console.print("no pages are built, for not every chapter ran; earlier pages stay as they are")
        raise typer.Exit(1)
    index = publish_run(PROJECT, report.folder, console=console)
    _done(console, index, clock(time.monotonic() - started))


@app.command(
    epilog=_examples(
        "html",
    )
)
def html() -> None:
    """Build the pages of the edition.

    Nothing is executed: the chapters are those of book/edition.
    """
    from pdlib.publish import publish_edition
    from pdlib.run import clock

    started, console = time.monotonic(), _console()
    index = publish_edition(PROJECT, console=console)
    _done(console, index, clock(time.monotonic() - started))


@app.command(
    epilog=_examples(
        "archive",
        "archive -o ~/Downloads",
    )
)
def archive(
    folder: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the zip; by default _build.")
    ] = None,
) -> None:
    """Pack the built pages as a zip with a checksum.

    They open from the disk, without a network.
    """
    from pdlib.archive import archive as pack

    _written(pack(PROJECT, folder))


@app.command(
    epilog=_examples(
        "pdf",
        "pdf -o ~/book.pdf",
    )
)
def pdf(
    file: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file; by default in _build, named by the run.")
    ] = None,
) -> None:
    """Print the built pages as one PDF, with Chromium."""
    from pdlib.pdf import book_pdf

    _written(book_pdf(PROJECT, file, console=_console()))


@app.command(
    epilog=_examples(
        "edition",
        "edition --check",
    )
)
def edition(
    check: Annotated[
        bool, typer.Option("--check", help="Execute nothing: is the edition what a run would make now?")
    ] = False,
    force: ForceOption = False,
    cell_timeout: TimeoutOption = 3 * 3600,
    workers: WorkersOption = None,
) -> None:
    """Make the committed edition anew, or check it.

    Runs the full profile on the real recordings; keeps its chapters in book/edition and its values in data. The check
    leaves with 1 and names each chapter whose source, values, recordings, modules, libraries or side files changed.
    """
    from pdlib.claims import record
    from pdlib.publish import check_edition, keep_edition
    from pdlib.run import UNSEEN
    from pdlib.run import run as run_chapters

    if check:
        rows = check_edition(PROJECT)
        unseen = UNSEEN if any(row.state.endswith(UNSEEN) for row in rows) else ""
        _console().print(f"{len(rows)} chapters of the edition are up to date{unseen}", highlight=False)
        return
    console = _console()
    report = run_chapters(
        "full",
        cohort="real",
        force=force,
        cell_timeout=cell_timeout,
        workers=workers,
        project=PROJECT,
        console=console,
    )
    if not report.ok:
        raise typer.Exit(1)
    folder = keep_edition(PROJECT, report.folder)
    record(PROJECT, report.folder)
    console.print(
        f"the edition is in {escape(PROJECT.shown(folder))}; `make html` builds it", highlight=False
    )


@app.command(
    epilog=_examples(
        "status",
        "status --profile full",
    )
)
def status(
    profile: Annotated[str | None, typer.Option("--profile", help="Only this profile.")] = None,
) -> None:
    """What has been executed, and is it up to date?

    For each folder of executed chapters: with which profile, on which recordings, how long ago, how long it took,
    which values were set by hand, and whether a run would do it again.
    """
    from pdlib.listing import show_status
    from pdlib.run import status as all_status

    console, rows = _console(), all_status(PROJECT, profile)
    if not rows:
        console.print("nothing has been executed yet; `python -m pdlib run` starts", highlight=False)
        return
    show_status(console, PROJECT, rows)


@app.command(
    epilog=_examples(
        "why 10",
        "why 10 --profile full",
    )
)
def why(
    chapter: Annotated[str, typer.Argument(help="A chapter such as 05.")],
    profile: Annotated[str | None, typer.Option("--profile", help="Only this profile.")] = None,
) -> None:
    """Why would a chapter run again?

    Each thing that differs from when it was executed: its text, a parameter, a module, a library, the recordings,
    a chapter it needs.
    """
    from pdlib.listing import ago
    from pdlib.run import why as explain

    console, rows = _console(), explain(chapter, PROJECT, profile)
    if not rows:
        console.print(f"chapter {escape(chapter)} has not been executed yet", highlight=False)
    for row in rows:
        when = f" (executed {ago(row.executed)})" if row.executed else ""
        where = escape(f"{row.folder}/{row.name}{when}: {row.state}")
        console.print(where, highlight=False, soft_wrap=True)
        for change in row.changes:
            console.print(f"  - {escape(change)}", highlight=False, soft_wrap=True)


@app.command(
    epilog=_examples(
        "audit",
        "audit --verdict differs --chapter 10",
        "audit --claim fig-13",
        "audit --json > audit.json",
    )
)
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
    """Every claim of the paper with its verdict.

    Beside it our value and the evidence; leaves with 1 where a verdict is not borne out by its value.
    """
    from pdlib import claims
    from pdlib.listing import show_audit
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
        show_audit(console, done, rows, whole=bool(claim))
    if done.problems:
        raise typer.Exit(1)


@app.command(
    epilog=_examples(
        "student",
        "student --out ~/class --solutions ~/solutions.md",
    )
)
def student(
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for the copies; student/ beside the Makefile if not given."),
    ] = None,
    profile: ProfileOption = "quick",
    solutions: Annotated[
        Path | None,
        typer.Option("--solutions", help="Also write every exercise with its solution to this file."),
    ] = None,
) -> None:
    """Write the chapters without solutions, for a class.

    Work that is in a copy is never written over.
    """
    from pdlib import teaching

    folder = out or PROJECT.root / "student"
    written = teaching.write_copies(PROJECT, folder, profile)
    said = [
        f"chapters without their solutions ({len(written) - 1}) and a README are in {PROJECT.shown(folder)}"
    ]
    if solutions:
        said.append(
            f"the solutions are in {teaching.write_solutions(PROJECT, solutions)}; keep them to yourself"
        )
    for line in said:
        _console().print(escape(line), highlight=False, soft_wrap=True)


def _speakers(cohort: str | None, parameter: Sequence[str] | None) -> None:
    """Bring the workbook of an own cohort up to date with its table, for the workbook is what chapters read."""
    given = [text.partition("=")[2] for text in parameter or () if text.startswith("cohort=")]
    folder = paths.as_folder(cohort or next(iter(given), "auto"))
    if folder is not None:
        from pdlib.own_recordings import refresh

        refresh(folder)


@app.command(
    epilog=_examples(
        "report my_vowel.wav --age 63 --sex F",
        "report PD-01",
    )
)
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
    """Make a page about one recording.

    Is it fit, what are its markers, what does every model say of it, and what is that worth? Research and teaching,
    not a diagnosis. Leaves with 1 where no model can judge the recording; the page then says why.
    """
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


@app.command(
    epilog=_examples(
        "bench",
        "bench features --rounds 15",
        "bench --record",
    )
)
def bench(
    part: Annotated[
        list[str] | None, typer.Argument(help="Parts of tests/bench; all when none is named.")
    ] = None,
    rounds: Annotated[int | None, typer.Option("--rounds", min=1, help="Times each way is timed.")] = None,
    small: Annotated[bool, typer.Option("--small", help="Small inputs: does it run, not how fast.")] = False,
    record: Annotated[
        bool, typer.Option("--record", help="Keep the times in data/bench.json, for the book's page.")
    ] = False,
) -> None:
    """How fast, beside the plain way?

    Each part does one thing in several ways in turn, in a process of its own, and gives times per item and ratios. A
    part that fails says so and the others go on; it then leaves with 1. Times are worth something on an idle machine.
    """
    from pdlib import bench as benching
    from pdlib.listing import show_bench

    if small and record:
        raise UsageError(
            "--small is for trying out, so its times are not recorded", "leave one of the two out"
        )
    console, failed = _console(), False
    for name in benching.parts(PROJECT, part or ()):
        try:
            show_bench(console, benching.measure(PROJECT, name, rounds, small, record))
        except PdlibError as error:
            failed = True
            Console(stderr=True).print(
                f"[red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True
            )
    if failed:
        raise typer.Exit(1)


def _list(text: str | None) -> list[str] | None:
    return [part.strip() for part in text.split(",") if part.strip()] if text else None


def _written(path: Path) -> None:
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    _console().print(f"wrote {escape(PROJECT.shown(path))}, {size}", highlight=False, soft_wrap=True)


def _done(console: Console, index: Path, took: str) -> None:
    console.print(f"done in {took} · open {escape(str(index))}", highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; leave with 0 when done, 1 for a failure, 2 for wrong use, 130 after Ctrl-C.

    Asked to end (SIGTERM) or left by its terminal (SIGHUP) it stops as after Ctrl-C and leaves with 128 plus the
    number of the signal.
    """
    ended: list[int] = []
    for number in _ENDINGS:
        if signal.getsignal(number) is signal.SIG_DFL:  # `nohup` ignores one of them, and so do we then
            signal.signal(number, _stop(ended))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without a sign shows ? in its place
    try:
        _spell_folders()
        app(list(arguments) if arguments is not None else None)
    except PdlibError as error:
        Console(stderr=True).print(f"[red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except SystemExit as left:
        if left.code == INTERRUPTED:
            Console(stderr=True).print("interrupted; the same command goes on from there")
            if ended:
                sys.exit(128 + ended[0])
        raise


def _spell_folders() -> None:
    """Refuse a folder whose name this locale cannot write down: notebooks are UTF-8 and name where they lie."""
    for folder in (PROJECT.root, PROJECT.runs, paths.results_dir()):
        try:
            str(folder).encode("utf-8")
        except UnicodeEncodeError as error:
            raise UsageError(
                f"this locale ({sys.getfilesystemencoding()}) cannot spell the name of a folder of the book",
                "set PYTHONUTF8=1 and give the same command again",
            ) from error


def _stop(ended: list[int]) -> Callable[[int, object], None]:
    """A handler that gives the program up as Ctrl-C does, once: a second signal must not break the tidying up."""

    def handle(number: int, _: object) -> None:
        if not ended:
            ended.append(number)
            raise KeyboardInterrupt

    return handle


if __name__ == "__main__":
    main()
