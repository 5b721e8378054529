"""Is a recording fit to be judged? Checks in words, against fixed limits and against the cohort's range.

A score says nothing about whether it rests on anything. So each recording is checked first: what is wrong with the
file, whether a steady voice is in it, and whether it lies where the models were tested. `LIMITS` holds every limit
with its reason. Beyond a limit for refusal no model is asked; what lies beyond the cohort's own recordings, or beyond
a limit for a flag, is said beside the scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from pdlib.errors import RecordingError, UsageError
from pdlib.features import acoustic_features
from pdlib.markup import format_number
from pdlib.paths import named
from pdlib.preprocessing import EDGE_SECONDS, SOUND_SECONDS, Variant, voiced_part
from pdlib.recordings import (
    CANCEL_RATIO,
    CLIP_FRACTION,
    LONG_SECONDS,
    MAX_SAMPLES,
    MAX_SECONDS,
    MIN_SECONDS,
    RATE,
    SILENCE,
    Cohort,
    Signal,
    clipped_fraction,
)
from pdlib.single_case import Case, file_facts, find_case, measures

FINE, FLAGGED, REFUSED = "fine", "flagged", "refused"
#: Of the traces of room and microphone in `single_case.measures`, those that the preparation cannot even out.
TRACES = ("energy below 100 Hz", "energy above 3.4 kHz")
#: Share of the cohort's recordings that have at most as many unlike measures as are taken without a flag.
USUAL = 0.95


@dataclass(frozen=True)
class Limit:
    """What is taken without a word, what is flagged and what is refused, for one check.

    Attributes
    ----------
    asks : str
        What is measured, for a reader.
    unit, fmt : str
        Of the value; "share" is written in percent.
    why : str
        The reason for the limits.
    low, high : str
        What a value below or above them means.
    refuse_below, refuse_above, flag_below, flag_above : float or None
        The limits; a value on a limit is still taken.
    like_cohort : bool
        Whether a value outside the other recordings of the cohort is flagged, too.
    """

    asks: str
    unit: str
    fmt: str
    why: str
    low: str = ""
    high: str = ""
    refuse_below: float | None = None
    refuse_above: float | None = None
    flag_below: float | None = None
    flag_above: float | None = None
    like_cohort: bool = False


def _db(amplitude: float) -> float:
    return float(20 * np.log10(amplitude)) if amplitude > 0 else -np.inf


#: Every limit with its reason, in the order of the page. Measured on the 81 published recordings where it says so.
LIMITS = {
    "sample rate": Limit(
        "samples per second in the file", "Hz", ".0f",
        "The models work at 8000 Hz. A higher rate is brought down to it; below it the upper formants were never "
        "recorded, and nothing can put them back.",
        low="the upper formants of the voice are missing",
        refuse_below=RATE,
    ),
    "channels": Limit(
        "microphone channels in the file", "", ".0f",
        "Several channels are averaged to one. Channels of opposite polarity cancel, and what is left of them "
        "is no recording of the voice.",
        high="they are averaged to one",
        flag_above=1,
    ),
    "level left by averaging": Limit(
        "level of the averaged channels, of their own level", "share", ".0%",
        "Channels of opposite polarity cancel, and what is left of them is no recording of the voice.",
        low="the channels cancel when they are averaged",
        refuse_below=CANCEL_RATIO,
    ),
    "length": Limit(
        "whole length of the recording", "s", ".2f",
        "Less than a second holds too few periods; more than ten minutes is no single vowel. The models see one "
        "second, so length alone does no harm.",
        low="too short to hold the second that the models are given",
        high="far longer than one sustained vowel; the models see one second of it",
        refuse_below=MIN_SECONDS, refuse_above=MAX_SECONDS, flag_above=LONG_SECONDS,
    ),
    "level": Limit(
        "highest peak re full scale", "dB", ".1f",
        "All recordings are brought to one level, so a quiet one is heard as well as a loud one, until the noise of "
        "the format comes up with the voice.",
        low="so quiet that there is silence, or the noise of the file format comes up with the voice",
        high="louder than full scale: some programs cut it off there",
        refuse_below=_db(SILENCE), flag_below=-30.0, flag_above=0.01,
    ),
    "clipping": Limit(
        "share of the samples on tops cut flat", "share", ".2%",
        "A flat top adds overtones that no voice made. Of the published recordings three are clipped, the worst in "
        "eight of a hundred samples; beyond ten nothing like it was ever tested.",
        high="the microphone or the program was overdriven, and the overtones are its own",
        refuse_above=0.10, flag_above=CLIP_FRACTION,
    ),
    "steady voice": Limit(
        "longest stretch without a pause", "s", ".2f",
        f"The models are given the middle {SOUND_SECONDS:g} s of it, once {EDGE_SECONDS:g} s are cut at each end.",
        low="too short to take a steady second from its middle",
        refuse_below=SOUND_SECONDS + 2 * EDGE_SECONDS,
    ),
    "voiced share": Limit(
        "share of that second in which a pitch is found", "share", ".0%",
        "A sustained vowel is voiced throughout: at least nine tenths in every published recording. Speech, whisper "
        "and noise are not.",
        low="not a sustained vowel: the voice breaks off, as in speech, whisper or noise",
        refuse_below=0.8, like_cohort=True,
    ),
    "harmonics to noise": Limit(
        "energy of the periodic part over the rest", "dB", ".1f",
        "Hoarse voices go down to about 7 dB in the published recordings. Below 5 dB noise outweighs what could be "
        "measured; above 35 dB no throat is so regular.",
        low="noise covers the voice",
        high="more regular than any voice: a tone or a computed sound",
        refuse_below=5.0, refuse_above=35.0, like_cohort=True,
    ),
    "change of sound": Limit(
        "how far the spectrum moves within that second (mean deviation of MFCC 1 to 12)", "dB", ".1f",
        "One vowel keeps its spectrum: 3 to 10 dB in the published recordings. Speech and melodies move further, "
        "tones not at all.",
        low="steadier than any voice: a tone or a computed sound",
        high="not one sustained vowel: the sound changes, as in speech or music",
        refuse_below=1.0, refuse_above=12.0, like_cohort=True,
    ),
    "pitch spread": Limit(
        "standard deviation of the pitch within that second", "semitones", ".2f",
        "A sustained vowel holds its pitch. No limit for refusal: in rough voices the pitch is mistaken by an octave "
        "now and then.",
        low="steadier than in any recording of the cohort",
        high="the pitch moves more than in any recording of the cohort, or is hard to find",
        like_cohort=True,
    ),
    "unlike measures": Limit(
        "acoustic measures beyond all recordings of the cohort", "", ".0f",
        "No recording is like the others in everything. Refused is what is unlike them in more measures than the "
        "oddest recording of the cohort is unlike all the rest; flagged what is beyond 95 in 100 of them.",
        high="in so many it is unlike what the models were tested on",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Check:
    """One check as it stands on the page: `name` of `LIMITS`, value, limit and the cohort's range as text.

    ``verdict`` is one of fine, flagged and refused; ``said`` is a sentence.
    """

    name: str
    value: str
    limit: str
    cohort: str
    verdict: str
    said: str


@dataclass(frozen=True)
class Quality:
    """What was found out about a recording before any model was asked.

    Attributes
    ----------
    case : Case or None
        None where the file could not be prepared at all.
    checks : tuple of Check
    notes : tuple of str
        What was found and changed on reading, one sentence each.
    markers : Series or None
        `features.acoustic_features` of the second that the models are given; None where it has no voice.
    unlike : tuple of str
        Names of the measures beyond all others.
    """

    case: Case | None
    checks: tuple[Check, ...]
    notes: tuple[str, ...]
    markers: pd.Series | None
    unlike: tuple[str, ...]

    @property
    def refused(self) -> tuple[Check, ...]:
        """The checks because of which no model is asked."""
        return tuple(check for check in self.checks if check.verdict == REFUSED)

    @property
    def flagged(self) -> tuple[Check, ...]:
        """The checks that lie beside the scores."""
        return tuple(check for check in self.checks if check.verdict == FLAGGED)


# ── one check ──────────────────────────────────────────────────────────────────────────────────────────
def check(name: str, value: float, others: pd.Series | None = None, limit: Limit | None = None) -> Check:
    """Hold a value against its limit and, where there is one, against the range of the cohort's others.

    Parameters
    ----------
    name : str
        A key of `LIMITS`.
    value : float
        NaN for what could not be measured, which is refused.
    others : Series, optional
        The same measure of the cohort's other recordings.
    limit : Limit, optional
        In place of the one in `LIMITS`.
    """
    limit = limit or LIMITS[name]
    known = None if others is None or others.empty else others
    below, above = known is not None and value < known.min(), known is not None and value > known.max()
    if np.isnan(value):
        verdict, words = REFUSED, limit.low
    elif limit.refuse_below is not None and value < limit.refuse_below:
        verdict, words = REFUSED, limit.low
    elif limit.refuse_above is not None and value > limit.refuse_above:
        verdict, words = REFUSED, limit.high
    elif limit.flag_below is not None and value < limit.flag_below:
        verdict, words = FLAGGED, limit.low
    elif limit.flag_above is not None and value > limit.flag_above:
        verdict, words = FLAGGED, limit.high
    elif limit.like_cohort and (below or above):
        side = "below" if below else "above"
        words = f"{side} every other recording of the cohort, so no model was tested on anything like it"
        verdict = FLAGGED
    else:
        verdict, words = FINE, ""
    shown = "none" if np.isnan(value) else _with_unit(limit, value)
    said = f"{_capital(limit.asks)}: {shown}" + (f"; {words}." if words else ".")
    cohort_range = "" if known is None else _span(limit, known.min(), known.max())
    return Check(name, shown, _limit_said(limit), cohort_range, verdict, said)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _number(limit: Limit, value: float) -> str:
    if not np.isfinite(value):
        return "−∞" if value < 0 else "∞"
    return format_number(float(value), limit.fmt)


def _with_unit(limit: Limit, value: float) -> str:
    unit = "" if limit.unit in ("", "share") else f" {limit.unit}"
    return _number(limit, value) + unit


def _span(limit: Limit, low: float, high: float) -> str:
    return f"{_number(limit, low)} to {_with_unit(limit, high)}"


def _limit_said(limit: Limit) -> str:
    parts = []
    for word, low, high in (
        ("refused", limit.refuse_below, limit.refuse_above),
        ("flagged", limit.flag_below, limit.flag_above),
    ):
        sides = [
            f"{side} {_with_unit(limit, end)}"
            for side, end in (("below", low), ("above", high))
            if end is not None
        ]
        parts += [f"{word} {' or '.join(sides)}"] if sides else []
    if limit.like_cohort:
        parts.append("flagged outside the cohort")
    return "; ".join(parts)


# ── what is measured ───────────────────────────────────────────────────────────────────────────────────
def of_signal(signal: Signal) -> dict[str, float]:
    """Length, clipping and steady voice of a signal, and its `TRACES`, by the names of the checks."""
    x = np.asarray(signal.samples, dtype=np.float64)
    start, stop = voiced_part(x, signal.sample_rate)
    traces = measures(signal)
    return {
        "length": signal.duration,
        "clipping": _clipped(x, signal.sample_rate),
        "steady voice": (stop - start) / signal.sample_rate,
        **{name: traces[name] for name in TRACES},
    }


def of_markers(markers: pd.Series) -> dict[str, float]:
    """Voiced share, harmonics to noise, change of sound and pitch spread, by the names of the checks."""
    cepstrum = [name for name in markers.index if name.startswith("mfcc_") and name.endswith("_sd")][1:]
    return {
        "voiced share": float(markers["voiced_share"]),
        "harmonics to noise": float(markers["hnr_db"]),
        "change of sound": float(markers[cepstrum].mean()),
        "pitch spread": float(12 * np.log2(1 + markers["f0_sd_hz"] / markers["f0_mean_hz"])),
    }


def of_cohort(cohort: Cohort, markers: pd.DataFrame) -> pd.DataFrame:
    """`of_signal` and `of_markers` of every recording, with the markers themselves (rows: recordings)."""
    rows = {
        name: {**of_signal(signal), **of_markers(markers.loc[name])}
        for name, signal in cohort.signals().items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").join(markers)


def unlike(row: pd.Series, others: pd.DataFrame) -> list[str]:
    """Names of the acoustic measures (markers and `TRACES`) in which ``row`` lies beyond all ``others``."""
    names = [name for name in others.columns if name in TRACES or name not in LIMITS]
    low, high = others[names].min(), others[names].max()
    return [name for name in names if not low[name] <= row[name] <= high[name]]


def oddest(table: pd.DataFrame) -> tuple[int, int]:
    """How many measures the oddest recording of a cohort is unlike all the rest in, and 95 in 100 at most."""
    counts = [len(unlike(table.loc[name], table.drop(index=name))) for name in table.index]
    return max(counts), int(np.quantile(counts, USUAL, method="inverted_cdf"))


# ── one recording ──────────────────────────────────────────────────────────────────────────────────────
def look_over(
    recording: str, cohort: Cohort, markers: pd.DataFrame, *, variant: Variant = "sound"
) -> Quality:
    """Check a recording before any model is asked.

    Parameters
    ----------
    recording : str
        A file, or a name of the cohort.
    cohort : Cohort
        What the models were trained and tested on.
    markers : DataFrame
        `baselines.acoustic_table` of the cohort.
    variant : {"sound", "paper"}
        How the models' recordings are prepared.

    Raises
    ------
    UsageError
        When there is no such file, or it is a folder.
    RecordingError
        When the file cannot be read: not audio, cut off, empty, or with samples that are not numbers.
    """
    table = of_cohort(cohort, markers)
    if recording in cohort.names:
        signal = cohort.signal(recording)
        checks = _sound_checks(signal.samples, signal.sample_rate, table.drop(index=recording))
    else:
        checks = _file_checks(_existing(recording, cohort), table)
    try:
        case = find_case(recording, cohort)
    except RecordingError as error:
        if not any(check.verdict == REFUSED for check in checks):
            raise
        return Quality(None, tuple(checks), (f"{error.problem}.",), None, ())
    own = of_signal(case.signal)
    others = table.drop(index=case.member) if case.member else table
    checks.append(check("steady voice", own["steady voice"], others["steady voice"]))
    notes = [*(f"{note[:1].upper()}{note[1:]}." for note in case.signal.notes)]
    if checks[-1].verdict == REFUSED:
        return Quality(case, tuple(checks), tuple(notes), None, ())
    clip = case.clip(variant)
    notes += clip.steps
    try:
        found = acoustic_features(clip)
    except RecordingError:
        # which marker Praat misses first does not matter to a reader: there is no regular voice
        checks.append(check("voiced share", np.nan, others["voiced share"]))
        return Quality(case, tuple(checks), tuple(notes), None, ())
    row = pd.concat([found, pd.Series({name: own[name] for name in TRACES})])
    checks += [check(name, value, others[name]) for name, value in of_markers(found).items()]
    beyond = unlike(row, others)
    most, usual = oddest(table)
    base = LIMITS["unlike measures"]
    limit = Limit(**{**vars(base), "refuse_above": most, "flag_above": usual})
    checks.append(check("unlike measures", len(beyond), limit=limit))
    return Quality(case, tuple(checks), tuple(notes), found, tuple(beyond))


def _existing(recording: str, cohort: Cohort) -> Path:
    path = named(recording)
    if path.is_dir():
        raise UsageError(f"{path.name or path} is a folder, not a recording", "name the audio file in it")
    if not path.is_file():
        ways = "check the path; it is read from the folder you are in"
        raise UsageError(f"there is no file {path.name}", f"{ways}, or is a name such as {cohort.names[0]}")
    return path


def _file_checks(path: Path, others: pd.DataFrame) -> list[Check]:
    """What can be said of a file before it is read as the book reads all; empty for what is not audio."""
    try:
        info = soundfile.info(path)
        found = [check("sample rate", info.samplerate), check("channels", info.channels)]
        if info.frames > MAX_SECONDS * info.samplerate or info.frames * info.channels > MAX_SAMPLES:
            # not worth the memory
            return [*found, check("length", info.frames / info.samplerate, others["length"])]
        samples = soundfile.read(path, dtype="float32", always_2d=True)[0]
    except (soundfile.SoundFileError, OSError):
        return []
    if not len(samples) or not np.isfinite(samples).all():
        return []
    if info.channels > 1:
        each, left = (np.sqrt(np.mean(np.square(x, dtype=float))) for x in (samples, samples.mean(axis=1)))
        found += [check("level left by averaging", left / each)] if each else []
    return found + _sound_checks(samples, info.samplerate, others)


def _sound_checks(samples: np.ndarray, rate: int, others: pd.DataFrame) -> list[Check]:
    """Length, level and clipping of samples of shape (n,) or (n, channels)."""
    peak = float(np.abs(samples).max())
    found = [check("length", len(samples) / rate, others["length"]), check("level", _db(peak))]
    if peak > 0:
        found.append(check("clipping", _clipped(samples, rate), others["clipping"]))
    return found


def _clipped(samples: np.ndarray, rate: int) -> float:
    # flat tops stay flat when a program turns the whole down, so they are sought at the signal's own peak
    return clipped_fraction(samples / np.abs(samples).max(), rate)


def said_of_file(case: Case) -> str:
    """What the file held above the book's band, in a sentence; empty for a recording named by the cohort."""
    if case.file is None:
        return ""
    above = file_facts(case.file).above
    if not np.isfinite(above):
        return ""
    return f"Cut off above {RATE // 2} Hz: {format_number(above, '.0f')} dB re all energy of the file."
