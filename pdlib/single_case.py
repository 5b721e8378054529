"""One recording, or one picture, before networks that did not see it: who may judge it, and what a score means.

A network that was trained on a recording is no witness about it. `find_case` finds out whether a recording
is one of the cohort's, by its sound and not by its name, and `judges` leaves out every fold trained on it.
A score alone says little; `alike` counts what became of other recordings with scores like it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import soundfile
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

from pdlib import scores, transfer
from pdlib.errors import DataError, LeakageError, ParameterError, RecordingError
from pdlib.explain import attribute
from pdlib.fold_results import FoldResult, kept_weights
from pdlib.image_folder import read_image
from pdlib.maps import check_whole, opened
from pdlib.networks import keras
from pdlib.params import close_matches
from pdlib.paths import named
from pdlib.picture_sets import PictureSet
from pdlib.preprocessing import LEVEL_FRAME_SECONDS, Clip, Variant, preprocess, voiced_part
from pdlib.recordings import RATE, Cohort, Recording, Signal, read_signal

#: Grey levels by which two pictures may differ on the mean and still be one picture, saved twice.
SAME_PICTURE = 1.0
#: Correlation of the samples above which two recordings of one length are one recording, saved twice.
FACT_SECONDS = 60  # of a file, looked at for what lies above the band: its spectrum is taken in one piece
SAME_SOUND = 0.99
#: Cells per side above which the map of one real person's spectrogram is like the spectrogram.
FINEST = 16
BAND_HZ = (100.0, 3400.0)  # a telephone's upper end; hum and handling lie below the lower one
MEASURES = {
    "duration": "s",
    "peak": "dB re full scale",
    "level of the voice": "dB re full scale",
    "quietest frames": "dB re the loudest",
    "energy below 100 Hz": "dB re all",
    "energy above 3.4 kHz": "dB re all",
}


# ── a recording ────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, eq=False)
class Case:
    """One recording to be judged.

    Attributes
    ----------
    name : str
        What the page calls it: its name in the cohort, or the name of its file.
    signal : Signal
    member : str or None
        Its name in the cohort; None where no network has seen it.
    file : Path or None
        The reader's file; None for a recording named by the cohort.
    cohort : Cohort
        Of this recording alone. That of a file nobody has seen has kind "own" and label −1, not known.
    """

    name: str
    signal: Signal
    member: str | None
    file: Path | None
    cohort: Cohort

    def clip(self, variant: Variant) -> Clip:
        """The recording prepared as those of the cohort are; `RecordingError` names it where it cannot be."""
        try:
            return preprocess(self.signal.samples, self.signal.sample_rate, variant=variant)
        except RecordingError as error:
            problem = error.problem.removeprefix("samples: ")
            raise RecordingError(f"{self.name}: {problem}", error.way_out) from error


def find_case(recording: str, cohort: Cohort) -> Case:
    """The recording that is meant: one of the cohort by name, or a file.

    A file with the sound of one of the cohort's recordings is that recording, whatever its name: samples of
    the same length that correlate by `SAME_SOUND` or more. A part cut out of one is not recognised.

    Parameters
    ----------
    recording : str
        A name of the cohort, or the path of a file that `recordings.read_signal` reads.
    cohort : Cohort
        Whose recordings the networks were trained on.

    Raises
    ------
    ParameterError
        When it is neither; with the names close to it.
    RecordingError
        When the file cannot be used.
    """
    if recording in cohort.names:
        return Case(recording, cohort.signal(recording), recording, None, cohort.subset([recording]))
    path = named(recording)
    if not (path.is_file() or path.suffix or path.name != recording):
        raise ParameterError(
            f"recording = {recording!r} is neither a recording of this cohort nor a file",
            close_matches(recording, cohort.names) + "; or give the whole path of a wav or flac file",
        )
    signal = read_signal(path)
    member = _same_sound(signal, cohort)
    if member is not None:
        return Case(member, cohort.signal(member), member, path, cohort.subset([member]))
    digest = signal.digest()
    people = pd.DataFrame({"age": [np.nan], "sex": [None], "validated": [False]}, index=[path.name])
    alone = Cohort(
        "own", "A recording of the reader's own.", (Recording(path.name, -1, path, digest),), people,
        {path.name: signal},
    )  # fmt: skip
    return Case(path.name, signal, None, path, alone)


def _same_sound(signal: Signal, cohort: Cohort) -> str | None:
    for name, other in cohort.signals().items():
        # resampling there and back may add or take a sample at the end
        if abs(other.samples.size - signal.samples.size) > 2 or other.sample_rate != signal.sample_rate:
            continue
        n = min(other.samples.size, signal.samples.size)
        a, b = (each[:n].astype(float) - each[:n].mean() for each in (signal.samples, other.samples))
        if abs(a @ b) >= SAME_SOUND * np.sqrt((a @ a) * (b @ b)):
            return name
    return None


class FileFacts(NamedTuple):
    """What a file held before it was read as the book reads all: rate (Hz), channels, and the energy above
    half of the book's rate, which resampling cuts off (dB re all; −inf for none)."""

    rate: int
    channels: int
    above: float


