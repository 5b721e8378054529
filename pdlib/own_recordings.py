"""Recordings of the reader's own: what is missing or doubtful, all at once, before anything long runs on them."""

from __future__ import annotations

import csv
import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np
import openpyxl
import pandas as pd
import soundfile
from sklearn.metrics import roc_auc_score

from pdlib import data, paths
from pdlib.cohort import MAX_AGE, SHEET, WORKBOOK_COLUMNS, load_cohort, open_workbook, read_workbook
from pdlib.errors import DataError, PdlibError, RecordingError
from pdlib.params import Project, load_profile, read_chapters, resolve
from pdlib.preprocessing import EDGE_SECONDS, SOUND_SECONDS, preprocess
from pdlib.provenance import module_closure
from pdlib.reading import read_text
from pdlib.recordings import RATE, Signal, read_signal
from pdlib.run import imports

TABLE = "speakers.csv"
WORKBOOK = "speakers.xlsx"  # made from the table; what the chapters read
COLUMNS = ("file", "age", "sex")  # and, if wanted, speaker
CLASSES = {"HC": "HC", "PD": "PwPD"}  # folder's first letters → label in the workbook
LEAST_VOICE = SOUND_SECONDS + 2 * EDGE_SECONDS  # seconds of voice that the shorter window needs
ENOUGH = 20  # per class; with fewer, an interval of accuracy spans half of the scale
LARGEST_TABLE, MOST_COLUMNS = 2**20, 50  # bytes and columns of the table of speakers
SHARED = 5  # of a class; a mean over fewer speakers is shown only to who asks for individuals=real
SAME_SOUND = 0.99  # correlation of two recordings of one length
TELLING = 0.7  # AUC from which a thing that is not the voice tells the classes apart
STOPPED = "what stops it stands above"
_ODD = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_FROM_TABLE = "made from speakers.csv, sha256 "
_ASKS_AGE = re.compile(r"covariates\(|[\"'](?:age|sex)[\"']")


@dataclass(frozen=True)
class Finding:
    """One thing about the recordings: whether it stops chapters or casts doubt on them, where, what, and what to do.

    ``prepared`` says that it stops only the chapters that cut and scale the recordings.
    """

    weight: Literal["stops", "doubt"]
    where: str
    what: str
    to_do: str
    prepared: bool = False


@dataclass(frozen=True)
class Answer:
    """Whether one chapter would run on the recordings: ``yes``, ``in part`` (and which), or ``no`` (and why)."""

    chapter: str
    runs: Literal["yes", "in part", "no"]
    why: str = ""


@dataclass(frozen=True)
class Check:
    """What was found in a folder: one row per recording, the findings, and one answer per chapter.

    Attributes
    ----------
    recordings : DataFrame
        Index: the file as ``folder/name``; ``label`` (HC, PD), ``seconds``, ``rate`` (Hz), ``format``, ``age``,
        ``sex``, ``notes``. Files that cannot be read are not in it.
    wrote : Path or None
        The workbook made from `TABLE`, when it had to be written.
    """

    folder: Path
    profile: str
    recordings: pd.DataFrame = field(repr=False)
    findings: tuple[Finding, ...]
    chapters: tuple[Answer, ...]
    wrote: Path | None = None

    @property
    def ok(self) -> bool:
        """Whether every chapter would run to its end."""
        return all(answer.runs != "no" for answer in self.chapters)


