"""Synthetic voices: a sustained /a/ from a source–filter model, with planted class differences.

A train of Rosenberg pulses with jitter, shimmer and tremor, and breath noise that follows the pulses, passes
four formant resonators and a telephone band. `PLANTED` is the whole difference between the two classes, so
what an analysis should find is known beforehand. These voices say nothing about Parkinson's disease.

`planted_band_cohort` speaks another set, whose classes differ in one band of the spectrum only, so that an
explanation of a picture can be held against the rows that matter, `planted_band_mask`.

References
----------
Rosenberg, A. E. (1971). Effect of glottal pulse shape on the quality of natural vowels.
J. Acoust. Soc. Am. 49, 583–590: the pulse.
Klatt, D. H. (1980). Software for a cascade/parallel formant synthesizer.
J. Acoust. Soc. Am. 67, 971–995: the resonators.
Peterson, G. E. & Barney, H. L. (1952). Control methods used in a study of the vowels.
J. Acoust. Soc. Am. 24, 175–184: the formants of /a/.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd
import soxr
from PIL import Image
from scipy.fft import irfft, rfft, rfftfreq
from scipy.signal import butter, lfilter, sosfilt

from pdlib.errors import ParameterError
from pdlib.recordings import RATE, AtHand, Cohort, Recording, Signal

CLASSES = ("HC", "PD")  # by label
INTERNAL_RATE = 32000  # Hz; jitter moves a pulse by less than a sample at 8 kHz
TELEPHONE_BAND = (250.0, 3400.0)  # Hz
MAX_VOICES = 500_000  # per class
PLANTED_BAND = (2200.0, 2800.0)  # Hz; above the two strong formants of /a/, and the third is weak by now
BAND_LEVEL_DB = -26.0  # of the noise in the band re the voice; there, about 10 dB more than without it
NARROWEST_BAND = 100.0  # Hz; about one mel band
# As in `features.log_mel_spectrogram`, which comes after the voices and cannot be asked here; a test does.
MEL_BANDS, MEL_BREAK = 64, 700.0  # bands up to half the rate; Hz, where the scale turns logarithmic


@dataclass(frozen=True)
class Planted:
    """One planted class difference: the middle of either class and the spread within a class.

    With ``log`` the quantity is log-normal: ``hc`` and ``pd`` are medians and ``spread`` is the standard
    deviation of the natural logarithm; otherwise it is normal and ``spread`` is in ``unit``. Values are kept
    within ``low`` and ``high``.
    """

    hc: float
    pd: float
    spread: float
    unit: str
    log: bool
    low: float
    high: float
    what: str

    @property
    def effect(self) -> float:
        """Distance of the classes in standard deviations (PD minus HC)."""
        distance = np.log(self.pd / self.hc) if self.log else self.pd - self.hc
        return float(distance / self.spread)

    def draw(self, rng: np.random.Generator, label: int) -> float:
        """One speaker's value."""
        middle, deviation = (self.hc, self.pd)[label], self.spread * rng.standard_normal()
        value = middle * np.exp(deviation) if self.log else middle + deviation
        return float(np.clip(value, self.low, self.high))


PLANTED = MappingProxyType(
    {
        "jitter": Planted(
            0.45, 0.75, 0.55, "%", True, 0.1, 2.0, "mean step between periods, of the mean period"
        ),
        "shimmer": Planted(
            3.0, 5.0, 0.55, "%", True, 0.5, 10.0, "mean step between amplitudes, of their mean"
        ),
        "tremor": Planted(0.4, 0.9, 0.9, "%", True, 0.05, 5.0, "depth of a 4–7 Hz swing of f0, of f0"),
        "harmonics_to_noise": Planted(21.0, 18.0, 3.5, "dB", False, 6.0, 32.0, "voice over breath noise"),
        "open_quotient": Planted(
            0.60, 0.65, 0.06, "of a period", False, 0.45, 0.85, "a longer pulse is duller"
        ),
        "age": Planted(50.0, 66.0, 12.0, "years", False, 20.0, 90.0, "a confounder: no voice depends on it"),
    }
)
"""All that differs between the classes. Sex, f0, formants, tremor rate, duration, edges and level do not."""


