"""The cohort a chapter works on: the published recordings, the reader's own, or synthetic voices."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import openpyxl
import pandas as pd
from tqdm import tqdm

from pdlib import data, paths
from pdlib.errors import DataError, FetchError, ParameterError, WriteError
from pdlib.recordings import (
    COVARIATES,
    RATE,
    AtHand,
    Cohort,
    Recording,
    Signal,
    clipped_fraction,
    read_signal,
)
from pdlib.synthetic import synthetic_cohort

__all__ = [
    "COVARIATES",
    "RATE",
    "TABLE_2",
    "Cohort",
    "Recording",
    "Signal",
    "clipped_fraction",
    "individuals_cohort",
    "load_cohort",
    "open_workbook",
    "read_signal",
    "read_workbook",
    "table2",
]

SHEET = "Parselmouth"  # the one sheet of nine that holds age and sex
WORKBOOK_COLUMNS = ("Sample ID", "Label", "Age", "Sex")
WORKBOOK_LABELS = {"HC": 0, "PwPD": 1}
MAX_AGE = 120
# Bounds of a workbook: enough for ten thousand speakers. The published one unpacks to 0.4 MB.
LARGEST_WORKBOOK, MOST_PARTS, MOST_TAGS = 16 * 2**20, 200, 400_000
MOST_ROWS, MOST_COLUMNS = 20_000, 100
INDIVIDUALS = ("synthetic", "real", "none")

# Table 2 of the paper (p. 8) as printed.
TABLE_2 = (
    ("AH_064F_7AB034C9-72E4-438B-A9B3-AD7FDA1596C5", "HC", 69, "M"),
    ("AH_114S_A89F3548-0B61-4770-B800-2E26AB3908B6", "HC", 43, "M"),
    ("AH_121A_BD5BA248-E807-4CB9-8B53-47E7FFE5F8E2", "HC", 18, "F"),
    ("AH_123G_559F0706-2238-447C-BA39-DB5933BA619D", "HC", 28, "M"),
    ("AH_195B_39DA6A45-F4CC-492A-80D4-FB79049ACC22", "HC", 68, "M"),
    ("AH_197T_7552379A-2310-46E1-9466-9D8045C990B8", "HC", 24, "M"),
    ("AH_545622717-461DFFFE-54AF-42AF-BA78-528BD505D624", "PwPD", 77, "M"),
    ("AH_545622718-C052AD58-5E6B-4ADC-855C-F76B66BAFA6E", "PwPD", 72, "F"),
    ("AH_545622719-52C23861-6E0D-41E0-A3D8-9358C28C019B", "PwPD", 69, "F"),
    ("AH_545622720-E1486AF6-8C95-47EB-829B-4D62698C987A", "PwPD", 68, "M"),
    ("AH_545622722-3C79DA68-36BB-43A2-B29C-61AEF480E07E", "PwPD", 69, "M"),
    ("AH_545629296-C2C009C6-8C17-42EA-B6BE-362942FC4692", "PwPD", 74, "F"),
)


# ── which cohort ───────────────────────────────────────────────────────────────────────────────────────
def load_cohort(
    which: str | Path = "auto", *, size: int | None = None, seed: int = 0, progress: bool = False
) -> Cohort:
    """Load the cohort asked for.

    Parameters
    ----------
    which : {"auto", "real", "synthetic"} or path
        ``real``: a verified local copy, else a download. ``auto``: the same, else synthetic voices, with a
        warning. A path: a folder of the reader's own recordings, or of the published ones.
    size : int, optional
        Number of voices where the cohort is synthetic, 81 unless told otherwise. Real cohorts come whole.
    seed : int
        Of the synthetic voices.
    progress : bool
        Show a bar while downloading or reading.

    Returns
    -------
    Cohort

    Raises
    ------
    DataError
        When ``PDLIB_DATA`` or the folder does not hold what it should; with ``real`` also when there is no
        copy and none can be had.
    ParameterError
        When ``which`` is neither a known word nor a folder.
    """
    if which == "synthetic":
        return synthetic_cohort(81 if size is None else size, seed)
    if which in ("auto", "real"):
        return _published_or_synthetic(str(which), 81 if size is None else size, seed, progress)
    folder = paths.as_folder(which)
    if folder is None:
        raise ParameterError(
            f"cohort = {str(which)!r} is neither auto, real, synthetic nor a folder",
            "name one of these words, or a folder with one subfolder per class (HC…, PD…)",
        )
    if _is_published(folder):
        return _published_cohort(folder, "a verified copy in a folder of the reader's choice")
    return _own_cohort(folder, progress)


def _published_or_synthetic(which: str, size: int, seed: int, progress: bool) -> Cohort:
    local = data.find_local()
    if local:
        return _published_cohort(local, "a verified local copy")
    try:
        return _published_cohort(data.fetch(progress=progress), "fetched from Figshare and verified")
    except (FetchError, WriteError) as error:
        if which == "real":
            raise
        # A page shows this sentence, and a page holds no path of the machine it was made on.
        reason = error.problem.replace(f"{paths.ROOT}/", "").replace(str(paths.RAW.parent), "data")
    stand_in = synthetic_cohort(size, seed)
    source = (
        f"SYNTHETIC: the published recordings could not be had ({reason}), so {size} computed voices with "
        f"planted class differences (seed {seed}) stand in for them. "
        "No number here says anything about Parkinson's disease."
    )
    warnings.warn(source, UserWarning, stacklevel=3)
    return replace(stand_in, source=source)


def individuals_cohort(cohort: Cohort, individuals: str, *, size: int = 12, seed: int = 0) -> Cohort | None:
    """The cohort whose single speakers may be shown: voices are people, so by default these are synthetic.

    Parameters
    ----------
    cohort : Cohort
        The cohort the chapter works on.
    individuals : {"synthetic", "real", "none"}
        ``real`` is for a reader's own machine and never for a page that is passed on.

    Returns
    -------
    Cohort or None
        None where no single speaker is to be shown.

    Raises
    ------
    ParameterError
        When ``individuals`` is another word.
    """
    if individuals not in INDIVIDUALS:
        raise ParameterError(f"individuals = {individuals!r}", f"choose one of {', '.join(INDIVIDUALS)}")
    if individuals == "none":
        return None
    if individuals == "real" or cohort.kind == "synthetic":
        return cohort
    return synthetic_cohort(size, seed)


# ── the published recordings ───────────────────────────────────────────────────────────────────────────
def _is_published(folder: Path) -> bool:
    """Whether ``folder`` claims to be the published set: a file has a registered recording's place in it."""
    return any((folder / file).is_file() for file in data.registry()["file"] if "/" in file)


