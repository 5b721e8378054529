"""Everything that reads what a user hands over: how an input is laid out, what reads it, what a sane result is."""

from __future__ import annotations

import csv
import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from tests.fuzz.guard import TRIPPED, Insane
from tests.fuzz.inputs import TOKENS, flac_header, mutated, voice, wav


@dataclass(frozen=True)
class Target:
    """One reader.

    Attributes
    ----------
    name : str
    share : int
        Of the inputs, out of the sum over all targets.
    inputs : callable
        Gives the hypothesis strategy of contents.
    place : callable
        Lays a content out in a folder.
    act : callable
        Reads it: ``act(folder, out)``; returns, refuses, or says what is insane.
    warm : callable
        Gives a valid content, read before anything is watched.
    writes_in : bool
        Whether it may write beside the input.
    cost : float
        Of one input, about, in milliseconds; only so that the longest work starts first.
    """

    name: str
    share: int
    inputs: Callable[[], st.SearchStrategy[bytes]]
    place: Callable[[bytes, Path], None]
    act: Callable[[Path, Path], object]
    warm: Callable[[], bytes]
    writes_in: bool = False
    cost: float = 5.0


TARGETS: dict[str, Target] = {}


def _file(name: str) -> Callable[[bytes, Path], None]:
    return lambda content, folder: (folder / name).write_bytes(content) and None


def target(
    name: str,
    share: int,
    place: Callable[[bytes, Path], None] | str,
    inputs: Callable,
    warm: Callable[[], bytes],
    **more: object,
) -> Callable:
    """Register the decorated function as what reads the inputs of ``name``."""
    lay = _file(place) if isinstance(place, str) else place

    def keep(act: Callable[[Path, Path], object]) -> Callable:
        TARGETS[name] = Target(name, share, inputs, lay, act, warm, **more)
        return act

    return keep


def want(fine: bool, said: str) -> None:
    """Say that an accepted result cannot be."""
    if not fine:
        raise Insane(said)


class _Payload:
    """What a pickle that is opened would do."""

    def __reduce__(self) -> tuple:
        import os

        return os.mkdir, (f"../{TRIPPED}",)


PICKLE = pickle.dumps(_Payload())


# ── recordings ─────────────────────────────────────────────────────────────────────────────────────────
@cache
def _sounds() -> tuple[bytes, ...]:
    import soundfile

    def coded(samples: np.ndarray, kind: str, subtype: str, rate: int = 8000) -> bytes:
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
        return buffer.getvalue()

    x = voice()
    two = np.stack([x, 0.5 * x], axis=1)
    return (
        wav(x.tobytes()),
        coded(x, "WAV", "PCM_16"),
        coded(two, "WAV", "PCM_24", 16000),
        coded(x, "WAVEX", "FLOAT"),
        coded(x, "FLAC", "PCM_16"),
        coded(two, "FLAC", "PCM_24", 44100),
        coded(x, "OGG", "VORBIS"),
        coded(x, "AIFF", "PCM_16"),
        coded(x, "MP3", "MPEG_LAYER_III", 16000),
        coded(x, "RF64", "PCM_16"),
        coded(x, "W64", "FLOAT"),
        coded(x, "CAF", "PCM_16"),
        coded(x, "WAV", "IMA_ADPCM"),
        coded(x, "AU", "ULAW"),
    )


def flac_of_silence(blocks: int, channels: int, rate: int) -> bytes:
    """A FLAC of a constant: a dozen bytes for every 65 535 samples of each channel."""

    def crc8(data: bytes) -> int:
        value = 0
        for byte in data:
            value ^= byte
            for _ in range(8):
                value = (value << 1 ^ 0x07) & 255 if value & 128 else value << 1
        return value

    def crc16(data: bytes) -> int:
        value = 0
        for byte in data:
            value ^= byte << 8
            for _ in range(8):
                value = (value << 1 ^ 0x8005) & 0xFFFF if value & 0x8000 else value << 1
        return value

    frames = []
    for number in range(blocks):
        coded = bytes([number]) if number < 128 else bytes([0xC0 | number >> 6, 0x80 | number & 63])
        head = b"\xff\xf8" + bytes([0x70, (channels - 1) << 4 | 0x08]) + coded + b"\xff\xfe"
        head += bytes([crc8(head)])
        frame = head + (b"\x00" + struct.pack(">h", 4096)) * channels
        frames.append(frame + struct.pack(">H", crc16(frame)))
    header = bytearray(flac_header(65535 * blocks, rate, channels))
    header[8:12] = struct.pack(">HH", 65535, 65535)
    return bytes(header) + b"".join(frames)