def check(folder: Path | str, project: Project | None = None, profile: str = "quick") -> Check:
    """Look through a folder of own recordings, and say what each chapter would do with it.

    Parameters
    ----------
    folder : path
        Two folders, their names beginning with HC and PD, and, for ages and sexes, `TABLE`.
    profile : str
        Whose numbers of folds the chapters would use.

    Returns
    -------
    Check

    Raises
    ------
    DataError
        When ``folder`` is no folder.
    WriteError
        When the workbook the chapters read cannot be written beside the table.
    """
    folder, project = paths.named(folder), project or Project()
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder", "name the folder that holds the two folders HC… and PD…")
    files, findings = _files(folder)
    signals, rows, more = _read(files)
    findings += [*more, *_same_sound(files, signals), *_same_names(files)]
    people, wrote, more = _people(folder, files)
    findings += more
    table = pd.DataFrame.from_dict(
        rows, orient="index", columns=["label", "seconds", "rate", "format", "notes"]
    )
    table = table.join(people.reindex(table.index))
    findings += _doubts(table, signals)
    if not any(finding.weight == "stops" for finding in findings):
        findings += _loads(folder)
    answers = _answers(project, profile, folder, table, findings)
    return Check(folder, profile, table, tuple(findings), answers, wrote)


def refresh(folder: Path) -> None:
    """Write the workbook that the chapters read anew where `TABLE` changed since; do nothing where there is no table.

    Raises
    ------
    DataError
        When the table does not fit the recordings.
    """
    if not (folder / TABLE).is_file():
        return
    files, _ = _files(folder)
    stops = [finding for finding in _people(folder, files)[2] if finding.weight == "stops"]
    if stops:
        more = f"; and {len(stops) - 1} more" if len(stops) > 1 else ""
        raise DataError(
            f"{stops[0].where}: {stops[0].what}{more}", f"all at once: python -m pdlib check {folder}"
        )


def _loads(folder: Path) -> list[Finding]:
    """The chapters' own way of reading has the last word."""
    try:
        load_cohort(folder)
    except PdlibError as error:
        return [Finding("stops", folder.name, error.problem, error.way_out)]
    return []


# ── the files ──────────────────────────────────────────────────────────────────────────────────────────
def _files(folder: Path) -> tuple[dict[str, tuple[str, Path]], list[Finding]]:
    """Class and path of every recording by ``folder/name``, and what is wrong with the folders."""
    files: dict[str, tuple[str, Path]] = {}
    findings = []
    for name in CLASSES:
        own = [p for p in sorted(folder.iterdir()) if p.is_dir() and p.name.upper().startswith(name)]
        if len(own) != 1:
            many = f"{len(own)} folders begin with {name}: {', '.join(p.name for p in own)}"
            what = many if own else f"no folder begins with {name}"
            findings.append(
                Finding("stops", folder.name, what, f"make one folder {name} with its recordings")
            )
            continue
        inside = [p for p in sorted(own[0].iterdir()) if not data.is_junk(p.name)]
        if not inside:
            findings.append(
                Finding("stops", f"{own[0].name}/", "is empty", "put one recording per speaker in it")
            )
        for path in inside:
            shown = f"{path.parent.name}/{path.name}"
            if _ODD.search(path.name):
                to_do = "give it a name of letters, digits, - and _"
                findings.append(Finding("stops", ascii(shown)[1:-1], "has a name that no table can hold", to_do))
            elif path.is_dir() or path.suffix.lower() not in data.AUDIO_SUFFIXES:
                kinds = ", ".join(sorted(data.AUDIO_SUFFIXES))
                findings.append(
                    Finding("stops", shown, "is not a recording that can be read", f"keep only {kinds}")
                )
            else:
                files[shown] = (name, path)
    return files, findings


def _read(
    files: Mapping[str, tuple[str, Path]],
) -> tuple[dict[str, Signal], dict[str, tuple], list[Finding]]:
    """Read every recording and prepare it as the chapters do."""
    signals, rows, findings = {}, {}, []
    for shown, (label, path) in files.items():
        try:
            signal = signals[shown] = read_signal(path)
        except RecordingError as error:
            findings.append(
                Finding("stops", shown, error.problem.removeprefix(f"{path.name} "), error.way_out)
            )
            continue
        try:
            for variant in ("paper", "sound"):
                preprocess(signal.samples, signal.sample_rate, variant)
        except RecordingError as error:
            what, to_do = (
                error.problem.removeprefix("samples: "),
                f"record at least {LEAST_VOICE:.1f} s of voice",
            )
            findings.append(Finding("stops", shown, what, to_do, prepared=True))
        found = soundfile.info(path)
        rows[shown] = (label, signal.duration, found.samplerate, found.format, "; ".join(signal.notes))
    return signals, rows, findings


