"""Pictures a network can look at: the slope graph, removal of its alpha (eq. 24), the heat-map overlay.

Nothing here knows a label, a file name or another recording: the limits of the axes are physical constants,
so a picture is a function of one recording alone and nothing has to be fitted on a training set.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pdlib.errors import ModelError, ParameterError

#: Range of levels in dB that any curve can show: from the floor of `features.slope_curves` to full scale.
LEVEL_RANGE = 80.0
#: Lower and upper end of the vertical scale of the energy, dB re full scale.
ENERGY_LIMITS = (-LEVEL_RANGE, 0.0)
#: The same for the slope, dB/kHz, of recordings at 8 kHz: from a spectrum that falls by the whole range of
#: levels over its 4 kHz, to a flat one. For other sample rates see `slope_limits_at`.
SLOPE_LIMITS = (-LEVEL_RANGE / 4.0, 0.0)
#: Below this bandwidth in Hz the first formant may lie at the upper end, and a voice's spectrum may rise.
FORMANT_BANDWIDTH = 2000
#: Colours (RGB) of the two curves, told apart by readers with any common colour-vision deficiency.
SLOPE_COLOUR = (0, 114, 178)
ENERGY_COLOUR = (213, 94, 0)
#: Line width as a share of the picture's side; a thinner line vanishes in the network's strided first layer.
LINE_SHARE = 1 / 36
#: Sides outside this range give a line thinner than a pixel or a picture no chapter needs.
SIZES = (16, 1024)
#: Each side is drawn this many times larger and averaged down, which gives smooth edges in fixed arithmetic.
SUPERSAMPLING = 4


def _check_size(size: int) -> int:
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or not SIZES[0] <= size <= SIZES[1]:
        raise ParameterError(
            f"size = {size!r} is not a side length in pixels",
            f"give a whole number from {SIZES[0]} to {SIZES[1]}",
        )
    return int(size)


def slope_limits_at(sample_rate: int) -> tuple[float, float]:
    """Limits of the slope's scale, dB/kHz, for recordings of this sample rate in Hz.

    The lower end is a fall by `LEVEL_RANGE` over the band; the upper end is a flat spectrum or, for bands too
    narrow to hold the formants, the equal rise. At 8 kHz these are `SLOPE_LIMITS`.
    """
    bandwidth = sample_rate / 2
    steepest = LEVEL_RANGE / (bandwidth / 1000)
    return -steepest, (steepest if bandwidth < FORMANT_BANDWIDTH else 0.0)


def line_width(size: int) -> float:
    """Width in pixels of the lines `slope_graph` draws at a side length of ``size`` pixels."""
    return max(1.5, size * LINE_SHARE)


def value_to_row(values: NDArray[np.floating] | float, limits: tuple[float, float], size: int) -> NDArray:
    """Vertical position, in pixels from the top edge, at which a curve's value is drawn.

    Parameters
    ----------
    values : float or array
        In the unit of ``limits``; anything beyond the limits is drawn at the limit.
    limits : (float, float)
        `SLOPE_LIMITS` or `ENERGY_LIMITS`.
    size : int
        Side of the picture in pixels.

    Returns
    -------
    array
        The centre of the line; pixel row r covers r to r + 1. Half a line width stays free above and below,
        so that a clipped curve is still drawn whole.
    """
    low, high = limits
    share = np.clip((np.asarray(values, dtype=float) - low) / (high - low), 0.0, 1.0)
    margin = line_width(size) / 2
    return margin + (1.0 - share) * (size - 2 * margin)


def time_to_column(times: NDArray[np.floating], size: int) -> NDArray[np.float64]:
    """Horizontal position, in pixels from the left edge, of frame centres in seconds.

    The recording spans the full width. Frames are centred on ``times``, so the recording ends as long after
    the last centre as it begins before the first.
    """
    times = np.asarray(times, dtype=float)
    duration = times[0] + times[-1]
    if duration <= 0:
        return np.full(times.shape, size / 2)
    return times / duration * size


def _runs(present: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Start and end (exclusive) of each stretch of consecutive ``True`` values."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], present, [False])).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _draw_curve(
    draw: ImageDraw.ImageDraw, columns: NDArray, rows: NDArray, colour: tuple[int, int, int], width: float
) -> None:
    """Draw one curve with round ends; a stretch of one frame becomes a dot, a gap stays white."""
    radius = width / 2
    for start, end in _runs(np.isfinite(rows)):
        points = list(zip(columns[start:end].tolist(), rows[start:end].tolist(), strict=True))
        if len(points) > 1:
            draw.line(points, fill=colour + (255,), width=round(width), joint="curve")
        for x, y in (points[0], points[-1]):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour + (255,))


def _checked_curves(curves: Any) -> tuple[NDArray, NDArray, NDArray]:
    times, slope, energy = (
        np.asarray(getattr(curves, name), dtype=float) for name in ("times", "slope", "energy")
    )
    if times.ndim != 1 or times.size == 0 or times.shape != slope.shape or times.shape != energy.shape:
        raise ModelError(
            f"times, slope and energy have shapes {times.shape}, {slope.shape} and {energy.shape}",
            "give one value of each curve per frame, and at least one frame",
        )
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any() or times[0] < 0:
        raise ModelError(
            "the frame times are not increasing seconds from 0 on", "give finite, strictly increasing times"
        )
    return times, slope, energy


def slope_graph(
    curves: Any,
    size: int = 96,
    *,
    masked: bool = False,
    slope_limits: tuple[float, float] = SLOPE_LIMITS,
) -> NDArray[np.uint8]:
    """Draw the slope and energy curves of one recording as an axis-free picture.

    The paper feeds its network such graphs (pp. 18–19, Figures 6 and 7) but names no axis, unit or limit.
    Here the time axis spans the recording, the vertical scales are `slope_limits` and
    `ENERGY_LIMITS`, and values beyond them are drawn at the edge. The slope is drawn over the energy.

    Parameters
    ----------
    curves : features.SlopeCurves
        Anything with ``times`` (s), ``slope`` (dB/kHz), ``energy`` (dB re full scale) and ``mask``, each of
        shape (frames,). A value that is not finite leaves a gap.
    size : int
        Side in pixels, 16 to 1024.
    masked : bool
        Leave a gap where ``mask`` is False as well. Off by default: the paper's graphs show the padding.
    slope_limits : (float, float)
        Ends of the slope's scale in the unit of the curve; for rates other than 8 kHz, `slope_limits_at`.
        Never taken from the data, so that equal values lie at equal heights in all pictures.

    Returns
    -------
    uint8 array, shape (size, size, 4)
        RGBA on opaque white. The same curves give the same bytes.

    Raises
    ------
    ParameterError
        When ``size`` or ``slope_limits`` is not usable.
    ModelError
        When the curves disagree in length, the times do not increase, or nothing is left to draw.
    """
    size = _check_size(size)
    if not (np.isfinite(slope_limits).all() and slope_limits[0] < slope_limits[1]):
        raise ParameterError(
            f"slope_limits = {slope_limits!r} is not a range", "give a lower and a higher number"
        )
    if getattr(curves, "unit", "dB/kHz") != "dB/kHz" and slope_limits == SLOPE_LIMITS:
        raise ParameterError(
            f"the slope is in {curves.unit}, the scale in dB/kHz",
            "give slope_limits in the unit of the curve",
        )
    times, slope, energy = _checked_curves(curves)
    if masked:
        kept = np.asarray(curves.mask, dtype=bool)
        slope, energy = np.where(kept, slope, np.nan), np.where(kept, energy, np.nan)
    if not (np.isfinite(slope).any() or np.isfinite(energy).any()):
        raise ModelError(
            "neither curve has a finite value, so there is nothing to draw",
            "check the recording: it may be silent or all padding",
        )
    scale = SUPERSAMPLING
    canvas = Image.new("RGBA", (size * scale, size * scale), (255, 255, 255, 255))
    draw = ImageDraw.Draw(canvas)
    columns = time_to_column(times, size) * scale
    width = line_width(size) * scale
    for values, limits, colour in (
        (energy, ENERGY_LIMITS, ENERGY_COLOUR),
        (slope, slope_limits, SLOPE_COLOUR),
    ):
        _draw_curve(draw, columns, value_to_row(values, limits, size) * scale, colour, width)
    return np.asarray(canvas.reduce(scale), dtype=np.uint8).copy()


def remove_alpha(rgba: NDArray[np.uint8], rule: str = "composite") -> NDArray[np.uint8]:
    """Turn RGBA pictures into RGB, as it should be done or as equation 24 prints it.

    Parameters
    ----------
    rgba : uint8 array, shape (..., 4)
        One picture or a batch.
    rule : {"composite", "paper"}
        ``"composite"`` lays the picture over white paper: C·A/255 + 255·(1 − A/255). ``"paper"`` is equation
        24, p. 25: C + (255 − C)·A/255, which turns every opaque pixel white and leaves transparent ones as
        they are, that is, the wrong way round.

    Returns
    -------
    uint8 array, shape (..., 3)
        Rounded to the nearest whole level.

    Raises
    ------
    ParameterError
        When ``rule`` is unknown.
    ModelError
        When the array is not 8-bit RGBA.
    """
    rgba = np.asarray(rgba)
    if rgba.dtype != np.uint8 or rgba.ndim < 3 or rgba.shape[-1] != 4:
        raise ModelError(
            f"expected an 8-bit RGBA picture, got {rgba.dtype} of shape {rgba.shape}",
            "give an array of type uint8 and shape (height, width, 4)",
        )
    colour, opacity = rgba[..., :3].astype(float), rgba[..., 3:].astype(float) / 255
    if rule == "composite":
        mixed = colour * opacity + 255 * (1 - opacity)
    elif rule == "paper":
        mixed = colour + (255 - colour) * opacity
    else:
        raise ParameterError(f"rule = {rule!r} is unknown", 'use "composite" or "paper" (eq. 24)')
    return np.rint(mixed).astype(np.uint8)


def heat_colours(heatmap: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Colour a map in [0, 1] from blue (unimportant) to red (important), the scale the paper names on p. 29.

    Returns an array of type uint8 and the map's shape with a last axis of 3.
    """
    from matplotlib import colormaps

    return colormaps["jet"](np.asarray(heatmap, dtype=float), bytes=True)[..., :3]


