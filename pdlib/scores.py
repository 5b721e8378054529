"""What heat maps are worth: scores of explanations, and the controls they have to beat.

Maps are arrays (n, height, width), one per picture, signed or not; larger means more for the explained class.
Every score comes per picture, shape (n,): a picture is one speaker, so `with_interval` and `paired` give
intervals over speakers. A score that does not exist is NaN, never 0.

An ``explain`` argument is a function (model, pictures, classes) → maps; the functions of `explain.METHODS` fit.

Values nearer than `TIE` of a map's largest are the same value here: sums in another order differ by more, and
would otherwise decide which of two equal cells goes first, always in favour of the same corner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import correlate1d, gaussian_filter
from scipy.special import expit, logsumexp
from scipy.stats import rankdata

from pdlib.errors import DataError, ModelError, ParameterError
from pdlib.evaluate import mean_band
from pdlib.networks import initial_weights, keras, logit_model, tf

MapArray = NDArray[np.floating]
#: Pictures (n, height, width, 3) to logits (n, classes).
Predictor = Callable[[NDArray[np.float32]], NDArray]
#: Model, pictures and classes to maps: an array, or an object that holds it as ``maps``.
Explain = Callable[[object, NDArray, NDArray], object]

#: Side of the grid that all maps are pooled to: Grad-CAM's on MobileNetV2 at 224 pixels, the coarsest method's.
GRID = 7
#: Steps of the curves. Not the grid's side nor twice it: maps of spectrograms rank row by row, and a step of
#: one row samples such a curve at like places only. Seen: mean areas off by up to 0.07 with 7 steps and 0.02
#: with 10, of a difference of 0.3 between methods.
STEPS = 10
#: Differences below this share of a map's largest absolute value are rounding, not opinion.
TIE = 1e-6
OUTPUTS = ("logit", "log_odds", "probability")
#: Luminance of red, green and blue (ITU-R BT.601).
LUMINANCE = np.array([0.299, 0.587, 0.114])


# --- one grid for all maps --------------------------------------------------------------------------------
def pool(maps: MapArray, grid: int) -> NDArray[np.float64]:
    """Mean of each map in ``grid`` × ``grid`` equal cells: the common coarseness at which maps are compared.

    A pixel that a border cuts belongs to both cells in proportion to its area, so the mean of a map is kept
    for every size.

    Parameters
    ----------
    maps : array, shape (n, height, width)
    grid : int
        Cells per side, at most the shorter side of the maps.

    Returns
    -------
    float64 array, shape (n, grid, grid)

    Raises
    ------
    ParameterError
        When ``grid`` does not fit the maps.
    DataError
        When the maps have another shape or a value that is not finite.
    """
    maps = _checked_maps(maps)
    height, width = maps.shape[1:]
    _check_grid(grid, height, width)
    return (_overlap(height, grid) / height) @ maps @ (_overlap(width, grid) / width).T


def spread(pooled: MapArray, height: int, width: int) -> NDArray[np.float64]:
    """Draw cells (n, grid, grid) as pictures (n, height, width); the mean is kept, as in `pool`.

    No smoothing: a pixel has the value of its cell, or where a border cuts it the mean by area.
    """
    pooled = _checked_maps(pooled)
    grid = pooled.shape[1]
    _check_grid(grid, height, width)
    return (_overlap(height, grid) / grid).T @ pooled @ (_overlap(width, grid) / grid)


# --- deletion and insertion -------------------------------------------------------------------------------
@dataclass(frozen=True)
class Curves:
    """Output of the explained class while cells of the pictures are replaced or brought back.

    Attributes
    ----------
    shares : float64 array, shape (steps + 1,)
        Share of the cells replaced (deletion) or brought back (insertion), from 0 to 1.
    values : float64 array, shape (n, steps + 1)
        The output, in the units of the ``output`` asked for.
    """

    shares: NDArray[np.float64]
    values: NDArray[np.float64]

    @property
    def areas(self) -> NDArray[np.float64]:
        """Area under each curve by the trapezoid rule, shape (n,): the mean output on the way."""
        return np.trapezoid(self.values, self.shares, axis=1)


def compiled(model: keras.Model) -> Predictor:
    """The logits of ``model`` as a compiled function of pictures; for several scores of one model.

    Raises
    ------
    ModelError
        When the model has no linear layer ``logits``.
    """
    logits = logit_model(model)
    pictures = tf.TensorSpec((None, *model.inputs[0].shape[1:]), tf.float32)
    run = tf.function(lambda x: logits(x, training=False), input_signature=(pictures,))
    return lambda x: run(x).numpy()


def deletion(
    model: keras.Model | Predictor,
    pictures: NDArray,
    classes: ArrayLike,
    maps: Mapping[str, MapArray],
    *,
    baseline: NDArray,
    grid: int = GRID,
    steps: int = STEPS,
    output: str = "logit",
    seed: int = 0,
    batch_size: int = 64,
) -> dict[str, Curves]:
    """Replace the cells of each picture by the baseline, the cell its map ranks highest first (RISE).

    The better a map, the sooner the output falls: a **small** area is good. All maps are pooled to one grid,
    because a sharp map would otherwise lose to the same map blurred. Equal cells go in an order drawn from
    ``seed``, one order per picture for all maps. So a map that is the same everywhere, a dead one too, gets a
    random order, and differences between methods hold no luck of the draw but theirs.

    Parameters
    ----------
    model : keras.Model or function
        A network with a linear layer ``logits``, or what `compiled` made of it.
    pictures : array, shape (n, height, width, 3)
        In the scale the network expects.
    classes : int array, shape (n,)
        The explained class of each picture.
    maps : mapping of str to array, shape (n, any height, any width)
        The maps of each method, controls among them. Cells are ranked by their signed values.
    baseline : array, shape (height, width, 3) or (n, height, width, 3)
        What a replaced cell shows: black where 0 means silence, white paper, a blurred picture, the mean.
    grid, steps : int
        Cells per side; steps from none to all of the cells, equal up to rounding, from 2 to ``grid``².
    output : {"logit", "log_odds", "probability"}
        Of the explained class. The logit is what the maps explain. The log odds against the other classes are
        blind to what moves all logits alike, as is the decision. The probability is the customary one, but it
        saturates: between 0.999 and 0.99999 lies evidence that it does not show.
    seed : int
        Draws the order of equal cells.
    batch_size : int
        Pictures at a time; bounds the memory and changes nothing beyond rounding.

    Returns
    -------
    dict of str to Curves
        Curves as measured. They are not scaled to run from 1 to 0: the divisor, picture minus baseline, may
        be nearly 0 or negative. Areas are for comparing methods on the same pictures, model and baseline.

    Raises
    ------
    ModelError
        When the model, the pictures and the classes do not fit each other.
    DataError
        When maps or baseline do not fit the pictures.
    ParameterError
        When a setting is out of range.

    Notes
    -----
    Cost in forward passes: at most methods × n × (steps − 1) + 2·n, a state that several maps share being
    computed once, and a baseline common to all pictures once for all.

    References
    ----------
    Petsiuk et al. 2018, BMVC: RISE, randomized input sampling for explanation of black-box models.
    """
    kept_while = np.greater_equal
    return _curves(
        model, pictures, classes, maps, baseline, grid, steps, output, seed, batch_size, kept_while
    )


def insertion(
    model: keras.Model | Predictor,
    pictures: NDArray,
    classes: ArrayLike,
    maps: Mapping[str, MapArray],
    *,
    baseline: NDArray,
    grid: int = GRID,
    steps: int = STEPS,
    output: str = "logit",
    seed: int = 0,
    batch_size: int = 64,
) -> dict[str, Curves]:
    """Start from the baseline and bring the cells of each picture back, the highest first (RISE).

    The better a map, the sooner the output rises: a **large** area is good. Everything else is as in `deletion`.
    """
    kept_while = np.less
    return _curves(
        model, pictures, classes, maps, baseline, grid, steps, output, seed, batch_size, kept_while
    )


# --- controls ---------------------------------------------------------------------------------------------
def controls(
    pictures: NDArray, baseline: NDArray, *, seed: int, grid: int = GRID
) -> dict[str, NDArray[np.float64]]:
    """Maps that know nothing of any network: what a method has to beat before it is worth a look.

    Returns
    -------
    dict of str to float64 array, shape (n, height, width)
        ``random``, ``blurred random``, ``edges`` and ``picture``; see `random_maps`, `blurred_random_maps`,
        `edge_maps` and `picture_maps`.
    """
    pictures = _checked_pictures(pictures)
    shape = pictures.shape[:3]
    return {
        "random": random_maps(*shape, grid, seed),
        "blurred random": blurred_random_maps(*shape, grid, seed),
        "edges": edge_maps(pictures),
        "picture": picture_maps(pictures, baseline),
    }


def random_maps(n: int, height: int, width: int, grid: int, seed: int) -> NDArray[np.float64]:
    """Maps of shape (n, height, width), each cell of the grid drawn on its own, uniform in [0, 1)."""
    return spread(np.random.default_rng([seed, 1]).random((n, grid, grid)), height, width)


def blurred_random_maps(n: int, height: int, width: int, grid: int, seed: int) -> NDArray[np.float64]:
    """Random maps as smooth as a Grad-CAM, shape (n, height, width), each from 0 to 1.

    White noise per pixel behind a Gaussian whose standard deviation is one cell of the grid; values one cell
    apart then correlate by exp(−1/4) = 0.78.
    """
    _check_grid(grid, height, width)
    noise = np.random.default_rng([seed, 2]).standard_normal((n, height, width))
    smooth = gaussian_filter(noise, (0, height / grid, width / grid))
    low, high = smooth.min(axis=(1, 2), keepdims=True), smooth.max(axis=(1, 2), keepdims=True)
    return (smooth - low) / (high - low)


def edge_maps(pictures: NDArray) -> NDArray[np.float64]:
    """Edge strength: length of the Sobel gradient of the luminance, shape (n, height, width)."""
    grey = _checked_pictures(pictures) @ LUMINANCE
    # scipy.ndimage.sobel would smooth along the pictures as well
    slopes = [
        correlate1d(
            correlate1d(grey, [-1, 0, 1], axis=along, mode="nearest"), [1, 2, 1], axis=across, mode="nearest"
        )
        for along, across in ((1, 2), (2, 1))
    ]
    return np.hypot(*slopes)


def picture_maps(pictures: NDArray, baseline: NDArray) -> NDArray[np.float64]:
    """The picture itself: its distance from the baseline, summed over the channels, (n, height, width)."""
    pictures = _checked_pictures(pictures)
    return np.abs(pictures.astype(float) - _checked_baseline(baseline, pictures)).sum(axis=-1)


# --- agreement between maps -------------------------------------------------------------------------------
def rank_correlation(first: MapArray, second: MapArray) -> NDArray[np.float64]:
    """Spearman's correlation of each pair of maps over their places, ties at their mean rank; shape (n,).

    NaN where one of the two maps is the same everywhere (within `TIE`): it ranks nothing.

    Parameters
    ----------
    first, second : array, shape (n, height, width)
        In equal order of pictures. Maps of different methods are better pooled first (`pool`).
    """
    first, second = _checked_maps(first), _checked_maps(second)
    _check_same_shape(first, second)
    ranks = [rankdata(a.reshape(len(a), -1), axis=1) for a in (first, second)]
    a, b = (each - each.mean(axis=1, keepdims=True) for each in ranks)
    defined = ~(_constant(first) | _constant(second))
    lengths = np.where(defined, np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1)), np.nan)
    return (a * b).sum(axis=1) / lengths


@dataclass(frozen=True)
class Agreement:
    """Rank correlations between the maps of several methods.

    Attributes
    ----------
    per_picture : pandas.DataFrame
        A row per picture, a column per pair of methods, as (first, second) in the order they were given; a
        method with itself is 1, or NaN for a constant map.
    """

    per_picture: pd.DataFrame

    def median(self) -> pd.DataFrame:
        """Median over the pictures in which both maps say something, methods × methods."""
        medians = self.per_picture.median()
        names = list(dict.fromkeys(self.per_picture.columns.get_level_values(0)))
        table = pd.DataFrame(np.nan, index=names, columns=names)
        for (first, second), value in medians.items():
            table.loc[first, second] = table.loc[second, first] = value
        return table


def agreement(maps: Mapping[str, MapArray], *, grid: int | None = None) -> Agreement:
    """Rank correlation of every pair of methods in every picture, pooled to ``grid`` first if given."""
    _check_any(maps)
    at_hand = {name: _pooled(each, grid) for name, each in maps.items()}
    pairs = list(combinations_with_replacement(at_hand, 2))
    columns = pd.MultiIndex.from_tuples(pairs, names=["first", "second"])
    found = [rank_correlation(at_hand[first], at_hand[second]) for first, second in pairs]
    return Agreement(pd.DataFrame(np.column_stack(found), columns=columns))


# --- randomisation ----------------------------------------------------------------------------------------
class Similarity(NamedTuple):
    """Rank correlation of maps before and after a change; arrays of shape (..., n).

    Attributes
    ----------
    signed : float64 array
        Of the maps.
    absolute : float64 array
        Of their absolute values. A map of an edge detector in disguise may turn its signs and stay in place:
        the signed correlation is then about 0 and this one high.
    """

    signed: NDArray[np.float64]
    absolute: NDArray[np.float64]


class Randomisation(NamedTuple):
    """What is left of the maps when the weights are drawn anew.

    Attributes
    ----------
    stages : tuple of str
        The lowest layer that is drawn anew at each stage. Keras numbers layers without a name of their own by
        what was built before them in the process, so a page shows ``layers``.
    layers : tuple of int
        Layers with weights that are drawn anew at each stage.
    similarity : Similarity
        With the maps of the model as given, shape (stages, n).
    """

    stages: tuple[str, ...]
    layers: tuple[int, ...]
    similarity: Similarity


def similarity(first: MapArray, second: MapArray, *, grid: int | None = None) -> Similarity:
    """`rank_correlation` of the maps and of their absolute values, pooled to ``grid`` first if given.

    For label randomisation (Adebayo et al. 2018) give the maps of two networks of one design, one trained on
    the labels and one on shuffled labels.
    """
    signed = rank_correlation(_pooled(first, grid), _pooled(second, grid))
    absolute = rank_correlation(_pooled(np.abs(first), grid), _pooled(np.abs(second), grid))
    return Similarity(signed, absolute)


def compare_models(
    first: keras.Model,
    second: keras.Model,
    pictures: NDArray,
    classes: ArrayLike,
    explain: Explain,
    *,
    grid: int | None = None,
) -> Similarity:
    """`similarity` of what ``explain`` makes of two models, for the same pictures and classes."""
    maps = [_maps_of(explain, model, pictures, np.asarray(classes)) for model in (first, second)]
    return similarity(*maps, grid=grid)


def model_randomisation(
    model: keras.Model,
    pictures: NDArray,
    classes: ArrayLike,
    explain: Explain,
    *,
    seed: int,
    stages: int | Sequence[str] = 4,
    cascade: bool = True,
    grid: int | None = None,
    maps: MapArray | None = None,
) -> Randomisation:
    """Draw the weights anew from the logits down, and see whether the maps notice (Adebayo et al. 2018).

    A map that stays as it is when the network forgets what it learned does not show what it learned.

    Parameters
    ----------
    model : keras.Model
        One functional graph whose highest layer with weights is ``logits``. It is not changed.
    pictures : array, shape (n, height, width, 3)
    classes : int array, shape (n,)
        Explained before and after, whatever the changed network would say.
    explain : function (model, pictures, classes) → maps
    seed : int
        Draws the weights, by `networks.initial_weights`: the statistics of batch normalisation start anew too.
    stages : int or sequence of str
        Number of stages: the first is ``logits`` alone, the last the whole network, those between evenly
        spaced in layers. Or the lowest layer of each stage, from the top down.
    cascade : bool
        Everything above stays drawn anew from stage to stage. Without it, each stage has only its own layers
        drawn anew, those below the layer of the stage before.
    grid : int, optional
        Compare maps pooled to this grid.
    maps : array, shape (n, any height, any width), optional
        What ``explain`` gives for the model as it is, if at hand.

    Raises
    ------
    ModelError
        When the model does not end in ``logits`` or has a weight without a defined start.
    ParameterError
        When the stages do not fit the network.

    References
    ----------
    Adebayo et al. 2018, NeurIPS: Sanity checks for saliency maps.
    """
    classes = np.asarray(classes)
    groups = _stages(model, stages)
    before = _maps_of(explain, model, pictures, classes) if maps is None else maps
    twin = keras.models.clone_model(model)
    given, drawn = model.get_weights(), initial_weights(model, seed)
    place = {id(weight): k for k, weight in enumerate(model.weights)}
    twin.set_weights(given)
    found = []
    for group in groups.values():
        if not cascade:
            twin.set_weights(given)
        for layer in group:
            fresh = [drawn[place[id(weight)]] for weight in layer.weights]
            twin.get_layer(layer.name).set_weights(fresh)
        found.append(similarity(before, _maps_of(explain, twin, pictures, classes), grid=grid))
    sizes = [len(group) for group in groups.values()]
    counts = tuple(np.cumsum(sizes).tolist() if cascade else sizes)
    both = Similarity(*(np.stack(each) for each in zip(*found, strict=True)))
    return Randomisation(tuple(groups), counts, both)


# --- stability, sparseness --------------------------------------------------------------------------------
def max_sensitivity(
    model: keras.Model,
    pictures: NDArray,
    classes: ArrayLike,
    explain: Explain,
    *,
    radius: float,
    samples: int = 5,
    seed: int = 0,
    grid: int | None = None,
    maps: MapArray | None = None,
) -> NDArray[np.float64]:
    """Largest relative change of each map under small noise on its picture, shape (n,); 0 is steady.

    max over draws of ‖Φ(x + ε) − Φ(x)‖ / ‖Φ(x)‖, Euclidean, with ε uniform in ±``radius`` for each value of
    the picture; values are kept within 0 to 255. NaN for a map that is zero everywhere. A maximum grows with
    the number of draws: compare at equal ``samples``. Equal seeds give all methods the same noise.

    Parameters
    ----------
    model : keras.Model
        Handed to ``explain`` as it is.
    pictures : array, shape (n, height, width, 3)
        RGB, 0 to 255.
    classes : int array, shape (n,)
    explain : function (model, pictures, classes) → maps
    radius : float
        In levels of 0 to 255.
    samples : int
        Draws; each costs one explanation per picture.
    grid : int, optional
        Measure on maps pooled to this grid.
    maps : array, shape (n, any height, any width), optional
        What ``explain`` gives for the pictures as they are, if at hand.

    References
    ----------
    Yeh et al. 2019, NeurIPS: On the (in)fidelity and sensitivity of explanations.
    """
    _check_whole("samples", samples, 1)
    if not np.isfinite(radius) or radius <= 0:
        raise ParameterError(f"radius = {radius!r} is not valid", "give a number of levels above 0")
    pictures, classes = _checked_pictures(pictures).astype(np.float32), np.asarray(classes)
    before = _pooled(_maps_of(explain, model, pictures, classes) if maps is None else maps, grid)
    norms = np.sqrt((before**2).sum(axis=(1, 2)))
    rng = np.random.default_rng(seed)
    largest = np.zeros(len(pictures))
    for _ in range(samples):
        noise = rng.uniform(-radius, radius, pictures.shape).astype(np.float32)
        after = _pooled(_maps_of(explain, model, np.clip(pictures + noise, 0, 255), classes), grid)
        _check_same_shape(before, after)
        largest = np.maximum(largest, np.sqrt(((after - before) ** 2).sum(axis=(1, 2))))
    return largest / np.where(norms > 0, norms, np.nan)


def sparseness(maps: MapArray) -> NDArray[np.float64]:
    """Gini index of each map's absolute values, shape (n,): 0 where all are equal, 1 − 1/pixels for one alone.

    NaN for a map that is zero everywhere. It rises with the number of pixels and falls with blur: pool maps
    of different methods first.

    References
    ----------
    Chalasani et al. 2020, ICML: Concise explanations of neural networks using adversarial training.
    Hurley & Rickard 2009, IEEE Trans. Inf. Theory: Comparing measures of sparsity.
    """
    maps = _checked_maps(maps)
    ordered = np.sort(np.abs(maps.reshape(len(maps), -1)), axis=1)
    size, total = ordered.shape[1], ordered.sum(axis=1)
    places = (size - np.arange(1, size + 1) + 0.5) / size
    return 1 - 2 * (ordered @ places) / np.where(total > 0, total, np.nan)


# --- planted truth ----------------------------------------------------------------------------------------
class Localisation(NamedTuple):
    """How well maps find a known region.

    Attributes
    ----------
    score : float64 array, shape (n,)
        Share from 0 to 1 found inside the region.
    chance : float64 array, shape (n,)
        What a map that is the same everywhere scores: the region's share of the picture.
    """

    score: NDArray[np.float64]
    chance: NDArray[np.float64]


def pointing_game(maps: MapArray, masks: NDArray, *, grid: int | None = None) -> Localisation:
    """Whether the maximum of each map lies in the region (Zhang et al. 2018); of several, their share inside.

    Parameters
    ----------
    maps : array, shape (n, height, width)
        Only the positive part counts: what speaks for the class. A map without one has its maximum
        everywhere, and scores as chance does.
    masks : array, shape (height, width) or (n, height, width)
        True or 1 inside the region; shares from 0 to 1 where it covers a pixel in part.
    grid : int, optional
        Pool maps and masks to this grid first; a cell then counts by the share of it inside.

    Raises
    ------
    DataError
        When the masks do not fit the maps, or one holds nothing or everything.

    References
    ----------
    Zhang et al. 2018, IJCV: Top-down neural attention by excitation backprop.
    """
    positive, inside = _positive_and_inside(maps, masks, grid)
    peaks = positive.max(axis=(1, 2), keepdims=True)
    return _weighed(positive >= peaks * (1 - TIE), inside)


def mass_accuracy(maps: MapArray, masks: NDArray, *, grid: int | None = None) -> Localisation:
    """Share of each map's positive mass that lies in the region (Arras et al. 2022).

    Parameters and errors as in `pointing_game`; a map without a positive part scores as chance does, the mass
    of a map that prefers nothing.

    References
    ----------
    Arras et al. 2022, Information Fusion: CLEVR-XAI, relevance mass accuracy.
    """
    positive, inside = _positive_and_inside(maps, masks, grid)
    nothing = positive.max(axis=(1, 2), keepdims=True) <= 0
    return _weighed(np.where(nothing, 1.0, positive), inside)


# --- intervals over pictures ------------------------------------------------------------------------------
class Estimate(NamedTuple):
    """A mean over pictures with its 95 % percentile bootstrap interval.

    Attributes
    ----------
    value, low, high : float
        ``low`` and ``high`` are NaN with fewer than two pictures.
    pictures : int
        Pictures in which the score exists.
    """

    value: float
    low: float
    high: float
    pictures: int


def with_interval(scores: ArrayLike, n_boot: int = 2000, seed: int = 0) -> Estimate:
    """Mean of the scores (n,) that exist, with its interval over pictures (`evaluate.mean_band`)."""
    scores = np.asarray(scores, dtype=float)
    if scores.ndim != 1 or np.isinf(scores).any():
        raise DataError(f"scores of shape {scores.shape} are no row of numbers", "give one score per picture")
    scores = scores[~np.isnan(scores)]
    if scores.size < 2:
        return Estimate(float(scores.mean()) if scores.size else np.nan, np.nan, np.nan, scores.size)
    value, low, high = (float(each[0]) for each in mean_band(scores[:, np.newaxis], n_boot, seed))
    return Estimate(value, low, high, scores.size)


def paired(first: ArrayLike, second: ArrayLike, n_boot: int = 2000, seed: int = 0) -> Estimate:
    """Mean of ``first`` − ``second`` over the pictures in which both exist, with its interval."""
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    _check_same_shape(first, second)
    return with_interval(first - second, n_boot, seed)


# --- inside -----------------------------------------------------------------------------------------------
def _overlap(pixels: int, grid: int) -> NDArray[np.float64]:
    """Length that each cell shares with each pixel, (grid, pixels), in units of 1/grid pixel: whole numbers."""
    cells, places = np.arange(grid)[:, np.newaxis] * pixels, np.arange(pixels) * grid
    shared = np.minimum(cells + pixels, places + grid) - np.maximum(cells, places)
    return np.maximum(shared, 0).astype(float)


def _curves(
    model: keras.Model | Predictor,
    pictures: NDArray,
    classes: ArrayLike,
    maps: Mapping[str, MapArray],
    baseline: NDArray,
    grid: int,
    steps: int,
    output: str,
    seed: int,
    batch_size: int,
    kept_while: Callable[[NDArray, NDArray], NDArray],
) -> dict[str, Curves]:
    pictures = _checked_pictures(pictures)
    height, width = pictures.shape[1:3]
    _check_grid(grid, height, width)
    _check_whole("batch_size", batch_size, 1)
    _check_whole("steps", steps, 2)
    if steps > grid**2:
        raise ParameterError(f"{steps} steps for {grid**2} cells", "give at most one step per cell")
    if output not in OUTPUTS:
        raise ParameterError(f"output = {output!r} is unknown", f"use one of {', '.join(OUTPUTS)}")
    classes, shown = _checked_classes(classes, len(pictures)), _checked_baseline(baseline, pictures)
    ranks = _ranks(maps, len(pictures), grid, seed)
    counts = np.rint(np.linspace(0, grid**2, steps + 1)).astype(int)
    # methods × pictures × states × cells: True where the picture is seen
    kept = kept_while(ranks[:, :, np.newaxis], counts[:, np.newaxis])
    states = np.empty((*kept.shape[:3], 1 + grid**2), dtype=np.int32)
    states[..., 0] = np.arange(len(pictures))[:, np.newaxis]
    states[..., 1:] = kept
    if np.ndim(baseline) == 3:
        states[~kept.any(axis=-1), 0] = 0  # nothing is seen of any picture: one state for all
    distinct, where = np.unique(states.reshape(-1, states.shape[-1]), axis=0, return_inverse=True)
    predict = compiled(model) if isinstance(model, keras.Model) else model
    logits = []
    for start in range(0, len(distinct), batch_size):
        rows, cells = np.split(distinct[start : start + batch_size], [1], axis=1)
        seen = spread(cells.reshape(-1, grid, grid), height, width)[..., np.newaxis].astype(np.float32)
        rows = rows[:, 0]
        x = pictures[rows].astype(np.float32) * seen + shown[rows].astype(np.float32) * (1 - seen)
        logits.append(np.asarray(predict(x), dtype=float))
    values = np.concatenate(logits)[where].reshape(*kept.shape[:3], -1)
    if classes.max() >= values.shape[-1] or not np.isfinite(values).all():
        raise ModelError(
            f"{values.shape[-1]} logits do not hold a finite one for each class up to {classes.max()}",
            "explain a class that the network has, and check its weights",
        )
    explained = _output(values, classes, output)
    return {name: Curves(counts / grid**2, one) for name, one in zip(maps, explained, strict=True)}


def _ranks(maps: Mapping[str, MapArray], n: int, grid: int, seed: int) -> NDArray[np.int64]:
    """Place of each cell in the order of each map, highest first, (methods, n, cells); ties by lot."""
    _check_any(maps)
    lots = np.random.default_rng([seed, 0]).random((n, grid**2))
    ranks = []
    for name, each in maps.items():
        cells = pool(each, grid).reshape(len(each), -1)
        if len(cells) != n:
            raise DataError(f"{len(cells)} maps of {name} for {n} pictures", "give one map per picture")
        largest = np.abs(cells).max(axis=1, keepdims=True)
        levels = np.rint(cells / np.where(largest > 0, largest * TIE, 1))
        ranks.append(np.argsort(np.lexsort((lots, -levels), axis=1), axis=1))
    return np.stack(ranks)


def _output(logits: NDArray, classes: NDArray, output: str) -> NDArray[np.float64]:
    """Output of each picture's class: (methods, n, states, classes) → (methods, n, states)."""
    own = classes[np.newaxis, :, np.newaxis, np.newaxis]
    score = np.take_along_axis(logits, own, axis=-1)[..., 0]
    if output == "logit":
        return score
    others = np.where(np.arange(logits.shape[-1]) == own, -np.inf, logits)
    log_odds = score - logsumexp(others, axis=-1)
    return log_odds if output == "log_odds" else expit(log_odds)


