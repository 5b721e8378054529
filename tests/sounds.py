"""Sounds that are no sustained vowel, or a spoilt one: what a check of recordings must tell from voices."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from pdlib.recordings import RATE
from pdlib.synthetic import synthetic_voice

FORMANTS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))


def vowel(seed: int = 1, label: int = 0) -> np.ndarray:
    """A synthetic voice at 8 kHz, peak 0.9."""
    return 0.9 * synthetic_voice(seed, label).samples.astype(float)


def times(seconds: float) -> np.ndarray:
    return np.arange(int(seconds * RATE)) / RATE


def noise(seconds: float = 3, seed: int = 0) -> np.ndarray:
    return 0.2 * np.random.default_rng(seed).standard_normal(int(seconds * RATE))


def sine(hz: float = 200, seconds: float = 3) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * times(seconds))


def sawtooth(hz: float = 150, seconds: float = 3) -> np.ndarray:
    return 0.3 * sum(np.sin(2 * np.pi * hz * k * times(seconds)) / k for k in range(1, int(3900 / hz)))


def chord() -> np.ndarray:
    return sum(sawtooth(hz) for hz in (130.8, 164.8, 196.0)) / 3


def melody() -> np.ndarray:
    """A plucked scale, four notes a second."""
    notes = [sawtooth(hz, 0.25) for hz in (262, 294, 330, 349, 392, 440, 494, 523, 440, 349, 294, 262)]
    fade = np.exp(-np.arange(notes[0].size) / 1500) * np.minimum(1, np.arange(notes[0].size) / 200)
    return np.concatenate([note * fade for note in notes])


def speech(seed: int = 1, seconds: float = 4) -> np.ndarray:
    """Syllables with gliding formants and falling pitch, between them pauses and hisses."""
    rng, parts = np.random.default_rng(seed), []
    while sum(map(len, parts)) < seconds * RATE:
        gap = int(rng.uniform(0.04, 0.1) * RATE)
        hiss = 0.1 * rng.standard_normal(gap) * np.hanning(gap)
        parts.append((np.zeros(gap), hiss, np.zeros(0))[rng.integers(3)])
        n = int(rng.uniform(0.12, 0.22) * RATE)
        phase = np.cumsum(np.linspace(rng.uniform(110, 160), rng.uniform(90, 130), n)) / RATE
        sound = np.diff(np.floor(phase), prepend=0)
        first, last = rng.choice(len(FORMANTS), 2)
        for low, high in zip(FORMANTS[first], FORMANTS[last], strict=True):
            state, steps = np.zeros(2), np.array_split(np.arange(n), 8)
            for place, step in enumerate(steps):
                c = -np.exp(-2 * np.pi * 80 / RATE)
                hz = low + (high - low) * place / (len(steps) - 1)
                b = 2 * np.exp(-np.pi * 80 / RATE) * np.cos(2 * np.pi * hz / RATE)
                sound[step], state = lfilter([1 - b - c], [1, -b, -c], sound[step], zi=state)
        parts.append(sound / np.abs(sound).max() * rng.uniform(0.4, 0.9) * np.hanning(n) ** 0.3)
    return np.concatenate(parts)


def with_noise(samples: np.ndarray, ratio_db: float, seed: int = 5) -> np.ndarray:
    """The samples with white noise so many dB below them."""
    rough = np.random.default_rng(seed).standard_normal(samples.size)
    return 0.5 * (samples + rough * np.sqrt(np.mean(samples**2) * 10 ** (-ratio_db / 10)))


def overdriven(samples: np.ndarray, gain: float = 10) -> np.ndarray:
    return np.clip(gain * samples / np.abs(samples).max(), -1, 1)