def _recordings() -> st.SearchStrategy[bytes]:
    extremes = st.sampled_from(
        (0, 1, 2, 3, 16, 255, 1024, 8000, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
    )
    odd = st.sampled_from((np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e-45, 2.0, 0.0))
    headers = st.builds(
        wav,
        st.just(voice().tobytes()),
        format_tag=st.sampled_from((1, 3, 6, 7, 2, 0x11, 0x55, 0xFFFE, 0)),
        channels=st.one_of(st.sampled_from((1, 2, 8)), extremes),
        rate=st.one_of(st.just(8000), extremes),
        bits=st.sampled_from((8, 16, 24, 32, 64, 0, 1, 7, 255, 65535)),
        riff=st.one_of(st.none(), extremes),
        data=st.one_of(st.none(), extremes),
        block=st.one_of(st.none(), extremes),
        extra=st.sampled_from(
            (
                b"",
                b"LIST\0\0\0\0",
                b"junk\xff\xff\xff\xff",
                b"fact\x04\0\0\0\xff\xff\xff\xff",
                b"fmt \0\0\0\0",
            )
        ),
    )

    def with_values(places: list[tuple[int, float]]) -> bytes:
        x = voice().copy()
        for place, value in places:
            x[place % len(x) : place % len(x) + 1 + place // len(x)] = value
        return wav(x.tobytes())

    values = st.lists(st.tuples(st.integers(0, 10**7), odd), min_size=1, max_size=4).map(with_values)
    promises = st.builds(
        flac_header,
        st.sampled_from((0, 1, 9600, 2**24, 2**31, 2**36 - 1)),
        st.sampled_from((1, 8000, 48000, 655350)),
        st.integers(1, 8),
        st.sampled_from((4, 8, 16, 24, 32)),
        st.binary(max_size=64),
    )
    scaled = st.floats(-60, 8, allow_nan=False).map(lambda e: wav((voice() * np.float32(10.0**e)).tobytes()))
    unfolding = st.builds(
        flac_of_silence,
        st.sampled_from((1, 3, 60, 400, 1900)),
        st.sampled_from((1, 2, 8)),
        st.sampled_from((8000, 48000, 655350)),
    )
    general = mutated(_sounds())
    few = st.integers(0, 99).flatmap(
        lambda n: unfolding if n == 99 else promises if n > 89 else scaled if n > 85 else values
    )
    return st.one_of(general, general, general, headers, few)


@target("recording", 3400, "voice.wav", _recordings, lambda: _sounds()[4])
def _read_recording(folder: Path, out: Path) -> None:
    from pdlib.preprocessing import preprocess
    from pdlib.recordings import MAX_SECONDS, MIN_SECONDS, RATE, read_signal

    signal = read_signal(folder / "voice.wav")
    x = signal.samples
    want(
        x.ndim == 1 and x.dtype == np.float32 and signal.sample_rate == RATE,
        "a signal is mono float32 at 8 kHz",
    )
    want(bool(np.isfinite(x).all()), "a signal is finite")
    want(MIN_SECONDS - 0.01 <= signal.duration <= MAX_SECONDS + 0.01, "a signal has a length that is allowed")
    for variant in ("paper", "sound"):
        clip = preprocess(x, signal.sample_rate, variant)
        want(bool(np.isfinite(clip.samples).all()), f"the clip ({variant}) is finite")


# ── the workbook ───────────────────────────────────────────────────────────────────────────────────────
SPEAKERS = {"AH_a": ("HC-01", 0), "AH_b": ("HC-02", 0), "AH_c": ("PD-01", 1), "AH_d": ("PD-02", 1)}
_ROWS = (
    ("Sample ID", "Label", "Age", "Sex"),
    ("AH_a", "HC", 61, "M"),
    ("AH_b", "HC", 45, "F"),
    ("AH_c", "PwPD", 70.5, "F"),
    ("AH_d", "PwPD", 66.2, "M"),
)


def packed(parts: dict[str, bytes], level: int = 6) -> bytes:
    """A zip of these files, the same bytes every time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as file:
        for name, content in parts.items():
            file.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


@cache
def _workbook() -> dict[str, bytes]:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.title = "Parselmouth"
    for row in _ROWS:
        book.active.append(row)
    book.create_sheet("Other").append(["x", 1.5])
    buffer = io.BytesIO()
    book.save(buffer)
    with zipfile.ZipFile(io.BytesIO(buffer.getvalue())) as file:
        return {name: file.read(name) for name in file.namelist() if not name.startswith("docProps")}


_SHEET = "xl/worksheets/sheet1.xml"


def _sheet(rows: str, before: str = "", root: str = "") -> bytes:
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    return f"<?xml version='1.0'?>{before}<worksheet {space} {root}><sheetData>{rows}</sheetData></worksheet>".encode()


def _inline(*cells: object) -> str:
    """One row of cells with their text inside."""
    made = (
        f"<c><v>{c}</v></c>" if isinstance(c, int | float) else f'<c t="inlineStr"><is><t>{c}</t></is></c>'
        for c in cells
    )
    return f"<row>{''.join(made)}</row>"


def _workbook_specials() -> list[bytes]:
    parts, head = _workbook(), _inline(*_ROWS[0])
    body = head + "".join(_inline(*row) for row in _ROWS[1:])
    laughs = (
        "<!DOCTYPE x [<!ENTITY a 'ha'>"
        + "".join(f"<!ENTITY {b} '{f'&{a};' * 10}'>" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
        + "]>"
    )
    outside = "<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>"
    sheets = [
        _sheet(body),
        _sheet(body, root="bogus='1'"),
        _sheet(head + _inline("&i;", "HC", 61, "M"), laughs),
        _sheet(head + _inline("&a;", "HC", 61, "M"), outside),
        _sheet(head + '<row r="99999999999"><c><v>1</v></c></row>'),
        _sheet(head + '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>' + body),
        _sheet(head + '<row r="-5"><c><v>1</v></c></row>'),
        _sheet('<row r="x"><c/></row>'),
        _sheet(head + '<row r="2"><c r="ZZZZZZ2"><v>1</v></c></row>'),
        _sheet('<row r="1"><c r="1A"><v>1</v></c></row>'),
        _sheet(head + '<row><c t="s"><v>999999</v></c></row>'),
        _sheet(head + '<row><c t="s"><v>-1</v></c></row>'),
        _sheet(head + '<row><c t="d"><v>never</v></c></row>'),
        _sheet(head + '<row><c t="n"><v>many</v></c></row>'),
        _sheet(head + '<row><c t="zz"><v>1</v></c></row>'),
        _sheet(head + '<row><c s="99999"><v>1</v></c></row>'),
        _sheet(head + f"<row><c><v>{'9' * 5000}</v></c></row>"),
        _sheet(head + f"<row><c><v>{'9' * 400}</v></c></row>"),
        _sheet(head + _inline("AH_a", "HC", 1e308, "M")),
        _sheet(head + _inline("AH_a", "HC").replace("</row>", f"<c><v>{'9' * 400}</v></c></row>")),
        _sheet(head + '<row><c t="e"><v>#REF!</v></c></row>'),
        _sheet(head + '<row><c t="b"><v>x</v></c></row>'),
        _sheet(head + "<row><c><f>SUM(A1:A9)</f></c></row>"),
        _sheet("<row/>" * 2_000_000),
        _sheet("<row><c/></row>" * 200_000),
        _sheet("<row>" + "<c/>" * 1_000_000 + "</row>"),
        _sheet("<a>" * 50_000),
        b"",
        b"<",
        b"\xff\xfe<\0",
        _sheet(body).replace(b"1.0'", b"1.0' encoding='utf-7'"),
        _sheet(body).replace(b"1.0'", b"1.0' encoding='idna'"),
        _sheet(f"<dimension ref='A1:XFD1048576'/>{body}"),
    ]
    made = [packed(parts | {_SHEET: sheet}) for sheet in sheets]
    strings = "xl/sharedStrings.xml"
    made += [packed(parts | {strings: b"<sst>" + b"<si/>" * 20_000_000 + b"</sst>"})]
    made += [packed({name: c for name, c in parts.items() if name != gone}) for gone in parts]
    made += [packed({}), packed({"x": b""}), packed(parts) + b"tail", b"PK", b"\xd0\xcf\x11\xe0" + bytes(600)]
    for name in parts:
        made += [
            packed(parts | {name: b"<x/>"}),
            packed(parts | {name: b""}),
            packed(parts | {name: b"<a>" * 10_000}),
        ]
    for name, content in parts.items():
        for old, new in (
            (b"worksheets/sheet1", b"../../../etc/passwd"),
            (b"worksheet", b"chartsheet"),
            (b"rId", b""),
            (b"sheetId", b"x"),
            (b'state="visible"', b'state="?"'),
            (b"Parselmouth", b"Parsel" + b"m" * 40_000),
            (b'Id="', b'Id="9'),
            (b"count", b"c"),
            (b"numFmt", b"x"),
            (b'"0"', b'"-1"'),
            (b'"1"', b'"99999999999999999999"'),
            (b"/xl/", b"/"),
        ):
            if old in content:
                made.append(packed(parts | {name: content.replace(old, new)}))
    return made


def _one_of(*choices: bytes) -> st.SearchStrategy[bytes]:
    """Fixed inputs by their place, so that a shrink goes to the first."""
    return st.integers(0, len(choices) - 1).map(lambda k: choices[k])


def _in_part(parts: dict[str, bytes]) -> st.SearchStrategy[bytes]:
    """One file of an archive spoilt, the archive itself whole."""
    return st.sampled_from(sorted(parts)).flatmap(
        lambda name: mutated([parts[name]], text=True).map(lambda content: packed(parts | {name: content}, 1))
    )


def _workbooks() -> st.SearchStrategy[bytes]:
    parts = _workbook()
    cells = st.lists(
        st.lists(
            st.one_of(
                st.sampled_from(("AH_a", "AH_b", "AH_c", "HC", "PwPD", "M", "F", "", "=1+1", "AH_a ")),
                st.integers(-(10**6), 10**30),
                st.floats(),
            ),
            max_size=6,
        ),
        max_size=6,
    )
    rows = cells.map(
        lambda table: packed(
            parts | {_SHEET: _sheet(_inline(*_ROWS[0]) + "".join(_inline(*r) for r in table))}, 1
        )
    )
    rare = _one_of(*_workbook_specials())
    return st.one_of(mutated([packed(parts)]), _in_part(parts), _in_part(parts), rows, rare)


@target("workbook", 1500, "people.xlsx", _workbooks, lambda: packed(_workbook()))
def _read_workbook(folder: Path, out: Path) -> None:
    from pdlib.cohort import read_workbook

    people = read_workbook(folder / "people.xlsx", SPEAKERS)
    want(list(people.index) == [name for name, _ in SPEAKERS.values()], "there is one row per speaker")
    want(bool(people["age"].between(0, 120, inclusive="right").all()), "ages are years")
    want(bool(people["sex"].isin(["M", "F"]).all()), "sexes are M and F")


# ── tables ─────────────────────────────────────────────────────────────────────────────────────────────
def written(rows: list[list[object]]) -> bytes:
    """Rows as CSV."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue().encode()


def _cells(table: bytes) -> st.SearchStrategy[bytes]:
    """A table with some of its cells replaced, and rows that are too long or too short."""
    rows = list(csv.reader(io.StringIO(table.decode())))
    strange = [
        "",
        " ",
        "nan",
        "inf",
        "-1",
        "1e999",
        "9" * 5000,
        "9" * 20,
        "1_0",
        "²",
        "٣",
        "a,b",
        'q"q',
        "x\ny",
        "=1+1",
        "-",
        "None",
        "../../x",
        "0x10",
        "1.0",
        "2",
        "\x1b[2J",
        "[red]",
        "x" * 140_000,
    ]
    change = st.tuples(st.integers(0, len(rows) - 1), st.integers(0, len(rows[0])), st.sampled_from(strange))

    def spoilt(changes: list[tuple[int, int, str]]) -> bytes:
        made = [list(row) for row in rows]
        for row, column, value in changes:
            if column < len(made[row]):
                made[row][column] = value
            elif value:
                made[row].append(value)
            else:
                made[row].pop()
        return written(made)

    return st.lists(change, min_size=1, max_size=3).map(spoilt)


def _tables(table: bytes, specials: tuple[bytes, ...] = ()) -> st.SearchStrategy[bytes]:
    head = table.partition(b"\n")[0]
    wide = (
        b"",
        b"\n",
        head,
        head + b"\n",
        b",".join(b"c" for _ in range(300_000)) + b"\n",
        head + b"," * 1_000_000 + b"\n",
        head + b"\n" + b"," * 1_000_000,
        head + b"\n" + b'"' + b"x" * 2_000_000,
        b"\xff\xfe" + table.decode().encode("utf-16-le"),
        b"\xef\xbb\xbf" + table,
        table.replace(b"\n", b"\r"),
        table.replace(b"\n", b"\r\n"),
        table + b"\0\n",
        table * 3,
        b"\n" * 3_000_000,
        table.replace(b",", b";"),
        head + b"\n" + b"a\n" * 500_000,
    )
    spoilt, cells = mutated([table], text=True), _cells(table)
    return st.one_of(
        spoilt,
        spoilt,
        cells,
        cells,
        st.integers(0, 9).flatmap(lambda n: _one_of(*wide, *specials) if n == 9 else cells),
    )


_CLAIMS = written(
    [
        [
            "id",
            "section",
            "page",
            "kind",
            "printed",
            "unit",
            "chapter",
            "key",
            "tolerance",
            "verdict",
            "note",
        ],
        ["num-a", "1", "3", "number", "99.06", "%", "10", "acc", "0.005", "differs", "It is, less."],
        ["fig-1", "3.3", "24-26", "figure", "the method", "", "08", "plan", "", "holds", "So it is."],
    ]
)
_REPRODUCED = written(
    [
        ["id", "value", "low", "high", "profile", "stamp"],
        ["num-a", "0.75", "0.6", "0.85", "full", "abc"],
        ["num-b", "3.0", "", "", "full", "abc"],
    ]
)


@target("claims", 900, "claims.csv", lambda: _tables(_CLAIMS), lambda: _CLAIMS)
def _read_claims(folder: Path, out: Path) -> None:
    from pdlib.claims import KINDS, VERDICTS, read_claims

    found = read_claims(folder / "claims.csv")
    for claim in found:
        want(np.isfinite(claim.tolerance) and claim.tolerance >= 0, "a tolerance is a number")
        want(claim.kind in KINDS and claim.verdict in VERDICTS, "kind and verdict are of the vocabulary")
        want(claim.number is None or np.isfinite(claim.number), "a printed number is finite")
    want(len({claim.id for claim in found}) == len(found), "each claim has an id of its own")


@target("reproduced", 900, "reproduced.csv", lambda: _tables(_REPRODUCED), lambda: _REPRODUCED)
def _read_reproduced(folder: Path, out: Path) -> None:
    from pdlib.claims import read_reproduced

    for value in read_reproduced(folder / "reproduced.csv").values():
        numbers = [v for v in (value.value, value.low, value.high) if v is not None]
        want(all(isinstance(v, float) and np.isfinite(v) for v in numbers), "values are finite numbers")
        value.said("%")


_PREDICTIONS = written(
    [
        [
            "model",
            "variant",
            "protocol",
            "recording",
            "label",
            "fold",
            "seed",
            "score",
            "threshold",
            "predicted",
        ],
        *(
            ["custnetgc", "paper", "speaker", name, label, 0, seed, score, 0.5, int(score >= 0.5)]
            for seed in (0, 1)
            for name, label, score in (
                ("HC-01", 0, 0.25),
                ("HC-02", 0, 0.625),
                ("PD-01", 1, 0.75),
                ("PD-02", 1, 0.375),
            )
        ),
    ]
)


@target("predictions", 900, "chapter_10.csv", lambda: _tables(_PREDICTIONS), lambda: _PREDICTIONS)
def _read_predictions(folder: Path, out: Path) -> None:
    from pdlib.evaluate import COLUMNS, read_predictions, write_predictions

    frame = read_predictions(folder / "chapter_10.csv")
    want(tuple(frame.columns) == tuple(COLUMNS) and len(frame) > 0, "the columns are those of predictions")
    want(
        bool(frame["score"].between(0, 1).all() and np.isfinite(frame["threshold"]).all()),
        "scores are probabilities",
    )
    want(bool(frame["label"].isin([0, 1]).all()), "labels are 0 and 1")
    again = read_predictions(write_predictions(frame, out / "again.csv"))
    want(again.equals(frame), "what is written reads back equal")


_REGISTRY = written(
    [
        ["name", "file", "size", "sha256", "source", "licence"],
        [
            "HC-01",
            "HC_AH/a.wav",
            5,
            "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
            "here",
            "CC0",
        ],
        [
            "PD-01",
            "PD_AH/b.wav",
            5,
            "486ea46224d1bb4fb680f34f7c9ad96a8f24ec88be73ea8e5a6c65260e9cb8a7",
            "here",
            "CC0",
        ],
    ]
)


@target("registry", 900, "registry.csv", lambda: _tables(_REGISTRY), lambda: _REGISTRY)
def _read_registry(folder: Path, out: Path) -> None:
    from pdlib import data

    entries = data.registry(folder / "registry.csv")
    want(bool((entries["size"] >= 0).all()), "sizes are not negative")
    want(
        all(not Path(file).is_absolute() and ".." not in Path(file).parts for file in entries["file"]),
        "files stay inside",
    )
    found = data.differences(folder, entries)
    want(len(found.missing) + len(found.wrong) == len(entries), "nothing of it is there")
    found.sentence()


# ── values, cells, profiles, notebooks ─────────────────────────────────────────────────────────────────
_CELL = b"""# values of one run
from typing import Literal
profile: str = "quick"  # name printed on the page
cohort: str = "auto"  # auto, real, synthetic or a folder
seed: int = 0  # folds and weights
sizes: list[int] = [96, 122]  # pixels
rate: float | None = None  # of learning
kind: Literal["a", "b", 3] = "a"  # which
names: list[str] = ["x"]  # of models
fast: bool = True  # whether
synthetic_size: int = 4  # voices
"""
_PROFILE = b"""about: For tests.
all:
  seed: 3
  sizes: [64]
chapters:
  "01": {rate: 1e-3, fast: false}
minutes: {"01": 0.5}
"""
_VALUES = (
    b"seed=7",
    b"seed=-1",
    b"rate=1e-3",
    b"rate=.5",
    b"sizes=[1, 2, 3]",
    b"kind=b",
    b"kind=3",
    b'names=["a=b", c]',
    b"fast=false",
    b"cohort=~/voices",
    b"cohort='7'",
    b"rate=null",
    b"seed: 7",
    b"sizes=\n- 1\n- 2",
)
_LAUGHS = b"a: &a [x, x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (b, b, b", ".join([b"*%c" % a] * 10))
    for a, b in zip(b"abcdefgh", b"bcdefghi", strict=True)
)
_YAML = (
    b"!!python/object/apply:os.mkdir ['../tripped']",
    b"!!python/name:os.system",
    b"!!python/object/new:os.mkdir {args: ['../tripped']}",
    b"&a [*a]",
    b"&a {x: *a}",
    _LAUGHS,
    b"[" * 500,
    b"[" * 50_000,
    b"{" * 50_000,
    b"- " * 5000,
    b"? " * 5000,
    b"9" * 5000,
    b"-" * 90_000,
    b"!!int x",
    b"!!float x",
    b"!!bool x",
    b"!!timestamp 2001-99-99",
    b"!!timestamp x",
    b"!!binary x",
    b"!!binary \xff",
    b"!!set {a}",
    b"!!omap [a]",
    b"!!pairs [a: 1]",
    b"!!null x",
    b"!!str [a]",
    b"!!seq a",
    b"!!map a",
    b"{[1]: 2}",
    b"{{a: 1}: 2}",
    b"{? [a] : b}",
    b"{a: 1, a: 2}",
    b"%YAML 9.9\n---\na",
    b"--- a\n--- b",
    b"'\n",
    b'"\\ud800"',
    b'"\\x00"',
    b'"\\U0010ffff"',
    b"\xed\xa0\x80",
    b"|9\n a",
    b"> \n\n a",
    b"1e999",
    b"-1e999",
    b".",
    b"+",
    b"0x10",
    b"0o7",
    b"1_0",
    b"1:30",
    b"2001-01-01",
    b"~",
    b"<<: {a: 1}",
    b"{<<: *x}",
    b"!x y",
    b"!<tag:x> y",
    b"@",
    b"`",
    b"%",
    b"\t- a",
    b"a: b: c",
    b"x" * 200_000,
    b"[" + b"1, " * 40_000 + b"]",
    b"\n".join(b"a%d: 1" % k for k in range(9000)),
    b"9" * 400,
    b"\xff\xfea\0",
)


def _notebook_of(*cells: dict, metadata: object = None) -> dict:
    return {
        "cells": [{"id": f"c{k}", "metadata": {}, **cell} for k, cell in enumerate(cells)],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "x", "language": "python"}}
        | (metadata or {}),
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _code(source: str, *tags: str, outputs: tuple = ()) -> dict:
    return {
        "cell_type": "code",
        "source": source,
        "metadata": {"tags": list(tags)} if tags else {},
        "outputs": list(outputs),
        "execution_count": 1 if outputs else None,
    }


