"""What the bench and the harnesses measured, as the pages of the book show it.

``data/bench.json`` and ``data/robustness.json`` hold one section per part or harness, with the day and the machine it
was measured on. A page names what it wants in comments, which give way to it when the pages are laid out:
``<!-- bench features -->`` on a line of its own to the section, ``<!-- bench growth: seconds -->`` within a sentence to
one of its facts, ``<!-- bench machine -->`` to the machine. ``others`` stands for all sections the page does not name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from pdlib import paths
from pdlib.errors import PublishError

FILES = ("bench", "robustness")
DIGITS = 3  # that a time or a ratio is worth
_BESIDE = 3  # columns that a phone can show beside each other
_OPEN = 12  # rows a page shows at once; a longer table is folded
OURS = "pdlib"  # how the name of a way begins that is this book's own code
_REFERENCE = "1, the reference"
FIGURES = "measured"  # folder of static files that the drawn curves go to
COMMANDS = {"bench": "python -m pdlib bench {} --record", "robustness": "python -m tests.{} --record"}
_BLOCK = re.compile(r"^<!-- (bench|robustness) ([\w-]+) -->$", re.MULTILINE)
_FACT = re.compile(r"<!-- (bench|robustness) ([\w-]+): ([^<>]+?) -->")


# ── values ─────────────────────────────────────────────────────────────────────────────────────────────
def short(value: Any) -> str:
    """A value as a table shows it: a number with three digits that count, whole ones whole; nothing as a dash."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) or (
        isinstance(value, float) and value.is_integer() and abs(value) >= 10**DIGITS
    ):
        return f"{int(value):,}".replace(",", "\u202f") if abs(value) >= 10_000 else str(int(value))
    if isinstance(value, float):
        if value == 0:
            return "0"
        if abs(value) >= 10 ** (DIGITS - 1):
            return short(round(value))
        if abs(value) < 1e-3:
            return f"{value:.1e}"
        text = f"{value:.{DIGITS}g}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, list | tuple):
        return ", ".join(map(short, value))
    return str(value)


def ratio(row: Mapping[str, Any]) -> str:
    """How many times as fast as the reference a way is: median of the rounds, and in brackets their range."""
    if row.get("ratio") is None:
        return "–"
    if row["ratio"] == row.get("ratio_low") == row.get("ratio_high") == 1:
        return _REFERENCE
    return f"{short(row['ratio'])} ({short(row['ratio_low'])} to {short(row['ratio_high'])})"


def read(data: Path) -> dict[str, dict[str, Any]]:
    """Sections by file and name; a file that is not there has none.

    Raises
    ------
    PublishError
        When a file cannot be read, or a section has no title or rows.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in FILES:
        path = data / f"{name}.json"
        try:
            found[name] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            for section in found[name].values():
                _ = (
                    section["title"],
                    [dict(row) for row in section["rows"]],
                    section["date"],
                    section["machine"],
                )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise PublishError(
                f"{name}.json is not as it is recorded: {type(error).__name__} {error}",
                f"take it from the repository, or measure again: {COMMANDS[name].format('…')}",
            ) from error
    return found


# ── pages ──────────────────────────────────────────────────────────────────────────────────────────────
def fill(book: Path, data: Path) -> None:
    """Write what was measured into the staged pages that ask for it, and draw their curves.

    Parameters
    ----------
    book : Path
        The staged ``book/``; pictures go below its ``_static``.
    data : Path
        The folder of ``bench.json`` and ``robustness.json``.

    Raises
    ------
    PublishError
        When a page asks for a fact that its section does not have.
    """
    found = read(data)
    for page in sorted(book.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if _BLOCK.search(text) or _FACT.search(text):
            page.write_text(filled(text, found, book / "_static" / FIGURES), encoding="utf-8")


def filled(text: str, found: Mapping[str, Mapping[str, Any]], pictures: Path) -> str:
    """A page's text with each comment replaced by what it asks for; curves are drawn into ``pictures``."""
    named = {(file, name) for file, name in _BLOCK.findall(text)}

    def block(match: re.Match[str]) -> str:
        file, name = match.groups()
        if name == "machine":
            return _machines(found[file])
        if name == "others":
            others = [one for one in sorted(found[file]) if (file, one) not in named]
            return "\n\n".join(
                f"## {found[file][one]['title']}\n\n{_section(found[file], file, one, pictures)}"
                for one in others
            )
        return _section(found[file], file, name, pictures)

    def fact(match: re.Match[str]) -> str:
        file, name, wanted = match.groups()
        if name not in found[file]:
            return "(not recorded yet)"
        facts = found[file][name].get("facts") or {}
        if wanted not in facts:
            raise PublishError(
                f"a page asks for {wanted!r} of section {name!r} in {file}.json, "
                f"which has {', '.join(facts) or 'no facts'}",
                f"measure it again: {COMMANDS[file].format(name)}",
            )
        return short(facts[wanted])

    return _FACT.sub(fact, _BLOCK.sub(block, text))


