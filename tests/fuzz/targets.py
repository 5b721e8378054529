"""Everything that reads what a user hands over: how an input is laid out, what reads it, what a sane result is."""

from __future__ import annotations

import csv
import io
import json
import pickle
import struct
import subprocess
import sys
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
    name: str, share: int, place: Callable[[bytes, Path], None] | str, inputs: Callable, warm: Callable[[], bytes], **more: object
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
        wav(x.tobytes()), coded(x, "WAV", "PCM_16"), coded(two, "WAV", "PCM_24", 16000), coded(x, "WAVEX", "FLOAT"),
        coded(x, "FLAC", "PCM_16"), coded(two, "FLAC", "PCM_24", 44100), coded(x, "OGG", "VORBIS"),
        coded(x, "AIFF", "PCM_16"), coded(x, "MP3", "MPEG_LAYER_III", 16000), coded(x, "RF64", "PCM_16"),
        coded(x, "W64", "FLOAT"), coded(x, "CAF", "PCM_16"), coded(x, "WAV", "IMA_ADPCM"), coded(x, "AU", "ULAW"),
    )  # fmt: skip


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
    extremes = st.sampled_from((0, 1, 2, 3, 16, 255, 1024, 8000, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1))
    odd = st.sampled_from((np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e-45, 2.0, 0.0))
    headers = st.builds(
        wav, st.just(voice().tobytes()),
        format_tag=st.sampled_from((1, 3, 6, 7, 2, 0x11, 0x55, 0xFFFE, 0)),
        channels=st.one_of(st.sampled_from((1, 2, 8)), extremes), rate=st.one_of(st.just(8000), extremes),
        bits=st.sampled_from((8, 16, 24, 32, 64, 0, 1, 7, 255, 65535)), riff=st.one_of(st.none(), extremes),
        data=st.one_of(st.none(), extremes), block=st.one_of(st.none(), extremes),
        extra=st.sampled_from((b"", b"LIST\0\0\0\0", b"junk\xff\xff\xff\xff", b"fact\x04\0\0\0\xff\xff\xff\xff", b"fmt \0\0\0\0")),
    )  # fmt: skip

    def with_values(places: list[tuple[int, float]]) -> bytes:
        x = voice().copy()
        for place, value in places:
            x[place % len(x) : place % len(x) + 1 + place // len(x)] = value
        return wav(x.tobytes())

    values = st.lists(st.tuples(st.integers(0, 10**7), odd), min_size=1, max_size=4).map(with_values)
    promises = st.builds(
        flac_header, st.sampled_from((0, 1, 9600, 2**24, 2**31, 2**36 - 1)), st.sampled_from((1, 8000, 48000, 655350)),
        st.integers(1, 8), st.sampled_from((4, 8, 16, 24, 32)), st.binary(max_size=64),
    )  # fmt: skip
    scaled = st.floats(-60, 8, allow_nan=False).map(lambda e: wav((voice() * np.float32(10.0**e)).tobytes()))
    unfolding = st.builds(
        flac_of_silence, st.sampled_from((1, 3, 60, 400, 1900)), st.sampled_from((1, 2, 8)), st.sampled_from((8000, 48000, 655350))
    )
    general = mutated(_sounds())
    few = st.integers(0, 99).flatmap(lambda n: unfolding if n == 99 else promises if n > 89 else scaled if n > 85 else values)
    return st.one_of(general, general, general, headers, few)


@target("recording", 3400, "voice.wav", _recordings, lambda: _sounds()[4])
def _read_recording(folder: Path, out: Path) -> None:
    from pdlib.preprocessing import preprocess
    from pdlib.recordings import MAX_SECONDS, MIN_SECONDS, RATE, read_signal

    signal = read_signal(folder / "voice.wav")
    x = signal.samples
    want(x.ndim == 1 and x.dtype == np.float32 and signal.sample_rate == RATE, "a signal is mono float32 at 8 kHz")
    want(bool(np.isfinite(x).all()), "a signal is finite")
    want(MIN_SECONDS - 0.01 <= signal.duration <= MAX_SECONDS + 0.01, "a signal has a length that is allowed")
    for variant in ("paper", "sound"):
        clip = preprocess(x, signal.sample_rate, variant)
        want(bool(np.isfinite(clip.samples).all()), f"the clip ({variant}) is finite")


# ── the workbook ───────────────────────────────────────────────────────────────────────────────────────
SPEAKERS = {"AH_a": ("HC-01", 0), "AH_b": ("HC-02", 0), "AH_c": ("PD-01", 1), "AH_d": ("PD-02", 1)}
_ROWS = ("Sample ID", "Label", "Age", "Sex"), ("AH_a", "HC", 61, "M"), ("AH_b", "HC", 45, "F"), (
    "AH_c", "PwPD", 70.5, "F"), ("AH_d", "PwPD", 66.2, "M")  # fmt: skip


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
        f"<c><v>{c}</v></c>" if isinstance(c, int | float) else f'<c t="inlineStr"><is><t>{c}</t></is></c>' for c in cells
    )
    return f"<row>{''.join(made)}</row>"