@cache
def _chapter() -> bytes:
    title = {"cell_type": "markdown", "source": "# 1. One\n\nWords."}
    return json.dumps(
        _notebook_of(title, _code(_CELL.decode(), "parameters"), _code("import numpy as np\nseed"))
    ).encode()


def _book(content: bytes, folder: Path, profile: bytes = _PROFILE) -> None:
    (folder / "notebooks" / "profiles").mkdir(parents=True)
    (folder / "notebooks" / "01_one.ipynb").write_bytes(content)
    (folder / "notebooks" / "profiles" / "small.yaml").write_bytes(profile)


def _check_values(chapters: dict, values: dict) -> None:
    """What was resolved is of the types that the chapter declares."""
    kinds = {
        "int": int,
        "float": int | float | None,
        "str": str,
        "bool": bool,
        "list": list,
        "Lite": str | int,
        None: object,
    }
    for number, chapter in chapters.items():
        for name, parameter in chapter.parameters.items():
            value, kind = values[number][name], parameter.annotation[:4].rstrip("[")
            kind = next((k for k in kinds if k and k.startswith(kind[:4])), None)
            want(
                "None" in parameter.annotation or isinstance(value, kinds[kind]),
                f"a parameter is {parameter.annotation[:4]}",
            )
            want(not isinstance(value, float) or np.isfinite(value), "a number is finite")
        json.dumps(values[number], allow_nan=False).encode("utf-8")


def _texts() -> st.SearchStrategy[bytes]:
    free = st.text(max_size=30).map(lambda t: t.encode("utf-8", "surrogatepass"))
    names = st.sampled_from(
        (
            b"seed",
            b"sizes",
            b"rate",
            b"kind",
            b"names",
            b"fast",
            b"cohort",
            b"profile",
            b"sede",
            b"",
            b"x" * 50_000,
        )
    )
    valued = st.builds(lambda n, v: n + b"=" + v, names, st.one_of(free, _one_of(*_YAML), _one_of(*TOKENS)))
    return st.one_of(
        mutated(_VALUES, text=True), valued, free, st.lists(_one_of(*_VALUES), max_size=3).map(b"\x1e".join)
    )


@target("values", 1900, "values", _texts, lambda: _VALUES[0])
def _read_values(folder: Path, out: Path) -> None:
    from pdlib import params

    text = (folder / "values").read_bytes().decode("utf-8", "surrogateescape")  # as the command line gets it
    chapters = _read_book_once()
    given = params.parse_assignments(text.split("\x1e"))
    profile = params.Profile("small", "", {}, {}, {})
    values = params.resolve(chapters, profile, given, list(chapters))
    _check_values(chapters, values)
    if "cohort" in given:
        from pdlib.paths import as_folder

        as_folder(values["01"]["cohort"])


@cache
def _read_book_once() -> dict:
    import tempfile

    from pdlib import params

    with tempfile.TemporaryDirectory() as folder:
        _book(_chapter(), Path(folder))
        return params.read_chapters(params.Project(Path(folder)))