def _same_sound(files: Mapping[str, tuple[str, Path]], signals: Mapping[str, Signal]) -> list[Finding]:
    """Recordings that are one sound: the same samples, or the same at another level or in another format."""
    findings, to_do = [], "keep one of them: one speaker in two places stands in training and test"
    marks = {shown: {data.sha256_of(files[shown][1]), signal.digest()} for shown, signal in signals.items()}
    for one, other in combinations(signals, 2):
        a, b = signals[one].samples, signals[other].samples
        if marks[one] & marks[other]:
            findings.append(Finding("stops", f"{one}, {other}", "hold the same sound", to_do))
        elif abs(len(a) - len(b)) <= 2:
            size = min(len(a), len(b))
            if abs(np.corrcoef(a[:size], b[:size])[0, 1]) > SAME_SOUND:
                what = "hold almost the same sound, at another level or from another format"
                findings.append(Finding("doubt", f"{one}, {other}", what, to_do))
    return findings


def _same_names(files: Mapping[str, tuple[str, Path]]) -> list[Finding]:
    stems = pd.Series({shown: path.stem for shown, (_, path) in files.items()}, dtype=object)
    return [
        Finding(
            "stops",
            ", ".join(twins.index),
            f"are both called {stem}",
            "give each speaker's file its own name",
        )
        for stem, twins in stems.groupby(stems)
        if len(twins) > 1
    ]


# ── the speakers ───────────────────────────────────────────────────────────────────────────────────────
def _people(
    folder: Path, files: Mapping[str, tuple[str, Path]]
) -> tuple[pd.DataFrame, Path | None, list[Finding]]:
    """Age and sex by file, the workbook if it had to be written, and what is wrong with either."""
    nobody = pd.DataFrame({"age": np.nan, "sex": None}, index=list(files))
    table, made = folder / TABLE, folder / WORKBOOK
    books = [p for p in sorted(folder.glob("*.xlsx")) if not p.name.startswith((".", "~$"))]
    others = [p.name for p in books if p != made or not _made_from(p)]
    if table.is_file() and others:
        what = f"stands beside {', '.join(others)}"
        return nobody, None, [Finding("stops", TABLE, what, "keep the table, or the workbook, not both")]
    if table.is_file():
        people, findings = read_table(table, files)
        known = bool(len(people)) and bool(people.notna().all(axis=None))
        if known and not any(finding.weight == "stops" for finding in findings):
            return people, _write_workbook(made, table, people, files), findings
        made.unlink(missing_ok=True)  # of an earlier table
        return people, None, findings
    if made in books and not others:
        what = f"was made from {TABLE}, which is gone"
        return nobody, None, [Finding("stops", WORKBOOK, what, f"put {TABLE} back, or delete the workbook")]
    if len(books) > 1:
        what = f"holds {len(books)} workbooks: {', '.join(others)}"
        return nobody, None, [Finding("stops", folder.name, what, f"keep the one with sheet {SHEET}")]
    return _from_workbook(books, files, nobody)


def _from_workbook(
    books: list[Path], files: Mapping[str, tuple[str, Path]], nobody: pd.DataFrame
) -> tuple[pd.DataFrame, None, list[Finding]]:
    if not books:
        what = "is not there: ages and sexes are not known"
        return (
            nobody,
            None,
            [Finding("doubt", TABLE, what, f"write it with the columns {', '.join(COLUMNS)}")],
        )
    speakers = {path.stem: (shown, int(label == "PD")) for shown, (label, path) in files.items()}
    try:
        return read_workbook(books[0], speakers), None, []
    except DataError as error:
        return nobody, None, [Finding("stops", books[0].name, error.problem, error.way_out)]


