"""Class activation maps: where the last maps of a network speak for a class, through tf-keras-vis.

Grad-CAM (paper eq. 17–23, Algorithm 2), Grad-CAM++, LayerCAM and ScoreCAM. What tf-keras-vis leaves to the
caller is done here: the score is a logit and not a softmax output, a network inside a network is flattened,
one unit for two classes is refused, maps that are zero everywhere are flagged, and a map is enlarged so that
each of its cells lies over the part of the picture it belongs to.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from types import SimpleNamespace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdlib.errors import ParameterError
from pdlib.maps import Maps, Opened, check_whole, enlarge, opened
from pdlib.networks import keras, tf

#: tf-keras-vis passes a list where the network has a single input, and Keras says so at every call.
_KNOWN_WARNING = r"The structure of `inputs` doesn't match the expected structure"
#: What tf-keras-vis would do on its own and must not: look for another layer, enlarge, scale.
_AS_ASKED = {"seek_penultimate_conv_layer": False, "expand_cam": False, "normalize_cam": False}


def _camera(name: str) -> Callable:
    # loaded on use: tf-keras-vis loads scipy, matplotlib and imageio, which the rest of the book's steps do without
    from tf_keras_vis import gradcam, gradcam_plus_plus, layercam, scorecam

    return {
        "grad_cam": gradcam.Gradcam,
        "grad_cam_pp": gradcam_plus_plus.GradcamPlusPlus,
        "layer_cam": layercam.Layercam,
        "score_cam": scorecam.Scorecam,
    }[name]


def _from_gradients(
    net: Opened, method: str, layer: str, x: NDArray, classes: NDArray, batch_size: int
) -> NDArray[np.float32]:
    """Maps of Grad-CAM, Grad-CAM++ or LayerCAM at the size of the layer, shape (n, rows, columns)."""
    chosen = net.layer(layer)
    try:
        # tf-keras-vis then records the few operations behind the layer only: half the time, far less memory
        behind, before = (
            keras.Model(chosen.output, net.graph.output),
            keras.Model(net.graph.input, chosen.output),
        )
        explained, entry = _camera(method)(behind, clone=False), 0
    except ValueError:  # another path leads around the layer
        before, explained, entry = None, _camera(method)(net.graph, clone=False), chosen
    coarse = []
    for start in range(0, len(x), batch_size):
        part = slice(start, start + batch_size)
        given = x[part] if before is None else before(x[part], training=False)

        def score(outputs, wanted=classes[part]):
            values = tf.gather(outputs, wanted, axis=1, batch_dims=1)
            # Grad-CAM++ multiplies each map by exp(score), which overflows or vanishes for large scores and
            # is lost again when the map is scaled: a score of 0 with the same gradient gives the same map
            return values - tf.stop_gradient(values)

        cam = explained(score, given, penultimate_layer=entry, **_AS_ASKED)
        coarse.append(np.asarray(cam, dtype=np.float32))
    return np.concatenate(coarse)


def _from_scores(
    net: Opened,
    layer: str,
    x: NDArray,
    classes: NDArray,
    batch_size: int,
    max_channels: int | None,
) -> NDArray[np.float32]:
    """Maps of ScoreCAM at the size of the layer, shape (n, rows, columns)."""
    chosen = net.layer(layer)
    # Keras's own `predict` would print a progress bar per picture and compile anew
    quiet = SimpleNamespace(
        layers=net.graph.layers,
        inputs=net.graph.inputs,
        outputs=net.graph.outputs,
        predict=lambda pictures, batch_size: net.logits(pictures[0], batch_size),
    )
    explained = _camera("score_cam")(quiet)
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
    """The one way to tf-keras-vis: checks, maps of ``method``, enlarged and divided by their own maximum."""
    check_whole("batch_size", batch_size, 1)
    net = opened(model)
    x, wanted = net.checked(pictures, classes)
    settings: Mapping[str, object] = {"layer": layer, "output": "logits"}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_KNOWN_WARNING, category=UserWarning)
        if method == "score_cam":
            kept = options["max_channels"]
            channels = net.layer(layer).output.shape[-1]
            if kept is not None:
                check_whole("max_channels", kept, 1)
                if kept > channels:
                    raise ParameterError(
                        f"max_channels = {kept} is not valid", f"layer {layer} has {channels} channels"
                    )
            coarse = _from_scores(net, layer, x, wanted, batch_size, kept)
            settings = {"layer": layer, "output": "probabilities", "max_channels": kept}
        else:
            coarse = _from_gradients(net, method, layer, x, wanted, batch_size)
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
