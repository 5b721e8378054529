"""Class activation maps: where the last maps of a network speak for a class.

Grad-CAM (paper eq. 17–23, Algorithm 2), Grad-CAM++ and LayerCAM, whose maps are those of tf-keras-vis, and
ScoreCAM, through tf-keras-vis. What this library leaves to the caller is done here: the score is a logit and not
a softmax output, a network inside a network is flattened, one unit for two classes is refused, maps that are zero
everywhere are flagged, and a map is enlarged so that each of its cells lies over the part of the picture it
belongs to. And the three that need gradients are compiled once per network.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdlib.errors import ParameterError
from pdlib.maps import Maps, Opened, Weighing, check_whole, enlarge, opened
from pdlib.networks import keras, tf

#: tf-keras-vis passes a list where the network has a single input, and Keras says so at every call.
_KNOWN_WARNING = r"The structure of `inputs` doesn't match the expected structure"
#: What tf-keras-vis would do on its own and must not: look for another layer, enlarge, scale.
_AS_ASKED = {"seek_penultimate_conv_layer": False, "expand_cam": False, "normalize_cam": False}


def _mean_gradients(maps: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Grad-CAM: each channel weighted by the mean of its gradient."""
    weights = tf.reduce_mean(gradients, axis=(1, 2), keepdims=True)
    return tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1))


