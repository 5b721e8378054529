"""From a recording to a clip of fixed length: equations 1–7 and Algorithm 1 (p. 9–17), printed and sound.

Functions ending in ``_printed`` do what the paper prints, right or wrong; their namesakes without the ending
do what the field does. `preprocess` is the one entry the rest of the book uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import soxr
from numpy.typing import ArrayLike, NDArray

from pdlib.errors import ParameterError, RecordingError

TARGET_RATES = (8000, 1000, 256)  # Hz; the three rates the paper prints, on p. 11 (twice) and p. 16
PAPER_SECONDS = 3.0  # p. 9
SOUND_SECONDS = 1.0  # fits the shortest public recording (1.5 s) after both edges are cut
EDGE_SECONDS = 0.15  # onset and release of a sustained vowel, left out of the sound window
SOUND_LEVEL_DB = -20.0  # RMS re full scale; leaves room for the peaks of a voice
MINIMUM_SECONDS = 0.1  # a few periods of the lowest voice
SMALLEST_PEAK = 2.0**-15  # one step of a 16-bit recording; anything below is silence
ACTIVE_RANGE_DB = 30.0  # a frame counts as voice when it is at most this far below the loud frames
LEVEL_FRAME_SECONDS = 0.02
LONGEST_GAP_SECONDS = 0.1  # shorter dips of level do not end the voice

Variant = Literal["paper", "sound"]
RateReading = Literal["original", "target", "equation 7"]


@dataclass(frozen=True)
class Clip:
    """A recording made ready for the features.

    Attributes
    ----------
    samples : ndarray, shape (n,), float64
        Amplitude re full scale.
    sample_rate : int
        Samples per second (Hz).
    mask : ndarray, shape (n,), bool
        True where the sample comes from the recording, False where a zero was added.
    steps : tuple of str
        What was done to the recording, one readable sentence per step.
    """

    samples: NDArray[np.float64]
    sample_rate: int
    mask: NDArray[np.bool_]
    steps: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.samples.ndim != 1 or self.samples.shape != self.mask.shape or self.mask.dtype != bool:
            raise ParameterError(
                f"Clip: samples of shape {self.samples.shape} and mask of shape {self.mask.shape} and type "
                f"{self.mask.dtype} do not belong together",
                "give one channel of samples and a boolean mask of the same length",
            )

    @property
    def duration(self) -> float:
        """Length in seconds, added zeros included."""
        return self.samples.size / self.sample_rate

    @property
    def voice(self) -> NDArray[np.float64]:
        """The samples that come from the recording, without added zeros; shape (m,), m ≤ n."""
        return self.samples[self.mask]

    @property
    def padded_share(self) -> float:
        """Share of the clip that is added zeros, 0 to 1."""
        return 1.0 - float(self.mask.mean())


# --- Equations 1 and 2 (p. 9): playback speed ------------------------------------------------------


def speed_ratio_printed(target_duration: float, current_duration: float) -> float:
    """Equation 1 (p. 9) as printed: target over current duration.

    Used as a playback speed it is upside down: a recording that is too long gets a ratio below one and,
    played slower, becomes longer still. See `speed_ratio`.

    Raises
    ------
    ParameterError
        When a duration (s) is not a positive number.
    """
    return _positive("target_duration", target_duration) / _positive("current_duration", current_duration)


def speed_ratio(target_duration: float, current_duration: float) -> float:
    """Playback speed at which ``current_duration`` s last ``target_duration`` s (eq. 1, p. 9, righted).

    Raises
    ------
    ParameterError
        When a duration is not a positive number.
    """
    return _positive("current_duration", current_duration) / _positive("target_duration", target_duration)


def adjusted_audio_printed(playback_speed: float, ratio: float) -> float:
    """Equation 2 (p. 9) as printed: playback speed times speed ratio.

    The paper calls the product the adjusted audio length, but both factors are pure numbers, so it has no
    unit of time and does not depend on how long the recording is. See `adjusted_duration`.

    Raises
    ------
    ParameterError
        When a factor is not a positive number.
    """
    return _positive("playback_speed", playback_speed) * _positive("ratio", ratio)


def adjusted_duration(current_duration: float, playback_speed: float) -> float:
    """Seconds a recording lasts when played at ``playback_speed`` times its speed (eq. 2, p. 9, righted).

    Raises
    ------
    ParameterError
        When an argument is not a positive number.
    """
    return _positive("current_duration", current_duration) / _positive("playback_speed", playback_speed)


def pitch_shift_semitones(playback_speed: float) -> float:
    """Semitones by which pitch and formants move at ``playback_speed``: 12 log2(speed).

    Raises
    ------
    ParameterError
        When the speed is not a positive number.
    """
    return float(12 * np.log2(_positive("playback_speed", playback_speed)))


# --- Equations 3 to 5 (p. 10): truncation and padding ----------------------------------------------


def scaling_factor(length: int, desired_length: int) -> float:
    """The scaling factor that makes equation 3 (p. 10) yield ``desired_length``; the paper gives no value.

    Raises
    ------
    ParameterError
        When a length is not a positive whole number.
    """
    return _count("length", length, least=1) / _count("desired_length", desired_length, least=1)


def truncated_length_printed(length: int, factor: float) -> int:
    """Equation 3 (p. 10) read as a number of samples: round(length / factor).

    Raises
    ------
    ParameterError
        When the length is negative or the factor is not a positive number.
    """
    return round(_count("length", length) / _positive("factor", factor))


def truncated_samples_printed(samples: ArrayLike, factor: float) -> NDArray[np.float64]:
    """Equation 3 (p. 10) read literally, as a rule for the samples: round(samples / factor).

    Nothing gets shorter: amplitudes between −1 and 1 are rounded to −1, 0 or 1.

    Parameters
    ----------
    samples : array_like, shape (n,)
    factor : float
        The paper's scaling factor.

    Returns
    -------
    ndarray, shape (n,)

    Raises
    ------
    ParameterError
        When the factor is not a positive number.
    """
    return np.round(np.asarray(samples, dtype=np.float64) / _positive("factor", factor))


def truncate(samples: ArrayLike, length: int) -> NDArray[np.float64]:
    """The first ``length`` samples, or all where there are fewer (what eq. 3, p. 10, is meant to do).

    Raises
    ------
    ParameterError
        When the length is negative or not a whole number.
    """
    return np.asarray(samples, dtype=np.float64)[: _count("length", length)]


def zeros_to_add_printed(desired_length: int, length: int) -> int:
    """Equation 4 (p. 10) as printed: desired minus present length, negative for a long recording."""
    return _count("desired_length", desired_length) - _count("length", length)


def zeros_to_add(desired_length: int, length: int) -> int:
    """Zeros missing to ``desired_length``, never fewer than none (eq. 4, p. 10, with its condition)."""
    return max(0, zeros_to_add_printed(desired_length, length))


def pad_printed(samples: Sequence[float] | NDArray[np.float64], num_zeros_to_add: int):
    """Equation 5 (p. 10) to the letter: ``samples + [0] * num_zeros_to_add``.

    With a Python list this appends zeros. With a NumPy array, which is what audio readers return, the same
    line *adds* the numbers: it raises ``ValueError`` unless the two lengths happen to agree (or one is 1),
    and then the signal comes back no longer than it was.
    """
    return samples + [0] * num_zeros_to_add


def pad(samples: ArrayLike, length: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Append zeros up to ``length`` (eq. 5, p. 10) and say which samples are real.

    Returns
    -------
    padded : ndarray, shape (max(n, length),)
    mask : ndarray of bool, same shape
        False at the added zeros.

    Raises
    ------
    ParameterError
        When the length is negative or not a whole number.
    """
    samples = np.asarray(samples, dtype=np.float64)
    missing = zeros_to_add(length, samples.size)
    mask = np.zeros(samples.size + missing, dtype=bool)
    mask[: samples.size] = True
    return np.pad(samples, (0, missing)), mask


