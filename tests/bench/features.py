"""Features of a recording: pdlib beside plain loops over librosa, scipy, NumPy, Praat and matplotlib.

The plain loop is what a newcomer writes: librosa's functions one after the other, for one recording after the other.
Every way that is compared gives the same numbers, within the tolerance its row names, except librosa with its own
default sizes, which stands beside for those who would not have set any.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import librosa
import numpy as np
import parselmouth
from parselmouth.praat import call
from scipy.ndimage import median_filter

from pdlib import data, features, paths, pictures
from pdlib.preprocessing import Clip, preprocess
from pdlib.recordings import Signal
from pdlib.synthetic import synthetic_voice
from tests.bench.l_mhp_loops import librosa_defaults, librosa_l_mhp, librosa_power
from tests.bench.timing import Part, Row, side_by_side

RATE = 8000
VOICES, FEW_VOICES = 5, 1
PICTURE_SIZES = (96, 244)  # pixels; the book's and the paper's
FRESH_STARTS = 3  # processes of each kind; one goes through the whole cohort


@dataclass(frozen=True)
class Voice:
    """A synthetic voice, and what is made of it on the way to the later features."""

    signal: Signal
    clip: Clip
    power: np.ndarray
    curves: features.SlopeCurves


@dataclass(frozen=True)
class Comparison:
    """Ways to do one thing for one voice.

    Attributes
    ----------
    what : str
    ways : mapping of str to callable
        Each takes a `Voice`.
    reference : str or None
        The way to compare with.
    tolerances : mapping of str to float
        For each way that gives the reference's numbers: how far apart the two may be.
    unit : str
        Of the tolerances.
    apart : callable
        Distance of two results.
    notes : mapping of str to str
    """

    what: str
    ways: Mapping[str, Callable[[Voice], object]]
    reference: str | None = None
    tolerances: Mapping[str, float] = field(default_factory=dict)
    unit: str = ""
    apart: Callable[[object, object], float] = field(
        default=lambda one, other: largest_difference(one, other)
    )
    notes: Mapping[str, str] = field(default_factory=dict)

    def note(self, name: str) -> str:
        """What the row of a way says about it."""
        said = [self.notes[name]] if name in self.notes else []
        if name in self.tolerances:
            said.append(f"within {self.tolerances[name]:g} {self.unit} of the reference")
        return "; ".join(said)

    def rows(self, voices: list[Voice], rounds: int) -> list[Row]:
        """Time all ways over the voices."""

        def over_all(way: Callable[[Voice], object]) -> None:
            for voice in voices:
                way(voice)

        return side_by_side(
            self.what,
            {name: partial(over_all, way) for name, way in self.ways.items()},
            items=len(voices),
            unit="ms per recording",
            rounds=rounds,
            reference=self.reference,
            notes={name: self.note(name) for name in self.ways},
        )


# ── distances of results ───────────────────────────────────────────────────────────────────────────────
def largest_difference(one: object, other: object) -> float:
    """Largest absolute difference of two arrays; infinite where one has a number and the other has none."""
    one, other = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    if one.shape != other.shape or not np.array_equal(np.isnan(one), np.isnan(other)):
        return np.inf
    return float(np.nanmax(np.abs(one - other), initial=0))


def relative_difference(one: object, other: object) -> float:
    """Largest difference of two arrays in shares of the largest value."""
    return largest_difference(one, other) / float(np.abs(np.asarray(other, dtype=float)).max())


def mean_difference(one: object, other: object) -> float:
    """Mean absolute difference of two pictures' colours, opacity left out."""
    one, other = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    return float(np.abs(one - other)[..., :3].mean()) if one.shape == other.shape else np.inf


# ── the plain ways ─────────────────────────────────────────────────────────────────────────────────────
def librosa_log_mel(voice: Voice) -> np.ndarray:
    """librosa's log-mel spectrogram with our sizes and levels."""
    bands = librosa.feature.melspectrogram(
        S=librosa_power(voice.clip.samples), sr=RATE, n_fft=256, n_mels=64, htk=True, norm=None
    )
    return librosa.power_to_db(bands, amin=1e-8, top_db=None)


def librosa_mfcc(voice: Voice) -> np.ndarray:
    """librosa's MFCC of its own log-mel spectrogram."""
    return librosa.feature.mfcc(S=librosa_log_mel(voice), n_mfcc=features.N_MFCC)