def _positive_gradients(maps: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Grad-CAM++: each channel weighted by its positive gradients, these weighted cell by cell before.

    The article differentiates Y = exp(S), whose derivatives are Y times powers of the gradient of S. Y is one
    factor of the whole map, which is divided by its maximum later; it is left out, for it overflows or vanishes
    where a score is large.
    """
    squares = gradients**2
    below = 2 * squares + gradients**3 * tf.reduce_sum(maps, axis=(1, 2), keepdims=True)
    alpha = squares / tf.where(squares == 0, tf.ones_like(below), below)
    total = tf.reduce_sum(alpha, axis=(1, 2), keepdims=True)
    alpha = alpha / tf.where(total == 0, tf.ones_like(total), total)
    weights = tf.reduce_sum(alpha * tf.nn.relu(gradients), axis=(1, 2), keepdims=True)
    return tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1))


def _own_gradients(maps: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """LayerCAM: each cell of each channel weighted by its own gradient where that is positive."""
    return tf.nn.relu(tf.reduce_sum(tf.nn.relu(gradients) * maps, axis=-1))


#: How each method that needs gradients makes its map of them.
_WEIGHINGS: Mapping[str, Weighing] = {
    "grad_cam": _mean_gradients,
    "grad_cam_pp": _positive_gradients,
    "layer_cam": _own_gradients,
}


def _from_scores(
    net: Opened,
    layer: str,
    x: NDArray,
    classes: NDArray,
    batch_size: int,
    max_channels: int | None,
) -> NDArray[np.float32]:
    """Maps of ScoreCAM at the size of the layer, shape (n, rows, columns)."""
    # loaded on use: tf-keras-vis loads scipy, matplotlib and imageio, which the rest of the book's steps do without
    from tf_keras_vis.scorecam import Scorecam

    chosen = net.layer(layer)
    # Keras's own `predict` would print a progress bar per picture and compile anew
    quiet = SimpleNamespace(
        layers=net.graph.layers,
        inputs=net.graph.inputs,
        outputs=net.graph.outputs,
        predict=lambda pictures, batch_size: net.logits(pictures[0], batch_size),
    )
    explained = Scorecam(quiet)
    coarse = []
    for picture, wanted in zip(x, classes, strict=True):
        # one at a time: the masked pictures fill the memory, and the channels kept would depend on the others
        cam = explained(
            lambda outputs, wanted=wanted: outputs[:, wanted],
            picture[np.newaxis],
            penultimate_layer=chosen,
            batch_size=batch_size,
            max_N=max_channels,
            **_AS_ASKED,
        )
        coarse.append(np.asarray(cam, dtype=np.float32))
    return np.concatenate(coarse)


def _cam(
    model: keras.Model,
    pictures: ArrayLike,
    classes: ArrayLike,
    method: str,
    layer: str,
    batch_size: int,
    **options: object,
) -> Maps:
    """The one way to all four: checks, maps of ``method``, enlarged and divided by their own maximum."""
    check_whole("batch_size", batch_size, 1)
    net = opened(model)
    x, wanted = net.checked(pictures, classes)
    settings: Mapping[str, object] = {"layer": layer, "output": "logits"}
    if method == "score_cam":
        kept = options["max_channels"]
        channels = net.layer(layer).output.shape[-1]
        if kept is not None:
            check_whole("max_channels", kept, 1)
            if kept > channels:
                raise ParameterError(
                    f"max_channels = {kept} is not valid", f"layer {layer} has {channels} channels"
                )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=_KNOWN_WARNING, category=UserWarning)
            coarse = _from_scores(net, layer, x, wanted, batch_size, kept)
        settings = {"layer": layer, "output": "probabilities", "max_channels": kept}
    else:
        chunks = [slice(start, start + batch_size) for start in range(0, len(x), batch_size)]
        coarse = np.concatenate(
            [net.weighed(layer, _WEIGHINGS[method], x[chunk], wanted[chunk]) for chunk in chunks]
        )
    enlarged = enlarge(coarse, *x.shape[1:3])
    peaks = enlarged.max(axis=(1, 2), keepdims=True)
    scaled = np.clip(enlarged / np.where(peaks > 0, peaks, 1), 0, 1)
    return net.finish(scaled, method, settings, signed=False)


def grad_cam(
    model: keras.Model,
    pictures: ArrayLike,
    classes: ArrayLike,
    *,
    layer: str = "last_conv",
    batch_size: int = 32,
) -> Maps:
    """Grad-CAM maps of the given classes (eq. 22 and 23, pp. 22–23; Algorithm 2, p. 27).

    Each channel of the layer is weighted by the mean of its gradient, the sum cut at zero.

    Parameters
    ----------
    model : keras.Model
        With a linear layer named ``logits``, one unit per class. It may hold other networks or be a Sequential.
        It is not changed.
    pictures : array, shape (n, height, width, 3)
        In the scale the network expects.
    classes : int array, shape (n,)
        The class to explain in each picture. Inside a protocol this is the *predicted* class: a map for the
        true class carries the label into the picture.
    layer : str
        The layer whose maps are weighted; it may lie in a nested network.
    batch_size : int
        Pictures at a time; bounds the memory and changes nothing else.

    Returns
    -------
    Maps
        Unsigned, each map divided by its own maximum.

    Raises
    ------
    ModelError
        When the network has no such layer, no logits or one unit for all classes, or the classes or pictures
        do not fit.
    ParameterError
        When ``batch_size`` is below 1.

    References
    ----------
    Selvaraju et al. 2017, ICCV: Grad-CAM. The gradient is taken of the class score before the softmax.
    """
    return _cam(model, pictures, classes, "grad_cam", layer, batch_size)


def grad_cam_pp(
    model: keras.Model,
    pictures: ArrayLike,
    classes: ArrayLike,
    *,
    layer: str = "last_conv",
    batch_size: int = 32,
) -> Maps:
    """Grad-CAM++ maps: Grad-CAM with positive gradients only, weighted cell by cell before they are averaged.

    Parameters, Returns, Raises as for `grad_cam`. As in the authors' program, and unlike eq. 10 and 19 of the
    article, the weights of the cells are divided by their sum over the map, channel by channel.

    References
    ----------
    Chattopadhay et al. 2018, WACV: Grad-CAM++, with exp(logit) as the function that is differentiated.
    """
    return _cam(model, pictures, classes, "grad_cam_pp", layer, batch_size)


def layer_cam(
    model: keras.Model,
    pictures: ArrayLike,
    classes: ArrayLike,
    *,
    layer: str = "last_conv",
    batch_size: int = 32,
) -> Maps:
    """LayerCAM maps: each cell of each channel is weighted by its own gradient where that is positive.

    Parameters, Returns, Raises as for `grad_cam`. Meant for layers with more cells than the last one.

    References
    ----------
    Jiang et al. 2021, IEEE Transactions on Image Processing: LayerCAM, eq. 5 and 6.
    """
    return _cam(model, pictures, classes, "layer_cam", layer, batch_size)


def score_cam(
    model: keras.Model,
    pictures: ArrayLike,
    classes: ArrayLike,
    *,
    layer: str = "last_conv",
    max_channels: int | None = None,
    batch_size: int = 32,
) -> Maps:
    """ScoreCAM maps: each channel is weighted by the class probability of the picture seen through it.

    Parameters, Returns, Raises as for `grad_cam`, and:

    Parameters
    ----------
    max_channels : int, optional
        Keep only the channels that vary most over the picture ("Faster ScoreCAM"). None keeps all: one pass
        of the network and one masked picture in memory, three times over, per channel.

    Notes
    -----
    tf-keras-vis differs from the article in three ways. A channel's weight is the class probability of the
    masked picture itself: no score of a baseline picture is taken off, and there is no softmax over the
    channels. Masks are enlarged with aligned corners. Masking multiplies, so what is masked turns black: on
    white paper that draws ink.

    References
    ----------
    Wang et al. 2020, CVPR Workshops: Score-CAM, Algorithm 1.
    """
    return _cam(model, pictures, classes, "score_cam", layer, batch_size, max_channels=max_channels)