def _published_cohort(folder: Path, how: str) -> Cohort:
    entries = data.registry()
    data.verify(folder, entries)
    files = entries[entries["file"].str.contains("/")]
    recordings = tuple(
        Recording(entry.name, int(entry.name.startswith("PD")), folder / entry.file, entry.sha256)
        for entry in files.itertuples()
    )
    speakers = {recording.path.stem: (recording.name, recording.label) for recording in recordings}
    people = read_workbook(folder / data.WORKBOOK, speakers)
    people["validated"] = True  # `verify` has just compared every file with the registry
    source = (
        f"The {len(recordings)} recordings of doi:{data.DOI} (Prior et al. 2023, CC BY 4.0), {how}; "
        "every file has the sha256 of the registry."
    )
    return Cohort("real", source, recordings, people)


def read_workbook(path: Path | str, speakers: Mapping[str, tuple[str, int]]) -> pd.DataFrame:
    """Read age and sex of every speaker from sheet ``Parselmouth``.

    Parameters
    ----------
    path : path
        The workbook: columns ``Sample ID``, ``Label`` (HC, PwPD), ``Age`` (years), ``Sex`` (M, F).
    speakers : mapping
        File name without suffix → (recording name, label) of every recording.

    Returns
    -------
    DataFrame
        Index: recording name, in the order of ``speakers``; ``age`` (float, years), ``sex`` (M, F).

    Raises
    ------
    DataError
        Naming sheet, row and speaker: a missing, unknown or repeated speaker, a label that is unknown or not
        the folder's, an age that is text or outside 0–120, an unknown sex; or a missing sheet or column.
    """
    path = Path(path)
    rows = _sheet_rows(path)
    header = [str(cell).strip() if cell is not None else "" for cell in rows[0]] if rows else []
    absent = [column for column in WORKBOOK_COLUMNS if column not in header]
    if absent:
        raise DataError(
            f"{path.name}, sheet {SHEET}: no column {absent[0]!r}",
            f"its columns are {', '.join(WORKBOOK_COLUMNS)}",
        )
    places = [header.index(column) for column in WORKBOOK_COLUMNS]
    found: dict[str, tuple[float, str]] = {}
    first_row: dict[str, int] = {}
    problems = []
    for number, row in enumerate(rows[1:], start=2):
        sample, label, age, sex = (row[place] if place < len(row) else None for place in places)
        if all(cell is None for cell in (sample, label, age, sex)):
            continue
        if sample not in speakers:
            problems.append(f"row {number}: speaker {sample!r} has no recording")
            continue
        name, expected = speakers[sample]
        if name in first_row:
            problems.append(f"row {number}: {name} stands there twice, first in row {first_row[name]}")
            continue
        first_row[name] = number
        problems += [f"row {number}: {name}: {what}" for what in _row_faults(label, expected, age, sex)]
        found[name] = (age, sex)
    problems += [f"{name} is missing" for name, _ in speakers.values() if name not in first_row]
    if problems:
        raise DataError(
            f"{path.name}, sheet {SHEET}: {data.listed(problems)}",
            "correct these rows; the published workbook comes unchanged with: python -m pdlib fetch",
        )
    names = [name for name, _ in speakers.values()]
    frame = pd.DataFrame([found[name] for name in names], index=names, columns=["age", "sex"])
    return frame.astype({"age": float})


