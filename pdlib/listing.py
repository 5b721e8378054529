"""Tables of the command line: what has been executed, what a folder of recordings lacks, what the audit found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pdlib.measured import ratio, short
from pdlib.params import Project
from pdlib.run import Status, clock, read_record

if TYPE_CHECKING:
    from pdlib.claims import Audit, Claim
    from pdlib.own_recordings import Check

SHOWN_CHANGES = 2  # per chapter; `why` lists all
_STEPS = ((60, "minute"), (24, "hour"), (31, "day"))
COHORTS = {
    "real": "the published recordings",
    "synthetic": "SYNTHETIC voices, no recording of a person",
    "own": "other recordings than the paper's",
}


def ago(moment: str, now: datetime | None = None) -> str:
    """How long ago an ISO time with its zone was, in words: ``3 hours ago``; empty for no time.

    Parameters
    ----------
    moment : str
        As `run` writes it into an executed chapter, such as ``2026-01-31T12:00:00+00:00``.
    now : datetime, optional
        The time to count from.
    """
    if not moment:
        return ""
    then = datetime.fromisoformat(moment)
    count = ((now or datetime.now().astimezone()) - then).total_seconds() / 60
    if count < 1:
        return "just now"
    for size, word in _STEPS:
        if count < size:
            return f"{int(count)} {word}{'' if int(count) == 1 else 's'} ago"
        count /= size
    return f"on {then.date().isoformat()}"


def show_status(
    console: Console, project: Project, rows: Sequence[Status], now: datetime | None = None
) -> None:
    """One table per folder of executed chapters, under a line that says what they were made with."""
    for folder in dict.fromkeys(row.folder for row in rows):
        own = [row for row in rows if row.folder == folder]
        done = [row for row in own if row.executed]
        states = [row.state for row in own]
        counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        took = clock(sum(row.seconds or 0 for row in done))
        head = f"[bold]{escape(folder)}[/] · profile {escape(own[0].profile)} · {_cohort(own[0])}"
        console.print(f"\n{head}", highlight=False, soft_wrap=True)
        console.print(
            f"{len(own)} chapters: {escape(counts)} · {took} in all", highlight=False, soft_wrap=True
        )
        given = {row.name: _given(project, row) for row in done}
        by_hand = any(given.values())
        peaks = [row.peak_mib for row in done if row.peak_mib]
        more = [name for name, wanted in (("memory", peaks), ("set by hand", by_hand)) if wanted]
        table = Table("chapter", "executed", "took", *more, "state")
        for row in own:
            cells = [row.name, ago(row.executed, now), clock(row.seconds) if row.seconds is not None else ""]
            cells += [f"{row.peak_mib / 1024:.1f} GiB" if row.peak_mib else ""] if peaks else []
            cells += [given.get(row.name, "")] if by_hand else []
            table.add_row(*map(escape, [*cells, _state(row)]))
        console.print(table)
    if any(row.changes for row in rows):
        console.print("`python -m pdlib why NN` lists every reason of one chapter", highlight=False)


def _cohort(row: Status) -> str:
    return COHORTS.get(row.cohort, row.cohort)


def _given(project: Project, row: Status) -> str:
    """The values this chapter was given on the command line in place of its profile's."""
    record = read_record(project.root / row.folder / f"{row.name}.ipynb")
    return ", ".join(f"{name} = {value!r}" for name, value in record.get("overrides", {}).items())


def _state(row: Status) -> str:
    if not row.changes:
        return row.state
    more = len(row.changes) - SHOWN_CHANGES
    return f"{row.state}: {'; '.join(row.changes[:SHOWN_CHANGES])}" + (
        f"; and {more} more" if more > 0 else ""
    )


def show_check(console: Console, check: Check) -> None:
    """The recordings by class, everything missing or doubtful, and which chapters would run."""
    if check.wrote:
        console.print(
            f"wrote {escape(check.wrote.name)} from the table: it is what the chapters read\n",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    classes = Table("class", "count", "seconds", "rate in Hz", "format", "age in years", "sex")
    for label, rows in check.recordings.groupby("label"):
        seconds, ages = rows["seconds"], rows["age"].astype(float)
        classes.add_row(
            str(label), str(len(rows)), f"{seconds.min():.1f} to {seconds.max():.1f}",
            _counted(rows["rate"]), _counted(rows["format"]),
            f"{ages.min():g} to {ages.max():g}" if ages.notna().any() else "not known",
            _counted(rows["sex"].dropna()) or "not known",
        )  # fmt: skip
    console.print(classes if len(check.recordings) else "no recording could be read")
    if check.findings:
        found = Table("", "where", "what", "what to do")
        for one in sorted(check.findings, key=lambda finding: finding.weight != "stops"):
            weight = "[red]stops[/]" if one.weight == "stops" else "[yellow]doubt[/]"
            found.add_row(weight, *map(escape, (one.where, one.what, one.to_do)))
        console.print(found)
    answers = Table("chapter", "runs", "why")
    colours = {"yes": "green", "in part": "yellow", "no": "red"}
    for answer in check.chapters:
        answers.add_row(answer.chapter, f"[{colours[answer.runs]}]{answer.runs}[/]", escape(answer.why))
    console.print(answers)
    runs = [answer.runs for answer in check.chapters]
    counts = ", ".join(f"{runs.count(word)} {word}" for word in ("yes", "in part", "no") if word in runs)
    console.print(f"profile {check.profile}, {len(runs)} chapters: {counts}", highlight=False)
    if check.ok:
        command = f"python -m pdlib book --profile {check.profile} --cohort {check.folder}"
        console.print(f"to run them: {escape(command)}", highlight=False, soft_wrap=True)


def _counted(values: Sequence[object]) -> str:
    counts = {value: list(values).count(value) for value in sorted(set(values))}
    return ", ".join(
        f"{value}" if len(counts) == 1 else f"{value} ({count})" for value, count in counts.items()
    )


def show_audit(console: Console, done: Audit, rows: Sequence[Claim], whole: bool) -> None:
    """The claims asked for, each with our value, its verdict and its evidence; with ``whole``, the reason too."""
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


def show_bench(console: Console, part: Mapping[str, Any]) -> None:
    """One part of the bench: a row per way of doing a thing, with its time and how many times faster it is."""
    table = Table("what", "way", "median", "range", "processor", "times as fast", title=part["title"])
    for row in part["rows"]:
        table.add_row(
            *map(
                escape,
                (
                    row["what"], row["name"], f"{short(row['median'])} {row['unit']}",
                    f"{short(row['low'])} to {short(row['high'])}", short(row["processor"]), ratio(row),
                ),
            )
        )  # fmt: skip
    console.print(table)
    for row in part["rows"]:
        if row.get("note"):
            _line(console, f"{row['name']}: {row['note']}")
    for name, value in (part.get("facts") or {}).items():
        _line(console, f"{name}: {short(value)}")
    for one in part.get("left_out") or ():
        _line(console, f"left out: {one}")
    for name, rows in (part.get("tables") or {}).items():
        heads = list(dict.fromkeys(head for row in rows for head in row))
        table = Table(*heads, title=name)
        for row in rows:
            table.add_row(*(escape(short(row.get(head))) for head in heads))
        console.print(table)


def _line(console: Console, text: str) -> None:
    console.print(escape(text), highlight=False, soft_wrap=True)
