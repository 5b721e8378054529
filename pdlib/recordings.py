"""A recording, the signal in it, and a cohort of recordings."""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import soxr

from pdlib.errors import DataError, ParameterError, RecordingError

RATE = 8000  # Hz; the rate of the published recordings, and of every signal in the book
MIN_SECONDS = 1.0
LONG_SECONDS = 30.0  # noted above this
MAX_SECONDS = 600.0  # refused above this: not one sustained vowel, and not worth the memory
MAX_SAMPLES = (
    64_000_000  # of all channels; 600 s of stereo at 48 kHz. A flac of 60 kB can unfold to gigabytes
)
SILENCE = 1e-4  # peak re full scale (−80 dB) below which a recording holds nothing but noise of its format
CLIP_LEVEL = 0.999  # re full scale
CLIP_SECONDS = 0.25e-3  # a top flat for this long; a full-scale sine of 100 Hz stays above for 0.14 ms
CLIP_FRACTION = 0.001  # of the samples
CANCEL_RATIO = 0.1  # −20 dB: less than this left after averaging channels, and they cancel
_LOSSY = ("MPEG", "VORBIS", "OPUS")


# ── one signal ─────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, eq=False)
class Signal:
    """A mono signal.

    Attributes
    ----------
    samples : ndarray of float32, shape (n,)
        Amplitude, 1.0 = full scale. Not writeable, for it is shared.
    sample_rate : int
        Hz.
    notes : tuple of str
        What was found or changed on reading, one sentence each.
    """

    samples: np.ndarray = field(repr=False)
    sample_rate: int
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        samples = np.array(self.samples, dtype=np.float32)
        samples.flags.writeable = False
        object.__setattr__(self, "samples", samples)

    def __reduce__(self) -> tuple:
        return Signal, (self.samples, self.sample_rate, self.notes)

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate

    def digest(self) -> str:
        """sha256 over rate and samples, in hex."""
        content = self.samples.astype("<f4").tobytes()
        return hashlib.sha256(struct.pack("<q", self.sample_rate) + content).hexdigest()


def read_signal(path: Path | str) -> Signal:
    """Read one recording as mono float32 at 8 kHz, saying in its notes whatever was changed on the way.

    Parameters
    ----------
    path : path
        A file libsndfile reads: wav of any depth, flac, mp3, ogg, aiff.

    Returns
    -------
    Signal
        Channels are averaged, higher rates resampled to 8 kHz (soxr, very high quality), nothing is trimmed
        or scaled.

    Raises
    ------
    RecordingError
        When the file is not audio, is empty or cut off, holds NaN or infinity, is silent, shorter than
        `MIN_SECONDS` (1 s) or longer than `MAX_SECONDS` (600 s), of more than `MAX_SAMPLES`, sampled below
        8 kHz, or has channels that cancel.
    """
    path = Path(path)
    _check_file(path)
    channels, rate, notes = _decode(path, _riff_seconds(path))
    seconds = len(channels) / rate
    if seconds < MIN_SECONDS:
        raise _refused(
            path, f"is too short: {seconds:.3f} s, at least {MIN_SECONDS:.1f} s are needed", _AGAIN
        )
    if rate < RATE:
        raise _refused(
            path,
            f"is sampled at {rate} Hz; below {RATE} Hz the formants are missing",
            "record at 8 kHz or more",
        )
    _check_values(path, channels, rate)
    if seconds > LONG_SECONDS:
        notes.append(f"long recording: {seconds:.1f} s; later steps cut a window from it")
    notes += _loudness_notes(channels, rate)
    mono = _mono(path, channels, notes)
    _check_sound(path, mono)
    if rate != RATE:
        mono = soxr.resample(mono, rate, RATE, quality="VHQ")
        notes.append(f"resampled from {rate} Hz to {RATE} Hz")
    return Signal(mono, RATE, tuple(notes))


_AGAIN = "record the vowel again"


def _refused(path: Path, problem: str, way_out: str) -> RecordingError:
    return RecordingError(f"{path.name} {problem}", way_out)


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise _refused(path, "is a folder, not a recording", "name the audio file in it")
    if not path.is_file():
        raise _refused(path, "does not exist", "check the path")
    if path.stat().st_size == 0:
        raise _refused(path, "is empty (0 bytes)", "copy or record it again")


