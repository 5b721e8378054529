"""The network as the paper prints it (pp. 24–28): what of it cannot be run, what was repaired, what had to be chosen.

`printed_faults` runs every construction. `REPAIRS` lists each change that `networks.custnet` makes,
`CHOICES` what the paper leaves open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pdlib.networks import BATCH_NORM_MOMENTUM, Repair, keras, layers

REPAIRS: tuple[Repair, ...] = (
    Repair(
        "p. 24, function header",
        "input = (244, 244) has a default value and stands before filters, which has none",
        "no default for the input",
        "Python refuses an argument without a default after one with a default; the header of Algorithm 3 "
        "(p. 28) has none, and that one is used",
    ),
    Repair(
        "p. 24 against p. 26, function name",
        "the name in the definition lacks the final e of separable (two of its letters are unreadable)",
        "defined under the name it is called by, depthwise_separable_conv",
        "p. 24 does not define the name that p. 26 calls; Algorithm 3 (p. 28) does, and that name is used",
    ),
    Repair(
        "p. 25 and p. 28, input layer",
        "Input(shape = input_shape(244, 244)), in Algorithm 3 input_shape(256, 256)",
        "Input(shape = (size, size, 3))",
        "input_shape is not a function, and a convolution needs a channel axis",
    ),
    Repair(
        "p. 25 and p. 28, removal of alpha",
        "new_R, new_G and new_B follow from R, G, B and A and are never used; the text has 4 input channels",
        "alpha is removed before the network, by laying the picture over white (pictures.remove_alpha)",
        "R, G, B and A are never taken from the input, and the formula turns every opaque pixel white",
    ),
    Repair(
        "p. 26 and p. 28, middle flow, Add of the first block",
        "Add of the residual with 64 channels and of x with 128",
        "the residual passes a 1×1 convolution to 128 channels and batch normalisation; later blocks match",
        "Add needs equal shapes",
    ),
    Repair(
        "p. 26 and p. 28, exit flow, first Add",
        "Add of the residual with 1024 channels and of x with 244 (Algorithm 3: 256)",
        "the residual passes a further 1×1 convolution to the channels of x, and batch normalisation",
        "Add needs equal shapes; the printed 1024-channel layer stays",
    ),
    Repair(
        "p. 26, exit flow, first Add",
        "Add()([residual, x] without its closing parenthesis",
        "the parenthesis is closed",
        "Python cannot read the line",
    ),
    Repair(
        "p. 26, exit flow, second Add (text only)",
        "Add of the same residual, 61×61×1024, and of x, 31×31×728",
        "the residual passes a 1×1 convolution with strides 2 to 728 channels, and batch normalisation",
        "neither the size nor the channels match",
    ),
    Repair(
        "p. 28, end of Algorithm 3",
        "the algorithm ends with a feature map",
        "global average pooling and the softmax layer of the text (p. 26) follow",
        "a feature map is no class score",
    ),
)

CHOICES: tuple[Repair, ...] = (
    Repair(
        "p. 26, middle flow",
        "num_middle_blocks has no value",
        "a parameter, 1 unless told otherwise",
        "the paper gives none; one block is the least that has a middle flow",
    ),
    Repair(
        "p. 25, pixel scale",
        "not given",
        "1 − C/255 inside the network: white paper is 0, ink up to 1",
        "the convolutions pad with 0, which then continues the white paper instead of framing it",
    ),
    Repair(
        "p. 26, output",
        "one Dense layer with softmax",
        "the same function in two layers, logits and probabilities",
        "Grad-CAM explains the score before the softmax (eq. 20)",
    ),
    Repair(
        "pp. 24–28, batch normalisation",
        "momentum not given (library default 0.99)",
        f"momentum {BATCH_NORM_MOMENTUM}",
        "an epoch here is 4 to 9 steps: after 20 epochs with 0.99 the running statistics, which inference "
        "uses, are far from the data still, and a network that learned its training set guesses on others; "
        "seen, and the value chosen, on drawn test pictures, not on recordings",
    ),
    Repair(
        "whole paper, training",
        "optimiser, loss, learning rate, epochs and batch size not given",
        "Adam, cross-entropy; the rest are parameters; the batches of an epoch are of nearly equal size",
        "a left-over picture in a batch of its own would set the batch statistics alone",
    ),
)


@dataclass(frozen=True)
class Fault:
    """A printed construction, or a reading of the text beside it, and what happened when it was run.

    Attributes
    ----------
    where, printed : str
        Page and part of the paper; the construction, in Python where the paper prints pseudo-code. It starts
        with “(reading)” where only the text says what is tried and no line of the listing does.
    error : str
        Class of the error it raised, or ``"none"`` if it ran.
    message : str
        First line of that error.
    """

    where: str
    printed: str
    error: str
    message: str

    @property
    def is_reading(self) -> bool:
        """Whether the text says it and no printed line does."""
        return self.printed.startswith(_READING)


_READING = "(reading) "
_HEADER = "def depthwise_separabl_conv(input=(244, 244), filters, kernel_size=(3, 3)): return input"
_MISSPELT = (
    "def depthwise_separabl_conv(input, filters, kernel_size): return input\n"
    "x = depthwise_separable_conv(x, 128, (3, 3))"
)
_OPEN_PARENTHESIS = "x = Add()([residual, x]\nx = depthwise_separable_conv(x, 728, (3, 3))"


# The layers have names of their own, so that the messages are the same however many layers came before.


def _printed_conv(shape: tuple[int, ...]) -> None:
    layers.Conv2D(32, (3, 3), strides=(2, 2), padding="same", name="first")(keras.Input(shape, name="input"))


def _printed_channels() -> None:
    red, green, blue, alpha = keras.Input((244, 244, 4))
    _ = red + ((255 - red) * alpha) / 255


def _printed_four_channels() -> None:
    picture = keras.Input((244, 244, 4), name="input")
    x = layers.Conv2D(32, (3, 3), strides=(2, 2), padding="same")(picture)
    keras.Model(picture, x, name="custnet")(np.zeros((1, 244, 244, 3), dtype=np.float32))


def _printed_add(first: tuple[int, int, int], second: tuple[int, int, int]) -> None:
    layers.Add()([keras.Input(first), keras.Input(second)])


def _printed_algorithm_3_loss() -> None:
    feature_map = keras.ops.zeros((1, 64, 64, 256))
    keras.losses.SparseCategoricalCrossentropy()(np.array([1]), feature_map)


def _constructions() -> tuple[tuple[str, str, Callable[[], object]], ...]:
    """Every construction that is tried: where, what, and how it is run."""
    return (
        ("p. 24, function header", _HEADER, lambda: compile(_HEADER, "p. 24", "exec")),
        (
            "p. 24 and p. 26, function name",
            _MISSPELT.replace("\n", "; then "),
            lambda: exec(compile(_MISSPELT, "p. 24", "exec"), {"x": None}),
        ),
        (
            "p. 25, input layer, shape",
            "Input(shape=input_shape(244, 244))",
            lambda: eval("Input(shape=input_shape(244, 244))", {"Input": keras.Input}),
        ),
        (
            "p. 25, input layer, no channel axis",
            "Conv2D(32, (3, 3), strides=(2, 2))(Input(shape=(244, 244)))",
            lambda: _printed_conv((244, 244)),
        ),
        (
            "p. 28, Algorithm 3, input layer, no channel axis",
            "Conv2D(32, (3, 3), strides=(2, 2))(Input(shape=(256, 256)))",
            lambda: _printed_conv((256, 256)),
        ),
        (
            "p. 25, eq. 24 in the network, undefined channels",
            "new_R = R + ((255 - R) * A) / 255",
            lambda: exec("new_R = R + ((255 - R) * A) / 255", {}),
        ),
        (
            "p. 25, eq. 24 on the four-channel input layer",
            _READING + "R, G, B, A = input_layer",
            _printed_channels,
        ),
        (
            "p. 25, input of depth 4, alpha removed",
            _READING + "a network on Input((244, 244, 4)) given pictures of three channels",
            _printed_four_channels,
        ),
        (
            "p. 26 and p. 28, middle flow, Add",
            "Add()([(122, 122, 64), (122, 122, 128)])",
            lambda: _printed_add((122, 122, 64), (122, 122, 128)),
        ),
        (
            "p. 26, exit flow, first Add",
            "Add()([(61, 61, 1024), (61, 61, 244)])",
            lambda: _printed_add((61, 61, 1024), (61, 61, 244)),
        ),
        (
            "p. 28, Algorithm 3, exit flow, Add",
            "Add()([(64, 64, 1024), (64, 64, 256)])",
            lambda: _printed_add((64, 64, 1024), (64, 64, 256)),
        ),
        (
            "p. 26, exit flow, first Add, parenthesis",
            _OPEN_PARENTHESIS.split("\n")[0],
            lambda: compile(_OPEN_PARENTHESIS, "p. 26", "exec"),
        ),
        (
            "p. 26, exit flow, second Add with the same residual",
            "Add()([(61, 61, 1024), (31, 31, 728)])",
            lambda: _printed_add((61, 61, 1024), (31, 31, 728)),
        ),
        (
            "p. 28, Algorithm 3, no output layer",
            _READING + "cross-entropy of a label and a (64, 64, 256) feature map",
            _printed_algorithm_3_loss,
        ),
    )


def printed_faults() -> list[Fault]:
    """Run every construction that cannot be built (pp. 24–28) and record what Python or Keras says.

    Shapes are those the printed strides give: 244 → 122 → 61 → 31, and 256 → 128 → 64 for Algorithm 3.
    A construction that runs after all is reported with the error ``"none"``.
    """
    faults = []
    for where, printed, construct in _constructions():
        try:
            construct()
        except Exception as error:  # the point is to record whatever is raised
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            message = error.msg if isinstance(error, SyntaxError) else (lines or [""])[0]
            faults.append(Fault(where, printed, type(error).__name__, message))
        else:
            faults.append(Fault(where, printed, "none", "it runs"))
    return faults
