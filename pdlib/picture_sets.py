"""Pictures that never part from their speakers: slope graphs and spectrograms of a whole cohort."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pdlib import chunks, pictures
from pdlib.cohort import Cohort
from pdlib.errors import DataError, ParameterError
from pdlib.features import FLOOR_DB, log_mel_spectrogram, slope_curves
from pdlib.preprocessing import Clip, preprocess
from pdlib.provenance import Arrays, Store

MODULES = ("picture_sets",)
SPECTROGRAM_SIZES = (32, 1024)  # pixels


@dataclass(frozen=True)
class PictureSet:
    """Pictures with their speakers: names, labels (1 = PD), uint8 RGB of shape (n, size, size, 3).

    Those of more than `chunks.CHUNK` recordings lie in a file, from which they are read as they are looked at.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    pictures: np.ndarray

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.labels) == len(self.pictures):
            raise DataError(
                f"{len(self.names)} names, {len(self.labels)} labels and {len(self.pictures)} pictures "
                "do not match"
            )

    def __len__(self) -> int:
        return len(self.names)

    def take(self, names: Sequence[str]) -> PictureSet:
        """The pictures of these speakers, in the order of ``names``."""
        where = {name: index for index, name in enumerate(self.names)}
        missing = [name for name in names if name not in where]
        if missing:
            raise DataError(f"no picture of {missing[0]} in this set of {len(self)}")
        rows = [where[name] for name in names]
        return PictureSet(tuple(names), self.labels[rows], chunks.rows(self.pictures, rows))

    def overlaid(self, heatmaps: np.ndarray, strength: float) -> PictureSet:
        """The same set with each heat map (n, size, size) laid over its picture."""
        if len(heatmaps) != len(self):
            raise DataError(f"{len(heatmaps)} heat maps for {len(self)} pictures do not match")
        laid = (
            np.stack([pictures.overlay(*both, strength) for both in zip(shown, heat, strict=True)])
            for shown, heat in (
                (self.pictures[i : i + chunks.CHUNK], heatmaps[i : i + chunks.CHUNK])
                for i in range(0, len(self), chunks.CHUNK)
            )
        )
        return PictureSet(self.names, self.labels, chunks.joined(laid, len(self)))


# ── slope graphs ───────────────────────────────────────────────────────────────────────────────────────
def slope_picture(clip: Clip, size: int) -> NDArray[np.uint8]:
    """The slope graph of one clip as RGB (eq. 24 read as alpha compositing), shape (size, size, 3)."""
    limits = pictures.slope_limits_at(clip.sample_rate)
    graph = pictures.slope_graph(slope_curves(clip), size, slope_limits=limits)
    return pictures.remove_alpha(graph, rule="composite")


def slope_pictures(
    cohort: Cohort, *, variant: str, size: int, target_sr: int = 8000, store: Store | None = None
) -> PictureSet:
    """Slope graphs of a whole cohort as RGB pictures, see `slope_picture`.

    Parameters
    ----------
    cohort : Cohort
        Whose recordings.
    variant : {"paper", "sound"}
        Preprocessing; see `preprocessing.preprocess`.
    size : int
        Side of the pictures in pixels.
    target_sr : int
        Sample rate in Hz after preprocessing (``paper`` only).
    store : Store, optional
        Where the pictures are kept between runs.
    """
    inputs = {"variant": variant, "size": size, "target_sr": target_sr}
    return _drawn(cohort, "slope-pictures", inputs, _slope_graphs, store)


def _slope_graphs(part: Cohort, *, variant: str, size: int, target_sr: int) -> Arrays:
    options = {"target_sr": target_sr} if variant == "paper" else {}
    return _pictures(part, variant, options, partial(slope_picture, size=size))


# ── spectrograms ───────────────────────────────────────────────────────────────────────────────────────
def spectrogram_picture(clip: Clip, size: int) -> NDArray[np.uint8]:
    """The log-mel spectrogram of one clip (eq. 9 and 10, p. 12) as a grey RGB picture.

    Parameters
    ----------
    clip : Clip
        What `preprocessing.preprocess` returns.
    size : int
        Side in pixels.

    Returns
    -------
    uint8 array, shape (size, size, 3)
        Time from left to right, mel bands from bottom to top. The floor of −80 dB re full scale is 0 (black),
        full scale 255, the same for all recordings: equal levels are equal greys. Bilinear, averaging where
        pixels are fewer than bands or frames. The three channels are equal, for networks that expect colour.

    Raises
    ------
    ParameterError
        When ``size`` is out of range.
    """
    low, high = SPECTROGRAM_SIZES
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or not low <= size <= high:
        raise ParameterError(f"size = {size!r} is not valid", f"give a whole number from {low} to {high}")
    level = log_mel_spectrogram(clip.samples, clip.sample_rate)
    grey = np.clip(1 - level[::-1] / FLOOR_DB, 0, 1) * 255
    drawn = Image.fromarray(grey.astype(np.float32)).resize((int(size), int(size)), Image.Resampling.BILINEAR)
    levels = np.rint(np.clip(np.asarray(drawn), 0, 255)).astype(np.uint8)
    return np.repeat(levels[..., np.newaxis], 3, axis=2)


def spectrogram_pictures(
    cohort: Cohort, *, variant: str, size: int, store: Store | None = None
) -> PictureSet:
    """Log-mel spectrograms of a whole cohort as grey RGB pictures; see `spectrogram_picture`.

    ``variant`` is the preprocessing, "paper" (three seconds, cut or filled with zeros) or "sound" (one steady
    second, no padding, equal level).
    """
    return _drawn(cohort, "spectrogram-pictures", {"variant": variant, "size": size}, _spectrograms, store)


def _spectrograms(part: Cohort, *, variant: str, size: int) -> Arrays:
    return _pictures(part, variant, {}, partial(spectrogram_picture, size=size))


# ── a whole cohort ─────────────────────────────────────────────────────────────────────────────────────
def _pictures(
    part: Cohort, variant: str, options: dict, picture_of: Callable[[Clip], NDArray[np.uint8]]
) -> Arrays:
    clips = (
        preprocess(signal.samples, signal.sample_rate, variant=variant, **options)
        for signal in part.signals().values()
    )
    return {"pictures": np.stack([picture_of(clip) for clip in clips])}


def _drawn(
    cohort: Cohort, step: str, inputs: dict, work: Callable[..., Arrays], store: Store | None
) -> PictureSet:
    found = chunks.results(cohort, step, inputs, work, MODULES, store)
    drawn = chunks.joined((part["pictures"] for part in found), len(cohort))
    return PictureSet(tuple(cohort.names), np.asarray(cohort.labels), drawn)
