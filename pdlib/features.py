"""What the models see: L-mHP spectrograms (eq. 8–16, p. 12–16), spectral slopes (p. 18), acoustic markers.

Levels are in dB re full scale throughout: 0 dB is a mean square of 1, so a sine of amplitude 1 stands at
−3.01 dB. The reference is fixed, not the loudest point of the clip, so twice the amplitude is 6.02 dB more
everywhere above the floor. No frame reaches over an end of the signal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.fft import dct, rfft, rfftfreq
from scipy.ndimage import median_filter
from scipy.sparse import csr_array

from pdlib.errors import ParameterError, RecordingError
from pdlib.preprocessing import Clip

FLOOR_DB = -80.0  # lowest level of spectrograms and energy curves
SPECTRUM_FLOOR_DB = (
    -120.0
)  # lowest level of one bin before a slope is fitted: the noise of a 16-bit recording
N_MELS, N_FFT, HOP_LENGTH = 64, 256, 64  # at 8 kHz: 64 bands, frames of 32 ms every 8 ms
REFERENCE_RATE = 8000  # Hz; the rate the three numbers above are meant for
HARMONIC_KERNEL = 31  # frames (0.25 s): what stays for that long is harmonic
PERCUSSIVE_KERNEL = 17  # bins (531 Hz): what spreads that far is percussive
SLOPE_LOW_HZ = 50.0  # below lie hum and handling noise
MINIMUM_BINS = 3  # a straight line through two points fits anything
N_MFCC = 13
PITCH_FLOOR_HZ, PITCH_CEILING_HZ = 75.0, 500.0

SlopeUnit = Literal["dB/kHz", "dB/octave"]
Array = NDArray[np.float64]


# --- Short-time spectra -------------------------------------------------------------------------------


def frames(samples: ArrayLike, frame_length: int, hop_length: int) -> NDArray:
    """Cut a signal into overlapping frames; the rest that does not fill a frame is left out.

    Parameters
    ----------
    samples : array_like, shape (n,)
    frame_length, hop_length : int
        Samples.

    Returns
    -------
    ndarray, shape (1 + (n - frame_length) // hop_length, frame_length)
        A read-only view.

    Raises
    ------
    ParameterError
        When a length is not a positive whole number.
    RecordingError
        When the signal is not one channel or shorter than one frame.
    """
    samples = np.asarray(samples)
    for name, value in (("frame_length", frame_length), ("hop_length", hop_length)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ParameterError(f"{name}: {value!r} is not a number of samples", "give 1 or more")
    if samples.ndim != 1:
        raise RecordingError(
            f"samples: an array of shape {samples.shape} is not one channel", "choose one channel"
        )
    if samples.size < frame_length:
        raise RecordingError(
            f"samples: {samples.size} samples do not fill one frame of {frame_length}",
            "use a longer recording or a shorter frame",
        )
    return np.lib.stride_tricks.sliding_window_view(samples, frame_length)[::hop_length]


def frame_times(n_frames: int, frame_length: int, hop_length: int, sample_rate: int) -> Array:
    """Centres of the frames in seconds; shape (n_frames,)."""
    return (np.arange(n_frames) * hop_length + frame_length / 2) / sample_rate


def frame_mask(mask: NDArray[np.bool_], frame_length: int, hop_length: int) -> NDArray[np.bool_]:
    """True for frames that lie wholly inside the recording; shape (frames,)."""
    return frames(mask, frame_length, hop_length).all(axis=1)


def power_spectrogram(samples: ArrayLike, n_fft: int = N_FFT, hop_length: int = HOP_LENGTH) -> Array:
    """One-sided power spectrum of each Hann-windowed frame.

    Scaled so that the bins of a frame sum to its (window-weighted) mean square: Parseval's theorem holds
    exactly, and a sine of amplitude A carries A²/2.

    Parameters
    ----------
    samples : array_like, shape (n,)
        Full scale ±1.
    n_fft, hop_length : int
        Frame length and step, samples.

    Returns
    -------
    ndarray, shape (1 + n_fft // 2, frames)
        Power re full scale; bin k lies at ``k * sample_rate / n_fft``.

    Raises
    ------
    ParameterError, RecordingError
        See `frames`; also when a sample is not a finite number.
    """
    cut = frames(_finite(samples), n_fft, hop_length)
    window, energy = _hann(n_fft)
    power = np.abs(rfft(cut * window, axis=1)) ** 2 / (n_fft * energy)
    power[:, 1 : (n_fft + 1) // 2] *= 2  # the mirror half; 0 Hz and the Nyquist bin have none
    return power.T


@lru_cache(maxsize=16)
def _hann(length: int) -> tuple[Array, float]:
    """Periodic Hann window, read-only, and the sum of its squares.

    The same floats as ``scipy.signal.get_window("hann", length)``; that import alone would cost every kernel
    as much time as the L-mHP spectrograms of all recordings.
    """
    window = 0.5 + 0.5 * np.cos(np.linspace(-np.pi, np.pi, length + 1)[:-1]) if length > 1 else np.ones(1)
    window.flags.writeable = False
    return window, np.sum(window**2)


def decibels(power: ArrayLike, floor_db: float = FLOOR_DB) -> Array:
    """10 log10 of a power re full scale, no lower than ``floor_db``."""
    return 10 * np.log10(np.maximum(power, 10 ** (floor_db / 10)))


# --- Mel scale and log-mel spectrogram (eq. 8–10) -----------------------------------------------------


def mel_printed(frequency: ArrayLike) -> Array:
    """Equation 8 (p. 12) as printed: 2595 (1 + f/700), a straight line that starts at 2595 mel; f in Hz."""
    return 2595 * (1 + np.asarray(frequency, dtype=np.float64) / 700)


def hz_to_mel(frequency: ArrayLike) -> Array:
    """Frequency in mel: 2595 log10(1 + f/700), f in Hz.

    This is equation 8 (p. 12) with the logarithm that Algorithm 1 (p. 17) keeps; D. O'Shaughnessy, *Speech
    Communication: Human and Machine* (1987), p. 150.
    """
    return 2595 * np.log10(1 + np.asarray(frequency, dtype=np.float64) / 700)


def mel_to_hz(mel: ArrayLike) -> Array:
    """Inverse of `hz_to_mel`; Hz."""
    return 700 * (10 ** (np.asarray(mel, dtype=np.float64) / 2595) - 1)


@lru_cache(maxsize=16)
def mel_filter_bank(sample_rate: int, n_fft: int = N_FFT, n_mels: int = N_MELS) -> Array:
    """Triangular filters with a peak of 1, evenly spaced in mel from 0 Hz to half the sample rate.

    Neighbouring triangles add up to 1, so between the outermost centres the bands share out the power among
    them.

    Parameters
    ----------
    sample_rate : int
        Hz.
    n_fft, n_mels : int
        Frame length in samples; number of bands.

    Returns
    -------
    ndarray, shape (n_mels, 1 + n_fft // 2)
        Read-only. The H_n(f') of equation 9 (p. 12).

    Raises
    ------
    ParameterError
        When a band is so narrow that no bin falls into it.
    """
    if n_mels < 1 or n_fft < 2 or sample_rate <= 0:
        raise ParameterError(
            f"n_mels={n_mels}, n_fft={n_fft}, sample_rate={sample_rate} make no filter bank",
            "give positive numbers",
        )
    edges = mel_to_hz(np.linspace(0, hz_to_mel(sample_rate / 2), n_mels + 2))
    bins = rfftfreq(n_fft, 1 / sample_rate)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    bank = np.maximum(0, np.minimum(rising, falling))
    empty = np.count_nonzero(bank.sum(axis=1) == 0)
    if empty:
        raise ParameterError(
            f"n_mels: {empty} of {n_mels} bands up to {sample_rate / 2:g} Hz hold none of the {bins.size} "
            f"bins of n_fft={n_fft}, one every {sample_rate / n_fft:g} Hz",
            "use fewer bands or a larger n_fft",
        )
    bank.flags.writeable = False
    return bank


@lru_cache(maxsize=16)
def _sparse_bank(sample_rate: int, n_fft: int, n_mels: int) -> csr_array:
    """`mel_filter_bank` without its zeros, 32 of 33 numbers at the usual sizes.

    So small a product is over before the threads of a dense one have met, which on a busy machine takes longer than
    all the rest of a spectrogram; and its sums cannot depend on how many threads there are.
    """
    return csr_array(mel_filter_bank(sample_rate, n_fft, n_mels))


def spectrogram_sizes(
    sample_rate: int, n_mels: int | None = None, n_fft: int | None = None, hop_length: int | None = None
) -> tuple[int, int, int]:
    """Number of bands, frame length and step; what is left out is scaled from 64, 256 and 64 at 8 kHz.

    The frame stays close to 32 ms and the bands keep their width in mel, so a lower sample rate loses the
    upper bands and keeps the lower ones: 18 bands at 1 kHz, 5 at 256 Hz.

    Returns
    -------
    n_mels, n_fft, hop_length : int

    Raises
    ------
    ParameterError
        When the sample rate is not positive.
    """
    if not sample_rate > 0:
        raise ParameterError(f"sample_rate: {sample_rate!r} is not a rate", "give samples per second")
    share = hz_to_mel(sample_rate / 2) / hz_to_mel(REFERENCE_RATE / 2)
    n_fft = n_fft or 2 * max(1, round(N_FFT / 2 * sample_rate / REFERENCE_RATE))
    return n_mels or max(1, int(N_MELS * share)), n_fft, hop_length or max(1, n_fft * HOP_LENGTH // N_FFT)


def log_mel_spectrogram(
    samples: ArrayLike,
    sample_rate: int,
    n_mels: int | None = None,
    n_fft: int | None = None,
    hop_length: int | None = None,
) -> Array:
    """Log-mel spectrogram: power in mel bands (eq. 9, p. 12) in dB (eq. 10).

    Page 11 calls a spectrogram the squared magnitude, equation 9 sums magnitudes; squares are used here.

    Parameters
    ----------
    samples : array_like, shape (n,)
        Full scale ±1.
    sample_rate : int
        Hz.
    n_mels, n_fft, hop_length : int, optional
        Bands, frame length and step (samples); see `spectrogram_sizes`. 64, 256 and 64 at 8 kHz.

    Returns
    -------
    ndarray, shape (n_mels, frames)
        dB re full scale, no lower than −80.

    Raises
    ------
    ParameterError
        When a band would hold no bin.
    RecordingError
        When the signal is shorter than a frame or not finite.
    """
    n_mels, n_fft, hop_length = spectrogram_sizes(sample_rate, n_mels, n_fft, hop_length)
    bank = _sparse_bank(sample_rate, n_fft, n_mels)
    return decibels(bank @ power_spectrogram(samples, n_fft, hop_length))


def double_log_printed(values: ArrayLike) -> Array:
    """Equation 10 (p. 12) as printed: log(log(M)).

    Not a number wherever M is at most 1, which for a recording within full scale is everywhere.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        result = np.log(np.log(np.asarray(values, dtype=np.float64)))
    return np.where(np.isfinite(result), result, np.nan)


def log_compress(magnitude: ArrayLike, alpha: float) -> Array:
    """log(1 + α·magnitude): equations 13 and 16 (p. 14, 16) with one logarithm, as in Algorithm 1 (p. 17).

    Raises
    ------
    ParameterError
        When ``alpha`` is not a positive number; the paper gives no value.
    """
    if not 0 < alpha < np.inf:
        raise ParameterError(f"alpha: {alpha!r} is not a positive number", "choose one; the paper gives none")
    return np.log1p(alpha * np.asarray(magnitude, dtype=np.float64))


def log_compress_printed(magnitude: ArrayLike, alpha: float) -> Array:
    """log(log(1 + α·magnitude)): equations 13 and 16 (p. 14, 16) as printed; undefined (NaN) in silence."""
    return double_log_printed(np.exp(log_compress(magnitude, alpha)))


# --- Harmonic and percussive parts (eq. 11–16) --------------------------------------------------------


def harmonic_percussive(
    power: ArrayLike, harmonic_kernel: int = HARMONIC_KERNEL, percussive_kernel: int = PERCUSSIVE_KERNEL
) -> tuple[Array, Array]:
    """Split a power spectrogram into lines along time and lines along frequency (eq. 14, p. 15).

    A median along time keeps what lasts, a median along frequency keeps what is broad; each point is shared
    out in proportion to the two. The parts add up to the whole.

    Parameters
    ----------
    power : array_like, shape (bins, frames)
        See `power_spectrogram`.
    harmonic_kernel, percussive_kernel : int
        Length of the medians, in frames and in bins; odd.

    Returns
    -------
    harmonic, percussive : ndarray, shape (bins, frames)

    Raises
    ------
    ParameterError
        When a kernel is not odd or longer than the spectrogram.
    RecordingError
        When a power is not a finite number: no median can be told from it.

    References
    ----------
    D. FitzGerald, "Harmonic/percussive separation using median filtering", *Proc. DAFx* (2010).
    """
    power = _finite(power, "power")
    for name, kernel, size, unit in (
        ("harmonic_kernel", harmonic_kernel, power.shape[1], "frames"),
        ("percussive_kernel", percussive_kernel, power.shape[0], "bins"),
    ):
        if kernel < 1 or kernel % 2 == 0 or kernel > size:
            raise ParameterError(
                f"{name}: {kernel} {unit} is not an odd length within the spectrogram's {size} {unit}",
                "use a shorter kernel, a longer clip or a larger n_fft",
            )
    lasting = _running_medians(power, harmonic_kernel)
    broad = _running_medians(power.T, percussive_kernel).T
    total = lasting + broad
    # Where both medians are zero, as in padding, neither part has a claim: half each.
    share = np.divide(lasting, total, out=np.full_like(total, 0.5), where=total > 0)
    return share * power, (1 - share) * power


def _running_medians(rows: Array, kernel: int) -> Array:
    """Median of the ``kernel`` values around each point of each row, rows mirrored at their ends.

    Equal to ``scipy.ndimage.median_filter`` with ``mode="reflect"``, which for two dimensions sorts every window
    anew. Its filter for one dimension keeps the window sorted while it slides, so all rows go through it as one:
    between them stand their mirrored ends, and what the filter makes of those is cut off.
    """
    half = kernel // 2
    joined = np.pad(rows, ((0, 0), (half, half)), mode="symmetric")
    medians = median_filter(joined.ravel(), size=kernel).reshape(joined.shape)
    return medians[:, half : half + rows.shape[1]]


def l_mhp(
    clip: Clip,
    n_mels: int | None = None,
    n_fft: int | None = None,
    hop_length: int | None = None,
    *,
    harmonic_kernel: int = HARMONIC_KERNEL,
    percussive_kernel: int = PERCUSSIVE_KERNEL,
) -> Array:
    """The paper's L-mHP: log-mel, harmonic and percussive spectrogram as one array (p. 11–16, Fig. 3–5).

    All three are on the mel scale and in dB re full scale, so they can be stacked; the power in the second
    and third adds up to that of the first.

    Parameters
    ----------
    clip : Clip
    n_mels, n_fft, hop_length : int, optional
        See `spectrogram_sizes`.
    harmonic_kernel, percussive_kernel : int
        See `harmonic_percussive`.

    Returns
    -------
    ndarray, shape (n_mels, frames, 3)
        dB re full scale, no lower than −80.

    Raises
    ------
    ParameterError
        When a band would hold no bin or a kernel does not fit; at 256 Hz 32 ms are five bins, so a larger
        ``n_fft`` or a shorter ``percussive_kernel`` must be asked for.
    RecordingError
        When the clip is shorter than a frame.
    """
    n_mels, n_fft, hop_length = spectrogram_sizes(clip.sample_rate, n_mels, n_fft, hop_length)
    bank = _sparse_bank(clip.sample_rate, n_fft, n_mels)
    power = power_spectrogram(clip.samples, n_fft, hop_length)
    parts = harmonic_percussive(power, harmonic_kernel, percussive_kernel)
    return decibels(np.stack([bank @ part for part in (power, *parts)], axis=-1))


# --- Spectral slope and energy curves (p. 18, Fig. 6–7) -----------------------------------------------


@dataclass(frozen=True)
class SlopeCurves:
    """Spectral slope and energy over time.

    Attributes
    ----------
    times : ndarray, shape (frames,)
        Centres of the frames, s.
    slope : ndarray, shape (frames,)
        Slope of the spectrum in ``unit``; NaN where the frame is silent, since silence has no slope.
    energy : ndarray, shape (frames,)
        RMS level, dB re full scale, no lower than −80.
    mask : ndarray of bool, shape (frames,)
        True where the frame lies wholly inside the recording, False where it holds added zeros.
    unit : str
        "dB/kHz" or "dB/octave".
    """

    times: Array
    slope: Array
    energy: Array
    mask: NDArray[np.bool_]
    unit: SlopeUnit = "dB/kHz"

    def as_drawn(self) -> SlopeCurves:
        """The curves a plot shows when padding is treated as sound.

        Added zeros have no slope; a plot that floors their level draws a flat spectrum, a slope of zero,
        and an energy that dips to the floor. This is the "dip towards the end" of p. 18.
        """
        return replace(self, slope=np.nan_to_num(self.slope, nan=0.0), mask=np.ones_like(self.mask))

    def mean(self) -> tuple[float, float]:
        """Mean slope and mean energy over the frames of the recording that are not silent."""
        use = self.mask & np.isfinite(self.slope)
        if not use.any():
            raise RecordingError("clip: no frame holds sound", "check the recording and its preprocessing")
        return float(self.slope[use].mean()), float(self.energy[use].mean())


def slope_curves(
    clip: Clip,
    frame_s: float = 0.032,
    hop_s: float = 0.010,
    unit: SlopeUnit = "dB/kHz",
    low_hz: float = SLOPE_LOW_HZ,
    high_hz: float | None = None,
) -> SlopeCurves:
    """Spectral slope and energy of each frame.

    The paper shows slope graphs (p. 18, Fig. 6–7) and defines none. Here the slope is that of the straight
    line fitted by least squares to the dB power spectrum of a Hann-windowed frame, bin by bin, from
    ``low_hz`` to ``high_hz``; this follows the "spectral slope" of the Geneva parameter set, there given
    for 0–500 and 500–1500 Hz. The energy is the RMS level of the unwindowed frame.

    Parameters
    ----------
    clip : Clip
    frame_s, hop_s : float
        Length and step of the frames, s.
    unit : {"dB/kHz", "dB/octave"}
        Whether the line is fitted against frequency or its logarithm.
    low_hz, high_hz : float
        Band of the fit, ends included but never 0 Hz; ``high_hz`` is half the sample rate where left out.

    Returns
    -------
    SlopeCurves

    Raises
    ------
    ParameterError
        When a time or band is not usable, or fewer than three bins fall into the band.
    RecordingError
        When the clip is shorter than a frame.

    References
    ----------
    F. Eyben et al., "The Geneva minimalistic acoustic parameter set (GeMAPS) for voice research and affective
    computing", *IEEE Trans. Affective Computing* 7(2), 190–202 (2016).
    """
    length, hop = _frame_sizes(clip.sample_rate, frame_s, hop_s)
    power = power_spectrogram(clip.samples, length, hop)
    energy = decibels(np.mean(frames(clip.samples, length, hop) ** 2, axis=1))
    high_hz = clip.sample_rate / 2 if high_hz is None else high_hz
    slope = _fit_slopes(power, clip.sample_rate, low_hz, high_hz, unit)
    return SlopeCurves(
        times=frame_times(energy.size, length, hop, clip.sample_rate),
        slope=np.where(energy > FLOOR_DB, slope, np.nan),
        energy=energy,
        mask=frame_mask(clip.mask, length, hop),
        unit=unit,
    )


def _fit_slopes(power: Array, sample_rate: int, low_hz: float, high_hz: float, unit: SlopeUnit) -> Array:
    """Least-squares slope of each column's dB spectrum; shape (frames,)."""
    if unit not in ("dB/kHz", "dB/octave"):
        raise ParameterError(f"unit: {unit!r} is not a unit of slope", "use 'dB/kHz' or 'dB/octave'")
    bins = np.linspace(0, sample_rate / 2, power.shape[0])
    in_band = (bins >= low_hz) & (bins <= high_hz) & (bins > 0)  # an offset at 0 Hz is no part of a voice
    if np.count_nonzero(in_band) < MINIMUM_BINS:
        raise ParameterError(
            f"low_hz={low_hz:g}, high_hz={high_hz:g}: {np.count_nonzero(in_band)} bins, one every "
            f"{bins[1]:g} Hz at {sample_rate} Hz, are too few for a line",
            "widen the band or lengthen frame_s",
        )
    x = np.log2(bins[in_band]) if unit == "dB/octave" else bins[in_band] / 1000
    x = x - x.mean()
    # The bin at half the rate has no mirror half to count twice; left so, it would tilt the line.
    density = np.where(bins[in_band, None] < sample_rate / 2, 1, 2) * power[in_band]
    return x @ decibels(density, SPECTRUM_FLOOR_DB) / np.sum(x**2)


def _frame_sizes(sample_rate: int, frame_s: float, hop_s: float) -> tuple[int, int]:
    for name, value in (("frame_s", frame_s), ("hop_s", hop_s)):
        if not 0 < value < np.inf:
            raise ParameterError(f"{name}: {value!r} is not a time", "give seconds above zero")
    length, hop = 2 * round(frame_s * sample_rate / 2), round(hop_s * sample_rate)
    if length < 2 * MINIMUM_BINS or hop < 1:
        raise ParameterError(
            f"frame_s={frame_s:g}, hop_s={hop_s:g}: too few samples ({length} and {hop}) at {sample_rate} Hz",
            "use longer frames and steps",
        )
    return length, hop


# --- Energy ratios, both cut at 4 kHz -----------------------------------------------------------------


def long_term_spectrum(clip: Clip, frame_s: float = 0.032) -> tuple[Array, Array]:
    """Mean power spectrum over the frames of the recording, added zeros left out.

    Returns
    -------
    frequency : ndarray, shape (bins,)
        Hz.
    power : ndarray, shape (bins,)
        Re full scale; sums to the mean square of the frames.

    Raises
    ------
    RecordingError
        When the recording inside the clip is shorter than a frame, or silent.
    """
    length, hop = _frame_sizes(clip.sample_rate, frame_s, frame_s / 2)
    power = power_spectrogram(clip.voice, length, hop).mean(axis=1)
    if decibels(power.sum()) <= FLOOR_DB:
        raise RecordingError("clip: the recording is silent, so its spectrum has no shape", "record again")
    return rfftfreq(length, 1 / clip.sample_rate), power


def alpha_ratio(clip: Clip) -> float:
    """Alpha ratio truncated at 4 kHz: energy of 50–1000 Hz over that of 1–4 kHz, dB.

    The usual upper band ends at 5 kHz, which a recording at 8 kHz does not reach, so values cannot be
    compared with published ones.

    Raises
    ------
    ParameterError
        When the clip's rate is below 8 kHz.
    RecordingError
        See `long_term_spectrum`.

    References
    ----------
    Eyben et al. (2016), see `slope_curves`.
    """
    _needs_8_khz(clip.sample_rate, "the alpha ratio")
    frequency, power = long_term_spectrum(clip)
    low = power[(frequency >= 50) & (frequency <= 1000)].sum()
    high = power[(frequency > 1000) & (frequency <= 4000)].sum()
    return float(decibels(low, SPECTRUM_FLOOR_DB) - decibels(high, SPECTRUM_FLOOR_DB))


def hammarberg_index(clip: Clip) -> float:
    """Hammarberg index truncated at 4 kHz: highest level in 0–2 kHz minus highest level in 2–4 kHz, dB.

    The usual upper band ends at 5 kHz; see `alpha_ratio`.

    Raises
    ------
    ParameterError
        When the clip's rate is below 8 kHz.
    RecordingError
        See `long_term_spectrum`.

    References
    ----------
    B. Hammarberg et al., "Perceptual and acoustic correlates of abnormal voice qualities", *Acta
    Oto-Laryngologica* 90, 441–451 (1980).
    """
    _needs_8_khz(clip.sample_rate, "the Hammarberg index")
    frequency, power = long_term_spectrum(clip)
    level = decibels(power, SPECTRUM_FLOOR_DB)
    return float(level[frequency <= 2000].max() - level[(frequency > 2000) & (frequency <= 4000)].max())


def _needs_8_khz(sample_rate: int, what: str) -> None:
    if sample_rate < REFERENCE_RATE:
        raise ParameterError(
            f"sample_rate: {what} needs the band up to 4 kHz, so 8000 Hz or more, not {sample_rate}",
            "preprocess with target_sr=8000",
        )


# --- Praat's voice markers ----------------------------------------------------------------------------

PRAAT_NAMES = (
    "f0_mean_hz",
    "f0_sd_hz",
    "f0_range_hz",
    "voiced_share",
    "jitter_local",
    "jitter_rap",
    "jitter_ppq5",
    "shimmer_local",
    "shimmer_apq3",
    "shimmer_apq5",
    "shimmer_apq11",
    "hnr_db",
    "cpps_db",
)
_PERIODS = (
    0.0001,
    0.02,
    1.3,
)  # shortest and longest period (s), largest ratio of neighbours: Praat's defaults
_LARGEST_AMPLITUDE_RATIO = 1.6  # Praat's default


def praat_markers(samples: ArrayLike, sample_rate: int) -> dict[str, float]:
    """Perturbation, noise and pitch of a sustained vowel, measured by Praat.

    Settings: pitch by autocorrelation every 10 ms between 75 and 500 Hz; pulses by cross-correlation;
    periods 0.1–20 ms with neighbours differing by a factor of 1.3 at most, amplitudes by 1.6; harmonicity
    by cross-correlation; cepstral peak between 60 and 330 Hz, smoothed over 10 ms and 1 ms, above a robust
    straight trend, as Maryn and Weenink have it. None of the markers depends on gain.

    Parameters
    ----------
    samples : array_like, shape (n,)
        Full scale ±1.
    sample_rate : int
        Hz, 8000 or more.

    Returns
    -------
    dict of str to float
        Keys as in `PRAAT_NAMES`. Jitter and shimmer are fractions (0.01 is 1 %); ``f0_range_hz`` is the
        span of the 5th to 95th percentile; ``voiced_share`` the share of frames with a pitch.

    Raises
    ------
    RecordingError
        When Praat finds too few regular periods to measure a marker, as in noise or whisper.
    ParameterError
        When the rate is below 8 kHz.

    References
    ----------
    P. Boersma, "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio
    of a sampled sound", *Proc. Inst. Phonetic Sciences* 17, 97–110 (1993). Y. Maryn and D. Weenink,
    "Objective dysphonia measures in the program Praat: smoothed cepstral peak prominence and acoustic voice
    quality index", *J. Voice* 29, 35–43 (2015).
    """
    import parselmouth
    from parselmouth.praat import call

    _needs_8_khz(sample_rate, "Praat's markers")
    sound = parselmouth.Sound(_finite(samples), sample_rate)
    try:
        pitch = call(sound, "To Pitch", 0.01, PITCH_FLOOR_HZ, PITCH_CEILING_HZ)
        f0 = pitch.selected_array["frequency"]
        pulses = call(sound, "To PointProcess (periodic, cc)", PITCH_FLOOR_HZ, PITCH_CEILING_HZ)
        jitter = {
            name: call(pulses, f"Get jitter ({name})", 0, 0, *_PERIODS) for name in ("local", "rap", "ppq5")
        }
        shimmer = {
            name: call([sound, pulses], f"Get shimmer ({name})", 0, 0, *_PERIODS, _LARGEST_AMPLITUDE_RATIO)
            for name in ("local", "apq3", "apq5", "apq11")
        }
        harmonicity = call(sound, "To Harmonicity (cc)", 0.01, PITCH_FLOOR_HZ, 0.1, 1.0)
        hnr = call(harmonicity, "Get mean", 0, 0)
        cepstrogram = call(sound, "To PowerCepstrogram", 60, 0.002, sample_rate / 2, 50)
        cpps = call(
            cepstrogram, "Get CPPS", False, 0.01, 0.001, 60, 330, 0.05,
            "Parabolic", 0.001, 0.0, "Straight", "Robust",
        )  # fmt: skip
    except parselmouth.PraatError as error:
        reason = str(error).strip().splitlines()[0]
        raise RecordingError(
            f"samples: Praat cannot measure them ({reason})", "use a longer recording"
        ) from error
    voiced = f0[f0 > 0]
    low, high = np.percentile(voiced, (5, 95)) if voiced.size else (np.nan, np.nan)
    markers = {
        "f0_mean_hz": voiced.mean() if voiced.size else np.nan,
        "f0_sd_hz": voiced.std(ddof=1) if voiced.size > 1 else np.nan,
        "f0_range_hz": high - low,
        "voiced_share": voiced.size / f0.size,
        **{f"jitter_{name}": value for name, value in jitter.items()},
        **{f"shimmer_{name}": value for name, value in shimmer.items()},
        "hnr_db": hnr,
        "cpps_db": cpps,
    }
    undefined = [name for name, value in markers.items() if not np.isfinite(value)]
    if undefined:
        raise RecordingError(
            f"samples: no {', '.join(undefined)}: Praat finds a pitch in {voiced.size} of {f0.size} frames",
            "use a recording of a sustained, voiced vowel",
        )
    return {name: float(markers[name]) for name in PRAAT_NAMES}


# --- MFCC and the table of acoustic features ----------------------------------------------------------


def mfcc(samples: ArrayLike, sample_rate: int, n_mfcc: int = N_MFCC) -> Array:
    """Mel-frequency cepstral coefficients: orthonormal DCT-II of the log-mel spectrogram.

    Parameters
    ----------
    samples : array_like, shape (n,)
    sample_rate : int
        Hz.
    n_mfcc : int
        How many coefficients, from number 0 (which carries the level) on.

    Returns
    -------
    ndarray, shape (n_mfcc, frames)
        dB.

    Raises
    ------
    ParameterError
        When there are fewer bands than coefficients.
    RecordingError
        See `log_mel_spectrogram`.
    """
    bands = log_mel_spectrogram(samples, sample_rate)
    if not 1 <= n_mfcc <= bands.shape[0]:
        raise ParameterError(
            f"n_mfcc: {n_mfcc} coefficients cannot come from {bands.shape[0]} bands at {sample_rate} Hz",
            f"use 1 to {bands.shape[0]}",
        )
    return dct(bands, axis=0, norm="ortho")[:n_mfcc]


def mfcc_summary(clip: Clip, n_mfcc: int = N_MFCC) -> dict[str, float]:
    """Mean and standard deviation over time of each coefficient, added zeros left out.

    Returns
    -------
    dict of str to float
        ``mfcc_00_mean`` … then ``mfcc_00_sd`` …

    Raises
    ------
    ParameterError, RecordingError
        See `mfcc`.
    """
    coefficients = mfcc(clip.voice, clip.sample_rate, n_mfcc)
    means = {f"mfcc_{i:02d}_mean": float(value) for i, value in enumerate(coefficients.mean(axis=1))}
    return means | {f"mfcc_{i:02d}_sd": float(value) for i, value in enumerate(coefficients.std(axis=1))}


def spectral_summary(clip: Clip) -> dict[str, float]:
    """Slopes, energy variation and the two energy ratios cut at 4 kHz, added zeros left out.

    Returns
    -------
    dict of str to float
        Slopes in dB/kHz, mean and standard deviation over frames, for the whole band and for 0–500 and
        500–1500 Hz; ``energy_sd_db``; ``alpha_ratio_to_4khz_db``; ``hammarberg_to_4khz_db``.

    Raises
    ------
    ParameterError, RecordingError
        See `slope_curves` and `alpha_ratio`.
    """
    values: dict[str, float] = {}
    for name, low, high in (
        ("slope", SLOPE_LOW_HZ, None),
        ("slope_0_500", 0.0, 500),
        ("slope_500_1500", 500, 1500),
    ):
        curves = slope_curves(clip, low_hz=low, high_hz=high)
        curves.mean()  # refuses a silent clip by name
        use = curves.mask & np.isfinite(curves.slope)
        values[f"{name}_mean"] = float(curves.slope[use].mean())
        values[f"{name}_sd"] = float(curves.slope[use].std())
    values["energy_sd_db"] = float(curves.energy[use].std())
    values["alpha_ratio_to_4khz_db"] = alpha_ratio(clip)
    values["hammarberg_to_4khz_db"] = hammarberg_index(clip)
    return values


def acoustic_features(clip: Clip) -> pd.Series:
    """Every clinical and spectral marker of one clip, always in the same order and never NaN.

    Added zeros are left out of all of them, so the length of the recording does not leak in through padding.

    Parameters
    ----------
    clip : Clip
        At 8 kHz or more.

    Returns
    -------
    pandas.Series of float, shape (48,)
        Praat's markers, spectral summary, then MFCC means and standard deviations.

    Raises
    ------
    RecordingError
        When a marker is undefined, such as jitter without a voice.
    ParameterError
        When the clip's rate is below 8 kHz.
    """
    values = praat_markers(clip.voice, clip.sample_rate) | spectral_summary(clip) | mfcc_summary(clip)
    return pd.Series(values, dtype=np.float64)


def _finite(values: ArrayLike, name: str = "samples") -> Array:
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        bad = np.count_nonzero(~np.isfinite(values))
        raise RecordingError(
            f"{name}: {bad} of {values.size} values are not finite", "export the recording again"
        )
    return values