def _workbook_specials() -> list[bytes]:
    parts, head = _workbook(), _inline(*_ROWS[0])
    body = head + "".join(_inline(*row) for row in _ROWS[1:])
    laughs = "<!DOCTYPE x [<!ENTITY a 'ha'>" + "".join(
        f"<!ENTITY {b} '{f'&{a};' * 10}'>" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    ) + "]>"  # fmt: skip
    outside = "<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>"
    sheets = [
        _sheet(body), _sheet(body, root="bogus='1'"), _sheet(head + _inline("&i;", "HC", 61, "M"), laughs),
        _sheet(head + _inline("&a;", "HC", 61, "M"), outside),
        _sheet(head + '<row r="99999999999"><c><v>1</v></c></row>'),
        _sheet(head + '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>' + body),
        _sheet(head + '<row r="-5"><c><v>1</v></c></row>'), _sheet('<row r="x"><c/></row>'),
        _sheet(head + '<row r="2"><c r="ZZZZZZ2"><v>1</v></c></row>'), _sheet('<row r="1"><c r="1A"><v>1</v></c></row>'),
        _sheet(head + '<row><c t="s"><v>999999</v></c></row>'), _sheet(head + '<row><c t="s"><v>-1</v></c></row>'),
        _sheet(head + '<row><c t="d"><v>never</v></c></row>'), _sheet(head + '<row><c t="n"><v>many</v></c></row>'),
        _sheet(head + '<row><c t="zz"><v>1</v></c></row>'), _sheet(head + '<row><c s="99999"><v>1</v></c></row>'),
        _sheet(head + f"<row><c><v>{'9' * 5000}</v></c></row>"), _sheet(head + f"<row><c><v>{'9' * 400}</v></c></row>"),
        _sheet(head + _inline("AH_a", "HC", 1e308, "M")),
        _sheet(head + f'<row><c t="inlineStr"><is><t>AH_a</t></is></c><c t="inlineStr"><is><t>HC</t></is></c><c><v>{"9" * 400}</v></c></row>'),
        _sheet(head + '<row><c t="e"><v>#REF!</v></c></row>'), _sheet(head + '<row><c t="b"><v>x</v></c></row>'),
        _sheet(head + '<row><c><f>SUM(A1:A9)</f></c></row>'), _sheet('<row/>' * 2_000_000), _sheet("<row><c/></row>" * 200_000),
        _sheet("<row>" + "<c/>" * 1_000_000 + "</row>"), _sheet("<a>" * 50_000), b"", b"<", b"\xff\xfe<\0",
        _sheet(body).replace(b"1.0'", b"1.0' encoding='utf-7'"), _sheet(body).replace(b"1.0'", b"1.0' encoding='idna'"),
        _sheet(f"<dimension ref='A1:XFD1048576'/>{body}"),
    ]  # fmt: skip
    made = [packed(parts | {_SHEET: sheet}) for sheet in sheets]
    strings = "xl/sharedStrings.xml"
    made += [packed(parts | {strings: b"<sst>" + b"<si/>" * 20_000_000 + b"</sst>"})]
    made += [packed({name: c for name, c in parts.items() if name != gone}) for gone in parts]
    made += [packed({}), packed({"x": b""}), packed(parts) + b"tail", b"PK", b"\xd0\xcf\x11\xe0" + bytes(600)]
    for name in parts:
        made += [packed(parts | {name: b"<x/>"}), packed(parts | {name: b""}), packed(parts | {name: b"<a>" * 10_000})]
    for name, content in parts.items():
        for old, new in (
            (b"worksheets/sheet1", b"../../../etc/passwd"), (b"worksheet", b"chartsheet"), (b"rId", b""), (b"sheetId", b"x"),
            (b'state="visible"', b'state="?"'), (b"Parselmouth", b"Parsel" + b"m" * 40_000), (b'Id="', b'Id="9'),
            (b"count", b"c"), (b"numFmt", b"x"), (b'"0"', b'"-1"'), (b'"1"', b'"99999999999999999999"'), (b"/xl/", b"/"),
        ):  # fmt: skip
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
        st.lists(st.one_of(st.sampled_from(("AH_a", "AH_b", "AH_c", "HC", "PwPD", "M", "F", "", "=1+1", "AH_a ")),
                           st.integers(-(10**6), 10**30), st.floats()), max_size=6), max_size=6,
    )  # fmt: skip
    rows = cells.map(lambda table: packed(parts | {_SHEET: _sheet(_inline(*_ROWS[0]) + "".join(_inline(*r) for r in table))}, 1))
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
    strange = ["", " ", "nan", "inf", "-1", "1e999", "9" * 5000, "9" * 20, "1_0", "²", "٣", "a,b", 'q"q', "x\ny", "=1+1", "-", "None",
               "../../x", "0x10", "1.0", "2", "\x1b[2J", "[red]", "x" * 140_000]  # fmt: skip
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
        b"", b"\n", head, head + b"\n", b",".join(b"c" for _ in range(300_000)) + b"\n", head + b"," * 1_000_000 + b"\n",
        head + b"\n" + b"," * 1_000_000, head + b"\n" + b'"' + b"x" * 2_000_000, b"\xff\xfe" + table.decode().encode("utf-16-le"),
        b"\xef\xbb\xbf" + table, table.replace(b"\n", b"\r"), table.replace(b"\n", b"\r\n"), table + b"\0\n", table * 3,
        b"\n" * 3_000_000, table.replace(b",", b";"), head + b"\n" + b"a\n" * 500_000,
    )  # fmt: skip
    spoilt, cells = mutated([table], text=True), _cells(table)
    return st.one_of(spoilt, spoilt, cells, cells, st.integers(0, 9).flatmap(lambda n: _one_of(*wide, *specials) if n == 9 else cells))