def file_facts(path: Path | str) -> FileFacts:
    """`FileFacts` of an audio file that `recordings.read_signal` can read; of the first minute of a long one."""
    with soundfile.SoundFile(path) as sound:
        rate = sound.samplerate
        samples = sound.read(FACT_SECONDS * rate, dtype="float32", always_2d=True)
    power = _power(samples.mean(axis=1))
    return FileFacts(rate, samples.shape[1], _share_db(power, rate, RATE / 2, np.inf))


def _power(samples: NDArray) -> NDArray[np.float64]:
    # without a window the voice's own cut edges would fill the bands that are looked at
    x = np.asarray(samples, dtype=np.float64)
    return np.abs(np.fft.rfft(x * np.hanning(x.size))) ** 2


def _share_db(power: NDArray, rate: int, low: float, high: float) -> float:
    frequencies = np.linspace(0, rate / 2, power.size)
    share = power[(frequencies > low) & (frequencies < high)].sum() / power.sum()
    return float(10 * np.log10(share)) if share > 0 else -np.inf


def measures(signal: Signal) -> dict[str, float]:
    """What a microphone, a room and a file format leave in a recording, in the units of `MEASURES`.

    Level and spectrum are those of the voice (`preprocessing.voiced_part`); the quietest frames are the 5th
    percentile of all frames of 20 ms, against the 95th.
    """
    x, rate = np.asarray(signal.samples, dtype=np.float64), signal.sample_rate
    start, stop = voiced_part(x, rate)
    frame = round(LEVEL_FRAME_SECONDS * rate)
    rms = np.sqrt(np.mean(x[: x.size // frame * frame].reshape(-1, frame) ** 2, axis=1))
    quiet, loud = np.quantile(rms, [0.05, 0.95])
    power = _power(x[start:stop])
    low, high = BAND_HZ
    values = (
        signal.duration,
        _db(np.abs(x).max()),
        _db(np.sqrt(np.mean(x[start:stop] ** 2))),
        _db(quiet / loud),
        _share_db(power, rate, 0, low),
        _share_db(power, rate, high, np.inf),
    )
    return dict(zip(MEASURES, map(float, values), strict=True))


def _db(amplitude: float) -> float:
    return float(20 * np.log10(amplitude)) if amplitude > 0 else -np.inf


def among(case: Case, cohort: Cohort) -> pd.DataFrame:
    """The recording's `measures` beside those of the cohort's others.

    Returns
    -------
    DataFrame
        Index: the measures. ``value``, ``lowest``, ``median`` and ``highest`` of the others, ``below`` and
        ``others`` (how many have a lower value, of how many), ``outside`` (beyond all others).
    """
    own = measures(case.signal)
    others = pd.DataFrame([measures(s) for name, s in cohort.signals().items() if name != case.member])
    rows = [
        {
            "value": value, "lowest": rest.min(), "median": rest.median(), "highest": rest.max(),
            "below": int((rest < value).sum()), "others": len(rest),
            "outside": bool(value < rest.min() or value > rest.max()),
        }
        for value, rest in ((own[name], others[name]) for name in MEASURES)
    ]  # fmt: skip
    return pd.DataFrame(rows, index=pd.Index(MEASURES, name="measure"))


# ── a picture ──────────────────────────────────────────────────────────────────────────────────────────
class Chosen(NamedTuple):
    """The picture to judge: its name, its levels (size, size, 3), and its name in the set or None."""

    name: str
    picture: NDArray[np.uint8]
    member: str | None


def find_picture(image: str, data: PictureSet) -> Chosen:
    """The picture that is meant: the first of the set for an empty text, else a file.

    A file that shows one of the set's pictures is that picture; see `same_picture`.

    Raises
    ------
    DataError
        When the file is no picture that `image_folder.read_image` reads.
    """
    if not image:
        return Chosen(data.names[0], data.pictures[0], data.names[0])
    path = named(image)
    picture = read_image(path, data.pictures.shape[1])
    member = same_picture(data, picture)
    return Chosen(member or path.name, picture, member)


def same_picture(data: PictureSet, picture: NDArray[np.uint8]) -> str | None:
    """Name of the picture of the set that differs from this one by less than `SAME_PICTURE` grey levels."""
    apart = np.array([np.abs(one.astype(np.int16) - picture).mean() for one in data.pictures])
    nearest = int(apart.argmin())
    return data.names[nearest] if apart[nearest] < SAME_PICTURE else None


def check_class_names(given: Sequence[str], known: Sequence[str]) -> None:
    """Refuse names of classes that are not those of the pictures, in their order."""
    if list(given) != list(known):
        raise ParameterError(
            f"class_names = {list(given)!r} are not the classes of the drawn faces, {list(known)!r}",
            "leave class_names out, or name a folder of pictures with image_folder",
        )


@dataclass(frozen=True)
class Source:
    """Where the pictures of a page come from, as far as a figure's stamp asks: kind and content."""

    kind: str
    fingerprint: str


# ── who may judge ──────────────────────────────────────────────────────────────────────────────────────
def judges(results: Sequence[FoldResult], member: str | None) -> list[FoldResult]:
    """The folds whose networks may judge a case: all where none has seen it, else those that tested it.

    Raises
    ------
    DataError
        When the case belongs to the cohort and no fold tests it.
    """
    if member is None:
        return list(results)
    found = [result for result in results if member not in result.fold.train]
    if not found:
        raise DataError(f"no fold was trained without {member}", "give the folds of a cross-validation")
    return found


def assert_unseen(found: Sequence[FoldResult], member: str | None) -> int:
    """The number of folds in ``found``, none of which was trained on ``member``.

    Raises
    ------
    LeakageError
        Naming the fold that was.
    """
    for result in found:
        if member is not None and member in result.fold.train:
            raise LeakageError(
                f"fold {result.fold.index} (seed {result.fold.seed}) was trained on {member}",
                "ask the folds that left it out, see single_case.judges",
            )
    return len(found)


def fold_scores(
    found: Sequence[FoldResult], recipe: transfer.Recipe, picture: NDArray
) -> NDArray[np.float64]:
    """Probability of class 1 for one picture (size, size, 3) by the network of each fold, shape (folds,)."""
    model = recipe.network.build()
    x = recipe.network.checked(transfer.inputs_of(recipe.network, np.asarray(picture)[np.newaxis]))
    values = []
    for result in found:
        model.set_weights(kept_weights(result.arrays, "net"))
        values.append(float(model(x, training=False)[0, 1]))
    return np.array(values)


def votes(found: Sequence[FoldResult], model: str, values: ArrayLike) -> pd.DataFrame:
    """Scores of one case with each network's own decision: model, seed, fold, score, threshold, predicted."""
    rows = [
        {
            "model": model, "seed": r.fold.seed, "fold": r.fold.index, "score": float(value),
            "threshold": float(r.arrays[f"threshold_{model}"]),
            "predicted": int(value >= r.arrays[f"threshold_{model}"]),
        }
        for r, value in zip(found, np.asarray(values, dtype=float), strict=True)
    ]  # fmt: skip
    return pd.DataFrame(rows)


# ── what a score has meant ─────────────────────────────────────────────────────────────────────────────
class Alike(NamedTuple):
    """The recordings whose scores lie nearest to a score.

    Attributes
    ----------
    count, positive : int
        How many, and how many of them are of class 1.
    low, high : float
        95 % Wilson interval of their share.
    nearest, farthest : float
        The lowest and the highest of their scores: the window.
    prevalence : float
        Share of class 1 among all the others.
    """

    count: int
    positive: int
    low: float
    high: float
    nearest: float
    farthest: float
    prevalence: float

    @property
    def share(self) -> float:
        """Share of class 1 among them."""
        return self.positive / self.count

    @property
    def tells(self) -> bool:
        """Whether the interval leaves out the share among all: whether the score changes what was known."""
        return not self.low <= self.prevalence <= self.high


def alike(predictions: pd.DataFrame, score: float, *, k: int, member: str | None = None) -> Alike:
    """Class of the ``k`` other recordings whose out-of-fold scores lie nearest to ``score``.

    Parameters
    ----------
    predictions : DataFrame
        Of one model; see `evaluate.check_predictions`. A recording's score is its mean over seeds.
    score : float
    k : int
        At least 1; where there are fewer others, all of them.
    member : str, optional
        The case itself, left out.

    References
    ----------
    Wilson 1927, J. Am. Stat. Assoc. 22, 209–212: the interval. It takes the recordings as independent.
    """
    check_whole("k", k, 1)
    if predictions["model"].nunique() != 1 or predictions["variant"].nunique() != 1:
        raise DataError(
            "the scores of several models or variants are not one scale", "give the rows of one model"
        )
    by_name = predictions.groupby("recording").agg(score=("score", "mean"), label=("label", "first"))
    others = by_name[by_name.index != member]
    # groupby has sorted by name, so equal distances fall the same way every time
    order = np.argsort(np.abs(others["score"].to_numpy() - score), kind="stable")[:k]
    near = others.iloc[order]
    positive = int(near["label"].sum())
    interval = binomtest(positive, len(near)).proportion_ci(method="wilson")
    return Alike(
        len(near), positive, float(interval.low), float(interval.high),
        float(near["score"].min()), float(near["score"].max()), float(others["label"].mean()),
    )  # fmt: skip


# ── where a network looks ──────────────────────────────────────────────────────────────────────────────
class Look(NamedTuple):
    """Two explanations of one network for one picture.

    Attributes
    ----------
    asked : int
        The class whose logit is explained.
    probability : float
        Of class 1.
    cam, integrated : array, shape (height, width)
        Grad-CAM in [0, 1], and integrated gradients in units of the logit, signed.
    dead : bool
        Whether the Grad-CAM is zero everywhere.
    gap, steps : float, int
        Completeness gap of the integrated gradients, relative, and the steps used.
    grid : int
        Cells per side of the layer that Grad-CAM looks at.
    """

    asked: int
    probability: float
    cam: NDArray[np.float32]
    integrated: NDArray[np.float32]
    dead: bool
    gap: float
    steps: int
    grid: int

    def pooled(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Both maps as means over the layer's cells, at most `FINEST` per side: no picture shows through."""
        cells = min(self.grid, FINEST)
        return tuple(scores.pool(each[np.newaxis], cells)[0] for each in (self.cam, self.integrated))


@contextmanager
def _without_retracing_notes() -> Iterator[None]:
    """Hold back TensorFlow's note that functions are compiled often: each network is, once, on purpose."""

    def passes(record: logging.LogRecord) -> bool:
        return "retracing" not in record.getMessage()

    logger = logging.getLogger("tensorflow")
    logger.addFilter(passes)
    try:
        yield
    finally:
        logger.removeFilter(passes)


def look(
    network: keras.Model,
    picture: NDArray,
    *,
    explained: str = "predicted",
    names: Sequence[str] = ("HC", "PD"),
    baseline: str | NDArray = "black",
    steps: int = 32,
    max_steps: int = 256,
) -> Look:
    """Grad-CAM and integrated gradients of one network on one picture, for the same class.

    Parameters
    ----------
    network : keras.Model
        With layers ``last_conv`` and ``logits``.
    picture : array, shape (height, width, 3)
    explained : str
        "predicted" for the class with the larger logit, or one of ``names``.
    names : sequence of str
        Of the classes, by label.
    baseline, steps, max_steps
        Of `explain.integrated_gradients`.

    Raises
    ------
    ParameterError
        When ``explained`` is another word.
    """
    x = np.asarray(picture, dtype=np.float32)[np.newaxis]
    if explained not in ("predicted", *names):
        raise ParameterError(f"explained = {explained!r}", f"choose predicted, {' or '.join(names)}")
    with _without_retracing_notes():
        logits = opened(network).logits(x, 1)[0].astype(float)
        asked = int(logits.argmax()) if explained == "predicted" else list(names).index(explained)
        cam = attribute(network, x, [asked], "grad_cam")
        found = attribute(
            network, x, [asked], "integrated_gradients", baseline=baseline, steps=steps, max_steps=max_steps
        )
    return Look(
        asked, float(1 / (1 + np.exp(logits[0] - logits[1]))), cam.maps[0], found.maps[0],
        bool(cam.dead[0]), float(found.gap[0]), int(found.settings["steps_used"][0]),
        opened(network).layer("last_conv").output.shape[1],
    )  # fmt: skip


def typical(table: pd.DataFrame) -> tuple[int, int | None]:
    """Rows of `votes` whose networks are looked at: the one nearest to the mean score, and one to compare.

    The first is the earliest of those nearest to the mean; the second is the earliest other one, of another
    seed where there is one, None where there is no other.
    """
    apart = (table["score"] - table["score"].mean()).abs().round(9).to_numpy()
    first = int(apart.argmin())
    others = [row for row in range(len(table)) if row != first]
    of_another_seed = [row for row in others if table["seed"].iloc[row] != table["seed"].iloc[first]]
    return first, next(iter(of_another_seed or others), None)


def said(table: pd.DataFrame, names: Mapping[int, str]) -> str:
    """How the networks of `votes` decided, such as "PD 7, HC 3"."""
    counts = table["predicted"].value_counts()
    return ", ".join(f"{names[label]} {counts[label]}" for label in sorted(counts.index, reverse=True))
