"""The ledger of the paper's claims: read and checked, joined with what a run measured, held against its verdicts.

``data/claims.csv`` holds facts and judgements, typed by a person; ``data/reproduced.csv`` holds values, written from
a run alone. A verdict that the value does not bear out is an error, and so is a claim that leads nowhere.
"""

from __future__ import annotations

import ast
import hashlib
import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from pdlib import locks, paths
from pdlib.errors import DataError, PrivacyError, PublishError, UsageError
from pdlib.evaluate import read_predictions, write_predictions
from pdlib.params import Chapter, Project, close_matches, read_chapters
from pdlib.reading import read_table
from pdlib.run import read_record, run_folder, run_lock, source_hash

COLUMNS = (
    "id", "section", "page", "kind", "printed", "unit", "chapter", "key", "tolerance", "verdict", "note",
)  # fmt: skip
SUMS = "SHA256SUMS"  # in data/: what the recorded files hashed to when a run wrote them
REPRODUCED = ("id", "value", "low", "high", "profile", "stamp")
KINDS = ("number", "cell", "figure", "table", "equation", "algorithm", "statement", "citation")
VERDICTS = (
    "holds", "differs", "contradicts itself", "cannot be computed", "cannot run", "not of this study",
)  # fmt: skip
COMPARED = ("holds", "differs", "contradicts itself")  # verdicts that a value can bear out or not
REQUIRED = {"fig": 30, "tab": 5, "eq": 32, "alg": 4}  # figures, tables, equations, algorithms of the paper
ITEM_KINDS = {"fig": "figure", "tab": "table", "eq": "equation", "alg": "algorithm"}
CELLS = {
    1: 24 * 3,
    2: 12 * 4,
    3: 4 * 5,
    4: 4 * 5,
    5: 4 * 5,
}  # cells of the five tables, without their headings
PRINTED_ACCURACY = 0.99  # Tables 3–5, pp. 38–41; p. 1 prints 99.06 %
# the rows of the book's one figure: what, kind, chapter and file of its numbers, which row of the file
HEADLINE = (
    ("age alone,\nno voice", "no voice", "10", "models.csv", {"model": "age", "metric": "accuracy"}),
    ("CustNetGC,\nnew speakers", "honest", "10", "models.csv",
     {"model": "custnetgc", "variant": "paper", "metric": "accuracy"}),
    ("… as in chapter 16,\nno leak", "no leak", "16", "ladder-intervals.csv",
     {"rung": "speaker", "labels": "true"}),
    ("… after one leak", "leak", "16", "ladder-intervals.csv", {"rung": "teacher-predicted", "labels": "true"}),
    ("… the same leak,\ndiagnoses at random", "leak", "16", "ladder-intervals.csv",
     {"rung": "teacher-predicted", "labels": "shuffled"}),
)  # fmt: skip
_ROUNDING = 1e-9  # what binary fractions add to a printed decimal
_SAME_RUN = 1e-6  # relative; two machines round the last digits differently


@dataclass(frozen=True)
class Claim:
    """One row of the ledger; ``line`` is its line in the file, ``tolerance`` is in the unit of ``printed``."""

    id: str
    section: str
    page: str
    kind: str
    printed: str
    unit: str
    chapter: str
    key: str
    tolerance: float
    verdict: str
    note: str
    line: int

    @property
    def number(self) -> float | None:
        """The printed value as a number in the book's own scale (per cent as a fraction), if it is one."""
        try:
            value = float(self.printed)
        except ValueError:
            return None
        if not math.isfinite(value):  # the words "nan" and "inf"
            return None
        return value / 100 if self.unit == "%" else value

    @property
    def slack(self) -> float:
        """The tolerance in the scale of `number`."""
        return self.tolerance / 100 if self.unit == "%" else self.tolerance


@dataclass(frozen=True)
class Value:
    """What a run measured for one key of one chapter, with its interval where it has one."""

    value: float
    low: float | None
    high: float | None
    profile: str
    stamp: str

    def said(self, unit: str = "") -> str:
        """Value and interval with four digits, as a reader of a claim in ``unit`` expects them."""
        scale, mark = (100, " %") if unit == "%" else (1, "")
        value, *ends = (None if v is None else f"{scale * v:.4g}" for v in (self.value, self.low, self.high))
        return f"{value}{mark}" if None in ends else f"{value}{mark} [{', '.join(ends)}]"