_CLAIMS = written([
    ["id", "section", "page", "kind", "printed", "unit", "chapter", "key", "tolerance", "verdict", "note"],
    ["num-a", "1", "3", "number", "99.06", "%", "10", "acc", "0.005", "differs", "It is, less."],
    ["fig-1", "3.3", "24-26", "figure", "the method", "", "08", "plan", "", "holds", "So it is."],
])  # fmt: skip
_REPRODUCED = written([
    ["id", "value", "low", "high", "profile", "stamp"], ["num-a", "0.75", "0.6", "0.85", "full", "abc"],
    ["num-b", "3.0", "", "", "full", "abc"],
])  # fmt: skip


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


_PREDICTIONS = written([
    ["model", "variant", "protocol", "recording", "label", "fold", "seed", "score", "threshold", "predicted"],
    *(["custnetgc", "paper", "speaker", name, label, 0, seed, score, 0.5, int(score >= 0.5)]
      for seed in (0, 1) for name, label, score in (("HC-01", 0, 0.25), ("HC-02", 0, 0.625), ("PD-01", 1, 0.75), ("PD-02", 1, 0.375))),
])  # fmt: skip


@target("predictions", 900, "chapter_10.csv", lambda: _tables(_PREDICTIONS), lambda: _PREDICTIONS)
def _read_predictions(folder: Path, out: Path) -> None:
    from pdlib.evaluate import COLUMNS, read_predictions, write_predictions

    frame = read_predictions(folder / "chapter_10.csv")
    want(tuple(frame.columns) == tuple(COLUMNS) and len(frame) > 0, "the columns are those of predictions")
    want(bool(frame["score"].between(0, 1).all() and np.isfinite(frame["threshold"]).all()), "scores are probabilities")
    want(bool(frame["label"].isin([0, 1]).all()), "labels are 0 and 1")
    again = read_predictions(write_predictions(frame, out / "again.csv"))
    want(again.equals(frame), "what is written reads back equal")


_REGISTRY = written([
    ["name", "file", "size", "sha256", "source", "licence"],
    ["HC-01", "HC_AH/a.wav", 5, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", "here", "CC0"],
    ["PD-01", "PD_AH/b.wav", 5, "486ea46224d1bb4fb680f34f7c9ad96a8f24ec88be73ea8e5a6c65260e9cb8a7", "here", "CC0"],
])  # fmt: skip


@target("registry", 900, "registry.csv", lambda: _tables(_REGISTRY), lambda: _REGISTRY)
def _read_registry(folder: Path, out: Path) -> None:
    from pdlib import data

    entries = data.registry(folder / "registry.csv")
    want(bool((entries["size"] >= 0).all()), "sizes are not negative")
    want(all(not Path(file).is_absolute() and ".." not in Path(file).parts for file in entries["file"]), "files stay inside")
    found = data.differences(folder, entries)
    want(len(found.missing) + len(found.wrong) == len(entries), "nothing of it is there")
    found.sentence()