@dataclass(frozen=True)
class Voice:
    """The true values behind one synthetic voice.

    Attributes
    ----------
    label : int
        1 = PD, 0 = HC.
    sex : {"M", "F"}
    age : float
        Years; it does not enter the sound.
    duration : float
        Seconds, pauses at both ends included.
    f0 : float
        Mean of the fundamental over the voiced part, Hz.
    jitter, shimmer, tremor : float
        Percent.
    tremor_rate : float
        Hz.
    harmonics_to_noise : float
        dB in the telephone band.
    open_quotient : float
        Part of the period in which the glottis is open.
    drift : float
        Fall of f0 from start to end, percent.
    tract : float
        Factor on all formants.
    pause : float
        Silence before the voice, seconds; as long after it.
    """

    label: int
    sex: str
    age: float
    duration: float
    f0: float
    jitter: float
    shimmer: float
    tremor: float
    tremor_rate: float
    harmonics_to_noise: float
    open_quotient: float
    drift: float
    tract: float
    pause: float


_F0 = {"M": (120.0, 15.0), "F": (200.0, 20.0)}  # mean and standard deviation, Hz
_FORMANTS = {"M": (730.0, 1090.0, 2440.0, 3400.0), "F": (850.0, 1220.0, 2810.0, 3900.0)}  # Hz
_BANDWIDTHS = (90.0, 110.0, 160.0, 220.0)  # Hz


def draw_voice(seed: int | np.random.Generator, label: int, sex: str | None = None) -> Voice:
    """Draw one speaker's true values.

    Parameters
    ----------
    seed : int or Generator
        Where the randomness comes from.
    label : int
        1 = PD, 0 = HC.
    sex : {"M", "F"}, optional
        Drawn with even odds unless given.

    Raises
    ------
    ParameterError
        When label or sex is another.
    """
    if label not in (0, 1) or sex not in ("M", "F", None):
        raise ParameterError(
            f"label {label!r}, sex {sex!r}", "labels are 0 (HC) and 1 (PD), sexes 'M' and 'F'"
        )
    rng = np.random.default_rng(seed)
    drawn = {name: planted.draw(rng, label) for name, planted in PLANTED.items()}
    sex = sex or ("M", "F")[int(rng.integers(2))]
    mean, spread = _F0[sex]
    return Voice(
        label=label,
        sex=sex,
        age=round(drawn.pop("age")),
        duration=float(1.55 + 5.4 * rng.beta(1.2, 2.4)),
        f0=float(np.clip(mean + spread * rng.standard_normal(), 80, 260)),
        tremor_rate=float(rng.uniform(4.0, 7.0)),
        drift=float(np.clip(2.0 * rng.standard_normal(), -4, 4)),
        tract=float(np.clip(1 + 0.04 * rng.standard_normal(), 0.9, 1.1)),
        pause=float(rng.uniform(0.005, 0.020)),
        **drawn,
    )


def synthetic_voice(seed: int | np.random.Generator, label: int = 0, *, voice: Voice | None = None) -> Signal:
    """Speak one sustained /a/.

    Parameters
    ----------
    seed : int or Generator
        Where the randomness comes from; the same seed gives the same samples.
    label : int
        1 = PD, 0 = HC; used only where no ``voice`` is given.
    voice : Voice, optional
        True values to speak with; drawn for ``label`` unless given.

    Returns
    -------
    Signal
        8 kHz, peak 1.0, in steps of 16 bits. Its first note says that it is synthetic.
    """
    rng = np.random.default_rng(seed)
    voice = draw_voice(rng, label) if voice is None else voice
    flow = _glottal_flow(rng, voice)
    # Differencing is the radiation at the lips; breath comes mostly while the glottis is open.
    breath = rng.standard_normal(len(flow)) * (0.2 + flow)
    both = np.stack([np.diff(flow, prepend=0.0), np.diff(breath, prepend=0.0)])
    for formant, bandwidth in zip(_FORMANTS[voice.sex], _BANDWIDTHS, strict=True):
        both = _resonate(both, formant * voice.tract, bandwidth)
    heard = np.stack([_telephone(soxr.resample(part, INTERNAL_RATE, RATE, quality="VHQ")) for part in both])
    power = np.mean(heard**2, axis=1)
    heard[1] *= np.sqrt(power[0] / power[1] * 10 ** (-voice.harmonics_to_noise / 10))
    voiced = _fade(heard.sum(axis=0))
    pause = round(voice.pause * RATE)
    whole = np.pad(voiced, pause)
    whole += 10 ** (-60 / 20) * np.abs(voiced).max() * rng.standard_normal(len(whole))  # the line's own noise
    # Steps of 16 bits, so that the last bits of another machine's sine do not make another voice.
    steps = np.round(whole / np.abs(whole).max() * 32767)
    return Signal(steps / 32767, RATE, ("SYNTHETIC voice with planted class differences",))