# --- Equations 6 and 7 (p. 10–11): sample rate -----------------------------------------------------


def nyquist_rate(f_max: float) -> float:
    """Equation 6 (p. 10): twice the highest frequency (Hz).

    This is a bound, not a rule for the rate: sampling must be *faster* than this (`rate_suffices`). In a
    recording that already exists, the highest frequency follows from the rate and not the other way round.

    Raises
    ------
    ParameterError
        When the frequency is not a positive number.
    """
    return 2 * _positive("f_max", f_max)


def rate_suffices(rate: float, f_max: float) -> bool:
    """Whether ``rate`` (Hz) keeps a component at ``f_max`` (Hz): the sampling theorem's inequality."""
    return _positive("rate", rate) > nyquist_rate(f_max)


def sample_rate(n_samples: int, duration: float) -> float:
    """Equation 7 (p. 11): samples per second (Hz) from a count and a duration (s).

    The paper puts in the 24 000 samples and the 3 s that padding to 3 s at 8 kHz had just produced, so the
    result is the rate it started from.

    Raises
    ------
    ParameterError
        When the count is negative or the duration is not a positive number.
    """
    return _count("n_samples", n_samples) / _positive("duration", duration)


# --- Algorithm 1 (p. 16–17) ------------------------------------------------------------------------