@dataclass(frozen=True)
class Audit:
    """Every claim with its value, what is wrong with the ledger, and what it was compared with."""

    claims: tuple[Claim, ...]
    values: Mapping[str, Value]
    problems: tuple[str, ...]
    compared: str
    pages: Mapping[str, str] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """Number of claims by verdict, in the order of `VERDICTS`."""
        return {verdict: sum(c.verdict == verdict for c in self.claims) for verdict in VERDICTS}

    def evidence(self, claim: Claim) -> str:
        """Where the evidence of a claim stands in the built book, from a page of ``notebooks``; "" without one."""
        page = self.pages.get(claim.chapter)
        return f"{page}.html#pd-{claim.chapter}-{claim.key}" if page else ""

    def rows(self, claims: Iterable[Claim] | None = None) -> list[dict[str, Any]]:
        """One dict per claim, ready for JSON: the ledger's columns, value, interval and link into the book."""
        found = []
        for claim in self.claims if claims is None else claims:
            own = self.values.get(claim.id)
            row = {name: getattr(claim, name) for name in COLUMNS}
            row |= {
                "value": own and own.value, "low": own and own.low, "high": own and own.high,
                "profile": own and own.profile, "stamp": own and own.stamp,
                "evidence": self.evidence(claim),
            }  # fmt: skip
            found.append(row)
        return found


# ── the ledger ─────────────────────────────────────────────────────────────────────────────────────────
def read_claims(path: Path | None = None) -> tuple[Claim, ...]:
    """The ledger, each row checked by itself.

    Raises
    ------
    DataError
        Naming the file, the line and the claim: a column is missing, an id is used twice, a word is not of the
        vocabulary, there is no verdict or no evidence, or a tolerance is not a number.
    """
    path = path or paths.DATA / "claims.csv"
    frame = _read(path, COLUMNS)
    found = []
    for line, row in enumerate(frame.to_dict("records"), 2):
        where = f"{paths.shown(path)}, line {line} ({row['id'] or 'no id'})"
        for problem, way_out in _row_faults(row):
            raise DataError(f"{where}: {problem}", way_out)
        found.append(Claim(**row | {"tolerance": float(row["tolerance"] or 0)}, line=line))
    ids = [claim.id for claim in found]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise DataError(
            f"{paths.shown(path)}: {', '.join(twice[:5])} stands there twice", "give each claim its own id"
        )
    return tuple(found)


def _read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    if not path.is_file():
        raise DataError(f"{paths.shown(path)} is not there", "take it from the repository")
    frame = read_table(path, "take it from the repository")
    if tuple(frame.columns) != tuple(columns):
        raise DataError(
            f"{paths.shown(path)} has the columns {', '.join(frame.columns)}",
            f"they are {', '.join(columns)}",
        )
    return frame