def _riff_seconds(path: Path) -> tuple[float, float] | None:
    """Seconds a wav's header promises and seconds its file holds; None where there is no such header.

    libsndfile quietly shortens a wav that was cut off, so the header has to be read here.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(4) != b"RIFF" or len(file.read(4)) < 4 or file.read(4) != b"WAVE":
            return None
        bytes_per_second = 0
        while len(head := file.read(8)) == 8:
            kind, length = struct.unpack("<4sI", head)
            start = file.tell()
            if kind == b"fmt " and length >= 16:
                _, _, rate, _, block, _ = struct.unpack("<HHIIHH", file.read(16).ljust(16, b"\0"))
                bytes_per_second = rate * block
            elif kind == b"data":
                # a program that writes to a pipe cannot know the length and leaves all ones
                if not bytes_per_second or length == 0xFFFFFFFF:
                    return None
                return length / bytes_per_second, min(length, size - start) / bytes_per_second
            file.seek(start + length + length % 2)
    return None


def _decode(path: Path, promised: tuple[float, float] | None) -> tuple[np.ndarray, int, list[str]]:
    """Samples of shape (frames, channels), rate, and notes on the format."""
    if promised and promised[1] < promised[0]:
        raise _refused(
            path,
            f"is cut off: its header promises {promised[0]:.3f} s, the file holds {promised[1]:.3f} s",
            "copy it again from where it is whole",
        )
    try:
        with soundfile.SoundFile(path) as sound:
            expected, rate = sound.frames, sound.samplerate
            if expected > MAX_SECONDS * rate:
                raise _refused(
                    path,
                    f"is longer than {MAX_SECONDS:.0f} s: {expected / rate:.0f} s",
                    "cut the sustained vowel out of it",
                )
            if expected * sound.channels > MAX_SAMPLES:
                raise _refused(
                    path,
                    f"holds more than {MAX_SAMPLES:,} samples: {sound.channels} channels at {rate} Hz",
                    "export one channel at 48 kHz or less",
                )
            channels = sound.read(dtype="float32", always_2d=True)
            kind = f"{sound.format_info} {sound.subtype_info}"
    except soundfile.SoundFileError as error:
        raise _refused(
            path, f"cannot be read as audio: {str(error).rstrip('.')}", "use wav, flac, mp3, ogg or aiff"
        ) from error
    if len(channels) < expected:
        raise _refused(
            path,
            f"is cut off: its header promises {expected / rate:.3f} s, "
            f"the file holds {len(channels) / rate:.3f} s",
            "copy it again from where it is whole",
        )
    lossy = any(name in kind.upper() for name in _LOSSY)
    return channels, rate, [f"decoded from a lossy format ({kind})"] if lossy else []


def _check_values(path: Path, channels: np.ndarray, rate: int) -> None:
    bad = np.flatnonzero(~np.isfinite(channels).all(axis=1))
    if len(bad):
        raise _refused(
            path,
            f"holds {len(bad)} samples that are NaN or infinite, the first at {bad[0] / rate:.3f} s",
            "export it again from the program that made it",
        )


def _check_sound(path: Path, mono: np.ndarray) -> None:
    peak = float(np.abs(mono).max())
    if peak < SILENCE:
        level = f"{20 * np.log10(peak):.0f} dB" if peak else "zero"
        raise _refused(path, f"is silent: its peak is {level} re full scale", _AGAIN)
    if np.ptp(mono) < SILENCE:
        raise _refused(path, "is silent: every sample has the same value", _AGAIN)


def clipped_fraction(channels: np.ndarray, rate: int) -> float:
    """Share of the samples that lie on tops flat at full scale for at least 0.25 ms.

    A single peak at full scale, as peak normalisation leaves it, is no flat top.

    Parameters
    ----------
    channels : ndarray, shape (frames,) or (frames, channels)
        Amplitude, 1.0 = full scale.
    rate : int
        Hz.
    """
    columns = np.asarray(channels).reshape(len(channels), -1).T
    shortest = int(np.ceil(CLIP_SECONDS * rate - 1e-9)) + 1
    flat = 0
    for column in columns:
        for sign in (1.0, -1.0):
            edges = np.flatnonzero(np.diff(np.r_[False, sign * column >= CLIP_LEVEL, False].astype(np.int8)))
            runs = edges[1::2] - edges[::2]
            flat += int(runs[runs >= shortest].sum())
    return flat / columns.size


def _loudness_notes(channels: np.ndarray, rate: int) -> list[str]:
    notes = []
    clipped = clipped_fraction(channels, rate)
    if clipped >= CLIP_FRACTION:
        notes.append(f"clipped: {clipped:.1%} of the samples lie on flat tops at full scale")
    peak = float(np.abs(channels).max())
    if peak > 1.0 + 1e-6:
        notes.append(f"louder than full scale: its peak is {peak:.3g}")
    return notes


def _mono(path: Path, channels: np.ndarray, notes: list[str]) -> np.ndarray:
    if channels.shape[1] == 1:
        return channels[:, 0]
    mono = channels.mean(axis=1)
    each = float(np.sqrt(np.mean(np.square(channels, dtype=np.float64))))
    left = float(np.sqrt(np.mean(np.square(mono, dtype=np.float64))))
    if each >= SILENCE and left < CANCEL_RATIO * each:
        raise _refused(
            path,
            f"has {channels.shape[1]} channels that cancel when averaged: "
            f"{left / each:.1%} of their level is left",
            "export one channel, or undo the inverted polarity",
        )
    notes.append(f"{channels.shape[1]} channels averaged to one")
    return mono


# ── recordings and cohorts ─────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Recording:
    """One recording of one speaker.

    Attributes
    ----------
    name : str
        HC-01 …, PD-01 …: what the book calls it.
    label : int
        1 = PD, 0 = HC.
    path : Path or None
        Its file; None for a synthetic voice.
    sha256 : str
        Of the file, or of the samples of a synthetic voice.
    """

    name: str
    label: int
    path: Path | None = field(repr=False)
    sha256: str = field(repr=False)


COVARIATES = ("age", "sex")
SEX_CODE = {"F": 0.0, "M": 1.0}
AT_HAND_BYTES = 64 * 2**20  # of samples: about 600 recordings as long as the published ones


def _from_file(recording: Recording) -> Signal:
    return read_signal(recording.path)


class AtHand:
    """Signals by recording, made or read when they are asked for; the latest stay, up to a number of bytes.

    However many recordings a cohort has, no more of them are in memory at a time. The copy that another
    process gets is empty and makes its own.

    Parameters
    ----------
    make : callable
        From a `Recording` to its `Signal`, always to the same samples; reads its file unless told otherwise.
    most : int
        Bytes of samples that stay, `AT_HAND_BYTES` unless told otherwise; the signal asked for last stays
        however long it is.
    """

    def __init__(self, make: Callable[[Recording], Signal] = _from_file, most: int | None = None) -> None:
        self.make, self.most = make, AT_HAND_BYTES if most is None else most
        self._kept: dict[str, Signal] = {}  # in the order of use
        self._bytes = 0

    def __reduce__(self) -> tuple:
        return AtHand, (self.make, self.most)

    @property
    def bytes(self) -> int:
        """Size of the samples that are in memory."""
        return self._bytes

    def signal(self, recording: Recording) -> Signal:
        """The signal of a recording; see `read_signal` for what a file may be refused for."""
        kept = self._kept.get(recording.name)
        return self.keep(recording.name, self.make(recording) if kept is None else kept)

    def keep(self, name: str, signal: Signal) -> Signal:
        """Put a signal that was just made or used in the first place; those longest unused give way."""
        before = self._kept.pop(name, None)
        self._bytes += signal.samples.nbytes - (0 if before is None else before.samples.nbytes)
        self._kept[name] = signal
        while self._bytes > self.most and len(self._kept) > 1:
            oldest = next(iter(self._kept))
            self._bytes -= self._kept.pop(oldest).samples.nbytes
        return signal


class Signals(Mapping[str, "Signal"]):
    """The signals of a cohort by recording name, in order; each is read or made when it is looked at."""

    def __init__(self, cohort: Cohort) -> None:
        self._cohort = cohort

    def __getitem__(self, name: str) -> Signal:
        if name not in self._cohort.by_name:
            raise KeyError(name)
        return self._cohort.signal(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._cohort.names)

    def __len__(self) -> int:
        return len(self._cohort)


@dataclass(frozen=True, eq=False)
class Cohort:
    """Recordings of two classes, with what is known of the speakers.

    Attributes
    ----------
    kind : {"real", "synthetic", "own"}
        The published recordings, planted voices, or a folder of the reader's own.
    source : str
        One sentence: where these come from and, where another source was hoped for, why.
    recordings : tuple of Recording
    people : DataFrame
        Index: recording name; ``age`` (years), ``sex`` (M, F), ``validated``.
    held : dict of str to Signal
        Signals that can be had from nowhere else.
    at_hand : AtHand
        Where all other signals come from.
    """

    kind: str
    source: str
    recordings: tuple[Recording, ...] = field(repr=False)
    people: pd.DataFrame = field(repr=False)
    held: dict[str, Signal] = field(repr=False, default_factory=dict)
    at_hand: AtHand = field(repr=False, default_factory=AtHand)

    def __post_init__(self) -> None:
        repeated = [name for name, times in Counter(self.names).items() if times > 1]
        if repeated:
            raise DataError(
                f"two recordings are called {sorted(repeated)[0]}", "give each recording one name"
            )

    def __len__(self) -> int:
        return len(self.recordings)

    def __repr__(self) -> str:
        n_pd = int(self.labels.sum())
        return (
            f"Cohort({self.kind}, {len(self)} recordings: {len(self) - n_pd} HC, {n_pd} PD, "
            f"fingerprint {self.fingerprint[:12]})"
        )

    @property
    def names(self) -> list[str]:
        """Names of the recordings, in order."""
        return [recording.name for recording in self.recordings]

    @property
    def labels(self) -> np.ndarray:
        """Class of each recording: int array of shape (n,), 1 = PD, 0 = HC."""
        return np.array([recording.label for recording in self.recordings], dtype=int)

    @property
    def fingerprint(self) -> str:
        """Hex hash over names, labels, contents, ages and sexes: another cohort, another fingerprint."""
        whole = hashlib.sha256()
        people = self.people.loc[self.names, ["age", "sex"]]
        for recording, age, sex in zip(self.recordings, people["age"], people["sex"], strict=True):
            row = (recording.name, recording.label, recording.sha256, f"{float(age):.6f}", str(sex))
            whole.update(repr(row).encode())
        return whole.hexdigest()

    def signal(self, name: str) -> Signal:
        """The signal of one recording; kept as long as there is room for it, see `AtHand`.

        Raises
        ------
        ParameterError
            When no recording has this name.
        RecordingError
            When its file cannot be used.
        """
        recording = self._recording(name)
        return self.held[name] if name in self.held else self.at_hand.signal(recording)

    def signals(self) -> Signals:
        """All signals by recording name, in order; none is read before it is looked at."""
        return Signals(self)

    @property
    def table(self) -> pd.DataFrame:
        """One row per recording, for reading, not for models: see `covariates`.

        Returns
        -------
        DataFrame
            ``recording``, ``label`` (HC, PD), ``age`` (years), ``sex`` (M, F), ``duration_s``,
            ``validated`` (whether the file's sha256 is in the registry; never for a synthetic voice).
        """
        people = self.people.loc[self.names]
        return pd.DataFrame(
            {
                "recording": self.names,
                "label": np.where(self.labels == 1, "PD", "HC"),
                "age": people["age"].to_numpy(float),
                "sex": people["sex"].to_numpy(object),
                "duration_s": [self.signal(name).duration for name in self.names],
                "validated": people["validated"].to_numpy(bool),
            }
        )

    def covariates(self, *names: str) -> pd.DataFrame:
        """Age and sex as numbers: the only way they reach a model, and only those asked for by name.

        Parameters
        ----------
        *names : {"age", "sex"}
            Columns wanted.

        Returns
        -------
        DataFrame
            Index ``recording``; ``age`` in years, ``sex`` as 1 = M, 0 = F.

        Raises
        ------
        ParameterError
            When a name is unknown, or none is given.
        DataError
            When age or sex of a speaker is not known.
        """
        unknown = [name for name in names if name not in COVARIATES]
        if unknown or not names:
            asked = f"{unknown[0]!r} is no covariate" if unknown else "no covariate was asked for"
            raise ParameterError(asked, f"ask for {' or '.join(COVARIATES)}")
        people = self.people.loc[self.names]
        values = {"age": people["age"].astype(float), "sex": people["sex"].map(SEX_CODE).astype(float)}
        frame = pd.DataFrame({name: values[name] for name in names})
        frame.index.name = "recording"
        for name in names:
            gaps = frame.index[frame[name].isna()]
            if len(gaps):
                more = f", nor that of {len(gaps) - 1} more" if len(gaps) > 1 else ""
                raise DataError(
                    f"the {name} of {gaps[0]} is not known{more}",
                    f"add a workbook with every speaker's {name}, or leave this model out",
                )
        return frame

    def subset(self, names: Sequence[str]) -> Cohort:
        """The cohort of the named recordings, in the order given.

        Raises
        ------
        ParameterError
            When a name is unknown or repeated, or none is given.
        """
        names = list(names)
        if not names or len(set(names)) < len(names):
            raise ParameterError("a subset needs names, each once", "name the recordings wanted")
        chosen = tuple(self._recording(name) for name in names)
        whole = chosen == self.recordings
        source = self.source if whole else f"{self.source} Of these, {len(names)} of {len(self)} recordings."
        held = {name: self.held[name] for name in names if name in self.held}
        return Cohort(self.kind, source, chosen, self.people.loc[names], held, self.at_hand)

    @cached_property
    def by_name(self) -> dict[str, Recording]:
        """The recordings by name."""
        return {recording.name: recording for recording in self.recordings}

    def _recording(self, name: str) -> Recording:
        if name not in self.by_name:
            raise ParameterError(
                f"the cohort has no recording {name!r}", f"its names are {self.names[0]} … {self.names[-1]}"
            )
        return self.by_name[name]