@dataclass(frozen=True)
class PrintedClip:
    """What Algorithm 1 writes to disk, and what it means.

    Attributes
    ----------
    samples : ndarray, shape (n,)
        The samples written.
    target_samples : int
        ``int(target_duration * sr / 8)`` under the chosen reading of ``sr``.
    true_rate : float
        Rate (Hz) the samples really have after resampling.
    declared_rate : float
        Rate (Hz) written into the file's header.
    steps : tuple of str
        Each printed line as it was carried out, and how it had to be read.
    """

    samples: NDArray[np.float64]
    target_samples: int
    true_rate: float
    declared_rate: float
    steps: tuple[str, ...]

    @property
    def true_duration(self) -> float:
        """Seconds of voice (and zeros) the samples hold."""
        return self.samples.size / self.true_rate

    @property
    def declared_duration(self) -> float:
        """Seconds a player shows, going by the header."""
        return self.samples.size / self.declared_rate

    @property
    def played_speed(self) -> float:
        """How many times too fast a player plays the file."""
        return self.declared_rate / self.true_rate


def printed_algorithm_1(
    samples: ArrayLike,
    rate: int,
    target_sr: int = 256,
    target_duration: float = PAPER_SECONDS,
    *,
    reading: RateReading = "original",
    assign_padding: bool = True,
) -> PrintedClip:
    """Algorithm 1 (p. 16–17) line by line, for one recording.

    The algorithm resamples to ``target_sr`` and goes on with a variable ``sr`` whose meaning is left open: it
    sets the number of samples, ``int(target_duration * sr / 8)``, and is written into the file.

    Parameters
    ----------
    samples : array_like, shape (n,)
        One recording, full scale ±1.
    rate : int
        Its sample rate (Hz).
    target_sr : int
        Rate to resample to (Hz); the printed default is 256.
    target_duration : float
        Wanted seconds.
    reading : {"original", "target", "equation 7"}
        What ``sr`` stands for: the rate the file came with, the rate after resampling, or the value of the
        line SR = Ns/T just above it (samples after resampling, divided by the wanted duration).
    assign_padding : bool
        The printed line computes the padded samples and keeps them nowhere. True mends that; False runs it as
        printed, so a short recording stays short.

    Returns
    -------
    PrintedClip

    Raises
    ------
    RecordingError
        When the samples are empty, not finite, not one channel, or silent.
    ParameterError
        When a rate, the duration or the reading is not usable.
    """
    rate = _rate("rate", rate)
    target_sr = _rate("target_sr", target_sr)
    _positive("target_duration", target_duration)
    audio = resample(_checked(samples, rate), rate, target_sr)
    readings = {
        "original": float(rate),
        "target": float(target_sr),
        "equation 7": audio.size / target_duration,
    }
    if reading not in readings:
        choices = ", ".join(readings)
        raise ParameterError(f"reading: {reading!r} is not one of {choices}", "choose one of these")
    sr = readings[reading]
    wanted = int(target_duration * sr / 8)
    steps = [
        f"Resampled from {rate} Hz to {target_sr} Hz: {audio.size} samples.",
        f"sr read as the {reading} rate: int({target_duration:g} * {sr:g} / 8) = {wanted} samples.",
    ]
    if audio.size > wanted:
        steps.append(f"Truncated from {audio.size} to {wanted} samples (no scaling factor is given).")
        audio = truncate(audio, wanted)
    elif assign_padding:
        steps.append(f"Padded with {zeros_to_add(wanted, audio.size)} zeros.")
        audio, _ = pad(audio, wanted)
    else:
        steps.append(f"The sum with {zeros_to_add(wanted, audio.size)} zeros is computed but kept nowhere.")
    steps.append(f"Written with a header of {sr:g} Hz; the samples are at {target_sr} Hz.")
    return PrintedClip(audio, wanted, float(target_sr), sr, tuple(steps))