def _row_faults(row: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", row["id"]):
        yield f"{row['id']!r} is no id", "write lower-case letters and digits with hyphens between"
    if not re.fullmatch(r"\d+(-\d+)?", row["page"]):
        yield f"{row['page']!r} is no page", 'write "33" or "24-26"'
    if row["kind"] not in KINDS:
        yield f"unknown kind {row['kind']!r}", f"use one of {', '.join(KINDS)}"
    if not row["printed"].strip():
        yield "it does not say what is printed", "write the number or a few words"
    if not row["verdict"]:
        yield "it has no verdict", f"give one of {', '.join(VERDICTS)}"
    elif row["verdict"] not in VERDICTS:
        yield f"{row['verdict']!r} is no verdict", f"use one of {', '.join(VERDICTS)}"
    if not (re.fullmatch(r"\d\d", row["chapter"]) and row["key"].strip()):
        yield "its verdict has no evidence", "name the chapter (two digits) and the key shown there"
    if not row["note"].strip():
        yield "its verdict has no reason", "say in a sentence why"
    try:
        if row["tolerance"] and not (math.isfinite(float(row["tolerance"])) and float(row["tolerance"]) >= 0):
            raise ValueError
    except ValueError:
        yield f"{row['tolerance']!r} is no tolerance", "write a number of at least 0, or nothing"
    prefix, _, rest = row["id"].partition("-")
    if prefix in ITEM_KINDS and rest.isdigit() and row["kind"] != ITEM_KINDS[prefix]:
        yield f"the kind of {row['id']} is {ITEM_KINDS[prefix]!r}, not {row['kind']!r}", "correct the kind"


def missing_items(claims: Sequence[Claim]) -> list[str]:
    """Every figure, table, equation, algorithm and table cell of the paper that the ledger does not treat."""
    there = {claim.id for claim in claims}
    missing = [
        f"{ITEM_KINDS[prefix]} {number} of the paper has no claim ({prefix}-{number})"
        for prefix, count in REQUIRED.items()
        for number in range(1, count + 1)
        if f"{prefix}-{number}" not in there
    ]
    for table, count in CELLS.items():
        cells = sum(c.kind == "cell" and c.id.startswith(f"tab-{table}-") for c in claims)
        if cells < count:
            missing.append(f"Table {table} has {count} cells, and {cells} of them have a claim")
    return missing


# ── evidence ───────────────────────────────────────────────────────────────────────────────────────────
_SHOWING = {
    "figure": 1,
    "table": 1,
    "number": 0,
    "words": 0,
}  # methods of a page, and where each takes its key


def shown_in(chapter: Chapter) -> re.Pattern[str]:
    """Pattern of the keys a chapter's cells show (figures, tables, numbers, words), read off their syntax trees.

    A key put together in an f-string counts with anything in its gaps. Where a call is handed a variable, every text
    in the chapter's code counts, for one of them is what the variable holds.
    """
    keys: set[str] = set()
    texts: set[str] = set()
    variable = False
    for source in chapter.code:
        try:
            tree = ast.parse(source)
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            if pattern := _pattern(node):
                texts.add(pattern)
            elif isinstance(node, ast.Call) and (key := _key_argument(node)) is not None:
                variable |= not (pattern := _pattern(key))
                keys.add(pattern)
    return re.compile("|".join(sorted((keys | texts if variable else keys) - {""})) or "(?!)")


def _key_argument(call: ast.Call) -> ast.expr | None:
    """The key handed to a method that shows something, if the call is one."""
    place = _SHOWING.get(call.func.attr) if isinstance(call.func, ast.Attribute) else None
    if place is None or getattr(call.func.value, "id", "") != "page":
        return None
    named = [keyword.value for keyword in call.keywords if keyword.arg == "key"]
    return next(iter([*call.args[place : place + 1], *named]), None)


def _pattern(node: ast.AST) -> str:
    """Pattern of a text or an f-string that says something; "" for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.escape(node.value)
    if isinstance(node, ast.JoinedStr) and any(isinstance(part, ast.Constant) for part in node.values):
        return "".join(
            re.escape(part.value) if isinstance(part, ast.Constant) else "[a-z0-9-]+" for part in node.values
        )
    return ""


def evidence_faults(claims: Sequence[Claim], chapters: Mapping[str, Chapter]) -> list[str]:
    """Claims whose chapter does not exist, or whose key no cell of that chapter shows."""
    patterns = {number: shown_in(chapter) for number, chapter in chapters.items()}
    faults = []
    for claim in claims:
        if claim.chapter not in chapters:
            faults.append(f"{claim.id}: there is no chapter {claim.chapter}")
        elif not patterns[claim.chapter].fullmatch(claim.key):
            faults.append(f"{claim.id}: chapter {claim.chapter} shows nothing with the key {claim.key!r}")
    return faults


# ── values ─────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Measured:
    """What the executed chapters of one folder show: every key by chapter, and the values of the numbers."""

    keys: Mapping[str, frozenset[str]]
    values: Mapping[tuple[str, str], Value]
    kind: str  # of the cohort: real, synthetic or own
    profile: str
    overrides: Mapping[str, Any]


def measured(folder: Path) -> Measured:
    """Read the accounts that executed chapters left in ``folder/pages`` (a run folder or the edition)."""
    keys: dict[str, frozenset[str]] = {}
    values: dict[tuple[str, str], Value] = {}
    kinds, profiles, overrides = set(), set(), {}
    for copy in sorted(folder.glob("[0-9][0-9]_*.ipynb")):
        number, record = copy.name[:2], read_record(copy)
        account = _json(folder / "pages" / number / "page.json")
        if "key" not in record or account is None:
            continue
        keys[number] = frozenset(_mapping(account, "items", folder, number))
        kinds.add(record["cohort"]["kind"])
        profiles.add(record["profile"])
        overrides |= record.get("overrides", {})
        numbers = _json(folder / "pages" / number / "numbers.json")
        for key, found in _mapping({"numbers": {} if numbers is None else numbers}, "numbers", folder, number).items():
            if not _is_number(found):
                raise _not_an_account(folder, number)
            if found["value"] is not None:
                values[number, key] = Value(
                    found["value"], found["low"], found["high"], record["profile"], record["key"][:12]
                )
    return Measured(keys, values, "/".join(sorted(kinds)), "/".join(sorted(profiles)), overrides)


def _mapping(account: Any, part: str, folder: Path, number: str) -> Mapping[str, Any]:
    """One part of what a page left of itself, when it is what a page leaves."""
    found = account.get(part, {}) if isinstance(account, dict) else None
    if not isinstance(found, dict):
        raise _not_an_account(folder, number)
    return found


def _not_an_account(folder: Path, number: str) -> DataError:
    where = paths.shown(folder / "pages" / number)
    return DataError(f"{where} holds an account that no page writes", f"run chapter {number} again")


def _is_number(found: Any) -> bool:
    """Whether a page's account of a number has a value and two ends, each finite or not given."""
    if not (isinstance(found, dict) and {"value", "low", "high"} <= found.keys()):
        return False
    given = [found[name] for name in ("value", "low", "high") if found[name] is not None]
    return all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 1e300 for v in given)