def _cells_of_parameters() -> st.SearchStrategy[bytes]:
    values = (
        b"1+1",
        b"__import__('os').mkdir('../tripped')",
        b"{[]: 1}",
        b"{1: [2]}",
        b"(" * 300 + b")" * 300,
        b"[" * 90 + b"]" * 90,
        b"-" * 5000 + b"1",
        b"1" + b"+1" * 5000,
        b"not " * 3000 + b"1",
        b"'\\ud800'",
        b"'\\x00'",
        b"9" * 5000,
        b"0x" + b"f" * 5000,
        b"1e999",
        b"1j",
        b"...",
        b"b'x'",
        b"f'{1}'",
        b"'a' 'b'",
        b"{*()}",
        b"[*[1]]",
        b"lambda: 1",
        b"[x for x in ()]",
        b"-1",
        b"True",
        b"None",
        b"(y := 1)",
        b"set()",
        b'"""\n"""',
        b"'" + b"x" * 90_000 + b"'",
        b"1 if 1 else 2",
        b"-'x'",
        b"1 + 1j",
    )
    kinds = (
        b"int",
        b"float",
        b"str",
        b"bool",
        b"list[int]",
        b"list[str]",
        b"list[list[int]]",
        b"int | None",
        b"None | int",
        b"int" + b" | None" * 60,
        b"int" + b" | None" * 3000,
        b"Literal['a']",
        b"Literal[()]",
        b"Literal[1, True]",
        b"Literal['a', 'a']",
        b"Literal",
        b"Literal[-1]",
        b"Literal[" + b"'x', " * 9000 + b"]",
        b"Literal['\\ud800']",
        b"Any",
        b"'int'",
        b"x.y",
        b"list",
        b"list[()]",
        b"dict[str, int]",
        b"1",
    )
    line = st.builds(
        lambda k, v: b"seed: " + k + b" = " + v + b"  # of it\n", _one_of(*kinds), _one_of(*values)
    )
    other = (
        b"",
        b"import os\n",
        b"from os import path\n",
        b"from typing import *\n",
        b"x = 1  # y\n",
        b"del x\n",
        b"x: int\n",
        b"if 1:\n  x: int = 1  # y\n",
        b"\x0c\nx: int = 1  # y\n",
        b"x: int = \\\n1  # y\n",
        b"x: int = (\n1  # y\n)\n",
        b"seed: int = 1  # \xe2\x80\xa8 y\n",
        b"\xe2\x80\xa8",
        b"@" * 99,
        b"$",
        b"'''",
        b"(" * 99,
        b"x: int = 1  # y\n" * 6000,
        b"# y\n" * 30_000,
        b"# coding: utf-7\nx: int = 1  # y\n",
        b"\tx: int = 1  # y\n",
        b"x: int = 1 # y\n  z: int = 1 # y\n",
        b"\0",
        b"\r",
        b"x: int = 1  # y\rz: int = 2  # y",
        b"\\",
        b"\xef\xbb\xbfx: int = 1  # y\n",
        b"caf\xc3\xa9: int = 1  # y\n",
        b"\xef\xac\x81: int = 1  # y\n",
    )
    return st.one_of(mutated([_CELL], text=True), mutated([_CELL], text=True), line, _one_of(*other))


@target("cells", 1500, "cell", _cells_of_parameters, lambda: _CELL)
def _read_cell(folder: Path, out: Path) -> None:
    from pdlib.params import parse_parameters

    given = (folder / "cell").read_bytes()
    try:
        text = given.decode("utf-8", "surrogatepass")  # JSON can carry lone surrogates
    except UnicodeDecodeError:
        text = given.decode("utf-8", "replace")
    for name, parameter in parse_parameters(text, "01_one.ipynb").items():
        want(
            name == parameter.name and name.isidentifier() and bool(parameter.help),
            "a parameter has a name and says what it is",
        )


def _profiles() -> st.SearchStrategy[bytes]:
    inside = st.builds(
        lambda head, v: head + v,
        st.sampled_from(
            (
                b"",
                b"all: ",
                b"chapters: ",
                b"minutes: ",
                b"about: ",
                b'chapters: {"01": ',
                b"all:\n  seed: ",
                b"minutes:\n  1: ",
            )
        ),
        _one_of(*_YAML),
    )
    return st.one_of(mutated([_PROFILE], text=True), mutated([_PROFILE], text=True), inside)


@target(
    "profile", 1300, lambda content, folder: _book(_chapter(), folder, content), _profiles, lambda: _PROFILE
)
def _read_profile(folder: Path, out: Path) -> None:
    from pdlib import params

    profile = params.load_profile("small", params.Project(folder))
    want(all(np.isfinite(m) and m >= 0 for m in profile.minutes.values()), "minutes are times")
    chapters = _read_book_once()
    _check_values(chapters, params.resolve(chapters, profile, {}, list(chapters)))


def _json_values() -> st.SearchStrategy[object]:
    plain = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(("../../x", "\ud800", "\0", "01", "08", "parameters", "x" * 3000)),
    )
    return st.recursive(
        plain,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
        ),
        max_leaves=6,
    )


def _places(node: object, at: tuple = ()) -> list[tuple]:
    found = [at]
    for key, value in (
        node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    ):
        found += _places(value, (*at, key))
    return found


def in_json(whole: object) -> st.SearchStrategy[bytes]:
    """A JSON text with one or two of its values replaced or taken out."""
    places = [place for place in _places(whole) if place]
    change = st.tuples(st.integers(0, len(places) - 1), st.one_of(st.just(...), _json_values()))

    def spoilt(changes: list[tuple[int, object]]) -> bytes:
        node = json.loads(json.dumps(whole))
        for which, value in changes:
            parent = node
            try:
                for key in places[which][:-1]:
                    parent = parent[key]
                if value is ...:
                    del parent[places[which][-1]]
                else:
                    parent[places[which][-1]] = value
            except (TypeError, KeyError, IndexError):
                continue  # an earlier change took its place away
        return json.dumps(node).encode()

    return st.lists(change, min_size=1, max_size=2).map(spoilt)


def _chapters() -> st.SearchStrategy[bytes]:
    whole = json.loads(_chapter())
    other = (
        b"",
        b"{}",
        b"[]",
        b"null",
        b"1",
        b"nan",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"nbformat": 99999999999999999999}',
        b'{"nbformat": 3, "worksheets": [{"cells": [{}]}]}',
        b'{"nbformat": 2, "worksheets": 1}',
        b'{"nbformat": 1, "cells": [1]}',
        b'{"nbformat": 4, "nbformat_minor": -1, "metadata": {}, "cells": []}',
        b"x" * 5_000_000,
        _chapter().replace(b"One", b"\\ud800"),
        _chapter().replace(b"import numpy", b"\\udfff"),
        b'{"cells": ' + b"[1," * 3000 + b"1" + b"]" * 3000 + b"}",
        json.dumps(_notebook_of(*[{"cell_type": "markdown", "source": "x"}] * 20_000)).encode(),
    )
    return st.one_of(
        in_json(whole),
        in_json(whole),
        mutated([_chapter()], text=True),
        st.integers(0, 9).flatmap(lambda n: _one_of(*other) if n == 9 else in_json(whole)),
    )


@target("chapter", 900, _book, _chapters, _chapter, cost=20.0)
def _read_chapter(folder: Path, out: Path) -> None:
    from pdlib import claims, params, run

    project = params.Project(folder)
    for chapter in params.read_chapters(project).values():
        run.source_hash(chapter)
        run.imports(chapter)
        run.data_files(chapter)
        claims.shown_in(chapter)
        want(all(isinstance(need, str) for need in chapter.needs), "a chapter needs numbers of chapters")
        chapter.title.encode("utf-8")


# ── pictures ───────────────────────────────────────────────────────────────────────────────────────────
@cache
def _pictures() -> tuple[bytes, ...]:
    from PIL import Image

    rng = np.random.default_rng(0)
    grey = np.kron(rng.integers(0, 255, (6, 5), dtype=np.uint8), np.ones((5, 5), np.uint8))
    colour = Image.fromarray(np.stack([grey, grey[::-1], grey], axis=-1))
    exif = Image.Exif()
    exif[0x0112] = 6

    def saved(image: Image.Image, kind: str, **options: object) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    return (
        saved(colour, "PNG"),
        saved(colour, "JPEG", exif=exif),
        saved(colour, "JPEG", progressive=True),
        saved(colour, "BMP"),
        saved(colour, "WEBP", lossless=True),
        saved(colour.convert("P"), "PNG", transparency=3),
        saved(colour.convert("RGBA"), "PNG"),
        saved(Image.fromarray(grey.astype(np.uint16) * 200), "PNG"),
        saved(colour.convert("CMYK"), "JPEG"),
        saved(colour.convert("1"), "PNG"),
        saved(colour, "PNG", save_all=True, append_images=[colour.rotate(90)]),
        saved(colour.convert("P"), "BMP"),
        saved(colour, "GIF"),
        saved(colour, "TIFF"),
    )


