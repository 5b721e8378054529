"""Why a network decides as it does: Grad-CAM (Selvaraju et al. 2017; paper eq. 17–23, Algorithm 2).

The maps come from tf-keras-vis. What it leaves to the caller is done here: the score is a logit and not a
softmax output, the network must be one functional graph, maps that are zero everywhere are flagged, and a map
is enlarged so that each of its cells lies over the part of the picture it belongs to.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdlib.errors import ModelError, ParameterError
from pdlib.networks import keras, logit_model, tf

#: tf-keras-vis passes a list where the network has a single input, and Keras says so at every call.
_KNOWN_WARNING = r"The structure of `inputs` doesn't match the expected structure"


class HeatMaps(NamedTuple):
    """Grad-CAM maps of a batch.

    Attributes
    ----------
    maps : float32 array, shape (n, height, width)
        In [0, 1]: each map divided by its own maximum.
    dead : bool array, shape (n,)
        True where the map is zero everywhere: no position speaks for the class. Such a map says nothing and
        must not be read as "unimportant".
    """

    maps: NDArray[np.float32]
    dead: NDArray[np.bool_]


def _explained_model(model: keras.Model, layer: str) -> keras.Model:
    """The network cut at its logits, checked to be one that tf-keras-vis can explain at ``layer``."""
    nested = [inner.name for inner in model.layers if isinstance(inner, keras.Model)]
    if nested:
        raise ModelError(
            f"network {model.name} holds network {nested[0]} as a layer: Grad-CAM cannot see into it",
            "build the head on the backbone's output, so that both are one functional graph",
        )
    names = [inner.name for inner in model.layers]
    if layer not in names:
        raise ModelError(f"network {model.name} has no layer {layer}", f"use one of: {', '.join(names)}")
    if len(model.get_layer(layer).output.shape) != 4:
        raise ModelError(f"layer {layer} has no rows and columns", "choose a layer before the pooling")
    return logit_model(model)


def _checked_classes(classes: ArrayLike, pictures: int, outputs: int) -> NDArray[np.int64]:
    found = np.asarray(classes)
    fits = found.shape == (pictures,) and found.dtype.kind in "iub"
    if not fits or found.min() < 0 or found.max() >= outputs:
        raise ModelError(
            f"classes of type {found.dtype} and shape {found.shape} do not fit {pictures} pictures and "
            f"{outputs} classes",
            f"give one whole number from 0 to {outputs - 1} per picture",
        )
    return found.astype(np.int64)


def enlarge(maps: NDArray[np.floating], height: int, width: int) -> NDArray[np.float32]:
    """Enlarge maps (n, rows, columns) to (n, height, width), each cell over its own part of the picture.

    Bilinear, cell centres on the centres of the parts they cover. Zooming by aligned corners,
    the default of tf-keras-vis, moves the outer cells by half a cell.
    """
    column = np.asarray(maps, dtype=np.float32)[..., np.newaxis]
    return tf.image.resize(column, (height, width), method="bilinear").numpy()[..., 0]


def grad_cam(
    model: keras.Model,
    pictures: NDArray,
    classes: ArrayLike,
    layer: str = "last_conv",
    *,
    batch_size: int = 32,
) -> HeatMaps:
    """Grad-CAM maps of the given classes (eq. 22 and 23, pp. 22–23; Algorithm 2, p. 27).

    Parameters
    ----------
    model : keras.Model
        One functional graph with a linear layer named ``logits``. It is not changed.
    pictures : array, shape (n, height, width, 3)
        In the scale the network expects.
    classes : int array, shape (n,)
        The class to explain in each picture. Inside a protocol this is the *predicted* class: a map for the
        true class carries the label into the picture.
    layer : str
        The layer whose maps are weighted.
    batch_size : int
        Pictures at a time; bounds the memory and changes nothing else.

    Returns
    -------
    HeatMaps

    Raises
    ------
    ModelError
        When the network is nested, has no such layer or no logits, or the classes or pictures do not fit.
    ParameterError
        When ``batch_size`` is below 1.

    References
    ----------
    Selvaraju et al. 2017, ICCV: Grad-CAM. The gradient is taken of the class score before the softmax.
    """
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.utils.scores import CategoricalScore

    if batch_size < 1:
        raise ParameterError(f"batch_size = {batch_size!r} is not valid", "give a whole number, at least 1")
    explained = _explained_model(model, layer)
    x = np.asarray(pictures, dtype=np.float32)
    expected = tuple(explained.inputs[0].shape[1:])
    fits = x.ndim == 4 and len(x) > 0
    if not fits or any(b not in (None, a) for a, b in zip(x.shape[1:], expected, strict=True)):
        raise ModelError(
            f"pictures of shape {x.shape} do not fit network {model.name}",
            f"give at least one picture, as an array of shape (n, {', '.join(map(str, expected))})",
        )
    wanted = _checked_classes(classes, len(x), explained.outputs[0].shape[-1])
    camera = Gradcam(explained, clone=False)  # no modifier, so nothing of the network is changed
    coarse = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_KNOWN_WARNING, category=UserWarning)
        for start in range(0, len(x), batch_size):
            part = slice(start, start + batch_size)
            cam = camera(
                CategoricalScore(wanted[part].tolist()),
                x[part],
                penultimate_layer=layer,
                seek_penultimate_conv_layer=False,
                expand_cam=False,
                normalize_cam=False,
            )
            coarse.append(np.asarray(cam, dtype=np.float32))
    maps = np.concatenate(coarse)
    if not np.isfinite(maps).all():
        raise ModelError(
            f"the Grad-CAM of network {model.name} is not finite", "check the network's weights and its input"
        )
    enlarged = enlarge(maps, *x.shape[1:3])
    peaks = enlarged.max(axis=(1, 2))
    dead = peaks <= 0
    scaled = enlarged / np.where(dead, 1, peaks)[:, np.newaxis, np.newaxis]
    return HeatMaps(np.clip(scaled, 0, 1).astype(np.float32), dead)