def _glottal_flow(rng: np.random.Generator, voice: Voice) -> np.ndarray:
    """Flow through the glottis at the internal rate: one Rosenberg pulse per period, peak about 1."""
    seconds = voice.duration - 2 * voice.pause
    count = int(np.ceil(seconds * voice.f0 * 1.2)) + 8
    # For independent normal steps the mean absolute difference of neighbours is 2/√π standard deviations.
    step = np.sqrt(np.pi) / 2 / 100
    wobble = 1 + voice.jitter * step * rng.standard_normal(count)
    loudness = 1 + voice.shimmer * step * rng.standard_normal(count)
    phase = rng.uniform(0, 2 * np.pi)
    middle = np.arange(count) / voice.f0
    swing = voice.tremor / 100 * np.sin(2 * np.pi * voice.tremor_rate * middle + phase)
    slide = voice.drift / 100 * (0.5 - middle / seconds)
    starts = np.concatenate([[0.0], np.cumsum(wobble / (voice.f0 * (1 + swing + slide)))])
    inside = np.searchsorted(starts, seconds)
    starts *= inside / voice.f0 / starts[inside]  # the mean of f0 is kept whatever the wobble came to
    time = np.arange(int(seconds * INTERNAL_RATE)) / INTERNAL_RATE
    period = np.clip(np.searchsorted(starts, time, side="right") - 1, 0, count - 1)
    turn = (time - starts[period]) / (starts[period + 1] - starts[period])
    # The voice is excited most where the glottis closes: a period ends there, so that the distance of two
    # closures is the period drawn, and not a mean of two periods.
    opening, closing = 0.7 * voice.open_quotient, 0.3 * voice.open_quotient
    since = turn - (1 - voice.open_quotient)
    pulse = np.where(
        since < opening,
        0.5 * (1 - np.cos(np.pi * np.clip(since / opening, 0, 1))),
        np.cos(np.pi / 2 * np.clip((since - opening) / closing, 0, 1)),
    )
    return pulse * loudness[period]


def _resonate(signals: np.ndarray, frequency: float, bandwidth: float) -> np.ndarray:
    """Second-order resonator with unit gain at 0 Hz (Klatt 1980, eq. 1–2)."""
    c = -np.exp(-2 * np.pi * bandwidth / INTERNAL_RATE)
    b = 2 * np.exp(-np.pi * bandwidth / INTERNAL_RATE) * np.cos(2 * np.pi * frequency / INTERNAL_RATE)
    return lfilter([1 - b - c], [1, -b, -c], signals, axis=-1)


def _telephone(signal: np.ndarray) -> np.ndarray:
    return sosfilt(butter(2, TELEPHONE_BAND, "bandpass", fs=RATE, output="sos"), signal)


def _fade(signal: np.ndarray, rise: float = 0.04, fall: float = 0.08) -> np.ndarray:
    """Raised-cosine onset and offset, lengths in seconds."""
    gain = np.ones(len(signal))
    for seconds, part in ((rise, gain), (fall, gain[::-1])):
        n = round(seconds * RATE)
        part[:n] *= 0.5 * (1 - np.cos(np.pi * np.arange(n) / n))
    return signal * gain


def _generators(seed: int, label: int, index: int) -> np.random.Generator:
    # Class and index enter the seed, so HC-03 is the same voice in a cohort of 12 and in one of 81.
    return np.random.default_rng([seed, label, index])


