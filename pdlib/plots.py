"""The book's look, and the plots that several chapters draw: curves with bands, confusion matrix, ROC,
overlays.

Every function draws into axes it is given and returns the plotted numbers as a frame, ready for
`Page.figure`. Colours are those of Okabe & Ito (2008), which colour-blind readers can tell apart; PD and HC
always have the same colour and line style.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from pdlib import pictures
from pdlib.errors import ParameterError
from pdlib.evaluate import Confusion, mean_band, roc_band, summary

COLOURS = {"PD": "#D55E00", "HC": "#0072B2"}  # vermilion and blue
LINES = {"PD": "-", "HC": "--"}  # so the classes differ in print without colour, too
OTHER_COLOURS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SEQUENTIAL = "viridis"
STYLE = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "text.color": "#1a1a1a",
    "axes.labelcolor": "#1a1a1a",
    "axes.edgecolor": "#4d4d4d",
    "xtick.color": "#1a1a1a",
    "ytick.color": "#1a1a1a",
    "font.family": "sans-serif",
    # Verdana is about as wide as DejaVu Sans: labels keep their place where the first is missing
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica"],
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e0e0e0",
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "image.cmap": SEQUENTIAL,
    "axes.prop_cycle": mpl.cycler(color=[COLOURS["HC"], COLOURS["PD"], *OTHER_COLOURS]),
    "svg.fonttype": "none",
}


def apply_style() -> None:
    """Make the book's look the default of this process; `Page.open` does so in a chapter's kernel."""
    mpl.rcParams.update(STYLE)


def subplots(rows: int = 1, columns: int = 1, *, width: float = 7.0, height: float = 3.6, **options):
    """A figure in the book's look and its axes, as ``matplotlib.pyplot.subplots`` gives them.

    ``width`` and ``height`` are in inches. The figure is not registered with pyplot: a notebook shows it
    once, through `Page.figure`, and nothing needs closing.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots(rows, columns, **options)