def png(
    width: int,
    height: int,
    *,
    depth: int = 8,
    colour: int = 2,
    data: bytes = b"",
    chunks: tuple[tuple[bytes, bytes], ...] = (),
    interlaced: int = 0,
) -> bytes:
    """A PNG whose header promises what it likes, every check sum right."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + b"".join(chunk(k, b) for k, b in chunks)
        + chunk(b"IDAT", data)
        + chunk(b"IEND", b"")
    )


def zeros(count: int) -> bytes:
    """So many zero bytes, deflated; made in pieces."""
    packer, made = zlib.compressobj(9), []
    for start in range(0, count, 2**20):
        made.append(packer.compress(bytes(min(2**20, count - start))))
    return b"".join(made) + packer.flush()


@cache
def _bombs() -> tuple[bytes, ...]:
    text = zlib.compress(bytes(2**27), 9)
    return (
        png(10_000, 10_000, data=zeros(30_010_000)),
        png(6_300, 6_300, colour=6, data=zeros(6_300 * (4 * 6_300 + 1))),
        png(6_300, 6_300, depth=16, colour=0, data=zeros(6_300 * (2 * 6_300 + 1))),
        png(6_300, 6_300, colour=6, data=zeros(4 * 10**7), interlaced=1),
        png(10_900, 10_900, colour=6, data=zeros(10**6)),
        png(2**31 - 1, 2**31 - 1),
        png(2**32 - 1, 1),
        png(0, 0),
        png(1, 2**31 - 1),
        png(3_000_000, 30, data=zeros(3 * 10**8)),
        png(20, 20, chunks=((b"zTXt", b"x\0\0" + text),), data=zeros(1220)),
        png(20, 20, chunks=((b"iTXt", b"x\0\1\0\0\0" + text),), data=zeros(1220)),
        png(20, 20, chunks=((b"iCCP", b"x\0\0" + text),), data=zeros(1220)),
        png(20, 20, chunks=((b"acTL", b"\xff" * 8),), data=zeros(1220)),
        png(20, 20, chunks=((b"eXIf", b"II*\0\xff\xff\xff\xff"),), data=zeros(1220)),
        png(
            20,
            20,
            chunks=((b"eXIf", b"MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12\0\3\xff\xff\xff\xff"),),
            data=zeros(1220),
        ),
        png(20, 20, chunks=((b"tRNS", b"\0" * 300),), data=zeros(1220)),
        png(20, 20, colour=3, data=zeros(420)),
        png(20, 20, colour=7),
        png(20, 20, depth=3),
        png(20, 20, chunks=((b"tEXt", b"x" * 2**20),) * 70, data=zeros(1220)),
        png(
            6_000,
            6_000,
            colour=3,
            data=zeros(6_000 * 6_001),
            chunks=((b"PLTE", bytes(768)), (b"tRNS", b"\0")),
        ),
        b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\xff\xff\xff\x0f" + bytes(8),
        b"RIFF\x1a\0\0\0WEBPVP8X\x0a\0\0\0\x12\0\0\0\xfe\x3f\0\xfe\x3f\0" + bytes(8),
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 70, 0, 0, 54, 40, 6000, -6000, 1, 32, 0, 0, 0, 0, 0, 0),
        b"BM"
        + struct.pack(
            "<IHHIIiiHHIIiiII", 70, 0, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24, 1, 0, 0, 0, 2**31 - 1, 0
        ),
        b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 70, 0, 0, 1078, 40, 6000, 6000, 1, 8, 1, 0, 0, 0, 256, 0)
        + bytes(1024)
        + b"\0\1",
    )


def scans(width: int, height: int, count: int) -> bytes:
    """A progressive JPEG of one grey, with a scan that adds nothing as often as asked."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (width, height), 128).save(buffer, "JPEG", progressive=True)
    content = buffer.getvalue()
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * count + b"\xff\xd9"


def _images() -> st.SearchStrategy[bytes]:
    sizes = st.sampled_from((0, 1, 15, 16, 25, 6000, 65535, 2**31 - 1, 2**32 - 1))
    headers = st.builds(
        png,
        sizes,
        sizes,
        depth=st.sampled_from((1, 2, 4, 8, 16, 0)),
        colour=st.integers(0, 7),
        data=st.one_of(st.just(zeros(3000)), st.binary(max_size=40)),
        interlaced=st.integers(0, 2),
    )
    general = mutated(_pictures())
    return st.one_of(
        general,
        general,
        general,
        headers,
        st.integers(0, 19).flatmap(
            lambda n: _one_of(*_bombs(), scans(6000, 6000, 400)) if n == 19 else general
        ),
    )


@target("picture", 1400, "picture.jpg", _images, lambda: _pictures()[0], cost=8.0)
def _read_picture(folder: Path, out: Path) -> None:
    from pdlib.image_folder import read_image

    found = read_image(folder / "picture.jpg", 48)
    want(found.shape == (48, 48, 3) and found.dtype == np.uint8, "a picture is a square in RGB")


_FACE_NAMES = (
    "a.png",
    "b.PNG",
    "c.jpeg",
    ".hidden.png",
    "Thumbs.db",
    "notes.txt",
    "d.exe",
    "e",
    "é.png",
    "=f.png",
    "[red].png",
    "\x1b[2J.png",
    "x" * 240 + ".png",
    "con.png",
    "\udcff.png",
    " .png",
    "..png",
    "g.png.",
    "\n.png",
)


def _lay_folder(content: bytes, folder: Path) -> None:
    """Two folders of pictures and what else lies there, as the JSON in ``content`` tells."""
    told = json.loads(content)
    root = folder / "faces"
    root.mkdir()
    for k, (where, name, what) in enumerate(told):
        at = root / where if where else root
        path = at / name
        try:
            at.mkdir(exist_ok=True)
            if path.is_symlink() or path.exists():
                continue
            if what == "out":
                path.symlink_to("/etc/hostname")
            elif what == "loop":
                path.symlink_to(path.name)
            elif what == "folder":
                path.mkdir()
            elif what == "pipe":
                import os

                os.mkfifo(path)
            else:
                rng = np.random.default_rng(k if what == "new" else 0)
                rows = b"".join(b"\0" + rng.bytes(60) for _ in range(20))
                path.write_bytes(b"" if what == "empty" else png(20, 20, data=zlib.compress(rows)))
        except OSError:
            continue  # a name this system cannot have


def _folders() -> st.SearchStrategy[bytes]:
    whole = [
        ["one", "a.png", "new"],
        ["one", "b.png", "new"],
        ["two", "a.png", "new"],
        ["two", "b.png", "new"],
    ]
    entry = st.tuples(
        st.sampled_from(("one", "two", "", "three", "__MACOSX", "é")),
        st.sampled_from(_FACE_NAMES),
        st.sampled_from(("new", "new", "same", "empty", "out", "loop", "folder", "pipe")),
    )
    return st.lists(entry, max_size=3).map(lambda more: json.dumps(whole + [list(e) for e in more]).encode())


@target(
    "faces",
    400,
    _lay_folder,
    _folders,
    lambda: json.dumps([[n, f, "new"] for n in ("one", "two") for f in ("a.png", "b.png")]).encode(),
    cost=8.0,
)
def _read_faces(folder: Path, out: Path) -> None:
    from pdlib.image_folder import read_image_folder, write_image_folder

    found, classes = read_image_folder(folder / "faces", 32)
    want(
        found.pictures.shape[1:] == (32, 32, 3) and len(found.names) == len(found.pictures) >= 4,
        "pictures are squares",
    )
    want(len(set(found.names)) == len(found.names), "each picture has a name of its own")
    write_image_folder(found, out / "copy", classes)


# ── archives ───────────────────────────────────────────────────────────────────────────────────────────
_SOUND = {"HC_AH/a.wav": b"hello", "PD_AH/b.wav": b"world"}


@cache
def _zips() -> tuple[bytes, ...]:
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as file:
        for name, content in _SOUND.items():
            file.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
    return (
        packed({"HC_AH/a.wav": b"hello"}),
        packed({"HC_AH/a.wav": b"hello", "__MACOSX/._a.wav": b"x"}),
        stored.getvalue(),
    )


def _strange_zip(members: list[tuple[str, str]]) -> bytes:
    buffer = io.BytesIO()
    kinds = {"stored": zipfile.ZIP_STORED, "bz2": zipfile.ZIP_BZIP2, "lzma": zipfile.ZIP_LZMA}
    import warnings

    with zipfile.ZipFile(buffer, "w") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two members of one name
        for name, what in members:
            info = zipfile.ZipInfo("x", (1980, 1, 1, 0, 0, 0))
            info.filename = info.orig_filename = name
            info.compress_type = kinds.get(what, zipfile.ZIP_DEFLATED)
            info.external_attr = {
                "link": 0o120777 << 16,
                "device": 0o020666 << 16,
                "pipe": 0o010666 << 16,
            }.get(what, 0o100644 << 16)
            file.writestr(
                info,
                bytes(2**24) if what == "large" else b"/etc/passwd" if what == "link" else b"hello",
                info.compress_type,
            )
    return buffer.getvalue()


def _archives() -> st.SearchStrategy[bytes]:
    names = (
        "a.wav",
        "HC_AH/a.wav",
        "../a.wav",
        "../../x/a.wav",
        "/srv/a.wav",
        "C:\\a.wav",
        "..\\a.wav",
        "a.wav/",
        "./a.wav",
        "a.wav/../../a.wav",
        "HC_AH/b.wav",
        ".a.wav",
        "__MACOSX/a.wav",
        "x" * 60_000 + "/a.wav",
        "é/a.wav",
        "",
        ".",
        "/",
        "//a.wav",
        "a.wav ",
        "A.WAV",
        "con",
        "a\0.wav",
        "canary.json",
        "../canary.json",
    )
    member = st.tuples(
        st.sampled_from(names),
        st.sampled_from(("plain", "plain", "stored", "bz2", "lzma", "link", "device", "pipe", "large")),
    )
    odd = st.lists(member, min_size=1, max_size=3).map(_strange_zip)
    lzma = _strange_zip([("HC_AH/a.wav", "lzma")]).replace(b"\x00\x00\x80\x00", b"\xff\xff\xff\xff")
    other = (
        b"",
        b"PK\5\6" + bytes(18),
        b"PK\5\6" + b"\xff" * 18,
        b"PK\3\4",
        packed({f"x{k}.wav": b"" for k in range(30_000)}),
        lzma,
        b"PK\6\6" + b"\xff" * 52 + b"PK\6\7" + bytes(16) + b"PK\5\6" + b"\xff" * 16 + b"\0\0",
    )
    return st.one_of(
        mutated(_zips()),
        mutated(_zips(), most=6),
        odd,
        st.integers(0, 9).flatmap(lambda n: _one_of(*other) if n == 9 else odd),
    )