def read_table(path: Path, files: Mapping[str, tuple[str, Path]]) -> tuple[pd.DataFrame, list[Finding]]:
    """Read age and sex of every speaker from a CSV file, with everything that is wrong with it.

    Parameters
    ----------
    path : Path
        Columns ``file`` (a file's name, with or without its ending or folder), ``age`` (years), ``sex`` (M, F) and,
        if wanted, ``speaker``; UTF-8, separated by commas, semicolons or tabs. Age and sex may be left out whole.
    files : mapping
        Class and path of every recording by ``folder/name``.

    Returns
    -------
    people : DataFrame
        Index: every file; ``age`` (float) and ``sex`` (M, F), empty where not given.
    findings : list of Finding
    """
    people = pd.DataFrame({"age": np.nan, "sex": None}, index=list(files))
    try:
        lines = read_text(path, "save it as CSV UTF-8", LARGEST_TABLE).splitlines()
        separator = next((mark for mark in ";\t" if lines and mark in lines[0]), ",")
        if lines and lines[0].count(separator) > MOST_COLUMNS:
            return people, [Finding("stops", path.name, "has too many columns", f"keep {', '.join(COLUMNS)}")]
        rows = list(csv.DictReader(lines, delimiter=separator, restval="", restkey="…"))
    except DataError as error:
        return people, [Finding("stops", path.name, _what(error, path), error.way_out)]
    except csv.Error as error:
        return people, [Finding("stops", path.name, f"is no table: {error}", "save it as CSV UTF-8")]
    header = {name.strip().lower(): name for name in (rows[0] if rows else {}) if name}
    if "file" not in header:
        what = "has no column 'file'" if rows else "has no rows"
        return people, [Finding("stops", path.name, what, f"its first line names {', '.join(COLUMNS)}")]
    column = {name: [(row[header[name]] or "").strip() for row in rows] if name in header else [] for name in
              (*COLUMNS, "speaker")}  # fmt: skip
    findings, seen = _fill(people, column, files, path.name)
    findings += _gaps(people.loc[seen], path.name)
    findings += _repeated(column, path.name)
    return people, findings


def _what(error: PdlibError, path: Path) -> str:
    """A problem without the file's name, which stands beside it."""
    return error.problem.removeprefix(f"{paths.shown(path)} ")


def _fill(
    people: pd.DataFrame, column: Mapping[str, list[str]], files: Mapping[str, tuple[str, Path]], name: str
) -> tuple[list[Finding], list[str]]:
    """Put the table's values into ``people``; tell by line what does not fit, and which files have a line."""
    places = {alias: shown for shown, (_, file) in files.items() for alias in (shown, file.name, file.stem)}
    findings, seen = [], {}
    for index, asked in enumerate(column["file"]):
        line = f"{name}, line {index + 2}"
        shown = places.get(asked.removeprefix("./"))
        if shown is None:
            findings.append(
                Finding("stops", line, f"{asked!r} has no recording", "correct the name, or take it out")
            )
            continue
        if shown in seen:
            first = f"{shown} stands there twice, first in line {seen[shown]}"
            findings.append(Finding("stops", line, first, "keep one line per file"))
            continue
        seen[shown] = index + 2
        age = column["age"][index] if column["age"] else ""
        sex = column["sex"][index] if column["sex"] else ""
        if age:
            years = _years(age)
            people.loc[shown, "age"] = years or 0.0  # given, though wrong
            if not years:
                findings.append(
                    Finding("stops", line, f"age {age!r} is no age", f"years, above 0, at most {MAX_AGE}")
                )
        if sex:
            people.loc[shown, "sex"] = sex.upper()
            if sex.upper() not in ("M", "F"):
                findings.append(Finding("stops", line, f"sex {sex!r} is neither M nor F", "write M or F"))
    absent = [shown for shown in files if shown not in seen]
    if absent:
        findings.append(
            Finding("stops", name, f"has no line for {data.listed(absent)}", "add one line per recording")
        )
    return findings, list(seen)