@contextmanager
def open_workbook(path: Path) -> Iterator[openpyxl.Workbook]:
    """An .xlsx file, opened for reading after a look at what it unpacks to; whatever is wrong with it is a `DataError`.

    Raises
    ------
    DataError
        When the file does not exist, is no workbook, or is larger inside than any table of speakers.
    """
    book = None
    try:
        _look_into(path)
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        yield book
    except FileNotFoundError as error:
        raise DataError(f"{path.name} does not exist", "put the workbook beside the class folders") from error
    except DataError:
        raise
    except Exception as error:  # openpyxl raises whatever it stumbles over: at opening, and with every cell
        said = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise DataError(
            f"{path.name} cannot be read as a workbook: {said}", "save it as .xlsx again"
        ) from error
    finally:
        if book is not None:
            book.close()


def _look_into(path: Path) -> None:
    """Refuse what would take long or much memory to read: openpyxl itself knows no bounds."""
    way_out = "save the sheet of the speakers alone, as .xlsx"
    with zipfile.ZipFile(path) as packed:
        parts = packed.infolist()
        if len(parts) > MOST_PARTS or sum(part.file_size for part in parts) > LARGEST_WORKBOOK:
            raise DataError(
                f"{path.name} is too large: it unpacks to more than {LARGEST_WORKBOOK:,} bytes", way_out
            )
        tags = 0
        for part in parts:
            if part.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise DataError(f"{path.name} is packed in a way that no workbook is", way_out)
            content = packed.read(part)
            tags += content.count(b"<")
            if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
                raise DataError(f"{path.name} defines entities, as no workbook does", way_out)
        if tags > MOST_TAGS:
            raise DataError(f"{path.name} is too large: it holds more than {MOST_TAGS // 20:,} rows", way_out)


def _sheet_rows(path: Path) -> list[tuple]:
    with open_workbook(path) as book:
        if SHEET not in book.sheetnames:
            listed = data.listed(book.sheetnames)
            raise DataError(f"{path.name} has no sheet {SHEET!r}", f"its sheets are {listed}")
        rows = list(book[SHEET].iter_rows(max_row=MOST_ROWS + 1, max_col=MOST_COLUMNS, values_only=True))
    if len(rows) > MOST_ROWS:
        raise DataError(
            f"{path.name}, sheet {SHEET}, has something below row {MOST_ROWS}",
            "delete the rows below the table",
        )
    return rows


def _row_faults(label: object, expected: int, age: object, sex: object) -> list[str]:
    faults = []
    if label not in WORKBOOK_LABELS:
        faults.append(f"label {label!r} is neither HC nor PwPD")
    elif WORKBOOK_LABELS[label] != expected:
        faults.append(f"label {label!r} is not that of its folder")
    if (
        isinstance(age, bool) or not isinstance(age, int | float) or age != age
    ):  # NaN; an int may be past any float
        faults.append(f"age {age!r} is not a number")
    elif not 0 < age <= MAX_AGE:
        faults.append(f"age {age!r} is outside 0–{MAX_AGE} years")
    if sex not in ("M", "F"):
        faults.append(f"sex {sex!r} is neither M nor F")
    return faults


