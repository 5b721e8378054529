"""Time the features beside librosa's, per recording: ``python -m tests.bench.bench_features``."""

from __future__ import annotations

import time
from collections.abc import Callable

import librosa
import numpy as np
import pandas as pd

from pdlib import features
from pdlib.preprocessing import Clip, preprocess

RATE = 8000
VOICES = 5
REPEATS = 5


def voices() -> list[Clip]:
    """Clips of 3 s: ten harmonics of a wavering pitch in noise."""
    clips = []
    for seed in range(VOICES):
        rng = np.random.default_rng(seed)
        t = np.arange(3 * RATE) / RATE
        phase = 2 * np.pi * np.cumsum(120 + 20 * seed + np.cumsum(rng.normal(0, 0.02, t.size))) / RATE
        tones = sum(np.sin(k * phase) / k for k in range(1, 11))
        clips.append(preprocess(tones + rng.normal(0, 0.02, t.size), RATE))
    return clips


def librosa_log_mel(clip: Clip) -> np.ndarray:
    """librosa's log-mel spectrogram with our sizes."""
    power = librosa.feature.melspectrogram(
        y=clip.samples, sr=RATE, n_fft=256, hop_length=64, center=False, n_mels=64, htk=True, norm=None
    )
    return librosa.power_to_db(power, top_db=None)


def librosa_l_mhp(clip: Clip) -> np.ndarray:
    """The three spectrograms with librosa's parts."""
    power = np.abs(librosa.stft(clip.samples, n_fft=256, hop_length=64, center=False)) ** 2
    parts = librosa.decompose.hpss(power, kernel_size=(31, 17), power=1.0)
    bank = librosa.filters.mel(sr=RATE, n_fft=256, n_mels=64, htk=True, norm=None)
    return np.stack([librosa.power_to_db(bank @ part, top_db=None) for part in (power, *parts)], axis=-1)


CASES: dict[str, tuple[Callable[[Clip], object], Callable[[Clip], object] | None]] = {
    "log-mel": (lambda clip: features.log_mel_spectrogram(clip.samples, RATE), librosa_log_mel),
    "L-mHP": (features.l_mhp, librosa_l_mhp),
    "MFCC": (
        lambda clip: features.mfcc(clip.samples, RATE),
        lambda clip: librosa.feature.mfcc(S=librosa_log_mel(clip), n_mfcc=13),
    ),
    "slope curves": (features.slope_curves, None),
    "Praat markers": (lambda clip: features.praat_markers(clip.samples, RATE), None),
    "all acoustic features": (features.acoustic_features, None),
}


def seconds_per_recording(compute: Callable[[Clip], object], clips: list[Clip]) -> tuple[float, float]:
    """Time of the very first call, and the best mean per recording afterwards."""
    start = time.perf_counter()
    compute(clips[0])
    first = time.perf_counter() - start
    means = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        for clip in clips:
            compute(clip)
        means.append((time.perf_counter() - start) / len(clips))
    return first, min(means)


def main() -> None:
    """Print one row per feature: milliseconds of the first call and of each later one."""
    clips, rows = voices(), []
    for name, (ours, theirs) in CASES.items():
        first, later = seconds_per_recording(ours, clips)
        row = {"feature": name, "ours first": first, "ours": later}
        if theirs is not None:
            row["librosa first"], row["librosa"] = seconds_per_recording(theirs, clips)
        rows.append(row)
    table = pd.DataFrame(rows).set_index("feature") * 1000
    print("ms per recording of 3 s at 8 kHz")
    print(table.to_string(float_format="{:.1f}".format, na_rep="–"))


if __name__ == "__main__":
    main()