def _years(text: str) -> float | None:
    try:
        years = float(text.replace(",", "."))
    except ValueError:
        return None
    return years if 0 < years <= MAX_AGE else None


def _gaps(people: pd.DataFrame, name: str) -> list[Finding]:
    """Ages and sexes are given for every speaker, or count as not known."""
    given = {which: people[which].notna() for which in ("age", "sex")}
    if not any(known.any() for known in given.values()):
        return [Finding("doubt", name, "gives no ages and no sexes", "add them, if they are known")]
    findings = []
    for which, known in given.items():
        if not known.any():
            what = f"gives no {which} of anybody, so the other column is not used either"
            findings.append(Finding("doubt", name, what, f"add the column {which}, if it is known"))
        elif not known.all():
            what = f"gives no {which} of {data.listed(list(people.index[~known]))}"
            findings.append(Finding("stops", name, what, "give it for everybody, or leave the column out"))
    return findings


def _repeated(column: Mapping[str, list[str]], name: str) -> list[Finding]:
    speakers = pd.Series(column["speaker"], index=column["file"][: len(column["speaker"])], dtype=object)
    speakers = speakers[(speakers != "") & ~speakers.index.duplicated()]
    return [
        Finding(
            "stops", name, f"speaker {speaker} has {len(twins)} recordings: {data.listed(list(twins.index))}",
            "keep one: a speaker with two stands in training and test, or in both classes",
        )
        for speaker, twins in speakers.groupby(speakers)
        if len(twins) > 1
    ]  # fmt: skip


def _made_from(book: Path) -> str:
    """Hash of the table a workbook was made from; empty where it was not made from one."""
    try:
        with open_workbook(book) as opened:
            said = opened.properties.description or ""
    except DataError:  # whatever ails it, it is not one of ours
        return ""
    return said.removeprefix(_FROM_TABLE) if said.startswith(_FROM_TABLE) else ""


def _write_workbook(
    book: Path, table: Path, people: pd.DataFrame, files: Mapping[str, tuple[str, Path]]
) -> Path | None:
    """The workbook that the chapters read, when there is none of this very table; its path if it was written."""
    mark = hashlib.sha256(
        table.read_bytes() + repr(sorted((s, label) for s, (label, _) in files.items())).encode()
    )
    if book.is_file() and _made_from(book) == mark.hexdigest():
        return None
    made = openpyxl.Workbook()
    made.properties.description = _FROM_TABLE + mark.hexdigest()
    made.active.title = SHEET
    made.active.append(WORKBOOK_COLUMNS)
    for shown, (label, path) in files.items():
        made.active.append([path.stem, CLASSES[label], people.loc[shown, "age"], people.loc[shown, "sex"]])
        made.active.cell(made.active.max_row, 1).data_type = "s"  # a name that begins with = is no formula
    with paths.atomic_path(book) as part:
        made.save(part)
    return book