def _maps_of(explain: Explain, model: keras.Model, pictures: NDArray, classes: NDArray) -> NDArray:
    found = explain(model, pictures, classes)
    return np.array(getattr(found, "maps", found))


def _stages(model: keras.Model, stages: int | Sequence[str]) -> dict[str, list[keras.Layer]]:
    """Layers that each stage adds, named by the lowest of them, from the logits down."""
    layers = [layer for layer in reversed(model.layers) if layer.weights]
    names = [layer.name for layer in layers]
    if not names or names[0] != "logits":
        raise ModelError(
            f"the highest layer with weights of network {model.name} is {names[0] if names else 'missing'}",
            "give a network that ends in a Dense layer named logits, with or without softmax",
        )
    if isinstance(stages, Sequence) and not isinstance(stages, str):
        unknown = [name for name in stages if name not in names]
        if unknown or not stages:
            raise ParameterError(f"stages {list(stages)} name no layer with weights", f"use {names}")
        ends = [names.index(name) for name in stages]
        if any(a >= b for a, b in zip(ends, ends[1:], strict=False)):
            raise ParameterError(f"stages {list(stages)} do not go down", f"order them as in {names}")
    else:
        _check_whole("stages", stages, 2)
        if stages > len(names):
            raise ParameterError(
                f"{stages} stages for {len(names)} layers with weights", "give at most one stage per layer"
            )
        ends = np.rint(np.linspace(0, len(names) - 1, stages)).astype(int).tolist()
    starts = [0, *(end + 1 for end in ends[:-1])]
    return {names[end]: layers[start : end + 1] for start, end in zip(starts, ends, strict=True)}