# --- The two ways to a clip ------------------------------------------------------------------------


def resample(samples: ArrayLike, rate: int, target_sr: int) -> NDArray[np.float64]:
    """Band-limited change of sample rate (soxr, very high quality).

    Parameters
    ----------
    samples : array_like, shape (n,)
    rate, target_sr : int
        Present and wanted rate (Hz). Everything above ``target_sr / 2`` is lost.

    Returns
    -------
    ndarray, shape (about n * target_sr / rate,)

    Raises
    ------
    ParameterError
        When a rate is not a positive whole number, or ``target_sr`` is above ``rate``: the missing band
        cannot be made up.
    """
    rate, target_sr = _rate("rate", rate), _rate("target_sr", target_sr)
    samples = np.asarray(samples, dtype=np.float64)
    if target_sr > rate:
        raise ParameterError(
            f"target_sr: {target_sr} Hz is above the recording's {rate} Hz; nothing above {rate // 2} Hz was "
            "ever recorded",
            "use a recording sampled at least that fast, or a lower target_sr",
        )
    return samples.copy() if target_sr == rate else soxr.resample(samples, rate, target_sr, quality="VHQ")


def voiced_part(samples: ArrayLike, rate: int) -> tuple[int, int]:
    """First and last-plus-one sample of the longest stretch that is not silent.

    A 20 ms frame counts as voice when its level is at most 30 dB below the loud frames (95th percentile);
    dips of up to 0.1 s do not end the stretch. The rule is relative, so it does not depend on gain.

    Parameters
    ----------
    samples : array_like, shape (n,)
    rate : int
        Sample rate (Hz).

    Returns
    -------
    start, stop : int

    Raises
    ------
    RecordingError
        When the recording is unusable (see `preprocess`).
    """
    rate = _rate("rate", rate)
    samples = _checked(samples, rate)
    frame = round(LEVEL_FRAME_SECONDS * rate)
    n = samples.size // frame
    rms = np.sqrt(np.mean(samples[: n * frame].reshape(n, frame) ** 2, axis=1))
    active = rms >= np.quantile(rms, 0.95) * 10 ** (-ACTIVE_RANGE_DB / 20)
    runs = _runs(active)
    longest_gap = round(LONGEST_GAP_SECONDS / LEVEL_FRAME_SECONDS)
    merged = [runs[0]]
    for start, stop in runs[1:]:
        if start - merged[-1][1] <= longest_gap:
            merged[-1] = (merged[-1][0], stop)
        else:
            merged.append((start, stop))
    start, stop = max(merged, key=lambda run: run[1] - run[0])
    return start * frame, samples.size if stop == n else stop * frame


