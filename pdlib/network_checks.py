"""Checks of printed statements that take a network: its cost, its pictures, and the lines of Algorithm 2.

TensorFlow is imported inside the functions that build something, so that importing this module costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from pdlib.networks import keras

SEPARABLE = ((64, 128), (128, 128), (244, 244), (728, 728))  # channels in and out, pp. 26 and 28
ALGORITHM_2 = "img = preprocessing.image(imagePath, target_size=(244, 244))"  # p. 27, the first line
ALGORITHM_2_GIVEN = {
    "model": None,
    "img_arr": None,
    "layerName": "",
    "index": 0,
    "size": (244, 244),
}  # its arguments
FIRST_FILTERS = 32  # 3×3 filters of the first layer, p. 25


# --- what the network costs (pp. 24–26) -------------------------------------------------------------------
def multiplications(layers: Iterable[keras.Layer]) -> int:
    """Multiply–adds of the convolutions and dense layers among ``layers`` for one picture."""
    total = 0
    for layer in layers:
        kind = type(layer).__name__
        if kind not in ("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Dense"):
            continue
        cells = int(np.prod(layer.output.shape[1:-1]))  # 1 for a dense layer
        total += cells * sum(int(np.prod(w.shape)) for w in layer.weights if w.name != "bias")
    return total


def network_cost() -> pd.DataFrame:
    """Weights and multiply–adds per picture of the printed network (pp. 24–28) and of Xception, two classes each.

    "as printed" leaves out the layers that this book had to add (chapter 8), which favours the paper.
    """
    from pdlib import networks

    rows = []
    for version, side in networks.PRINTED_SIZE.items():
        shape = {"input_shape": (side, side, 3), "classes": 2}
        xception = _shapes_of(partial(networks.keras.applications.Xception, weights=None, **shape))
        weights, theirs = xception.count_params(), multiplications(xception.layers)
        for blocks in (1, 8):
            model = _shapes_of(networks.CustNetConfig(side, 1.0, middle_blocks=blocks, version=version).build)
            cost = multiplications(_printed_layers(model))
            rows.append({
                "version": version, "side (px)": side, "middle blocks": blocks, "weights": model.count_params(),
                "Xception's weights": weights, "multiply–adds as printed": cost,
                "repaired": multiplications(model.layers), "Xception's": theirs,
                "as printed over Xception": cost / theirs,
            })  # fmt: skip
        networks.free()
    return pd.DataFrame(rows)


def separable() -> pd.DataFrame:
    """Weights of the printed 3×3 separable convolutions (pp. 24–26) and of ordinary ones; multiply–adds go along."""
    return pd.DataFrame([
        {"channels": f"{inwards} → {outwards}", "separable": apart, "ordinary": whole, "times fewer": whole / apart}
        for inwards, outwards in SEPARABLE
        for apart, whole in [(9 * inwards + inwards * outwards, 9 * inwards * outwards)]
    ])  # fmt: skip


def alpha_weights() -> int:
    """Weights that a fourth input channel, alpha (p. 25), would add: 3·3 for each filter of the first layer."""
    return 3 * 3 * FIRST_FILTERS


def xception_size() -> dict[str, int]:
    """Side of Xception's input and its layers in a row (p. 24), the halves of a separable convolution apart.

    ``beside`` counts the 1×1 convolutions on its residual paths, which are not in the row.
    """
    from pdlib import networks

    model = _shapes_of(partial(networks.keras.applications.Xception, weights=None))
    kinds = [type(layer).__name__ for layer in model.layers]
    beside = sum(type(layer).__name__ == "Conv2D" and layer.kernel_size == (1, 1) for layer in model.layers)
    separate = kinds.count("SeparableConv2D")
    depth = 2 * separate + kinds.count("Conv2D") - beside + kinds.count("Dense")
    side = model.input_shape[1]
    networks.free()
    return {"side": side, "layers": depth, "separable": separate, "beside": beside}


# --- the pictures it takes (pp. 19–20) --------------------------------------------------------------------
def last_filters() -> pd.DataFrame:
    """Equation 17 (p. 20) to the letter: the filters of the last convolutional layer laid over the input picture."""
    from pdlib import networks

    model = _shapes_of(networks.CustNetConfig(networks.PRINTED_SIZE["text"], 1.0).build)
    kernel = next(
        layer.kernel.shape for layer in reversed(_printed_layers(model)) if type(layer).__name__ == "Conv2D"
    )
    picture = model.input_shape[1:]
    try:
        networks.keras.ops.conv(np.zeros((1, *picture), np.float32), np.zeros(kernel, np.float32))
        said = "it runs"
    except Exception as error:  # which one depends on the backend; that it is one is the finding
        said = f"cannot be applied ({type(error).__name__})"
    networks.free()
    return pd.DataFrame([{"picture": _by(picture), "channels of the picture": picture[-1], "last filters": _by(kernel),
                          "channels they need": kernel[2], "outcome": said}])  # fmt: skip


def rectangle(shapes: tuple[tuple[int, int, int], ...] = ((64, 64, 3), (48, 96, 3))) -> pd.DataFrame:
    """Must the picture be square (p. 19)? One small network of this kind on pictures of several shapes."""
    from pdlib.networks import keras, layers

    rows = []
    for shape in shapes:
        x = picture = keras.Input(shape)
        for filters in (8, 16):
            x = layers.Conv2D(filters, 3, strides=2, padding="same")(x)
        answer = layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling2D()(x))
        model = keras.Model(picture, answer)
        rows.append({"picture": _by(shape), "weights": model.count_params(), "classes out": answer.shape[-1]})
    return pd.DataFrame(rows)


# --- Algorithm 2 (p. 27) ----------------------------------------------------------------------------------
def algorithm_2() -> pd.DataFrame:
    """First line of Algorithm 2 (p. 27), as far as it can be read, with ever more of the names it uses defined."""
    from pdlib.networks import keras

    known: dict[str, object] = dict(ALGORITHM_2_GIVEN)
    more = ({}, {"preprocessing": keras.preprocessing}, {"imagePath": "slope_graph.png"})
    rows = []
    for added in more:
        known |= added
        try:
            exec(ALGORITHM_2, dict(known))
            said = "it runs"
        except (NameError, TypeError) as error:
            said = f"{type(error).__name__}: {error}"
        rows.append({"names defined": ", ".join(known), "what Python says": said})
    return pd.DataFrame(rows)


# --- inside -----------------------------------------------------------------------------------------------
def _shapes_of(build: Callable[[], keras.Model]) -> keras.Model:
    """A model whose weights have shapes and no values: counting needs none, and drawing millions takes seconds."""
    from pdlib.networks import keras

    with keras.StatelessScope(initialize_variables=False):
        return build()


def _printed_layers(model: keras.Model) -> list[keras.Layer]:
    return [layer for layer in model.layers if not layer.name.startswith("repair")]


def _by(shape: Iterable[int]) -> str:
    return "×".join(map(str, shape))