def scipy_medians(voice: Voice) -> tuple[np.ndarray, np.ndarray]:
    """The two medians of the separation, and no more."""
    return median_filter(voice.power, size=(1, 31)), median_filter(voice.power, size=(17, 1))


def fitted_slopes(voice: Voice, at_once: bool = False) -> np.ndarray:
    """Slopes by `numpy.polyfit`, one frame after the other or all in one call; shape (frames,)."""
    power = librosa_power(voice.clip.samples, hop_length=80)
    power[-1] *= 2  # the bin at half the rate stands for both its halves: a density, not a sum
    frequency = librosa.fft_frequencies(sr=RATE, n_fft=256)
    band = frequency >= features.SLOPE_LOW_HZ
    level = librosa.power_to_db(power[band], amin=1e-12, top_db=None)
    kilohertz = frequency[band] / 1000
    if at_once:
        slope = np.polyfit(kilohertz, level, 1)[0]
    else:
        slope = np.array([np.polyfit(kilohertz, column, 1)[0] for column in level.T])
    framed = librosa.util.frame(voice.clip.samples, frame_length=256, hop_length=80)
    return np.where(np.mean(framed**2, axis=0) > 1e-8, slope, np.nan)


def praat_plainly(voice: Voice) -> np.ndarray:
    """Each marker from the sound on, as recipes for one marker at a time have it; in the order of PRAAT_NAMES."""
    sound = parselmouth.Sound(voice.clip.voice, RATE)

    def pitch() -> parselmouth.Pitch:
        return call(sound, "To Pitch", 0.01, 75, 500)

    def voiced() -> np.ndarray:
        frequency = pitch().selected_array["frequency"]
        return frequency[frequency > 0]

    def pulses() -> parselmouth.Data:
        return call(sound, "To PointProcess (periodic, cc)", 75, 500)

    def jitter(kind: str) -> float:
        return call(pulses(), f"Get jitter ({kind})", 0, 0, 0.0001, 0.02, 1.3)

    def shimmer(kind: str) -> float:
        return call([sound, pulses()], f"Get shimmer ({kind})", 0, 0, 0.0001, 0.02, 1.3, 1.6)

    return np.array(
        [
            call(pitch(), "Get mean", 0, 0, "Hertz"),
            call(pitch(), "Get standard deviation", 0, 0, "Hertz"),
            np.subtract(*np.percentile(voiced(), (95, 5))),
            call(pitch(), "Count voiced frames") / call(pitch(), "Get number of frames"),
            *(jitter(kind) for kind in ("local", "rap", "ppq5")),
            *(shimmer(kind) for kind in ("local", "apq3", "apq5", "apq11")),
            call(call(sound, "To Harmonicity (cc)", 0.01, 75, 0.1, 1.0), "Get mean", 0, 0),
            praat_cpps(voice),
        ]
    )


def praat_cpps(voice: Voice) -> float:
    """The smoothed cepstral peak prominence alone."""
    sound = parselmouth.Sound(voice.clip.voice, RATE)
    cepstrogram = call(sound, "To PowerCepstrogram", 60, 0.002, RATE / 2, 50)
    settings = (False, 0.01, 0.001, 60, 330, 0.05, "Parabolic", 0.001, 0.0, "Straight", "Robust")
    return call(cepstrogram, "Get CPPS", *settings)


def plain_clip(voice: Voice, rate: int = RATE) -> np.ndarray:
    """The samples of the paper's clip with librosa's helpers."""
    samples = librosa.resample(
        voice.signal.samples.astype(float), orig_sr=RATE, target_sr=rate, res_type="soxr_vhq"
    )
    return librosa.util.normalize(librosa.util.fix_length(samples, size=3 * rate))