def _lay_archive(content: bytes, folder: Path) -> None:
    (folder / "HC_AH.zip").write_bytes(content)
    (folder / "PD_AH").mkdir()
    (folder / "PD_AH" / "b.wav").write_bytes(b"world")


@target("archive", 1500, _lay_archive, _archives, lambda: _zips()[0])
def _read_archive(folder: Path, out: Path) -> None:
    import pandas as pd

    from pdlib import data

    rows = list(csv.DictReader(io.StringIO(_REGISTRY.decode())))
    entries = pd.DataFrame(rows).astype({"size": int})
    archives = [data.Archive(1, "HC_AH.zip", ""), data.Archive(2, "PD_AH.zip", "")]
    try:
        data.fetch(out / "target", folder, progress=False, archives=archives, entries=entries)
    finally:
        there = {
            p.relative_to(out / "target").as_posix()
            for p in (out / "target").rglob("*")
            if p.is_file() and ".partial" not in p.parts
        }
        want(
            there <= set(_SOUND),
            f"only files of the registry are unpacked, not {sorted(there - set(_SOUND))}",
        )
        want(
            all((out / "target" / name).read_bytes() == _SOUND[name] for name in there),
            "what is unpacked is right",
        )
    want(there == set(_SOUND), "all files are there")


# ── the store ──────────────────────────────────────────────────────────────────────────────────────────
_ARRAYS = {
    "weights": np.arange(600, dtype=np.float32).reshape(20, 30),
    "names": np.array(["HC-01", "PD-01"]),
    "score": np.float64(0.5),
}


@cache
def _stored() -> tuple[bytes, str]:
    """A result of the store as it lies on the disk, and its file's name."""
    import tempfile

    from pdlib.provenance import Store

    with tempfile.TemporaryDirectory() as folder:
        Store(Path(folder)).get("fold", {"seed": 1}, lambda: dict(_ARRAYS), ["errors"])
        path = next(Path(folder).rglob("*.npz"))
        return path.read_bytes(), path.name


def _array_file(
    descr: str = "<f4",
    shape: str = "(20, 30)",
    data: bytes = bytes(2400),
    version: int = 1,
    raw: bytes | None = None,
) -> bytes:
    text = (
        raw
        if raw is not None
        else f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode() + b"\n"
    )
    size = struct.pack("<H", len(text) % 65536) if version == 1 else struct.pack("<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + data


def _entries() -> st.SearchStrategy[bytes]:
    whole, _ = _stored()
    with zipfile.ZipFile(io.BytesIO(whole)) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    arrays = st.builds(
        _array_file,
        st.sampled_from(
            (
                "'<f4'",
                "'|O'",
                "'<f8'",
                "'<U9999999'",
                "'S0'",
                "'V1'",
                "[('a', '<f4')]",
                "'<M8[s]'",
                "'x'",
                "1",
                "'<c16'",
                "'|b1'",
                "'" + "x" * 9000 + "'",
            )
        ),
        st.sampled_from(
            (
                "(20, 30)",
                "(2147483648,)",
                "(1000000000000,)",
                "(-1,)",
                "(0,)",
                "()",
                "(1, 10**9)",
                "(True,)",
                "(1.5,)",
                "'x'",
                "(99999999999999999999999,)",
                "(" + "1," * 40 + ")",
                "(20, 30, 1)",
            )
        ),
        st.sampled_from((bytes(2400), b"", PICKLE, bytes(10))),
        st.sampled_from((1, 2, 3, 9)),
        st.sampled_from(
            (
                None,
                None,
                None,
                b"",
                b"{",
                b"(" * 9000,
                b"{'descr': " + b"[" * 5000,
                b"\xff" * 50,
                b"__import__('os').mkdir('../tripped')\n",
                b"{" * 200_000,
                b"9" * 9000,
            )
        ),
    )
    in_member = st.tuples(st.sampled_from(sorted(parts)), arrays).map(
        lambda pair: packed(parts | {pair[0]: pair[1]}, 1)
    )
    spoilt = st.sampled_from(sorted(parts)).flatmap(
        lambda name: mutated([parts[name]]).map(lambda c: packed(parts | {name: c}, 1))
    )
    deep = _array_file("'<U200000'", "()", ("[" * 200_000).encode("utf-32-le"))
    other = (
        b"",
        PICKLE,
        b"PK\5\6" + bytes(18),
        parts["weights.npy"],
        packed({}),
        packed(parts | {"x.npy": PICKLE}),
        packed(parts | {"x": b"y"}),
        packed(parts | {"../../x.npy": parts["score.npy"]}),
        packed({k: v for k, v in parts.items() if "key" not in k}),
        packed(parts | {"weights.npy": PICKLE}),
        packed(parts | {"__key_parts__.npy": deep}),
        packed(parts | {"__key_parts__.npy": _array_file("'|O'", "()", PICKLE)}),
        _great_member(parts),
        _array_file("'|O'", "()", PICKLE),
        packed(parts)[:-30],
        whole + b"x",
        _strange_zip([("weights.npy", "lzma")]),
        _strange_zip([("weights.npy", "bz2"), ("weights.npy", "stored")]),
    )
    return st.one_of(
        mutated([whole]),
        in_member,
        in_member,
        spoilt,
        st.integers(0, 9).flatmap(lambda n: _one_of(*other) if n == 9 else in_member),
    )


def _great_member(parts: dict[str, bytes]) -> bytes:
    """An entry whose array unfolds from two megabytes to two thousand."""
    head = _array_file("'<f8'", "(250000000,)", b"")
    size = 2_000_000_000
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    body, crc = [packer.compress(head)], zlib.crc32(head)
    block = bytes(2**22)
    for start in range(0, size, len(block)):
        piece = block[: min(len(block), size - start)]
        body.append(packer.compress(piece))
        crc = zlib.crc32(piece, crc)
    data = b"".join(body) + packer.flush()
    base = packed({name: content for name, content in parts.items() if name != "weights.npy"})
    end = base.rindex(b"PK\5\6")
    count, size_of, start_of = struct.unpack("<HII", base[end + 10 : end + 20])
    name = b"weights.npy"
    common = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 33, crc, len(data), size + len(head), len(name), 0)
    local = b"PK\3\4" + common + name + data
    central = b"PK\1\2\x14\x03" + common + struct.pack("<HHHII", 0, 0, 0, 0o600 << 16, start_of) + name
    whole = base[:start_of] + local + base[start_of : start_of + size_of] + central
    tail = struct.pack(
        "<4sHHHHIIH", b"PK\5\6", 0, 0, count + 1, count + 1, size_of + len(central), start_of + len(local), 0
    )
    return whole + tail


def _lay_entry(content: bytes, folder: Path) -> None:
    (folder / "fold").mkdir()
    (folder / "fold" / _stored()[1]).write_bytes(content)


@target("store", 1300, _lay_entry, _entries, lambda: _stored()[0], writes_in=True)
def _read_entry(folder: Path, out: Path) -> None:
    from pdlib.provenance import Store

    store = Store(folder)
    store.explain("fold", {"seed": 2}, ["errors"])
    found = store.get("fold", {"seed": 1}, lambda: dict(_ARRAYS), ["errors"])
    want(store.computed + store.loaded == 1, "a result is loaded or made")
    want(
        all(isinstance(value, np.ndarray) and not value.dtype.hasobject for value in found.values()),
        "a result is plain arrays",
    )
    if store.computed:
        want(set(found) == set(_ARRAYS), "a result that is made anew is the whole one")
        want(
            Store(folder).get("fold", {"seed": 1}, dict, ["errors"])["weights"].shape == (20, 30),
            "what was damaged is replaced",
        )


# ── weights ────────────────────────────────────────────────────────────────────────────────────────────
_NETWORK = "mobilenet_v1_025"  # the smallest of the backbones


@cache
def _hdf5_files() -> tuple[bytes, ...]:
    """Weights of the smallest backbone, in Keras's newer and older form, each after a letter for its name."""
    import tempfile

    import h5py

    from pdlib.weights import BACKBONES

    model = BACKBONES[_NETWORK].application(False)
    with tempfile.TemporaryDirectory() as folder:
        new, old, small = Path(folder) / "a.weights.h5", Path(folder) / "a.h5", Path(folder) / "b.weights.h5"
        model.save_weights(new)
        with h5py.File(old, "w") as file:
            layers = [layer for layer in model.layers if layer.weights]
            file.attrs["layer_names"] = [layer.name.encode() for layer in layers]
            for layer in layers:
                group = file.create_group(layer.name)
                group.attrs["weight_names"] = [weight.path.encode() for weight in layer.weights]
                for weight in layer.weights:
                    group.create_dataset(weight.path, data=np.asarray(weight))
        with h5py.File(small, "w") as file:
            for k in range(3):
                file.create_dataset(f"layers/dense_{k}/vars/0", data=np.ones((4, 5), np.float32))
        return tuple(
            b"n" + path.read_bytes() if ".weights" in path.name else b"o" + path.read_bytes()
            for path in (new, old, small)
        )


def _made_hdf5(build: Callable) -> bytes:
    import tempfile

    import h5py

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.h5"
        with h5py.File(path, "w", libver="latest") as file:
            build(file)
        return path.read_bytes()