def preprocess(
    samples: ArrayLike,
    sample_rate: int,
    variant: Variant = "paper",
    target_sr: int = 8000,
    *,
    seconds: float | None = None,
    edge_s: float = EDGE_SECONDS,
    level_db: float = SOUND_LEVEL_DB,
) -> Clip:
    """Turn one recording into a clip of fixed length.

    ``paper`` follows p. 9–11 and the order of Algorithm 1 (p. 16–17): resample to ``target_sr``, keep the
    first 3 s or pad with zeros to 3 s, then one constant gain that puts the peak at 1. ``sound`` is common
    practice for sustained vowels: resample if needed, find the voice, leave out its onset and release, take
    the middle second without adding a single zero, and bring it to a common RMS level.

    Parameters
    ----------
    samples : array_like of float, shape (n,)
        One channel, full scale ±1.
    sample_rate : int
        Hz.
    variant : {"paper", "sound"}
    target_sr : {8000, 1000, 256}
        Rate of the clip (Hz). 8000 keeps the public recordings as they are.
    seconds : float, optional
        Length of the clip; 3 s for ``paper``, 1 s for ``sound`` where left out.
    edge_s : float
        ``sound`` only: seconds left out at each end of the voice.
    level_db : float
        ``sound`` only: RMS level of the clip, dB re full scale.

    Returns
    -------
    Clip

    Raises
    ------
    RecordingError
        When the samples are empty, not finite, not one channel, not floating point, silent, or too short.
    ParameterError
        When a rate or a setting is not usable.
    """
    if variant not in ("paper", "sound"):
        raise ParameterError(f"variant: {variant!r} is neither 'paper' nor 'sound'", "choose one of the two")
    sample_rate, target_sr = _rate("sample_rate", sample_rate), _rate("target_sr", target_sr)
    if target_sr not in TARGET_RATES:
        raise ParameterError(
            f"target_sr: {target_sr} Hz is not one of {', '.join(map(str, TARGET_RATES))}",
            "choose one of the three rates the paper prints",
        )
    default = PAPER_SECONDS if variant == "paper" else SOUND_SECONDS
    seconds = default if seconds is None else _positive("seconds", seconds)
    samples = _checked(samples, sample_rate)
    audio = resample(samples, sample_rate, target_sr)
    kept = "Kept at" if target_sr == sample_rate else f"Resampled from {sample_rate} Hz to"
    step = f"{kept} {target_sr} Hz; nothing above {target_sr / 2:g} Hz is left."
    length = round(seconds * target_sr)
    if variant == "paper":
        return _paper_clip(audio, target_sr, length, step)
    # The voice is sought at the recording's own rate: at 256 Hz there may be nothing left to find it by.
    start, stop = (round(edge * target_sr / sample_rate) for edge in voiced_part(samples, sample_rate))
    return _sound_clip(audio, target_sr, length, step, start, stop, edge_s, level_db)


def _paper_clip(audio: NDArray[np.float64], rate: int, length: int, step: str) -> Clip:
    steps = [step]
    if audio.size > length:
        steps.append(f"Kept the first {length / rate:g} s of {audio.size / rate:.3f} s.")
    else:
        share = zeros_to_add(length, audio.size) / length
        end = f"{audio.size / rate:.3f} s up to {length / rate:g} s"
        steps.append(f"Added zeros after {end} ({share:.1%} of the clip).")
    padded, mask = pad(truncate(audio, length), length)
    peak = _peak(padded, rate)
    steps.append(f"Multiplied by {1 / peak:.4g} so that the peak is 1.")
    return Clip(padded / peak, rate, mask, tuple(steps))


