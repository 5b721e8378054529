"""Two folders of executed chapters side by side: everything a page prints, and every number that lies beside it.

The rule. What a page prints (numbers and words glued into the prose, tables, captions, alternative texts, text output
of cells) must be equal as printed, character by character. What lies beside the page with all its digits (side files,
among them predictions) must agree to `DIGITS` digits; by how much raw values differ at most is reported. Pictures are
compared by their bytes and counted, but judged by the numbers they were drawn from. Times, dates and the stamps that
hold them are left out.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat

from pdlib.errors import UsageError

DIGITS = 4
TOLERANCE = 0.5 * 10.0**-DIGITS  # relative
NOISE = 1e-9  # of the largest value of a column: below it a number stands for zero
GLUED = "application/papermill.record/text/plain"
LEFT_OUT = ("pd-stamp",)  # its date is of the run, its hashes are of the code
SKIPPED_KEYS = ("stamp", "date")
_SHOWN_TEXT = 60


@dataclass(frozen=True)
class Difference:
    """One place where two runs differ: chapter, kind of thing, where on the page, and what stands there in each."""

    chapter: str
    kind: str
    where: str
    first: str
    second: str

    def __str__(self) -> str:
        return f"{self.chapter} · {self.kind} · {self.where}: {self.first!r} and {self.second!r}"


@dataclass
class Comparison:
    """One chapter of two runs.

    Attributes
    ----------
    compared : Counter
        Things compared, by kind.
    differences : list of Difference
        Those that are not the same by the rule above.
    largest : float
        Largest relative difference of raw numbers, of any side file.
    largest_where : str
        Where that is.
    exact : bool
        Whether every raw number has the same digits.
    pictures, pictures_equal : int
        Drawn pictures, and those with the same bytes.
    same_key : bool
        Whether both depend on the same source, values, data, code and libraries.
    peak_mib : tuple
        Memory the kernel took at most, in each run, where it was noted.
    """

    chapter: str
    compared: Counter = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)
    largest: float = 0.0
    largest_where: str = ""
    exact: bool = True
    pictures: int = 0
    pictures_equal: int = 0
    same_key: bool = True
    peak_mib: tuple[float | None, float | None] = (None, None)

    def note(self, kind: str, where: str, first: Any, second: Any) -> None:
        """Keep a difference."""
        self.differences.append(Difference(self.chapter, kind, where, _cut(first), _cut(second)))


def compare_runs(first: Path, second: Path) -> list[Comparison]:
    """Compare every chapter that either folder has.

    Parameters
    ----------
    first, second : Path
        Folders of executed chapters, such as ``_build/run/quick-real``.

    Raises
    ------
    UsageError
        When one of them holds no chapter.
    """
    names = [sorted(path.name for path in folder.glob("[0-9][0-9]_*.ipynb")) for folder in (first, second)]
    for folder, found in zip((first, second), names, strict=True):
        if not found:
            raise UsageError(
                f"{folder.name} holds no executed chapter", "give a folder such as _build/run/quick-real"
            )
    return [compare_chapter(first, second, name) for name in sorted({*names[0], *names[1]})]


def compare_chapter(first: Path, second: Path, name: str) -> Comparison:
    """Compare one chapter of two folders: its copy and the side files in ``pages/NN``."""
    found = Comparison(Path(name).stem)
    there = [(folder / name).is_file() for folder in (first, second)]
    if not all(there):
        found.note("chapter", name, *("there" if one else "missing" for one in there))
        return found
    notebooks = [nbformat.read(folder / name, as_version=4) for folder in (first, second)]
    records = [dict(notebook.metadata.get("pdlib", {})) for notebook in notebooks]
    found.same_key = records[0].get("key") == records[1].get("key")
    found.peak_mib = tuple(record.get("peak_mib") for record in records)
    compare_cells(found, *notebooks)
    _compare_files(found, *(folder / "pages" / name[:2] for folder in (first, second)))
    return found


# ── what the page prints ───────────────────────────────────────────────────────────────────────────────
@dataclass
class _Said(HTMLParser):
    """The words of a piece of HTML with its alternative texts, its data for scripts, and hashes of its pictures."""

    texts: list[str] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    _hidden: int = 0
    _script: bool = False

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in (
            "img",
            "br",
            "hr",
            "input",
            "source",
            "wbr",
            "path",
            "col",
            "line",
            "rect",
            "circle",
            "use",
        ):
            if not self._hidden:
                self._picture(given)
            return
        self._script = tag == "script"
        if self._hidden or any(name in given.get("class", "").split() for name in LEFT_OUT):
            self._hidden += 1
        elif given.get("aria-label"):
            self.texts.append(given["aria-label"])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if not self._hidden:
            self._picture({name: value or "" for name, value in attrs})

    def _picture(self, given: Mapping[str, str]) -> None:
        if given.get("alt"):
            self.texts.append(given["alt"])
        if given.get("src", "").startswith("data:"):
            self.pictures.append(hashlib.sha256(given["src"].encode()).hexdigest())

    def handle_endtag(self, tag: str) -> None:
        self._script = False
        if self._hidden:
            self._hidden -= 1

    def handle_data(self, data: str) -> None:
        if self._script:
            self.data.append(data)
        elif not self._hidden and data.strip():
            self.texts.append(" ".join(data.split()))


def printed(cell: Any) -> Iterator[tuple[str, str, str]]:
    """Everything one executed cell prints: kind, place within the cell, text; pictures as hashes."""
    for index, output in enumerate(cell.get("outputs", [])):
        if output.output_type == "stream":
            yield "text output", f"{output.name} {index}", output.text
        elif output.output_type == "error":
            yield "error", str(index), f"{output.ename}: {output.evalue}"
        data = output.get("data", {})
        key = output.get("metadata", {}).get("scrapbook", {}).get("name")
        if key:
            yield "glued", key, str(data.get(GLUED, data))
            continue
        if "text/html" in data:
            said = _Said()
            said.feed(_joined(data["text/html"]))
            named = re.search(r'id="pd-\d\d-([\w-]+)"', _joined(data["text/html"]))
            place = named[1] if named else f"output {index}"
            for number, text in enumerate(said.texts):
                yield "page", f"{place}/{number}", text
            for number, text in enumerate(said.data):
                yield "moved figure", f"{place}/{number}", text
            for number, picture in enumerate(said.pictures):
                yield "picture", f"{place}/{number}", picture
        elif "text/plain" in data:
            yield "text output", f"output {index}", _joined(data["text/plain"])
        for kind in ("image/png", "image/svg+xml"):
            if kind in data:
                yield "picture", f"output {index}", _joined(data[kind])


def compare_cells(found: Comparison, first: Any, second: Any) -> None:
    """Add to ``found`` what two executed notebooks print, and where they differ."""
    cells = [{cell.get("id", str(i)): cell for i, cell in enumerate(nb.cells)} for nb in (first, second)]
    for name in dict.fromkeys([*cells[0], *cells[1]]):
        here = [list(printed(one[name])) if name in one else [] for one in cells]
        told = [[(kind, place) for kind, place, _ in one] for one in here]
        if told[0] != told[1]:
            for tag, a, b, c, d in SequenceMatcher(None, *told, autojunk=False).get_opcodes():
                if tag != "equal":
                    said = [
                        ", ".join(":".join(one) for one in part) or "nothing"
                        for part in (told[0][a:b], told[1][c:d])
                    ]
                    found.note("outputs", name, *said)
        known = {(kind, place): text for kind, place, text in here[1]}
        for kind, place, text in here[0]:
            if (kind, place) not in known:
                continue
            other = known[kind, place]
            if kind == "picture":
                found.pictures += 1
                found.pictures_equal += text == other
                continue
            if kind == "moved figure":  # numbers with all their digits, which the script rounds
                _compare_json(found, f"{name} {place}", *map(_loaded, (text, other)), kind=kind)
                continue
            found.compared[kind] += 1
            if text != other:
                found.note(kind, f"{name} {place}", *_around(text, other))


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _around(first: str, second: str) -> tuple[str, str]:
    """The two texts from a little before the place where they part."""
    at = next((i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), 0)
    at = max(0, at - _SHOWN_TEXT // 3)
    return first[at:], second[at:]


# ── what lies beside it ────────────────────────────────────────────────────────────────────────────────
def _compare_files(found: Comparison, first: Path, second: Path) -> None:
    names = [
        {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        for folder in (first, second)
    ]
    for name in sorted(names[0] ^ names[1]):
        found.note("side file", name, *("there" if name in one else "missing" for one in names))
    for name in sorted(names[0] & names[1]):
        texts = [(folder / name).read_bytes() for folder in (first, second)]
        if name.endswith(".csv"):
            kind = "prediction" if "prediction" in name else "side file"
            _compare_tables(found, kind, name, *(text.decode("utf-8") for text in texts))
        elif name.endswith(".json"):
            _compare_json(found, name, *(json.loads(text) for text in texts))
        elif texts[0] != texts[1]:
            found.note("side file", name, f"{len(texts[0])} bytes", f"{len(texts[1])} other bytes")


def _compare_tables(found: Comparison, kind: str, name: str, first: str, second: str) -> None:
    tables = [list(csv.reader(io.StringIO(text))) for text in (first, second)]
    shapes = [(len(table), len(table[0]) if table else 0) for table in tables]
    found.compared[kind] += sum(len(row) for row in tables[0][1:])
    if shapes[0] != shapes[1] or tables[0][:1] != tables[1][:1]:
        found.note(kind, name, *(f"{rows} rows, {columns} columns" for rows, columns in shapes))
        return
    if first == second:
        return
    for column, head in enumerate(tables[0][0]):
        pairs = [
            (row[column], other[column]) for row, other in zip(tables[0][1:], tables[1][1:], strict=True)
        ]
        numbers = [abs(value) for pair in pairs for value in map(_number, pair) if value is not None]
        scale = max((value for value in numbers if math.isfinite(value)), default=0.0)
        for line, (a, b) in enumerate(pairs, 2):
            if a != b:
                _compare_values(found, kind, f"{name} line {line}, {head}", a, b, scale)


def _compare_json(found: Comparison, name: str, first: Any, second: Any, kind: str = "account") -> None:
    left, right = dict(_leaves(first)), dict(_leaves(second))
    for place in sorted(left.keys() ^ right.keys()):
        found.note(
            kind, f"{name} {place}", *("there" if place in one else "missing" for one in (left, right))
        )
    for place in sorted(left.keys() & right.keys()):
        found.compared[kind] += 1
        if left[place] != right[place]:
            _compare_values(found, kind, f"{name} {place}", left[place], right[place], 0.0)


def _leaves(node: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name not in SKIPPED_KEYS:
                yield from _leaves(value, f"{place}/{name}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _leaves(value, f"{place}/{index}")
    else:
        yield place, node


def _compare_values(found: Comparison, kind: str, where: str, first: Any, second: Any, scale: float) -> None:
    numbers = _number(first), _number(second)
    if None in numbers:
        found.note(kind, where, *_around(str(first), str(second)))
        return
    apart = relative(*numbers, scale)
    found.exact = found.exact and apart == 0
    if apart > found.largest:
        found.largest, found.largest_where = apart, where
    if apart > TOLERANCE:
        found.note(kind, where, first, second)


def relative(first: float, second: float, scale: float = 0.0) -> float:
    """Difference over the larger of the two; values that are nothing beside ``scale`` are measured by that.

    Not a number and infinite equal only themselves.
    """
    if first == second or (math.isnan(first) and math.isnan(second)):
        return 0.0
    if not (math.isfinite(first) and math.isfinite(second)):
        return math.inf
    return abs(first - second) / max(abs(first), abs(second), NOISE * scale)


def _number(text: Any) -> float | None:
    if isinstance(text, bool) or text is None or text == "":
        return None
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)


def _cut(text: Any) -> str:
    text = str(text)
    return text if len(text) <= _SHOWN_TEXT else f"{text[:_SHOWN_TEXT]}…"