@cache
def _strange_hdf5() -> tuple[bytes, ...]:
    import h5py

    from pdlib.weights import BACKBONES

    shapes = [tuple(weight.shape) for weight in BACKBONES[_NETWORK].application(False).weights]

    def right(file: h5py.File, **first: object) -> None:
        for k, shape in enumerate(shapes):
            options = first if k == 0 else {}
            file.create_dataset(f"layers/l{k}/vars/0", **({"shape": shape, "dtype": "f4"} | options))

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout(shape=shapes[0], dtype="f4")
        layout[...] = h5py.VirtualSource("../canary.json", "x", shape=shapes[0])
        file.create_virtual_dataset("layers/l0/vars/0", layout)

    def link(file: h5py.File) -> None:
        file["layers"] = h5py.ExternalLink("/etc/passwd", "/x")

    def soft(file: h5py.File) -> None:
        file["a"] = h5py.SoftLink("/a")

    def circle(file: h5py.File) -> None:
        file.create_group("a/b")["c"] = file["/"]

    def deep(file: h5py.File) -> None:
        file.create_group("/".join("a" * 3000))

    def many(file: h5py.File) -> None:
        for k in range(3000):
            file.create_group(f"g{k}")

    def texts(file: h5py.File) -> None:
        right(file)
        file.attrs.create("layer_names", ["x" * 10_000] * 900)

    def table(file: h5py.File) -> None:
        file.create_dataset("layers/l0/vars/0", data=np.zeros(3, [("a", "f4"), ("b", "S9")]))

    def pickled(file: h5py.File) -> None:
        file.create_dataset("x", data=np.void(PICKLE))
        file.attrs["model_config"] = '{"class_name": "Lambda", "config": {"function": "gAS"}}'

    def old(names: object) -> Callable:
        def build(file: h5py.File) -> None:
            right(file, data=np.zeros(shapes[0], "f4"))
            file.attrs["layer_names"] = names

        return build

    made = [
        _made_hdf5(build)
        for build in (
            right,
            virtual,
            link,
            soft,
            circle,
            deep,
            many,
            texts,
            table,
            pickled,
            lambda f: None,
            old([b"a"]),
            old(3),
            old("x"),
            old([1.5]),
            old([b"\xff"]),
            lambda f: right(f, chunks=True, compression="gzip", fillvalue=1.0),
            lambda f: right(f, chunks=True, compression="lzf"),
            lambda f: right(f, dtype="f8"),
            lambda f: right(f, external=[("../canary.json", 0, 10**6)]),
            lambda f: right(f, shape=(2**40,), chunks=(2**10,)),
            lambda f: right(f, dtype="c8"),
            lambda f: right(f, dtype=h5py.string_dtype()),
            lambda f: right(f, dtype=h5py.vlen_dtype("f4")),
            lambda f: right(f, dtype=h5py.ref_dtype),
            lambda f: right(f, shape=(), dtype="f4"),
            lambda f: f.create_dataset("x", data=h5py.Empty("f4")),
            lambda f: f.create_dataset("x", shape=(2**31,), dtype="f4", chunks=(2**20,), compression="gzip"),
            lambda f: f.create_dataset("x", data=np.full(shapes[0], np.nan, "f4")),
            lambda f: f.__setitem__("t", np.dtype("f4")),
        )
    ]
    lamb = {
        "config.json": json.dumps(
            {
                "module": "keras.layers",
                "class_name": "Lambda",
                "config": {"function": {"class_name": "__lambda__", "config": {"code": "4wAA"}}},
            }
        ).encode(),
        "metadata.json": b"{}",
        "model.weights.h5": made[0],
    }
    other = (
        b"",
        b"\x89HDF\r\n\x1a\n",
        b"\x89HDF\r\n\x1a\n" + b"\xff" * 200,
        bytes(512) + made[0],
        PICKLE,
        packed(lamb),
        packed(lamb) + made[0],
        b"\x80\x04" + made[0],
        bytes(10**7),
    )
    return tuple(made) + other


def _weights() -> st.SearchStrategy[bytes]:
    files, strange = _hdf5_files(), _strange_hdf5()
    spoilt = st.one_of(
        mutated(files[2:]), mutated(files[2:]), mutated([b"n" + s for s in strange if len(s) < 60_000])
    )
    fixed = st.builds(
        lambda kind, body: kind + body, st.sampled_from((b"n", b"o", b"k", b"z", b"x")), _one_of(*strange)
    )
    # a real file is read to its end by Keras, which takes half a second: few of them, mostly with spoilt headers
    early = st.builds(
        lambda which, places: _overwritten(files[which], places),
        st.integers(0, 1),
        st.lists(st.tuples(st.integers(1, 20_000), st.integers(0, 255)), min_size=1, max_size=6),
    )
    return st.one_of(
        spoilt,
        spoilt,
        fixed,
        early,
        st.integers(0, 9).flatmap(lambda n: mutated(files[:2]) if n > 7 else early),
    )


def _overwritten(content: bytes, places: list[tuple[int, int]]) -> bytes:
    made = bytearray(content)
    for place, value in places:
        made[place % len(made) or 1] = value
    return bytes(made)


def _lay_weights(content: bytes, folder: Path) -> None:
    """The first byte says what the file is called."""
    names = {
        b"n": "mine.weights.h5",
        b"o": "mine.h5",
        b"k": "mine.keras",
        b"z": "mine.weights.h5.zip",
        b"x": "mine.pkl",
    }
    (folder / names.get(content[:1], "mine.h5")).write_bytes(content[1:])


@target("weights", 700, _lay_weights, _weights, lambda: _hdf5_files()[0], cost=120.0)
def _read_weights(folder: Path, out: Path) -> None:
    from pdlib import weights

    weights._read.cache_clear()
    path = next(folder.iterdir())
    origin, arrays = weights._origin_and_arrays(weights.BACKBONES[_NETWORK], False, path, 0)
    want(origin.kind == "own" and len(origin.sha256) == 64, "a reader's file is called so")
    want(
        all(np.isfinite(value).all() for values in arrays.values() for value in values), "weights are finite"
    )


_KNOWN_WEIGHTS = written(
    [
        ["backbone", "top", "file", "sha256", "label", "source", "licence"],
        ["resnet50", "no", "a.h5", "", "ImageNet", "Somewhere.", "MIT"],
        ["mobilenet_v2", "yes", "b.weights.h5", "a" * 64, "ImageNet", "Elsewhere.", "MIT"],
    ]
)


@target("weights.csv", 300, "weights.csv", lambda: _tables(_KNOWN_WEIGHTS), lambda: _KNOWN_WEIGHTS, cost=10.0)
def _read_known_weights(folder: Path, out: Path) -> None:
    from pdlib import weights

    for row in weights.registry(folder / "weights.csv").itertuples():
        want(
            Path(row.file).name == row.file
            and row.backbone in weights.BACKBONES
            and isinstance(row.top, bool | np.bool_),
            "a file is a name in the folder",
        )


# ── own recordings ─────────────────────────────────────────────────────────────────────────────────────
_SPEAKERS_CSV = b"file,age,sex,speaker\na.wav,61,M,s1\nb.wav,45.5,F,s2\nHC/c.wav,70,f,\nd,66,M,\n"
_NAMES = (
    "a.wav",
    "b.wav",
    "=1+1.wav",
    "@x.wav",
    "123.wav",
    "#NULL!.wav",
    "é.wav",
    "\udcff.wav",
    "\x1b[2J.wav",
    " .wav",
    "-.wav",
    "TRUE.wav",
    "a\nb.wav",
    "[red].flac",
    "\ufffe.wav",
    "x" * 200 + ".wav",
    "con.wav",
    "1e5.wav",
    "2001-01-01.wav",
    "a.b.wav",
    "_x000A_.wav",
    "'a.wav",
    "~$a.wav",
)


def _own_folders() -> st.SearchStrategy[bytes]:
    table = st.one_of(
        _tables(_SPEAKERS_CSV),
        mutated(
            [_SPEAKERS_CSV, _SPEAKERS_CSV.replace(b",", b";"), _SPEAKERS_CSV.replace(b",", b"\t")], text=True
        ),
    )
    names = st.lists(st.sampled_from(_NAMES), min_size=2, max_size=2, unique=True)

    def fitting(pair: tuple[list[str], bool]) -> bytes:
        rows = [["file", "age", "sex"], *([name, 60 + k, "MF"[k]] for k, name in enumerate(pair[0]))]
        return (
            json.dumps([pair[0], rows[1:]]).encode() + b"\x1e" + written(rows)
            if all(n.isprintable() for n in pair[0])
            else b"[[]]\x1e"
        )

    own = st.tuples(names, st.booleans()).map(fitting)
    return st.one_of(table.map(lambda t: b"\x1e" + t), own)


def _lay_own(content: bytes, folder: Path) -> None:
    told, _, table = content.partition(b"\x1e")
    names = json.loads(told)[0] if told else ["a.wav", "b.wav"]
    for k, sub in enumerate(("HC", "PD")):
        (folder / sub).mkdir()
        for name in names[k : k + 1]:
            (folder / sub / name).write_bytes(b"")
    if not told:
        (folder / "HC" / "c.wav").write_bytes(b"")
        (folder / "PD" / "d.flac").write_bytes(b"")
    (folder / "speakers.csv").write_bytes(table)