def _sound_clip(
    audio: NDArray[np.float64],
    rate: int,
    length: int,
    step: str,
    start: int,
    stop: int,
    edge_s: float,
    level_db: float,
) -> Clip:
    if not (np.isfinite(edge_s) and edge_s >= 0):
        raise ParameterError(f"edge_s: {edge_s!r} is not a number of seconds", "give 0 or more")
    if not np.isfinite(level_db):
        raise ParameterError(f"level_db: {level_db!r} is not a level", "give a number of dB, such as -20")
    edge = round(edge_s * rate)
    stop = min(stop, audio.size)
    room = stop - start - 2 * edge
    found = f"{(stop - start) / rate:.2f} s of voice"
    if room < length:
        raise RecordingError(
            f"samples: {found} leave {max(room, 0) / rate:.2f} s once {edge_s:g} s are cut at each end; "
            f"the window needs {length / rate:g} s",
            "use a longer recording, or smaller seconds or edge_s",
        )
    first = start + edge + (room - length) // 2
    window = audio[first : first + length]
    _peak(window, rate)
    rms = float(np.sqrt(np.mean(window**2)))
    gain = 10 ** (level_db / 20) / rms
    steps = (
        step,
        f"Found {found}, starting at {start / rate:.3f} s; left out {edge_s:g} s at each end.",
        f"Took the middle {length / rate:g} s, from {first / rate:.3f} s on; no zeros were added.",
        f"Multiplied by {gain:.4g} so that the RMS level is {level_db:g} dB re full scale.",
    )
    return Clip(window * gain, rate, np.ones(length, dtype=bool), steps)


# --- Checks ----------------------------------------------------------------------------------------


def _checked(samples: ArrayLike, rate: int) -> NDArray[np.float64]:
    """The samples as float64, or a `RecordingError` that says what is wrong with them."""
    array = np.asarray(samples)
    if array.ndim != 1:
        raise RecordingError(
            f"samples: an array of shape {array.shape} is not one channel",
            "average the channels or choose one",
        )
    if array.size == 0:
        raise RecordingError("samples: the recording is empty", "check the file; it holds no sound")
    if not np.issubdtype(array.dtype, np.floating):
        raise RecordingError(
            f"samples: type {array.dtype} has no full scale of ±1", "read the file as floating point numbers"
        )
    bad = np.count_nonzero(~np.isfinite(array))
    if bad:
        raise RecordingError(
            f"samples: {bad} of {array.size} values are not finite numbers", "export the recording again"
        )
    if array.size < MINIMUM_SECONDS * rate:
        raise RecordingError(
            f"samples: {array.size / rate:.3f} s at {rate} Hz is shorter than {MINIMUM_SECONDS:g} s",
            "use a longer recording, or check sample_rate",
        )
    if np.abs(array).max() < SMALLEST_PEAK:
        raise RecordingError(
            f"samples: the recording is silent (peak {np.abs(array).max():.2g} of full scale)",
            "record again; there is no voice in it",
        )
    return array.astype(np.float64)


def _peak(samples: NDArray[np.float64], rate: int) -> float:
    peak = float(np.abs(samples).max())
    if peak < SMALLEST_PEAK:
        raise RecordingError(
            f"samples: nothing of the recording is left in this window at {rate} Hz (peak {peak:.2g})",
            "use another window, or a higher target_sr",
        )
    return peak


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Start and stop of every stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _positive(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < np.inf:
        raise ParameterError(f"{name}: {value!r} is not a positive number", "give a number above zero")
    return float(value)


def _count(name: str, value: int, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ParameterError(f"{name}: {value!r} is not a whole number of at least {least}", "give a count")
    return int(value)


def _rate(name: str, value: int) -> int:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float | np.number)
        or not (np.isfinite(value) and value > 0 and value == int(value))
    ):
        raise ParameterError(
            f"{name}: {value!r} is not a sample rate", "give a positive whole number of samples per second"
        )
    return int(value)
