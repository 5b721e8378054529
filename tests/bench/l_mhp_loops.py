"""L-mHP spectrograms of a folder of recordings, as pdlib and as a loop over librosa's functions makes them.

``python -m tests.bench.l_mhp_loops WAY FOLDER`` goes through all wav files under the folder in a process that has
imported nothing yet, and prints the seconds of its imports, of the first recording and of the others as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

SECONDS = 3


def librosa_l_mhp(samples: np.ndarray, rate: int) -> np.ndarray:
    """Log-mel, harmonic and percussive spectrogram with our sizes and levels, step by step with librosa."""
    import librosa
    import numpy as np

    power = librosa_power(samples)
    bank = librosa.filters.mel(sr=rate, n_fft=256, n_mels=64, htk=True, norm=None, dtype=np.float64)
    parts = librosa.decompose.hpss(power, kernel_size=(31, 17), power=1.0)
    return np.stack(
        [librosa.power_to_db(bank @ part, amin=1e-8, top_db=None) for part in (power, *parts)], axis=-1
    )


def librosa_power(samples: np.ndarray, hop_length: int = 64) -> np.ndarray:
    """librosa's spectrogram of Hann-windowed frames of 256 samples, scaled so that a frame's bins sum to its power."""
    import librosa
    import numpy as np

    power = np.abs(librosa.stft(samples, n_fft=256, hop_length=hop_length, center=False)) ** 2
    power *= 2 / (256 * np.sum(librosa.filters.get_window("hann", 256) ** 2))
    power[[0, -1]] /= 2
    return power


def librosa_defaults(samples: np.ndarray, rate: int) -> np.ndarray:
    """The same three with every size left at librosa's default: 2048 samples every 512, 128 bands, medians of 31."""
    import librosa
    import numpy as np

    spectrum = librosa.stft(samples)
    parts = (spectrum, *librosa.decompose.hpss(spectrum))
    bands = (librosa.feature.melspectrogram(S=np.abs(part) ** 2, sr=rate) for part in parts)
    return np.stack([librosa.power_to_db(band) for band in bands], axis=-1)


def with_pdlib() -> Callable[[Path], np.ndarray]:
    """Import what is needed; the function that makes one recording's spectrograms."""
    from pdlib.features import l_mhp
    from pdlib.preprocessing import preprocess
    from pdlib.recordings import read_signal

    def of_file(path: Path) -> np.ndarray:
        signal = read_signal(path)
        return l_mhp(preprocess(signal.samples, signal.sample_rate))

    return of_file


def with_librosa(of_samples: Callable[[np.ndarray, int], np.ndarray]) -> Callable[[Path], np.ndarray]:
    """The same with librosa: load, cut or pad to three seconds, bring the peak to 1, and on."""
    import librosa
    import numpy as np

    def of_file(path: Path) -> np.ndarray:
        samples, rate = librosa.load(path, sr=None, dtype=np.float64)
        samples = librosa.util.normalize(librosa.util.fix_length(samples, size=SECONDS * rate))
        return of_samples(samples, rate)

    return of_file


WAYS: dict[str, Callable[[], Callable[[Path], np.ndarray]]] = {
    "pdlib": with_pdlib,
    "librosa": lambda: with_librosa(librosa_l_mhp),
    "librosa-defaults": lambda: with_librosa(librosa_defaults),
}


def main(arguments: list[str] | None = None) -> None:
    """Make the spectrograms of every recording once, and print what that took."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.l_mhp_loops", description=__doc__)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args(arguments)
    files = sorted(given.folder.rglob("*.wav"))
    if not files:
        parser.error(f"no wav file under {given.folder}")
    clock = [time.perf_counter()]
    of_file = WAYS[given.way]()
    clock.append(time.perf_counter())
    of_file(files[0])
    clock.append(time.perf_counter())
    for path in files[1:]:
        of_file(path)
    clock.append(time.perf_counter())
    took = dict(
        zip(
            ("imports", "first", "others"),
            (b - a for a, b in zip(clock, clock[1:], strict=False)),
            strict=True,
        )
    )
    print(json.dumps({"recordings": len(files)} | took))


if __name__ == "__main__":
    main()
