"""Why a network decides as it does: every explanation of the book, one call signature, one map type.

All functions in `METHODS` are called as ``f(model, pictures, classes, *, batch_size=32, **options)`` and return
`Maps`. Class activation maps come from `pdlib.cams`; here are the methods that ask the network pixel by
pixel: its gradient, the gradient smoothed by noise or integrated along a path, and what it loses when a part
of the picture is covered. Each explains the logit of the asked class unless told otherwise.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter

from pdlib.cams import grad_cam, grad_cam_pp, layer_cam, score_cam
from pdlib.errors import ModelError, ParameterError
from pdlib.maps import (
    OUTPUTS,
    Maps,
    Opened,
    check_above_0,
    check_choice,
    check_whole,
    class_scores,
    enlarge,
    flatten,
    opened,
)
from pdlib.networks import keras

__all__ = [
    "BASELINES",
    "METHODS",
    "OUTPUTS",
    "RULES",
    "Maps",
    "attribute",
    "baseline_pictures",
    "class_scores",
    "enlarge",
    "flatten",
    "grad_cam",
    "grad_cam_pp",
    "gradient",
    "integrated_gradients",
    "layer_cam",
    "mean_baseline",
    "occlusion",
    "score_cam",
    "smooth_grad",
]

#: Grey levels of the scale that the networks of the book are given.
LEVELS = 255.0
#: Pictures "without the thing", by name; see `baseline_pictures`.
BASELINES = ("black", "white", "mean", "blur")
#: How the integral along the path is approximated.
RULES = ("gauss-legendre", "midpoint")
#: A completeness gap is measured against the change of the score, but at least against this share of the
#: score itself. float32 resolves a score to about 1e-7 of its size; a change below a hundredth of it is then
#: known to no better than 1e-5, and near zero the ratio would be one of rounding errors.
GAP_FLOOR = 0.01
#: Points of a panel where a path is refined, and the share of what the panels miss that is halved at a time.
PANEL = 4
HALVED = 0.3


# ── pictures without the thing ─────────────────────────────────────────────────────────────────────────
def mean_baseline(pictures: ArrayLike) -> NDArray[np.float32]:
    """The mean of some pictures (n, height, width, 3), shape (height, width, 3): a baseline for all of them.

    Take training pictures: a mean over test pictures looks at what is being tested.

    Raises
    ------
    ModelError
        When there is no picture or the shape is another.
    """
    x = np.asarray(pictures)
    if x.ndim != 4 or len(x) == 0:
        raise ModelError(
            f"pictures of shape {x.shape} have no mean picture", "give at least one, as (n, height, width, 3)"
        )
    return x.mean(axis=0, dtype=np.float64).astype(np.float32)


def baseline_pictures(pictures: ArrayLike, name: str, *, sigma: float | None = None) -> NDArray[np.float32]:
    """What each picture is without its content, shape (n, height, width, 3).

    Parameters
    ----------
    pictures : array, shape (n, height, width, 3)
        Levels from 0 to 255.
    name : {"black", "white", "mean", "blur"}
        ``"black"``: 0, which is silence in a spectrogram picture and ink in a drawn plot. ``"white"``: 255, the
        paper of a drawn plot. ``"mean"``: the picture's own mean colour. ``"blur"``: the picture itself,
        blurred by a Gaussian until its details are gone.
    sigma : float, optional
        Standard deviation of the blur in pixels; a tenth of the height unless given.

    Raises
    ------
    ParameterError
        When the name is unknown or ``sigma`` is not above 0.
    """
    check_choice("baseline", name, BASELINES)
    x = np.asarray(pictures, dtype=np.float32)
    if name in ("black", "white"):
        one = np.full(x.shape[1:], 0 if name == "black" else LEVELS, dtype=np.float32)
        return np.broadcast_to(one, x.shape)
    if name == "mean":
        return np.broadcast_to(x.mean(axis=(1, 2), keepdims=True, dtype=np.float64), x.shape).astype(
            np.float32
        )
    width = _blur_width(x, sigma)
    return gaussian_filter(x, (0, width, width, 0), mode="nearest")


def _blur_width(x: NDArray, sigma: float | None) -> float:
    if sigma is None:
        return x.shape[1] / 10
    check_above_0("sigma", sigma)
    return float(sigma)


def _one_baseline(
    x: NDArray[np.float32], baseline: str | ArrayLike, sigma: float | None
) -> tuple[NDArray[np.float32], str]:
    """A baseline for each picture, shape of ``x``, and what to call it in the settings."""
    if isinstance(baseline, str):
        name = f"blur of {_blur_width(x, sigma):g} px" if baseline == "blur" else baseline
        return baseline_pictures(x, baseline, sigma=sigma), name
    given = np.asarray(baseline)
    if given.dtype.kind not in "iubf" or given.shape not in (x.shape, x.shape[1:]):
        raise ModelError(
            f"a baseline of type {given.dtype} and shape {given.shape} does not fit pictures of {x.shape}",
            f"give one of {', '.join(BASELINES)}, a picture {x.shape[1:]} or one for each picture {x.shape}",
        )
    given = given.astype(np.float32)
    if not np.isfinite(given).all():
        raise ModelError("the baseline is not finite", "check how it is made")
    digest = hashlib.sha256(np.ascontiguousarray(given).tobytes()).hexdigest()[:12]
    return np.broadcast_to(given, x.shape), f"picture {digest}"


def _several_baselines(
    x: NDArray[np.float32], baseline: str | ArrayLike | Sequence[str | ArrayLike], sigma: float | None
) -> tuple[list[NDArray[np.float32]], tuple[str, ...]]:
    several = baseline if isinstance(baseline, list | tuple) else [baseline]
    if not several:
        raise ParameterError("the list of baselines is empty", f"give one of {', '.join(BASELINES)}")
    pairs = [_one_baseline(x, one, sigma) for one in several]
    return [pictures for pictures, _name in pairs], tuple(name for _pictures, name in pairs)


# ── gradients ──────────────────────────────────────────────────────────────────────────────────────────
def _prepared(
    model: keras.Model, pictures: ArrayLike, classes: ArrayLike, output: str, batch_size: int
) -> tuple[Opened, NDArray[np.float32], NDArray[np.int32]]:
    check_whole("batch_size", batch_size, 1)
    check_choice("output", output, OUTPUTS)
    net = opened(model)
    return (net, *net.checked(pictures, classes))


def _summed_gradients(
    net: Opened,
    shape: tuple[int, int, int],
    classes: NDArray[np.int32],
    points: int,
    at: Callable[[NDArray, NDArray], NDArray],
    output: str,
    batch_size: int,
) -> NDArray[np.float64]:
    """Sum over points and colours of the gradient, for each picture, shape (n, height, width).

    Points of several pictures share a batch, so few points of many pictures and many points of few pictures
    cost the same, and ``batch_size`` alone bounds the memory.

    Parameters
    ----------
    points : int
        Points per picture.
    at : callable
        Given the rows of the pictures and the numbers of their points, the network's inputs (b, height, width,
        3) there.
    """
    total = np.zeros(shape)
    for start in range(0, len(classes) * points, batch_size):
        chunk = np.arange(start, min(start + batch_size, len(classes) * points))
        rows, numbers = np.divmod(chunk, points)
        parts = net.gradients(at(rows, numbers), classes[rows], output).sum(axis=-1, dtype=np.float64)
        for row, part in zip(rows, parts, strict=True):
            total[row] += part
    return total


def gradient(
    model: keras.Model,
    pictures: ArrayLike,
    classes: ArrayLike,
    *,
    output: str = "logits",
    batch_size: int = 32,
) -> Maps:
    """Gradient of the class score by each pixel, summed over the colours, with its sign.

    The sum is what the score changes by when a pixel gets one grey level brighter in all colours.

    Parameters
    ----------
    model : keras.Model
        With a linear layer named ``logits``, one unit per class.
    pictures : array, shape (n, height, width, 3)
        In the scale the network expects.
    classes : int array, shape (n,)
        The class to explain in each picture.
    output : {"logits", "probabilities"}
        What is explained. A probability mixes what speaks for one class with what speaks against the other,
        and its gradient vanishes where the network is sure.
    batch_size : int
        Pictures at a time; bounds the memory and changes nothing else.

    Returns
    -------
    Maps
        Signed, in units of the output per grey level.

    Raises
    ------
    ModelError
        When the network, the pictures or the classes do not fit.
    ParameterError
        When a setting is out of range.

    References
    ----------
    Simonyan et al. 2014, ICLR Workshop: Deep inside convolutional networks (there: the largest magnitude of
    the colours, without sign).
    """
    net, x, asked = _prepared(model, pictures, classes, output, batch_size)
    maps = _summed_gradients(net, x.shape[:3], asked, 1, lambda rows, _numbers: x[rows], output, batch_size)
    return net.finish(maps, "gradient", {"output": output}, signed=True)


def smooth_grad(
    model: keras.Model,
    pictures: ArrayLike,
    classes: ArrayLike,
    *,
    samples: int = 16,
    noise: float = 0.1,
    seed: int = 0,
    output: str = "logits",
    batch_size: int = 32,
) -> Maps:
    """SmoothGrad: the mean of `gradient` over noisy copies of the picture.

    Parameters
    ----------
    model, pictures, classes, output, batch_size
        See `gradient`.
    samples : int
        Noisy copies of each picture.
    noise : float
        Standard deviation of the noise, as a share of the 255 grey levels. Copies are not clipped.
    seed : int
        Draws the noise. All pictures get the same ``samples`` draws, so the map of a picture depends on the
        picture and the seed, not on the pictures beside it.

    Returns
    -------
    Maps
        Signed, in units of the output per grey level.

    Raises
    ------
    ModelError, ParameterError
        When the network, the pictures, the classes or a setting do not fit.

    References
    ----------
    Smilkov et al. 2017: SmoothGrad, removing noise by adding noise.
    """
    check_whole("samples", samples, 1)
    check_whole("seed", seed, 0)
    check_above_0("noise", noise)
    net, x, asked = _prepared(model, pictures, classes, output, batch_size)
    drawn = np.random.default_rng(seed).normal(0, noise * LEVELS, (samples, *x.shape[1:])).astype(np.float32)
    total = _summed_gradients(
        net,
        x.shape[:3],
        asked,
        samples,
        lambda rows, numbers: x[rows] + drawn[numbers],
        output,
        batch_size,
    )
    settings = {"samples": samples, "noise": noise, "seed": seed, "output": output}
    return net.finish(total / samples, "smooth_grad", settings, signed=True)


@lru_cache(maxsize=32)
def _rule(rule: str, steps: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places in [0, 1] where the gradient is taken, and their weights, which sum to 1."""
    if rule == "midpoint":
        return (np.arange(steps) + 0.5) / steps, np.full(steps, 1 / steps)
    places, weights = np.polynomial.legendre.leggauss(steps)
    return (places + 1) / 2, weights / 2