def _layout(size: int) -> list[tuple[int, int]]:
    """(label, index) of each voice: HC first, and one more HC where the size is odd, like 41 and 40 of 81."""
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or not 4 <= size <= 2 * MAX_VOICES:
        raise ParameterError(f"size = {size!r}", f"a synthetic cohort has 4 to {2 * MAX_VOICES} voices")
    return [(label, index) for label, n in ((0, (size + 1) // 2), (1, size // 2)) for index in range(n)]


def _checked_seed(seed: int) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ParameterError(f"seed = {seed!r}", "a seed is a whole number of 0 or more")
    return int(seed)


def _voice(seed: int, label: int, index: int) -> tuple[Voice, np.random.Generator]:
    rng = _generators(seed, label, index)
    # The sexes alternate in both classes, so sex gives no class away.
    return draw_voice(rng, label, sex=("M", "F")[index % 2]), rng


def synthetic_truth(size: int = 12, seed: int = 0) -> pd.DataFrame:
    """The true values behind `synthetic_cohort` of the same size and seed.

    Returns
    -------
    DataFrame
        Index ``recording`` (HC-01 …), one column per field of `Voice`.
    """
    seed = _checked_seed(seed)
    rows = {_name(k, i): asdict(_voice(seed, k, i)[0]) for k, i in _layout(size)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("recording")


def _name(label: int, index: int) -> str:
    return f"{CLASSES[label]}-{index + 1:02d}"


@dataclass(frozen=True)
class _Speaker:
    """Speaks the voices of `synthetic_cohort`; asked again for one, it gives the same samples."""

    seed: int

    def __call__(self, recording: Recording) -> Signal:
        return self.speak(recording.label, int(recording.name[len(CLASSES[0]) + 1 :]) - 1)[1]

    def speak(self, label: int, index: int) -> tuple[Voice, Signal]:
        voice, rng = _voice(self.seed, label, index)
        return voice, synthetic_voice(rng, voice=voice)


def _cohort_by(speaker: _Speaker, size: int, source: str) -> Cohort:
    """Every voice is spoken once, for its hash; what does not stay at hand is spoken again when asked for."""
    recordings, people, at_hand = [], {}, AtHand(speaker)
    for label, index in _layout(size):
        name = _name(label, index)
        voice, signal = speaker.speak(label, index)
        recordings.append(Recording(name, label, None, at_hand.keep(name, signal).digest()))
        people[name] = (float(voice.age), voice.sex, False)
    frame = pd.DataFrame.from_dict(people, orient="index", columns=["age", "sex", "validated"])
    return Cohort("synthetic", source, tuple(recordings), frame, at_hand=at_hand)


def synthetic_cohort(size: int = 12, seed: int = 0) -> Cohort:
    """A cohort of synthetic voices, half of each class; of a large one only the latest are in memory.

    Parameters
    ----------
    size : int
        Number of voices, 4 or more; 81 gives 41 HC and 40 PD like the published set.
    seed : int
        Fixes every sample.

    Returns
    -------
    Cohort
        ``kind`` synthetic; never validated, for there is nothing to validate.

    Raises
    ------
    ParameterError
        When size or seed is no such number.
    """
    return _cohort_by(
        _Speaker(_checked_seed(seed)),
        size,
        f"SYNTHETIC: {size} computed voices with planted class differences (seed {seed}); no person spoke them.",
    )


# ── a class difference in one band ─────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class _BandSpeaker(_Speaker):
    """Speaks the voices of `planted_band_cohort`."""

    band: tuple[float, float]
    level_db: float

    def speak(self, label: int, index: int) -> tuple[Voice, Signal]:
        rng = _generators(self.seed, label, index)
        voice = draw_voice(rng, 0, sex=("M", "F")[index % 2])
        signal = synthetic_voice(rng, voice=voice)
        return voice, _with_noise(signal, rng, voice.pause, self.band, self.level_db) if label else signal


def planted_band_cohort(
    size: int = 12,
    seed: int = 0,
    *,
    band: tuple[float, float] = PLANTED_BAND,
    level_db: float = BAND_LEVEL_DB,
) -> Cohort:
    """A cohort whose classes differ in a narrow band of noise, and in nothing else.

    All voices are drawn as the HC of `synthetic_cohort` are, ages and sexes too, and the HC are the very
    same voices. To those labelled PD a Gaussian noise is added that lies wholly within ``band``, as long as
    the voice and faded like it. It lasts throughout, for no preprocessing leaves a moment where it was.

    Parameters
    ----------
    size : int
        Number of voices, 4 or more.
    seed : int
        Fixes every sample.
    band : (float, float)
        Lower and upper end of the noise, Hz; within the telephone band and 100 Hz wide or more.
    level_db : float
        RMS level of the noise re that of the voice it is added to, dB, not above 0.

    Returns
    -------
    Cohort
        ``kind`` synthetic; peak 1.0, in steps of 16 bits. At −26 dB the noise changes the gain of a clip by
        less than 0.2 dB, which is all that is seen of it outside the band.

    Raises
    ------
    ParameterError
        When an argument is out of range.

    See also
    --------
    planted_band_mask : where in a spectrogram's picture the noise is.
    """
    seed, (low, high) = _checked_seed(seed), _checked_band(band)
    if not (np.isfinite(level_db) and level_db <= 0):
        raise ParameterError(f"level_db = {level_db!r}", "give a level re the voice of 0 dB or less")
    return _cohort_by(
        _BandSpeaker(seed, (low, high), float(level_db)),
        size,
        f"SYNTHETIC: {size} computed voices, alike but for a noise of {low:g} to {high:g} Hz at "
        f"{level_db:g} dB in those labelled PD (seed {seed}); no person spoke them.",
    )


def planted_band_mask(size: int, band: tuple[float, float] = PLANTED_BAND) -> np.ndarray:
    """Where `planted_band_cohort` put its noise in a picture by `picture_sets.spectrogram_picture`.

    Parameters
    ----------
    size : int
        Side of the picture in pixels.
    band : (float, float)
        Hz, as given to `planted_band_cohort`.

    Returns
    -------
    bool array, shape (size, size)
        Rows of the mel bands that reach into ``band``, over the whole width. Where preprocessing fills a
        short voice up with zeros ("paper"), the columns after its end hold no noise, and the mask covers
        them all the same.

    Raises
    ------
    ParameterError
        When an argument is out of range.
    """
    low, high = _checked_band(band)
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or not size > 0:
        raise ParameterError(f"size = {size!r}", "give the side of the picture in pixels")
    # In steps of the mel scale from 0 Hz, band k is a triangle from k to k + 2.
    ends = np.log1p(np.array([low, high]) / MEL_BREAK) / np.log1p(RATE / 2 / MEL_BREAK) * (MEL_BANDS + 1)
    bands = np.arange(MEL_BANDS)
    reached = (bands < ends[1]) & (bands + 2 > ends[0])
    # Brought to size as the picture is, so that a row that mixes two bands goes with the larger part.
    drawn = Image.fromarray(reached[::-1, np.newaxis].astype(np.float32))
    return np.asarray(drawn.resize((int(size), int(size)), Image.Resampling.BILINEAR)) >= 0.5


def _with_noise(
    signal: Signal, rng: np.random.Generator, pause: float, band: tuple[float, float], level_db: float
) -> Signal:
    samples = signal.samples.astype(float)
    edge = round(pause * RATE)
    voiced = slice(edge, len(samples) - edge)
    n = len(samples) - 2 * edge
    spectrum, frequency = rfft(rng.standard_normal(n)), rfftfreq(n, 1 / RATE)
    spectrum[(frequency < band[0]) | (frequency > band[1])] = 0
    noise = _fade(irfft(spectrum, n))
    noise *= 10 ** (level_db / 20) * np.sqrt(np.mean(samples[voiced] ** 2) / np.mean(noise**2))
    samples[voiced] += noise
    steps = np.round(samples / np.abs(samples).max() * 32767)
    return Signal(steps / 32767, RATE, ("SYNTHETIC voice with an added band of noise",))


def _checked_band(band: tuple[float, float]) -> tuple[float, float]:
    low, high = band if np.shape(band) == (2,) else (np.nan, np.nan)
    if not (TELEPHONE_BAND[0] <= low and low + NARROWEST_BAND <= high <= TELEPHONE_BAND[1]):
        ends = " to ".join(f"{end:g}" for end in TELEPHONE_BAND)
        raise ParameterError(
            f"band = {band!r}", f"give two ends within {ends} Hz, at least {NARROWEST_BAND:g} Hz apart"
        )
    return float(low), float(high)