def table2(cohort: Cohort) -> pd.DataFrame:
    """Table 2 of the paper (p. 8), each printed row beside what the cohort's workbook says.

    Returns
    -------
    DataFrame
        ``sample_id``, ``recording``, ``label``, ``age``, ``sex`` as printed, ``workbook_age`` and
        ``workbook_sex`` (empty unless the cohort is the published one), ``agrees`` (whether they are the same
        once ages are rounded to whole years, as the paper prints them; None where there is nothing to
        compare).
    """
    names = {PurePosixPath(e.file).stem: e.name for e in data.registry().itertuples()}
    rows = []
    for sample, label, age, sex in TABLE_2:
        name = names[sample]
        known = cohort.kind == "real" and name in cohort.names
        ours = cohort.people.loc[name] if known else None
        rows.append(
            {
                "sample_id": sample,
                "recording": name,
                "label": label,
                "age": age,
                "sex": sex,
                "workbook_age": float(ours["age"]) if known else np.nan,
                "workbook_sex": ours["sex"] if known else None,
                "agrees": bool(round(ours["age"]) == age and ours["sex"] == sex) if known else None,
            }
        )
    return pd.DataFrame(rows)


# ── the reader's own recordings ────────────────────────────────────────────────────────────────────────
def _own_cohort(folder: Path, progress: bool) -> Cohort:
    files = [(label, path) for label, name in enumerate(("HC", "PD")) for path in _class_files(folder, name)]
    known = set(data.registry()["sha256"])
    recordings, at_hand, speakers, people = [], AtHand(), {}, {}
    by_content: dict[str, str] = {}
    counts = [0, 0]
    for label, path in tqdm(files, desc="reading", unit="recording", disable=not progress):
        counts[label] += 1
        name = f"{('HC', 'PD')[label]}-{counts[label]:02d}"
        signal = read_signal(path)
        shown = f"{path.parent.name}/{path.name}"
        for content in (data.sha256_of(path), signal.digest()):
            other = by_content.setdefault(content, shown)
            if other != shown:
                raise DataError(
                    f"{other} and {shown} hold the same sound",
                    "one speaker in two places would stand in training and test: remove one of them",
                )
        stem = path.stem
        if stem in speakers:
            raise DataError(
                f"two recordings are called {stem}",
                "give each speaker's file another name; one file per speaker",
            )
        speakers[stem] = (name, label)
        at_hand.keep(name, signal)
        recording = Recording(name, label, path, data.sha256_of(path))
        recordings.append(recording)
        people[name] = {"age": np.nan, "sex": None, "validated": recording.sha256 in known}
    frame = pd.DataFrame.from_dict(people, orient="index")
    workbook = _own_workbook(folder)
    if workbook:
        frame[["age", "sex"]] = read_workbook(workbook, speakers)
    told = "ages from its workbook" if workbook else "no workbook, so ages and sexes are not known"
    source = f"The reader's own recordings: {counts[0]} HC, {counts[1]} PD; {told}."
    return Cohort("own", source, tuple(recordings), frame, at_hand=at_hand)


def _class_files(folder: Path, name: str) -> list[Path]:
    shown = paths.shown(folder)
    way_out = "put the recordings in two folders whose names begin with HC and PD, one file per speaker"
    folders = [p for p in sorted(folder.iterdir()) if p.is_dir() and p.name.upper().startswith(name)]
    if len(folders) != 1:
        how_many = f"{len(folders)} folders begin" if folders else "no folder begins"
        raise DataError(f"in {shown} {how_many} with {name}", way_out)
    files = [p for p in sorted(folders[0].iterdir()) if not data.is_junk(p.name)]
    if not files:
        raise DataError(f"{folders[0].name}/ in {shown} is empty", way_out)
    for path in files:
        if path.is_dir() or path.suffix.lower() not in data.AUDIO_SUFFIXES:
            raise DataError(
                f"{folders[0].name}/{path.name} is not a recording that can be read",
                f"keep only audio files there: {', '.join(sorted(data.AUDIO_SUFFIXES))}",
            )
    return files


def _own_workbook(folder: Path) -> Path | None:
    books = [p for p in sorted(folder.glob("*.xlsx")) if not p.name.startswith((".", "~$"))]
    if len(books) > 1:
        raise DataError(
            f"{paths.shown(folder)} holds {len(books)} workbooks: {data.listed([p.name for p in books])}",
            f"keep the one with sheet {SHEET}",
        )
    return books[0] if books else None