def _section(sections: Mapping[str, Any], file: str, name: str, pictures: Path) -> str:
    if name not in sections:
        return f"*Not recorded yet:* `{COMMANDS[file].format(name)}` measures it."
    section, title = sections[name], sections[name]["title"]
    parts = [f"Recorded on {section['date']}."]
    rows = section["rows"]
    if _is_timed(rows):
        rows = [_timed(row) for row in rows]
    tables = dict(section.get("tables") or {})
    for label, curve in tables.items():
        drawn = _curve(curve, f"{file}-{name}-{_slug(label)}", label, pictures)
        parts += [drawn] if drawn else []
    facts = [{"what": fact, "value": value} for fact, value in (section.get("facts") or {}).items()]
    if rows and rows is not section["rows"]:
        beside = _beside(section["rows"])
        parts += [table(beside, f"{title}: this book's code beside the plain way")] if beside else []
    shown = [table(rows, title, folded=len(rows) > _OPEN)] if rows else []
    shown += [table(curve, label) for label, curve in tables.items() if curve]
    told = [table(facts, f"{title}: in numbers", folded=len(facts) > _OPEN)] if facts else []
    parts += told + shown if len(facts) <= _OPEN < len(rows) else shown + told  # what is folded comes last
    left = section.get("left_out") or section.get("left out") or ()
    parts += ["Left out:\n\n" + "\n".join(f"- {escape(one)}" for one in left)] if left else []
    return "\n\n".join(parts)


def _is_timed(rows: Iterable[Mapping[str, Any]]) -> bool:
    return all({"what", "name", "unit", "median", "low", "high", "processor"} <= set(row) for row in rows)