# --- curves -----------------------------------------------------------------------------------------------
def curve_band(
    ax: Axes,
    x: np.ndarray,
    group_mean: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    label: str,
    colour: str | None = None,
) -> pd.DataFrame:
    """Draw a mean curve with its band, all of shape (points,); ``label`` PD or HC brings the class's colour.

    Returns columns label, x, mean, low, high.
    """
    known = label.split(" ")[0]
    (line,) = ax.plot(x, group_mean, LINES.get(known, "-"), color=colour or COLOURS.get(known), label=label)
    ax.fill_between(x, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    return pd.DataFrame({"label": label, "x": x, "mean": group_mean, "low": low, "high": high})


def class_curves(
    ax: Axes, x: np.ndarray, values_by_class: Mapping[str, np.ndarray], *, n_boot: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Draw the mean curve of each class with a 95 % bootstrap band over speakers.

    Parameters
    ----------
    values_by_class : mapping
        "PD" and "HC" to arrays of shape (speakers, points); NaN where a speaker has no value.

    Returns
    -------
    DataFrame
        Columns label (class and number of speakers), x, mean, low, high.
    """
    parts = []
    for name, values in values_by_class.items():
        values = np.atleast_2d(values)
        if values.shape[1] != np.size(x):
            raise ParameterError(
                f"the curves of {name} have {values.shape[1]} points and x has {np.size(x)}",
                "sample the curves of all speakers at the same x",
            )
        band = mean_band(values, n_boot=n_boot, seed=seed)
        parts.append(curve_band(ax, x, *band, label=f"{name} ({len(values)} speakers)"))
    ax.legend()
    return pd.concat(parts, ignore_index=True)


# --- results ----------------------------------------------------------------------------------------------
def confusion_matrix(ax: Axes, confusion: Confusion) -> pd.DataFrame:
    """Draw a confusion matrix, rows true and columns predicted, each cell with its count and share of the
    row.

    Returns columns true, predicted, count, share_of_true.
    """
    table = confusion.table()
    counts = table.to_numpy(dtype=float)
    rows = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, rows, out=np.full_like(counts, np.nan), where=rows > 0)
    image = ax.imshow(np.nan_to_num(share), cmap="Blues", vmin=0, vmax=1)
    mark(image, "matrix")
    for (row, column), count in np.ndenumerate(counts):
        text = f"{count:g}" if np.isnan(share[row, column]) else f"{count:g}\n{share[row, column]:.0%}"
        dark = np.nan_to_num(share[row, column]) > 0.5
        ax.text(column, row, text, ha="center", va="center", color="white" if dark else "#1a1a1a")
    ax.set(xticks=[0, 1], yticks=[0, 1], xticklabels=table.columns, yticklabels=table.index)
    ax.set(xlabel="predicted class", ylabel="true class")
    ax.grid(False)
    return pd.DataFrame(
        {
            "true": np.repeat(table.index, 2),
            "predicted": np.tile(table.columns, 2),
            "count": counts.ravel(),
            "share_of_true": share.ravel(),
        }
    )


def roc(
    ax: Axes,
    predictions: pd.DataFrame,
    *,
    label: str = "",
    colour: str = OTHER_COLOURS[0],
    n_boot: int = 500,
    seed: int = 0,
) -> pd.DataFrame:
    """Draw the ROC curve of one model, averaged over seeds, with a 95 % bootstrap band over speakers.

    The legend names the AUC with its interval. Returns columns false_positive_rate, recall, low, high.
    """
    band = roc_band(predictions, n_boot=n_boot, seed=seed)
    area = summary(predictions, ["auc"], seed=seed).iloc[0]
    name = f"{label}, " if label else ""
    text = f"{name}AUC {area['value']:.2f} [{area['low']:.2f}, {area['high']:.2f}]"
    curve_band(ax, band["false_positive_rate"], band["recall"], band["low"], band["high"], text, colour)
    if not any(line.get_label() == "chance" for line in ax.lines):
        ax.plot([0, 1], [0, 1], ":", color="#666666", label="chance")
    ax.set(xlabel="false positive rate (1 − specificity)", ylabel="recall (sensitivity)")
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    ax.legend(loc="lower right")
    return band


# --- pictures ---------------------------------------------------------------------------------------------
def picture(ax: Axes, image: np.ndarray) -> AxesImage:
    """Show a network's input picture, (height, width, 3 or 4) uint8, without axes and without resampling."""
    ax.set_axis_off()
    return mark(ax.imshow(image, interpolation="nearest"), "picture")


def heatmap_overlay(ax: Axes, rgb: np.ndarray, heatmap: np.ndarray, *, strength: float = 0.4) -> AxesImage:
    """Show ``rgb`` (height, width, 3) uint8 with ``heatmap`` (height, width) in [0, 1] laid over it."""
    return picture(ax, pictures.overlay(rgb, heatmap, strength=strength))


# --- what a raster shows ----------------------------------------------------------------------------------
@dataclass(frozen=True)
class Raster:
    """What a raster in a figure shows: ``what``, of how many speakers, of which kind of cohort."""

    what: str
    speakers: int = 0
    cohort: str = ""


def mark(artist: Artist, what: str, speakers: int = 0, cohort: str = "") -> Artist:
    """Say what an image or mesh shows; `Page.figure` refuses large unmarked ones on real voices.

    A raster could be a spectrogram, and one of a single speaker is like a voice print. Spectrograms are drawn
    by `Page.spectrogram` alone; anything else is marked here with a word for what it is.
    """
    artist.pd_raster = Raster(what, speakers, cohort)
    return artist


def rasters(figure: Figure) -> Iterable[tuple[Artist, Raster | None]]:
    """Every image and mesh of a figure with its mark, or None where it has none."""
    for artist in figure.findobj(lambda item: isinstance(item, AxesImage | QuadMesh)):
        if artist.get_array() is not None:
            yield artist, getattr(artist, "pd_raster", None)