def _positive_and_inside(maps: MapArray, masks: NDArray, grid: int | None) -> tuple[NDArray, NDArray]:
    maps, masks = _checked_maps(maps), np.asarray(masks, dtype=float)
    if masks.shape not in (maps.shape, maps.shape[1:]):
        raise DataError(
            f"masks of shape {masks.shape} for maps of shape {maps.shape}",
            "give one mask for all maps, or one each",
        )
    inside = np.broadcast_to(masks, maps.shape)
    share = inside.mean(axis=(1, 2))
    if not (masks.min() >= 0 and masks.max() <= 1 and share.min() > 0 and share.max() < 1):
        raise DataError(
            "a mask has nothing or everything inside, or values that are no shares",
            "give 1 inside the region and 0 outside",
        )
    return np.maximum(_pooled(maps, grid), 0), _pooled(inside, grid)


def _weighed(weights: NDArray, inside: NDArray) -> Localisation:
    score = (weights * inside).sum(axis=(1, 2)) / weights.sum(axis=(1, 2))
    return Localisation(score, inside.mean(axis=(1, 2)))


def _pooled(maps: MapArray, grid: int | None) -> NDArray[np.float64]:
    return _checked_maps(maps) if grid is None else pool(maps, grid)


def _constant(maps: NDArray) -> NDArray[np.bool_]:
    return np.ptp(maps, axis=(1, 2)) <= TIE * np.abs(maps).max(axis=(1, 2))