@target("speakers", 900, _lay_own, _own_folders, lambda: b"\x1e" + _SPEAKERS_CSV, writes_in=True)
def _read_speakers(folder: Path, out: Path) -> None:
    from pdlib import own_recordings
    from pdlib.cohort import read_workbook

    own_recordings.refresh(folder)
    if (folder / "speakers.xlsx").is_file():
        files, findings = own_recordings._files(folder)
        speakers = {path.stem: (shown, int(label == "PD")) for shown, (label, path) in files.items()}
        people = read_workbook(folder / "speakers.xlsx", speakers)
        table, more = own_recordings.read_table(folder / "speakers.csv", files)
        want(
            not findings and not [f for f in more if f.weight == "stops"],
            "a table with faults makes no workbook",
        )
        want(
            bool((people["age"] == table["age"]).all() and (people["sex"] == table["sex"]).all()),
            "the workbook is the table",
        )
    want(
        {p.name for p in folder.iterdir()} <= {"HC", "PD", "speakers.csv", "speakers.xlsx"},
        "only the workbook is written",
    )


# ── executed chapters ──────────────────────────────────────────────────────────────────────────────────
@cache
def _executed() -> dict[str, object]:
    """What an executed chapter and the files beside it hold, by file."""
    import base64

    picture = base64.b64encode(_pictures()[0]).decode()
    html = f'<figure class="pd-figure" id="pd-01-plan"><img src="data:image/png;base64,{picture}"></figure>'
    shows = {"output_type": "display_data", "data": {"text/html": html, "text/plain": "x"}, "metadata": {}}
    glues = {
        "output_type": "display_data",
        "data": {"application/papermill.record/text/plain": "'0.5'"},
        "metadata": {"scrapbook": {"name": "accuracy"}},
    }
    record = {
        "key": "k" * 64,
        "profile": "small",
        "overrides": {"seed": 3},
        "cohort": {"kind": "synthetic", "source": "x", "fingerprint": "f" * 64},
        "parts": {
            "source": "s" * 64,
            "parameters": {"seed": 3, "cohort": "synthetic"},
            "modules": {"data": "1"},
            "libraries": {},
            "needs": {},
            "files": {},
        },
        "started": "2026-01-31T12:00:00+00:00",
        "seconds": 3.5,
        "pages": {},
    }
    title = {"cell_type": "markdown", "source": "# 1. One"}
    notebook = _notebook_of(
        title,
        _code(_CELL.decode(), "parameters"),
        _code("page.figure()", outputs=(shows,)),
        _code("glue", outputs=(glues,)),
        metadata={"pdlib": record},
    )
    for k, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            cell["execution_count"] = k
    item = {
        "what": "figure",
        "number": "Figure 1",
        "caption": "A plan.",
        "synthetic": True,
        "files": ["plan.csv"],
    }
    return {
        "01_one.ipynb": notebook,
        "pages/01/page.json": {"items": {"plan": item, "accuracy": {"what": "number"}}},
        "pages/01/plan.json": {"chapter": "01", "alt": "A plan"},
        "pages/01/numbers.json": {"accuracy": {"value": 0.5, "low": 0.4, "high": None}},
    }


def _wrapped(name: str, content: bytes) -> bytes:
    return name.encode() + b"\x1e" + content


def _executed_inputs() -> st.SearchStrategy[bytes]:
    whole = _executed()
    keys = (
        "../../canary",
        "../../../canary",
        "/srv/x",
        "plan",
        "a/b",
        "x" * 400,
        "é",
        "",
        "..",
        "a\\b",
        "con",
        "numbers",
        "page",
    )

    def renamed(key: str) -> bytes:
        account = json.loads(json.dumps(whole["pages/01/page.json"]))
        account["items"] = {key: account["items"]["plan"]}
        return _wrapped("pages/01/page.json", json.dumps(account).encode())

    def numbered(text: str) -> bytes:
        account = json.loads(json.dumps(whole["pages/01/page.json"]))
        account["items"]["plan"]["number"] = text
        return _wrapped("pages/01/page.json", json.dumps(account).encode())

    def glued(pair: tuple[str, str]) -> bytes:
        notebook = json.loads(json.dumps(whole["01_one.ipynb"]))
        notebook["cells"][3]["outputs"][0]["metadata"]["scrapbook"]["name"] = pair[0]
        notebook["cells"][3]["outputs"][0]["data"]["application/papermill.record/text/plain"] = pair[1]
        return _wrapped("01_one.ipynb", json.dumps(notebook).encode())

    def pictured(picture: bytes) -> bytes:
        import base64

        notebook = json.loads(json.dumps(whole["01_one.ipynb"]))
        coded = base64.b64encode(picture).decode()
        html = f'<figure class="pd-figure" id="pd-01-plan"><img src="data:image/png;base64,{coded}"></figure>'
        notebook["cells"][2]["outputs"][0]["data"]["text/html"] = html
        return _wrapped("01_one.ipynb", json.dumps(notebook).encode())

    texts = (
        "0.5",
        "'x'",
        "[" * 300,
        "(" * 90_000,
        "__import__('os').mkdir('../tripped')",
        "",
        "'",
        "9" * 5000,
        "{[]: 1}",
        "\0",
        "</p><script>",
        "'\\ud800'",
        "-" * 9000 + "1",
    )
    record = {"metadata": {"pdlib": whole["01_one.ipynb"]["metadata"]["pdlib"]}}
    in_record = in_json(record).map(
        lambda text: _wrapped(
            "01_one.ipynb",
            json.dumps(
                whole["01_one.ipynb"]
                | {
                    "metadata": {"kernelspec": whole["01_one.ipynb"]["metadata"]["kernelspec"]}
                    | (
                        (json.loads(text).get("metadata") or {})
                        if isinstance(json.loads(text).get("metadata"), dict)
                        else {}
                    )
                }
            ).encode(),
        )
    )
    any_file = st.sampled_from(sorted(whole)).flatmap(
        lambda name: st.one_of(
            in_json(whole[name]),
            mutated([json.dumps(whole[name]).encode()], text=True),
            _one_of(b"", b"[" * 100_000, b"1", b"\xff"),
        ).map(lambda content: _wrapped(name, content))
    )
    return st.one_of(
        in_record,
        in_record,
        any_file,
        any_file,
        st.sampled_from(keys).map(renamed),
        st.sampled_from(("Figures 1–99999999999", "Figure " + "9" * 5000, "Figure ²", "Figure 5–1")).map(
            numbered
        ),
        st.tuples(st.sampled_from((*keys, "accuracy")), st.sampled_from(texts)).map(glued),
        st.one_of(
            mutated(_pictures()[:1]),
            st.integers(0, 9).flatmap(lambda n: _one_of(*_bombs()) if n == 9 else mutated(_pictures()[:1])),
        ).map(pictured),
    )


def _lay_executed(content: bytes, folder: Path) -> None:
    from pdlib.run import content_of, side_files

    name, _, own = content.partition(b"\x1e")
    run_folder = folder / "_build" / "run" / "small-synthetic"
    for other, whole in _executed().items():
        path = run_folder / other
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(own if other == name.decode() else json.dumps(whole).encode())
    _book(_chapter(), folder)
    # who spoils a file on purpose also writes its hash into the chapter, and the chapter's own
    copy = run_folder / "01_one.ipynb"
    try:
        notebook = json.loads(copy.read_bytes())
        if notebook["metadata"]["pdlib"]["pages"] == {}:
            notebook["metadata"]["pdlib"]["pages"] = side_files(run_folder / "pages" / "01")
        notebook["metadata"]["pdlib"]["content"] = content_of(notebook)
        copy.write_text(json.dumps(notebook), encoding="utf-8")
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return


@target("executed", 900, _lay_executed, _executed_inputs, lambda: b"\x1e", cost=30.0)
def _read_executed(folder: Path, out: Path) -> None:
    import shutil

    import nbformat
    from rich.console import Console

    from pdlib import claims, figure_index, listing, params, publish, run

    project = params.Project(folder)
    copies = folder / "_build" / "run" / "small-synthetic"
    rows = run.status(project)
    listing.show_status(Console(file=io.StringIO(), width=100), project, rows)
    for row in rows:
        want(row.seconds is None or 0 <= row.seconds < 1e9, "a time is a time")
    found = claims.measured(copies)
    want(
        all(
            np.isfinite(v)
            for value in found.values.values()
            for v in (value.value, value.low, value.high)
            if v is not None
        ),
        "measured values are finite",
    )
    chapters = params.read_chapters(project)
    publish.check_copies(project, copies, {n: c for n, c in chapters.items()})
    static = out / "static"
    shutil.copytree(copies / "pages", static / "pages")
    notebook = nbformat.read(copies / "01_one.ipynb", as_version=4)
    figure_index.clean(notebook)
    made = figure_index.link_cells(notebook, "01", "01_one")
    figure_index.note_cells(static / "pages" / "01", "01", made)
    shown = figure_index.shown_by(figure_index.Staged("01", "01_one", "One", notebook, made), static)
    figure_index.index_page(
        [figure_index.Staged("01", "01_one", "One", notebook, made)], {"01": shown}, None, "Figures"
    ).encode("utf-8")
    want(
        {p.parent.parent for p in static.rglob("*") if p.is_file()} <= {static / "pages"},
        "side files stay beside their chapter",
    )


# ── one recording before the models ────────────────────────────────────────────────────────────────────
@cache
def _looked_over() -> tuple:
    from pdlib.baselines import acoustic_table
    from pdlib.synthetic import synthetic_cohort

    voices = synthetic_cohort(12, 0)
    return voices, acoustic_table(voices, variant="sound")


@target("report", 250, "voice.wav", _recordings, lambda: _sounds()[4], cost=150.0)
def _read_for_report(folder: Path, out: Path) -> None:
    from pdlib.quality import look_over, said_of_file

    voices, markers = _looked_over()
    found = look_over(str(folder / "voice.wav"), voices, markers)
    want(
        bool(found.refused) or (found.case is not None and found.markers is not None),
        "what is not refused has markers",
    )
    for check in found.checks:
        check.said.encode("utf-8")
    if found.case is not None:
        said_of_file(found.case)