def integrated_gradients(
    model: keras.Model,
    pictures: ArrayLike,
    classes: ArrayLike,
    *,
    baseline: str | ArrayLike | Sequence[str | ArrayLike] = "black",
    sigma: float | None = None,
    steps: int = 32,
    rule: str = "gauss-legendre",
    output: str = "logits",
    tolerance: float = 0.01,
    max_steps: int = 512,
    batch_size: int = 32,
) -> Maps:
    """Integrated gradients: how each pixel's change from the baseline changed the score.

    The map is the sum over the colours of (x − x′) times the mean gradient on the straight path from the
    baseline x′ to the picture x. By completeness it sums to F(x) − F(x′). How far it misses is the gap. Where it
    is above ``tolerance``, points are added on the parts of the path that miss most. A small gap is needed for a
    map to be right but does not show it: errors of opposite sign cancel in the sum.

    Parameters
    ----------
    model, pictures, classes, output
        See `gradient`.
    baseline : str, array or list of such
        A name of `BASELINES`, a picture (height, width, 3), one per picture (n, height, width, 3), or a list
        of these, whose maps are averaged. Which picture means "nothing" depends on its kind: black is silence
        in a spectrogram, and ink in a drawn plot.
    sigma : float, optional
        Blur of the baseline ``"blur"``, pixels; see `baseline_pictures`.
    steps : int
        Points on each path to begin with.
    rule : {"gauss-legendre", "midpoint"}
        With n points, exact for gradients that are polynomials of degree 2n − 1, or 1, along the path.
    tolerance : float
        Largest gap that is left alone, relative.
    max_steps : int
        Most points on a path (on average, with several baselines). A gap still above ``tolerance`` is then
        returned as it is.
    batch_size : int
        Points at a time, of one or of several pictures; bounds the memory and changes nothing else.

    Returns
    -------
    Maps
        Signed, in units of the output. ``gap`` is ``|sum of the map − (F(x) − F(x′))|``, relative
        to ``|F(x) − F(x′)|`` or to `GAP_FLOOR` of the larger of ``|F(x)|`` and ``|F(x′)|``, whichever is more;
        F(x′) is the mean over several baselines. ``settings["steps_used"]`` has the number of points that each
        map rests on, of all its paths.

    Raises
    ------
    ModelError
        When the network, the pictures, the classes or the baseline do not fit.
    ParameterError
        When a setting is out of range.

    References
    ----------
    Sundararajan, Taly and Yan 2017, ICML: Axiomatic attribution for deep networks. Several baselines: Erion
    et al. 2021, Nature Machine Intelligence, there drawn at random.
    """
    check_whole("steps", steps, 1)
    check_whole("max_steps", max_steps, steps)
    check_choice("rule", rule, RULES)
    check_above_0("tolerance", tolerance)
    net, x, asked = _prepared(model, pictures, classes, output, batch_size)
    starts, names = _several_baselines(x, baseline, sigma)

    own = net.scores(x, asked, output, batch_size)
    without = np.stack([net.scores(start, asked, output, batch_size) for start in starts])
    change = own - without.mean(axis=0)
    floor = GAP_FLOOR * np.maximum(np.abs(own), np.abs(without).max(axis=0))
    scale = np.maximum(np.maximum(np.abs(change), floor), np.finfo(np.float32).tiny)

    places, weights = _rule(rule, steps)
    source, place, weight = (
        np.repeat(np.arange(len(x)), steps),
        np.tile(places, len(x)),
        np.tile(weights, len(x)),
    )
    total = np.zeros(x.shape[:3])
    for start in starts:
        total += _path_integrals(net, x, start, asked, source, place, weight, steps, output, batch_size)
    maps = (total / len(starts)).astype(np.float32)
    used = np.full(len(x), steps * len(starts))

    def gaps() -> NDArray[np.float64]:
        return np.abs(maps.sum(axis=(1, 2), dtype=np.float64) - change) / scale

    if max_steps > steps and max_steps >= PANEL:
        for row in np.flatnonzero(gaps() > tolerance):
            paths = np.stack([start[row] for start in starts])
            allowed = tolerance * scale[row] * len(starts)
            maps[row], used[row] = _refined_integral(
                net, x[row], paths, asked[row], steps, max_steps, allowed, rule, output, batch_size
            )

    settings = {
        "baseline": names,
        "steps": steps,
        "steps_used": tuple(used.tolist()),
        "max_steps": max_steps,
        "rule": rule,
        "tolerance": tolerance,
        "output": output,
    }
    return net.finish(maps, "integrated_gradients", settings, signed=True, gap=gaps())