def _checked_maps(maps: MapArray) -> NDArray[np.float64]:
    found = np.asarray(maps, dtype=float)
    if found.ndim != 3 or found.size == 0 or not np.isfinite(found).all():
        raise DataError(
            f"maps of shape {found.shape} are no finite maps",
            "give an array of shape (n, height, width) without NaN and infinities",
        )
    return found


def _checked_pictures(pictures: NDArray) -> NDArray:
    found = np.asarray(pictures)
    fits = found.ndim == 4 and found.shape[-1] == 3 and found.size and found.dtype.kind in "uif"
    if not fits or not np.isfinite(found).all():
        raise ModelError(
            f"pictures of type {found.dtype} and shape {found.shape} are no finite RGB pictures",
            "give at least one, as an array of shape (n, height, width, 3)",
        )
    return found


def _checked_baseline(baseline: NDArray, pictures: NDArray) -> NDArray:
    found = np.asarray(baseline)
    if found.shape not in (pictures.shape, pictures.shape[1:]) or not np.isfinite(found).all():
        raise DataError(
            f"a baseline of shape {found.shape} does not fit pictures of shape {pictures.shape}",
            "give one baseline for all pictures, or one each, with finite values",
        )
    return np.broadcast_to(found, pictures.shape)


def _checked_classes(classes: ArrayLike, n: int) -> NDArray[np.int64]:
    found = np.asarray(classes)
    if found.shape != (n,) or found.dtype.kind not in "iub" or found.min() < 0:
        raise ModelError(
            f"classes of type {found.dtype} and shape {found.shape} do not fit {n} pictures",
            "give one whole number from 0 upwards per picture",
        )
    return found.astype(np.int64)


def _check_any(maps: Mapping[str, MapArray]) -> None:
    if not isinstance(maps, Mapping) or not maps:
        raise ParameterError("no maps by name", "give a mapping such as {'grad_cam': maps}")


def _check_same_shape(first: NDArray, second: NDArray) -> None:
    if first.shape != second.shape:
        raise DataError(
            f"arrays of shapes {first.shape} and {second.shape} do not match",
            "give values of the same pictures, in the same order and size",
        )


def _check_grid(grid: int, height: int, width: int) -> None:
    _check_whole("grid", grid, 1)
    if grid > min(height, width):
        raise ParameterError(
            f"a grid of {grid} is finer than {height} × {width} pixels", "give fewer cells per side"
        )


def _check_whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ParameterError(f"{name} = {value!r} is not valid", f"give a whole number, at least {least}")