def _json(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def values_of(claims: Sequence[Claim], found: Measured) -> dict[str, Value]:
    """The value of every claim whose key is a number of its chapter, by claim."""
    return {c.id: found.values[c.chapter, c.key] for c in claims if (c.chapter, c.key) in found.values}


def current_values(
    claims: Sequence[Claim], cohort: str, chapter: str, own: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Value], str]:
    """The values the audit's page shows, and in words where they are from.

    Inside a run of the whole book these are the values its chapters just measured; a notebook executed alone takes the
    stored ones, but only for a page that stands on the ``real`` cohort, which the stored ones are of.

    Parameters
    ----------
    chapter, own : str, mapping
        The audit's own chapter and the numbers on its page so far. They stand for what an earlier execution of this
        chapter left, so that a second run shows the same as the first.
    """
    run = os.environ.get("PDLIB_RUN_DIR")
    if run:
        found, said = values_of(claims, measured(Path(run))), "they come from the chapters of this run"
    elif cohort == "real":
        found = read_reproduced()
        said = "this page was executed alone, so they are the stored ones of data/reproduced.csv"
    else:
        found, said = (
            {},
            "this page was executed alone and not on the published recordings, so only its own are there",
        )
    values = {claim.id: found[claim.id] for claim in claims if claim.id in found and claim.chapter != chapter}
    for claim in claims:
        number = own.get(claim.key) if claim.chapter == chapter else None
        if number and number["value"] is not None:
            values[claim.id] = Value(number["value"], number["low"], number["high"], number["profile"], "")
    return values, said


def headline_rows() -> pd.DataFrame | None:
    """Value and interval of each row of `HEADLINE` in this run of the whole book.

    Returns
    -------
    DataFrame or None
        Columns what, kind, value, low, high; None where the audit's notebook is executed alone.

    Raises
    ------
    DataError
        When a chapter's file does not have exactly one such row.
    """
    run = os.environ.get("PDLIB_RUN_DIR")
    if not run:
        return None
    rows = []
    for what, kind, chapter, file, wanted in HEADLINE:
        path = Path(run) / "pages" / chapter / file
        try:
            table = pd.read_csv(path, dtype=str)
        except FileNotFoundError:
            raise DataError(f"chapter {chapter} left no {file}", f"run chapter {chapter} again") from None
        found = table[(table[list(wanted)] == pd.Series(wanted)).all(axis=1)]
        if len(found) != 1:
            raise DataError(
                f"{path.name} has {len(found)} rows with {wanted}", f"run chapter {chapter} again"
            )
        rows.append(
            {"what": what, "kind": kind} | found.iloc[0][["value", "low", "high"]].astype(float).to_dict()
        )
    return pd.DataFrame(rows)


def read_reproduced(path: Path | None = None) -> dict[str, Value]:
    """The stored values by claim; empty where no run has been recorded yet.

    Raises
    ------
    DataError
        When the file is no such table, or a value is not a number.
    """
    path = path or paths.DATA / "reproduced.csv"
    if not path.is_file():
        return {}
    found = {}
    for line, row in enumerate(_read(path, REPRODUCED).to_dict("records"), 2):
        try:
            value, *ends = (float(row[name]) if row[name] else None for name in ("value", "low", "high"))
            if not all(end is None or math.isfinite(end) for end in (value, *ends)):
                raise ValueError("not finite")
            found[row["id"]] = Value(float(value), *ends, row["profile"], row["stamp"])
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{paths.shown(path)}, line {line} ({row['id']}): its value is not a number",
                "the file is written by `python -m pdlib audit --record`",
            ) from error
    return found


