"""Pitch and formants against sounds whose pitch and resonances are known."""

import numpy as np
import pytest
from scipy.signal import lfilter

from pdlib.errors import ParameterError, RecordingError
from pdlib.vowels import pitch_and_formants

RATE = 8000


def vowel(f0=100.0, formants=(700.0, 1200.0, 2500.0), seconds=1.0):
    """A pulse train through resonators on multiples of its pitch, where no harmonic pulls a formant away."""
    samples = np.zeros(int(seconds * RATE))
    samples[:: round(RATE / f0)] = 1.0
    for frequency in formants:
        radius = np.exp(-np.pi * 80 / RATE)
        samples = lfilter([1], [1, -2 * radius * np.cos(2 * np.pi * frequency / RATE), radius**2], samples)
    return samples / np.abs(samples).max()


def test_a_vowel_with_known_pitch_and_formants_would_be_measured_wrong():
    found = pitch_and_formants(vowel(), RATE)
    assert found["f0"] == pytest.approx(100, rel=0.01)
    for name, planted in zip(("f1", "f2", "f3"), (700, 1200, 2500), strict=True):
        assert found[name] == pytest.approx(planted, rel=0.05)


def test_gain_would_change_what_is_measured():
    loud, soft = pitch_and_formants(vowel(), RATE), pitch_and_formants(0.1 * vowel(), RATE)
    for name in loud:
        assert soft[name] == pytest.approx(loud[name], rel=1e-3)


def test_noise_would_be_given_a_pitch():
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE // 2)
    with pytest.raises(RecordingError, match="f0"):
        pitch_and_formants(noise, RATE)


def test_a_rate_without_the_formants_would_be_accepted():
    with pytest.raises(ParameterError, match="8000"):
        pitch_and_formants(vowel(), 1000)


def test_a_recording_shorter_than_a_period_would_fail_without_a_word():
    with pytest.raises(RecordingError):
        pitch_and_formants(np.ones(20), RATE)
