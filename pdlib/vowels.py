"""Where a sustained vowel's pitch and formants lie, measured by Praat: what a sample rate has to keep."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from pdlib.errors import ParameterError, RecordingError
from pdlib.features import PITCH_CEILING_HZ, PITCH_FLOOR_HZ

FORMANTS = 4  # as many as an adult's vocal tract has below 4 kHz, about one per kilohertz
LOWEST_RATE = 8000  # Hz; below it the four formants are not all in the recording


def pitch_and_formants(samples: ArrayLike, sample_rate: int) -> dict[str, float]:
    """Medians over time of the fundamental and of the first three formants.

    Pitch by autocorrelation every 10 ms between 75 and 500 Hz; formants by Burg's method, four up to 4 kHz,
    windows of 25 ms, pre-emphasis from 50 Hz: Praat's own settings, with its ceiling put at half of 8 kHz.

    Parameters
    ----------
    samples : array_like, shape (n,)
        One channel, full scale ±1.
    sample_rate : int
        Hz, 8000 or more.

    Returns
    -------
    dict of str to float
        ``f0``, ``f1``, ``f2`` and ``f3``, Hz.

    Raises
    ------
    ParameterError
        When the rate is below 8 kHz.
    RecordingError
        When Praat finds no pitch or no formant.

    References
    ----------
    P. Boersma, "Praat, a system for doing phonetics by computer", *Glot International* 5, 341–345 (2001).
    """
    import parselmouth
    from parselmouth.praat import call

    if sample_rate < LOWEST_RATE:
        raise ParameterError(
            f"sample_rate: formants up to 4 kHz need {LOWEST_RATE} Hz or more, not {sample_rate}",
            "measure the recording at its own rate, before it is resampled",
        )
    sound = parselmouth.Sound(np.asarray(samples, dtype=np.float64), sample_rate)
    try:
        pitch = call(sound, "To Pitch", 0.01, PITCH_FLOOR_HZ, PITCH_CEILING_HZ).selected_array["frequency"]
        formants = call(sound, "To Formant (burg)", 0.01, FORMANTS, 4000.0, 0.025, 50.0)
    except parselmouth.PraatError as error:
        reason = str(error).strip().splitlines()[0]
        raise RecordingError(
            f"samples: Praat cannot measure them ({reason})", "use a longer recording"
        ) from error
    voiced = pitch[pitch > 0]
    found = {"f0": float(np.median(voiced)) if voiced.size else np.nan}
    for number in (1, 2, 3):
        found[f"f{number}"] = float(call(formants, "Get quantile", number, 0, 0, "hertz", 0.5))
    missing = [name for name, value in found.items() if not np.isfinite(value)]
    if missing:
        raise RecordingError(
            f"samples: Praat finds no {', '.join(missing)}", "use a recording of a sustained, voiced vowel"
        )
    return found