def overlay(
    rgb: NDArray[np.uint8], heatmap: NDArray[np.floating], strength: float = 0.4
) -> NDArray[np.uint8]:
    """Lay heat maps over pictures (p. 23, Figure 10): (1 − strength)·picture + strength·colours of the map.

    Parameters
    ----------
    rgb : uint8 array, shape (height, width, 3) or (n, height, width, 3)
    heatmap : float array, shape (height, width) or (n, height, width)
        In [0, 1], as `explain.grad_cam` returns it.
    strength : float
        Share of the heat map, 0 to 1. The paper gives none.

    Returns
    -------
    uint8 array, shape of ``rgb``

    Raises
    ------
    ModelError
        When shapes do not match or the map leaves [0, 1].
    ParameterError
        When ``strength`` lies outside [0, 1].
    """
    rgb, heatmap = np.asarray(rgb), np.asarray(heatmap, dtype=float)
    if rgb.dtype != np.uint8 or rgb.shape[-1:] != (3,) or rgb.shape[:-1] != heatmap.shape:
        raise ModelError(
            f"a picture of type {rgb.dtype} and shape {rgb.shape} and a map of shape {heatmap.shape} differ",
            "give 8-bit RGB pictures and one map value per pixel",
        )
    if not (np.isfinite(heatmap).all() and (heatmap >= 0).all() and (heatmap <= 1).all()):
        raise ModelError("the heat map has values outside [0, 1]", "divide each map by its maximum first")
    if not 0 <= strength <= 1:
        raise ParameterError(f"strength = {strength!r} is not a share", "give a number from 0 to 1")
    mixed = (1 - strength) * rgb.astype(float) + strength * heat_colours(heatmap).astype(float)
    return np.rint(mixed).astype(np.uint8)