def _timed(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the bench as the page shows it."""
    return {
        "what": row["what"],
        "way": row["name"],
        "time": f"{short(row['median'])} {row['unit']}",
        "range": f"{short(row['low'])} to {short(row['high'])}",
        "processor time": short(row["processor"]),
        "times as fast": ratio(row),
        "note": row.get("note", ""),
    }


def _beside(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of this book's code that have a reference, each with the name of that reference."""
    rows = list(rows)
    references = {row["what"]: row["name"] for row in rows if ratio(row) == _REFERENCE}
    return [
        {
            "what": row["what"] + row["name"].removeprefix(OURS),
            "takes": f"{short(row['median'])} {row['unit']}",
            "times as fast as": f"{ratio(row)} {references[row['what']]}",
        }
        for row in rows
        if row["name"].startswith(OURS) and row["what"] in references and ratio(row) != _REFERENCE
    ]


def table(rows: Sequence[Mapping[str, Any]], caption: str, *, folded: bool = False) -> str:
    """Rows as a table in HTML that scrolls in its frame, or is stacked on a phone when it has many columns.

    Columns with nothing in them are left out; a folded one is opened by its caption.
    """
    heads = [
        head
        for head in dict.fromkeys(name for row in rows for name in row)
        if any(_there(row, head) for row in rows)
    ]
    kinds = {
        head: ' class="pd-figures"'
        if all(row.get(head) == "" or isinstance(row.get(head), int | float | None) for row in rows)
        else ""
        for head in heads
    }
    top = "".join(f'<th scope="col"{kinds[head]}>{escape(head)}</th>' for head in heads)
    body = ""
    for row in rows:
        first, *rest = heads
        cells = "".join(f"<td{kinds[head]}>{escape(short(row.get(head)))}</td>" for head in rest)
        body += f'<tr><th scope="row">{escape(short(row.get(first)))}</th>{cells}</tr>'
    anchor = f"pd-measured-{_slug(caption)}"
    stacked = " pd-stack" if len(heads) > _BESIDE else ""
    grid = f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    frame = f'<div class="pd-scroll" tabindex="0" role="group" aria-labelledby="{anchor}">'
    opened = f'<table class="pd-frame pd-measured{stacked}"'
    if folded:
        said = f"{escape(caption)}, {len(rows)} rows"
        return (
            f'<details class="pd-fold"><summary id="{anchor}" class="pd-caption">{said}</summary>'
            f'{frame}{opened} aria-labelledby="{anchor}">{grid}</details>'
        )
    return f'{frame}{opened}><caption id="{anchor}" class="pd-caption">{escape(caption)}</caption>{grid}'


def _there(row: Mapping[str, Any], head: str) -> bool:
    return row.get(head) not in (None, "")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _machines(sections: Mapping[str, Any]) -> str:
    """The machine of the sections; where two differ in a fact, each value with the sections it is of."""
    if not sections:
        return "*Nothing is recorded yet.*"
    machines = {name: section["machine"] for name, section in sections.items()}
    rows = []
    for fact in dict.fromkeys(fact for machine in machines.values() for fact in machine):
        values: dict[str, list[str]] = {}
        for name, machine in machines.items():
            values.setdefault(short(machine.get(fact)), []).append(name)
        said = [f"{value} ({', '.join(names)})" for value, names in values.items()]
        rows.append({"what": fact, "value": "; ".join(said if len(said) > 1 else values)})
    return table(rows, "The machine and its libraries")


# ── growth ─────────────────────────────────────────────────────────────────────────────────────────────
def _column(rows: Sequence[Mapping[str, Any]], words: str) -> str:
    """The first column of numbers that has the words in its name."""
    for head in rows[0] if rows else ():
        numbers = all(isinstance(row.get(head), int | float) and row[head] > 0 for row in rows)
        if numbers and words in head.lower():
            return head
    return ""


def _curve(rows: Sequence[Mapping[str, Any]], key: str, title: str, pictures: Path) -> str:
    """Time and memory over the number of recordings, for rows that have them; else nothing."""
    size, held = _column(rows, "recordings"), _column(rows, "mib")
    time = _column(rows, "processor second") or _column(rows, "second")  # the former counts this work alone
    if len(rows) < 3 or not size or not time:
        return ""
    from pdlib.markup import encode  # imported here: the command line needs neither
    from pdlib.plots import subplots

    shown = [head for head in (time, held) if head]
    figure, axes = subplots(1, len(shown), width=3.5 * len(shown), height=3.0, squeeze=False)
    for axis, head in zip(axes[0], shown, strict=True):
        x, y = [row[size] for row in rows], [row[head] for row in rows]
        axis.plot(x, y, "o-", color="#1f5fa8", label="measured")
        axis.set(xscale="log", xlabel=size, ylabel=head)
        if head == time:
            axis.plot(x, [y[-1] * one / x[-1] for one in x], "--", color="#6b6b6b", label="in proportion")
            axis.set_yscale("log")
        else:
            axis.set_ylim(0, 1.25 * max(y))
        axis.legend(frameon=False)
    data = encode(figure, "svg", key, watermark=False)
    with paths.writing_errors(pictures):
        pictures.mkdir(parents=True, exist_ok=True)
        (pictures / f"{key}.svg").write_bytes(data)
    width, height = map(float, re.search(rb'viewBox="0 0 ([\d.]+) ([\d.]+)"', data).groups())
    alt = _told(rows, size, time, held)
    return (
        f'<figure class="pd-placed"><img class="pd-image dark-light" alt="{escape(alt)}" width="{width:.0f}" '
        f'height="{height:.0f}" src="../_static/{FIGURES}/{key}.svg"><figcaption class="pd-caption">'
        f"{escape(title)}. The dashed line is time in proportion to the number of recordings, through the last point."
        "</figcaption></figure>"
    )


def _told(rows: Sequence[Mapping[str, Any]], size: str, time: str, held: str) -> str:
    """The finding of the curve in words."""
    first, last = rows[0], rows[-1]
    text = (
        f"From {short(first[size])} to {short(last[size])} {size}, {short(last[size] / first[size])} times as many, "
        f"{time} go from {short(first[time])} to {short(last[time])}, {short(last[time] / first[time])} times"
    )
    return f"{text}; {held} from {short(first[held])} to {short(last[held])}." if held else f"{text}."