def not_borne_out(claim: Claim, own: Value) -> str:
    """Why a value does not bear out the verdict of its claim; "" where it does, or where nothing can be compared.

    ``holds`` needs the printed number within the tolerance of the value, or of its interval; ``differs`` and
    ``contradicts itself`` need it outside.
    """
    if claim.kind not in ("number", "cell") or claim.verdict not in COMPARED:
        return ""
    printed = claim.number
    if printed is None:
        return f"{claim.printed!r} is no number, but its evidence is one"
    slack = claim.slack + _ROUNDING * max(1, abs(printed))
    low, high = (own.value if end is None else end for end in (own.low, own.high))
    near = low - slack <= printed <= high + slack
    if near == (claim.verdict == "holds"):
        return ""
    return f"the verdict is {claim.verdict!r}, but {claim.printed} {claim.unit} stands against {own.said(claim.unit)}"


# ── the audit ──────────────────────────────────────────────────────────────────────────────────────────
def audit(project: Project | None = None) -> Audit:
    """Hold the ledger against the chapters, the stored values, and the run of the same profile where there is one.

    Raises
    ------
    DataError
        When the ledger or the stored values cannot be read at all.
    """
    project = project or Project()
    claims = read_claims(project.root / "data" / "claims.csv")
    stored = read_reproduced(project.root / "data" / "reproduced.csv")
    chapters = read_chapters(project)
    known = {claim.id: claim for claim in claims}
    problems = missing_items(claims) + evidence_faults(claims, chapters)
    problems += [f"{name}: a stored value belongs to no claim" for name in stored if name not in known]
    for name in known.keys() & stored.keys():
        if why := not_borne_out(known[name], stored[name]):
            problems.append(f"{name}: {why}")
    problems += changed_since_recorded(project.root / "data") if stored else []
    more, compared = _against_run(project, claims, stored)
    pages = {number: chapter.name for number, chapter in chapters.items()}
    return Audit(claims, stored, tuple(problems + more), compared, pages)


def _against_run(
    project: Project, claims: Sequence[Claim], stored: Mapping[str, Value]
) -> tuple[list[str], str]:
    """What differs between the stored values and the run or edition of their profile, and what that was."""
    profiles = sorted({own.profile for own in stored.values()})
    if not profiles:
        return ["no value is stored yet: `python -m pdlib audit --record` writes them from a run"], "nothing"
    problems: list[str] = []
    compared = []
    for profile in profiles:
        folders = [run_folder(project, profile, "real"), project.edition]
        for folder in folders:
            found = measured(folder)
            if found.profile != profile or found.kind != "real" or found.overrides:
                continue
            here = [claim for claim in claims if claim.chapter in found.keys]
            problems += [
                f"{c.id}: the run shows nothing with the key {c.key!r} in chapter {c.chapter}"
                for c in here
                if c.key not in found.keys[c.chapter]
            ]
            fresh = values_of(here, found)
            problems += [f for name in sorted(fresh) if (f := _moved(name, stored.get(name), fresh[name]))]
            problems += [
                f"{c.id}: a value is stored, and the run measures none"
                for c in here
                if c.id in stored and c.id not in fresh
            ]
            compared.append(f"{len(fresh)} values of {project.shown(folder)}")
    return problems, " and ".join(compared) or f"no run of profile {', '.join(profiles)} on this machine"


def _moved(name: str, old: Value | None, new: Value) -> str:
    if old is None:
        return f"{name}: the run measures {new.said()}, and no value is stored"
    for before, after in zip((old.value, old.low, old.high), (new.value, new.low, new.high), strict=True):
        apart = (before is None) != (after is None)
        if apart or (
            before is not None and not math.isclose(before, after, rel_tol=_SAME_RUN, abs_tol=_SAME_RUN)
        ):
            return f"{name}: {old.said()} is stored, the run gives {new.said()}"
    return ""


def chosen(
    claims: Sequence[Claim],
    *,
    name: str = "",
    verdict: str = "",
    kind: str = "",
    section: str = "",
    chapter: str = "",
) -> list[Claim]:
    """The claims that fit every filter given.

    Raises
    ------
    UsageError
        For a claim, verdict or kind that does not exist.
    """
    for word, known, what in ((verdict, VERDICTS, "verdict"), (kind, KINDS, "kind")):
        if word and word not in known:
            raise UsageError(f"no {what} {word!r}", f"use one of {', '.join(known)}")
    ids = [claim.id for claim in claims]
    if name and name not in ids:
        raise UsageError(
            f"no claim {name!r}", close_matches(name, ids) or "`python -m pdlib audit` lists them"
        )
    wanted = {"id": name, "verdict": verdict, "kind": kind, "section": section, "chapter": chapter}
    return [c for c in claims if all(getattr(c, at) == value for at, value in wanted.items() if value)]