# ── what casts doubt ───────────────────────────────────────────────────────────────────────────────────
def _doubts(table: pd.DataFrame, signals: Mapping[str, Signal]) -> list[Finding]:
    findings = []
    for note, rows in table[table["notes"].str.contains("clipped|lossy|louder|long rec")].groupby("notes"):
        findings.append(
            Finding("doubt", data.listed(list(rows.index)), note, "record again, if that can be had")
        )
    counts = table["label"].value_counts().reindex(list(CLASSES), fill_value=0)
    if counts.min() and counts.min() < ENOUGH:
        what = f"{counts['HC']} HC and {counts['PD']} PD"
        findings.append(
            Finding("doubt", "number of speakers", what, f"below {ENOUGH} of a class every interval is wide")
        )
    if counts.min() == 0:
        return findings
    if table["rate"].nunique() > 1:
        what = ", ".join(f"{count} at {rate} Hz" for rate, count in table["rate"].value_counts().items())
        to_do = f"all are brought to {RATE} Hz; recordings of one rate compare better"
        findings.append(Finding("doubt", "sample rates", what, to_do))
    is_pd = (table["label"] == "PD").astype(int)
    for column, unit in (("rate", " Hz"), ("format", "")):
        shares = pd.crosstab(table[column], table["label"], normalize="columns")
        for value, row in shares.iterrows():
            if abs(row["HC"] - row["PD"]) > TELLING - 0.2:
                what = f"{value}{unit}: {row['HC']:.0%} of HC, {row['PD']:.0%} of PD"
                to_do = "a network may learn the recorder; see chapter 17"
                findings.append(Finding("doubt", f"{column} goes with the class", what, to_do))
    peaks = [float(np.abs(signals[shown].samples).max()) for shown in table.index]
    for name, values in (("length", table["seconds"]), ("peak level", peaks), ("age", table["age"])):
        if not np.isnan(np.asarray(values, float)).any():
            area = float(roc_auc_score(is_pd, np.asarray(values, float)))
            if max(area, 1 - area) >= TELLING:
                what = f"{name} alone tells the classes apart: AUC {max(area, 1 - area):.2f}"
                findings.append(Finding("doubt", name, what, "compare with it; see chapter 17"))
    if table["sex"].notna().all():
        for label, sexes in table.groupby("label")["sex"]:
            if sexes.nunique() == 1:
                what = f"everybody is {sexes.iloc[0]}"
                findings.append(Finding("doubt", f"sex of {label}", what, "results hold for these alone"))
    return findings


# ── the chapters ───────────────────────────────────────────────────────────────────────────────────────
def _answers(
    project: Project, profile: str, folder: Path, table: pd.DataFrame, findings: Iterable[Finding]
) -> tuple[Answer, ...]:
    """One answer per chapter: from its parameters, what its cells ask of speakers, and the findings."""
    chapters = read_chapters(project)
    values = resolve(chapters, load_profile(profile, project), {"cohort": str(folder)}, list(chapters))
    stops = [finding for finding in findings if finding.weight == "stops"]
    smallest = int(table["label"].value_counts().reindex(list(CLASSES), fill_value=0).min())
    ages = bool(len(table)) and bool(table[["age", "sex"]].notna().all(axis=None))
    answers: dict[str, Answer] = {}
    for number, chapter in chapters.items():
        own, lacking = values[number], [need for need in chapter.needs if answers[need].runs == "no"]
        prepares = "preprocessing" in module_closure(*imports(chapter)[0])
        own_stops = [finding for finding in stops if prepares or not finding.prepared]
        needed = _speakers_needed(own)
        without = "" if ages else "without ages and sexes: the parts that ask for them say so"
        parts = [without] if _ASKS_AGE.search("\n".join(chapter.code)) else []
        if smallest < SHARED and "MIN_SPEAKERS" in "\n".join(chapter.code):
            parts.append(f"no class pictures: fewer than {SHARED} speakers of a class")
        if "cohort" not in own:
            answers[number] = Answer(chapter.name, "yes", "needs no recordings")
        elif own_stops:
            answers[number] = Answer(chapter.name, "no", STOPPED)
        elif smallest < needed:
            why = f"{own['n_splits']} folds need {needed} speakers of each class; the smaller has {smallest}"
            answers[number] = Answer(chapter.name, "no", why)
        elif lacking:
            others = " and others" if len(lacking) > 1 else ""
            answers[number] = Answer(
                chapter.name, "no", f"needs chapter {lacking[0]}{others}, which would not run"
            )
        else:
            said = "; ".join(filter(None, parts))
            answers[number] = Answer(chapter.name, "in part" if said else "yes", said)
    return tuple(answers.values())


def _speakers_needed(values: Mapping[str, object]) -> int:
    """Speakers of each class for the folds, and for the parts that training speakers are cross-fitted in."""
    folds, parts = int(values.get("n_splits") or 0), int(values.get("cross_fits") or 0)
    needed = max(folds, 1)
    while folds and needed - math.ceil(needed / folds) < parts:
        needed += 1
    return needed
