"""Boxes and arrows: how data pass through a method, drawn from a list that is the picture's data too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from pdlib.errors import ParameterError

#: Fill and outline by kind of box; the outlines differ too, for readers who see no colour.
KINDS = {
    "data": {"facecolor": "white", "edgecolor": "#4d4d4d", "linestyle": "-", "linewidth": 1.0},
    "fitted": {"facecolor": "#fbe3cf", "edgecolor": "#1a1a1a", "linestyle": "-", "linewidth": 2.0},
    "computed": {"facecolor": "#dcebf7", "edgecolor": "#1a1a1a", "linestyle": "--", "linewidth": 1.0},
}


@dataclass(frozen=True)
class Box:
    """One step: ``name`` for the arrows, ``text`` inside, middle (x, y) and size in the axes' units.

    ``kind`` is ``data``, ``fitted`` (learns from labels) or ``computed``.
    """

    name: str
    text: str
    x: float
    y: float
    kind: str = "data"
    width: float = 0.84
    height: float = 0.62


def flow(
    ax: Axes, boxes: Sequence[Box], arrows: Sequence[tuple[str, str]], *, fontsize: float = 8
) -> pd.DataFrame:
    """Draw ``boxes`` joined by ``arrows`` (pairs of names) into ``ax`` and take its frame away.

    Returns
    -------
    DataFrame
        One row per box: box, kind, text, and ``leads_to`` (names, separated by semicolons).

    Raises
    ------
    ParameterError
        When two boxes share a name, a kind is unknown, or an arrow names no box.
    """
    by_name = {box.name: box for box in boxes}
    unknown = sorted({name for arrow in arrows for name in arrow} - set(by_name))
    if len(by_name) != len(boxes) or unknown or any(box.kind not in KINDS for box in boxes):
        raise ParameterError(
            f"boxes {', '.join(box.name for box in boxes)} do not fit arrows to {unknown or 'them'}",
            f"give each box a name of its own, a kind among {', '.join(KINDS)}, and arrows between boxes",
        )
    patches = {}
    for box in boxes:
        corner = (box.x - box.width / 2, box.y - box.height / 2)
        patch = FancyBboxPatch(
            corner, box.width, box.height, boxstyle="round,pad=0,rounding_size=0.06", **KINDS[box.kind]
        )
        patches[box.name] = ax.add_patch(patch)
        ax.text(box.x, box.y, box.text, ha="center", va="center", fontsize=fontsize)
    style = {"arrowstyle": "-|>", "color": "#1a1a1a", "linewidth": 1.0, "shrinkA": 1, "shrinkB": 1}
    for start, end in arrows:
        ends = {"patchA": patches[start], "patchB": patches[end]}
        a, b = by_name[start], by_name[end]
        ax.annotate("", xy=(b.x, b.y), xytext=(a.x, a.y), arrowprops=style | ends)
    margin = 0.1
    ax.set(
        xlim=(
            min(b.x - b.width / 2 for b in boxes) - margin,
            max(b.x + b.width / 2 for b in boxes) + margin,
        ),
        ylim=(
            min(b.y - b.height / 2 for b in boxes) - margin,
            max(b.y + b.height / 2 for b in boxes) + margin,
        ),
    )
    ax.set_axis_off()
    return pd.DataFrame(
        {
            "box": box.name,
            "kind": box.kind,
            "text": " ".join(box.text.split()),
            "leads_to": "; ".join(end for start, end in arrows if start == box.name),
        }
        for box in boxes
    )