def drawn_with_matplotlib(curves: features.SlopeCurves, size: int) -> np.ndarray:
    """The slope graph on matplotlib's Agg canvas."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1, 1), dpi=size)
    canvas = FigureCanvasAgg(figure)
    points = 72 / size * pictures.line_width(size)
    for values, limits, colour in (
        (curves.energy, pictures.ENERGY_LIMITS, pictures.ENERGY_COLOUR),
        (curves.slope, pictures.SLOPE_LIMITS, pictures.SLOPE_COLOUR),
    ):
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, curves.times[0] + curves.times[-1]), ylim=limits)
        axes.axis("off")
        axes.plot(curves.times, np.clip(values, *limits), color=np.array(colour) / 255, linewidth=points)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba()).copy()


# ── what is compared ───────────────────────────────────────────────────────────────────────────────────
OUR_SIZES = "librosa, our sizes"
PLAIN = "the plain loop: stft, hpss, mel, power_to_db"

COMPARISONS: tuple[Comparison, ...] = (
    Comparison(
        "L-mHP",
        {
            "pdlib": lambda voice: features.l_mhp(voice.clip),
            OUR_SIZES: lambda voice: librosa_l_mhp(voice.clip.samples, RATE),
            "librosa, its defaults": lambda voice: librosa_defaults(voice.clip.samples, RATE),
        },
        OUR_SIZES,
        {"pdlib": 1e-6},
        "dB",
        notes={
            OUR_SIZES: f"{PLAIN}; frames of 256 every 64, 64 bands, medians of 31 and 17",
            "librosa, its defaults": f"{PLAIN}; frames of 2048 every 512, 128 bands, medians of 31; other numbers",
        },
    ),
    Comparison(
        "HPSS",
        {
            "pdlib": lambda voice: features.harmonic_percussive(voice.power),
            "librosa.decompose.hpss": lambda voice: librosa.decompose.hpss(
                voice.power, kernel_size=(31, 17), power=1.0
            ),
            "scipy.ndimage.median_filter": scipy_medians,
        },
        "librosa.decompose.hpss",
        {"pdlib": 1e-12},
        "of the largest power",
        relative_difference,
        {"scipy.ndimage.median_filter": "the two medians in two dimensions, without the masks"},
    ),
    Comparison(
        "log-mel spectrogram",
        {
            "pdlib": lambda voice: features.log_mel_spectrogram(voice.clip.samples, RATE),
            OUR_SIZES: librosa_log_mel,
        },
        OUR_SIZES,
        {"pdlib": 1e-6},
        "dB",
    ),
    Comparison(
        "MFCC",
        {"pdlib": lambda voice: features.mfcc(voice.clip.samples, RATE), OUR_SIZES: librosa_mfcc},
        OUR_SIZES,
        {"pdlib": 1e-5},
        "dB",
    ),
    Comparison(
        "slope curves",
        {
            "pdlib": lambda voice: features.slope_curves(voice.clip).slope,
            "numpy.polyfit, frame by frame": fitted_slopes,
            "numpy.polyfit, all at once": partial(fitted_slopes, at_once=True),
        },
        "numpy.polyfit, frame by frame",
        {"pdlib": 1e-6, "numpy.polyfit, all at once": 1e-6},
        "dB/kHz",
        notes={"pdlib": "the energy curve as well"},
    ),
    Comparison(
        "Praat markers",
        {
            "pdlib": lambda voice: np.array([*features.praat_markers(voice.clip.voice, RATE).values()]),
            "parselmouth, marker by marker": praat_plainly,
        },
        "parselmouth, marker by marker",
        {"pdlib": 1e-9},
        "(each in its unit)",
        notes={"pdlib": "Praat does the same work, but finds pitch and pulses once"},
    ),
    Comparison(
        "Praat's cepstral peak alone",
        {"parselmouth": praat_cpps},
        notes={"parselmouth": "one of the 13 markers, and what bounds them all"},
    ),
    Comparison("all acoustic features", {"pdlib": lambda voice: features.acoustic_features(voice.clip)}),
    *(
        Comparison(
            f"preprocessing, the paper's, at {rate} Hz",
            {
                "pdlib": lambda voice, rate=rate: (
                    preprocess(voice.signal.samples, RATE, target_sr=rate).samples
                ),
                "librosa": partial(plain_clip, rate=rate),
            },
            "librosa",
            {"pdlib": 1e-12},
            "of full scale",
            notes={"librosa": "resample, fix_length, normalize; checks nothing"},
        )
        for rate in (8000, 1000)
    ),
    Comparison(
        "preprocessing, sound",
        {"pdlib": lambda voice: preprocess(voice.signal.samples, RATE, "sound").samples},
    ),
    *(
        Comparison(
            f"slope graph, {size} px",
            {
                "pdlib": lambda voice, size=size: pictures.slope_graph(voice.curves, size),
                "matplotlib": lambda voice, size=size: drawn_with_matplotlib(voice.curves, size),
            },
            "matplotlib",
            {"pdlib": 8.0},
            "of 255, in the mean over the picture,",
            mean_difference,
            {"pdlib": "the same curves with Pillow, whose edges fall otherwise"},
        )
        for size in PICTURE_SIZES
    ),
)


def synthetic_voices(count: int) -> list[Voice]:
    """Voices of both classes in turn, cut or padded to 3 s as the paper has it."""
    voices = []
    for number in range(count):
        signal = synthetic_voice(number, label=number % 2)
        clip = preprocess(signal.samples, signal.sample_rate)
        power = features.power_spectrogram(clip.samples)
        voices.append(Voice(signal, clip, power, features.slope_curves(clip)))
    return voices


# ── the whole cohort, in processes that begin with nothing imported ────────────────────────────────────
def started_afresh(folder: Path, starts: int) -> tuple[list[Row], dict[str, float | int | str]]:
    """Rows for the L-mHP of all recordings from the start of a process to its end, and seconds of its stages.

    numba keeps what it compiled for librosa in a folder that is empty at first: the first process pays for that, as
    the first one on a machine does, and has a row of its own.
    """
    what, reference = "L-mHP of the whole cohort, a process from start to end", "librosa"
    ways = ("librosa", "librosa-defaults", "pdlib")
    spent: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    stages: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as compiled:
        first = _one_start(reference, folder, compiled)
        _one_start("librosa-defaults", folder, compiled)  # what else it compiles
        for turn in range(starts):
            shift = turn % len(ways)
            for way in ways[shift:] + ways[:shift]:
                wall, busy, took = _one_start(way, folder, compiled)
                spent[way].append((wall, busy))
                stages[way].append(took)
    rows = []
    for way in ways:
        wall, busy = zip(*spent[way], strict=True)
        pairs = [theirs / ours for (theirs, _), (ours, _) in zip(spent[reference], spent[way], strict=True)]
        rows.append(
            Row(
                what, way, "s", statistics.median(wall), min(wall), max(wall), statistics.median(busy),
                statistics.median(pairs), min(pairs), max(pairs),
            )
        )  # fmt: skip
    share = rows[0].median / first[0]
    rows.append(
        Row(
            what, "librosa, first time", "s", first[0], first[0], first[0], first[1], share, share, share,
            note="numba compiles for librosa, as in the first process on a machine; timed once",
        )
    )  # fmt: skip
    rows[0] = replace(
        rows[0], note=f"our sizes; {PLAIN}, after load, fix_length and normalize; compiled before"
    )
    facts: dict[str, float | int | str] = {"recordings of the cohort": int(stages["pdlib"][0]["recordings"])}
    for way in ways:
        for stage, said in (("imports", "imports"), ("others", "all recordings but the first")):
            seconds = statistics.median(took[stage] for took in stages[way])
            facts[f"{way}: seconds for {said}"] = round(seconds, 3)
    return rows, facts


def _one_start(way: str, folder: Path, compiled: str) -> tuple[float, float, dict[str, float]]:
    """Wall and processor seconds of one process, and what it says about its stages."""
    environment = os.environ | {"NUMBA_CACHE_DIR": compiled}
    command = [sys.executable, "-m", "tests.bench.l_mhp_loops", way, str(folder)]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        command, cwd=paths.ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, busy, json.loads(done.stdout)


def measure(rounds: int, small: bool) -> Part:
    """Time every comparison over synthetic voices, and the whole cohort where the recordings are there."""
    voices = synthetic_voices(FEW_VOICES if small else VOICES)
    rows = [row for comparison in COMPARISONS for row in comparison.rows(voices, rounds)]
    facts: dict[str, float | int | str] = {"synthetic voices": len(voices)}
    folder = None if small else data.find_local()
    if folder is None:
        return Part(
            "Features", rows, facts, ("the whole cohort: " + ("small" if small else "no recordings here"),)
        )
    more, stages = started_afresh(folder, min(rounds, FRESH_STARTS))
    return Part("Features", [*rows, *more], facts | stages)