def _path_integrals(
    net: Opened,
    ends: NDArray[np.float32],
    starts: NDArray[np.float32],
    classes: NDArray[np.int32],
    source: NDArray[np.integer],
    place: NDArray[np.float64],
    weight: NDArray[np.float64],
    points: int,
    output: str,
    batch_size: int,
) -> NDArray[np.float64]:
    """Sums over ``points`` points in a row of gradient × path × weight, shape (sums, height, width).

    Points of several sums share a batch, so ``batch_size`` alone bounds the memory.

    Parameters
    ----------
    ends, starts, classes
        Of the paths, k of them.
    source, place, weight : array, shape (sums * points,)
        See `Opened.path`; ``source`` may be in any order.
    """
    total = np.zeros((len(source) // points, *ends.shape[1:3]))
    for first in range(0, len(source), batch_size):
        chunk = slice(first, min(first + batch_size, len(source)))
        # only the paths and the sums this batch is about: the rest would be copied for nothing
        paths = slice(source[chunk].min(), source[chunk].max() + 1)
        sums = slice(chunk.start // points, (chunk.stop - 1) // points + 1)
        total[sums] += net.path(
            ends[paths], starts[paths], classes[paths], source[chunk] - paths.start, place[chunk],
            weight[chunk], np.arange(chunk.start, chunk.stop) // points - sums.start,
            sums.stop - sums.start, output,
        )  # fmt: skip
    return total


def _refined_integral(
    net: Opened,
    x: NDArray[np.float32],
    starts: NDArray[np.float32],
    asked: np.int32,
    steps: int,
    max_steps: int,
    allowed: float,
    rule: str,
    output: str,
    batch_size: int,
) -> tuple[NDArray[np.float64], int]:
    """Integrated gradients of one picture with points added where they are missing, and how many it took.

    Each path is cut into panels of `PANEL` points. Completeness holds for a panel, too: its map should sum to
    the change of the score between its ends. So the panels that miss most are halved, until all together miss
    by no more than ``allowed``. Along the path a network of ReLUs bends in many places, and most of them lie
    close together; doubling the points everywhere takes about ten times as many.

    Parameters
    ----------
    x : array, shape (height, width, 3)
    starts : array, shape (k, height, width, 3)
        The baselines.
    """
    places, weights = _rule(rule, PANEL)
    ends, classes = np.broadcast_to(x, starts.shape), np.full(len(starts), asked)

    def scores(path, place):
        chunks = [slice(first, first + batch_size) for first in range(0, len(path), batch_size)]
        given = [
            starts[path[chunk]]
            + place[chunk].astype(np.float32).reshape(-1, 1, 1, 1) * (x - starts[path[chunk]])
            for chunk in chunks
        ]
        return np.concatenate(
            [net.scores(part, np.full(len(part), asked), output, batch_size) for part in given]
        )

    def integrals(path, left, right):
        length = (right - left)[:, np.newaxis]
        place, weight = left[:, np.newaxis] + length * places, length * weights
        return _path_integrals(
            net,
            ends,
            starts,
            classes,
            path.repeat(PANEL),
            place.ravel(),
            weight.ravel(),
            PANEL,
            output,
            batch_size,
        )

    count, most = max(1, steps // PANEL), len(starts) * (max_steps // PANEL)
    path = np.repeat(np.arange(len(starts)), count)
    left = np.tile(np.arange(count) / count, len(starts))
    right = left + 1 / count
    rise = scores(path, right) - scores(path, left)
    maps = integrals(path, left, right)
    while True:
        missed = rise - maps.sum(axis=(1, 2))
        if abs(missed.sum()) <= allowed or len(path) >= most:
            return maps.sum(axis=0) / len(starts), len(path) * PANEL
        worst = np.argsort(-np.abs(missed), kind="stable")
        reached = np.cumsum(np.abs(missed)[worst])
        halved = worst[: np.searchsorted(reached, HALVED * reached[-1]) + 1][: most - len(path)]
        middle = (left[halved] + right[halved]) / 2
        climbed = scores(path[halved], middle) - scores(path[halved], left[halved])
        new = integrals(
            np.tile(path[halved], 2),
            np.concatenate([left[halved], middle]),
            np.concatenate([middle, right[halved]]),
        )
        # the first half takes the panel's place, the second is added
        path = np.append(path, path[halved])
        left, right = np.append(left, middle), np.append(right, right[halved])
        right[halved] = middle
        rise = np.append(rise, rise[halved] - climbed)
        rise[halved] = climbed
        maps[halved], added = np.split(new, 2)
        maps = np.concatenate([maps, added])


# ── occlusion ──────────────────────────────────────────────────────────────────────────────────────────
def _cells(grid: tuple[int, int], height: int, width: int) -> NDArray[np.int64]:
    """Number of the cell that each pixel lies in, shape (height, width); sizes differ by at most one pixel."""
    fits = isinstance(grid, list | tuple) and len(grid) == 2
    if not fits:
        raise ParameterError(f"grid = {grid!r} is not valid", "give rows and columns, as (8, 8)")
    for name, value, most in zip(("rows", "columns"), grid, (height, width), strict=True):
        check_whole(f"{name} of grid", value, 1)
        if value > most:
            raise ParameterError(f"grid = {grid!r} has more {name} than pixels", f"give at most {most}")
    rows, columns = (
        np.arange(size) * parts // size for size, parts in zip((height, width), grid, strict=True)
    )
    return rows[:, np.newaxis] * grid[1] + columns


def occlusion(
    model: keras.Model,
    pictures: ArrayLike,
    classes: ArrayLike,
    *,
    grid: tuple[int, int] = (8, 8),
    fill: str | ArrayLike = "black",
    sigma: float | None = None,
    output: str = "logits",
    batch_size: int = 32,
) -> Maps:
    """Occlusion: how much the score falls when one cell of the picture, a band for a time, is replaced.

    Parameters
    ----------
    model, pictures, classes, output, batch_size
        See `gradient`.
    grid : (int, int)
        Rows and columns of cells: bands and times of a spectrogram picture. Where the picture's size is no
        multiple, cells differ by one pixel.
    fill : str or array
        What replaces a cell: a name of `BASELINES`, a picture (height, width, 3) or one per picture.
    sigma : float, optional
        Blur of the fill ``"blur"``, pixels; see `baseline_pictures`.

    Returns
    -------
    Maps
        Signed, in units of the output: every pixel of a cell has the fall of the score without that cell.

    Raises
    ------
    ModelError, ParameterError
        When the network, the pictures, the classes or a setting do not fit.

    References
    ----------
    Zeiler and Fergus 2014, ECCV: Visualizing and understanding convolutional networks.
    """
    net, x, asked = _prepared(model, pictures, classes, output, batch_size)
    cell = _cells(grid, *x.shape[1:3])
    replaced, name = _one_baseline(x, fill, sigma)
    count = int(cell.max()) + 1
    without = np.empty(len(x) * count)
    for start in range(0, len(without), batch_size):
        chunk = np.arange(start, min(start + batch_size, len(without)))
        rows, numbers = np.divmod(chunk, count)
        covered = (cell == numbers[:, np.newaxis, np.newaxis])[..., np.newaxis]
        without[chunk] = net.scores(
            np.where(covered, replaced[rows], x[rows]), asked[rows], output, batch_size
        )
    fall = net.scores(x, asked, output, batch_size)[:, np.newaxis] - without.reshape(len(x), count)
    settings = {"grid": tuple(int(parts) for parts in grid), "fill": name, "output": output}
    return net.finish(fall[:, cell], "occlusion", settings, signed=True)


# ── all of them ────────────────────────────────────────────────────────────────────────────────────────
METHODS: dict[str, Callable[..., Maps]] = {
    "grad_cam": grad_cam,
    "grad_cam_pp": grad_cam_pp,
    "layer_cam": layer_cam,
    "score_cam": score_cam,
    "gradient": gradient,
    "smooth_grad": smooth_grad,
    "integrated_gradients": integrated_gradients,
    "occlusion": occlusion,
}


def attribute(
    model: keras.Model, pictures: ArrayLike, classes: ArrayLike, method: str, **options: object
) -> Maps:
    """Explain each picture's class by the method of this name.

    Parameters
    ----------
    model, pictures, classes
        See `gradient`.
    method : str
        A key of `METHODS`.
    **options
        Settings of that method.

    Raises
    ------
    ParameterError
        When the method or one of its settings is unknown, or out of range.
    ModelError
        When the network, the pictures or the classes do not fit.
    """
    check_choice("method", method, tuple(METHODS))
    known = [
        name
        for name, parameter in inspect.signature(METHODS[method]).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    for name in options:
        if name not in known:
            raise ParameterError(f"{method} has no setting {name}", f"use one of {', '.join(known)}")
    return METHODS[method](model, pictures, classes, **options)