# ── recording a run ────────────────────────────────────────────────────────────────────────────────────
def record(project: Project, folder: Path) -> list[Path]:
    """Write what a run on the real recordings measured to ``data``: values, predictions, and their settings.

    Returns
    -------
    list of Path
        ``reproduced.csv``, one ``predictions/chapter_NN.csv`` per chapter that predicts, ``predictions/settings.json``,
        and ``SHA256SUMS`` of them all.

    Raises
    ------
    PublishError
        When a chapter is missing, was executed from another source, or was run with values of the command line.
    PrivacyError
        When the run is not of the real recordings.
    BusyError
        When another process runs these chapters.
    """
    with locks.held(run_lock(folder), "records", reading=True):
        return _record(project, folder)


def _record(project: Project, folder: Path) -> list[Path]:
    claims, chapters, found = (
        read_claims(project.root / "data" / "claims.csv"),
        read_chapters(project),
        measured(folder),
    )
    if found.kind != "real":
        raise PrivacyError(
            f"{project.shown(folder)} is a run of the kind {found.kind or 'none'!r}",
            "verdicts are about the published recordings: run with --cohort real",
        )
    records = {number: read_record(folder / chapter.path.name) for number, chapter in chapters.items()}
    for number, chapter in chapters.items():
        old = records[number].get("parts", {}).get("source") != source_hash(chapter)
        if old or number not in found.keys or records[number].get("overrides"):
            raise PublishError(
                f"{chapter.path.name} in {project.shown(folder)} is missing, changed, or run with other values",
                f"run it first: python -m pdlib run --profile {found.profile or 'quick'} --cohort real",
            )
    values = values_of(claims, found)
    rows = [
        {"id": c.id, "value": repr(v.value), "low": "" if v.low is None else repr(v.low),
         "high": "" if v.high is None else repr(v.high), "profile": v.profile, "stamp": v.stamp}
        for c in claims if (v := values.get(c.id))
    ]  # fmt: skip
    data = project.root / "data"
    text = pd.DataFrame(rows, columns=REPRODUCED).to_csv(index=False, lineterminator="\n")
    written = [paths.write_text(data / "reproduced.csv", text)]
    settings = {}
    for number, kept in records.items():
        predicted = folder / "pages" / number / "predictions.csv"
        if predicted.is_file():
            target = data / "predictions" / f"chapter_{number}.csv"
            frame, parameters = read_predictions(predicted), kept["parts"]["parameters"]
            written.append(write_predictions(frame, target))
            settings[number] = {
                "profile": kept["profile"],
                "cohort": kept["cohort"]["fingerprint"],
                "parameters": parameters,
                "stamp": kept["key"][:12],
            }
            if "weights" in parameters:
                from pdlib.recheck import weights_used  # brings TensorFlow along

                settings[number]["weights"] = weights_used(number, parameters, frame["model"].unique())
    text = json.dumps(settings, indent=1, sort_keys=True) + "\n"
    written.append(paths.write_text(data / "predictions" / "settings.json", text))
    return [*written, write_sums(data)]


def _recorded(data: Path) -> dict[str, str]:
    """Hash of every file below ``data`` that only `record` writes."""
    files = [
        data / "reproduced.csv",
        *sorted((data / "predictions").glob("*.csv")),
        data / "predictions" / "settings.json",
    ]
    return {
        path.relative_to(data).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.is_file()
    }


def write_sums(data: Path) -> Path:
    """Write ``SHA256SUMS`` beside the recorded values; `changed_since_recorded` and ``recompute.py`` read it."""
    lines = [f"{digest}  {name}\n" for name, digest in _recorded(data).items()]
    return paths.write_text(data / SUMS, "".join(lines))


def changed_since_recorded(data: Path) -> list[str]:
    """What became of recorded values and predictions since a run wrote them, one phrase per file that changed."""
    try:
        lines = (data / SUMS).read_text(encoding="utf-8").splitlines()
        sums = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    except (OSError, ValueError):
        sums = {}
    now = _recorded(data)
    return [
        f"data/{name} is not as the run wrote it (data/{SUMS}): take it back with `git checkout`, or record a run"
        for name in sorted({*sums, *now})
        if sums.get(name) != now.get(name)
    ]
