"""CustNet, the paper's network, repaired, and its training.

`custnet` builds the printed network (pp. 24–28) with the changes listed in `pdlib.printed_network.REPAIRS`
and no other; `deviations` says how far a configuration is from the printed size.

TensorFlow is imported with this module, so nothing that can do without it imports this module.
"""

from __future__ import annotations

import gc
import os
import platform
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pdlib.errors import ModelError, ParameterError

# Read once, when TensorFlow loads: its informational notes and warnings stay out, its errors do not.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

#: What TensorFlow writes on every start before its own log level applies: which kernels it has, and that it
#: found no GPU. The lines carry the time, so in a notebook they would make each run's page a different one.
_START_UP_NOTES = re.compile(
    rb"All log messages before absl::InitializeLog|^I\d{4} |cuInit|Could not find cuda drivers"
)


@contextmanager
def _without_start_up_notes() -> Iterator[None]:
    """Hold back what is written to the error stream in the block, then pass on all but the start-up notes."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            for line in held:
                if not _START_UP_NOTES.search(line):
                    os.write(2, line)


with _without_start_up_notes():
    import keras
    import tensorflow as tf
    from keras import layers

    _GPUS = tf.config.list_physical_devices("GPU")  # looked for now, while the notes are held back

#: Threads of TensorFlow, within an operation and across operations. Sums are split by thread, so another
#: number rounds differently; fixed, a machine with more cores gives the same digits. One thread costs little:
#: the operations are small, and threads wait for each other as soon as anything else runs on the machine.
THREADS = 1


def _fix_threads() -> None:
    """Fix the number of threads, unless ``TF_NUM_INTRAOP_THREADS`` says it (faster for large networks)."""
    if os.environ.get("TF_NUM_INTRAOP_THREADS"):
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(THREADS)
        tf.config.threading.set_inter_op_parallelism_threads(THREADS)
    except RuntimeError:
        warnings.warn(
            f"TensorFlow was in use before pdlib.networks was imported, so its threads could not be set to "
            f"{THREADS}: results may differ in the last digits. Import pdlib.networks first.",
            stacklevel=2,
        )


_fix_threads()

#: Input side and filters of the first exit block, by version: text (pp. 24–26) and Algorithm 3 (p. 28).
PRINTED_SIZE = {"text": 244, "algorithm3": 256}
PRINTED_EXIT_FILTERS = {"text": 244, "algorithm3": 256}
#: Fewest filters a layer keeps when ``width`` shrinks the network.
FEWEST_FILTERS = 8
#: Momentum of the running statistics of batch normalisation. See `pdlib.printed_network.CHOICES` for the reason.
BATCH_NORM_MOMENTUM = 0.7
#: Pictures per forward pass in inference; bounds the memory, does not change results beyond rounding.
INFERENCE_BATCH = 64


@dataclass(frozen=True)
class Repair:
    """One place where the network built here differs from what is printed, or where the paper is silent.

    Attributes
    ----------
    where, printed, change, why : str
        Page and part of the paper; what stands there; what is built instead; and the reason.
    """

    where: str
    printed: str
    change: str
    why: str


@dataclass(frozen=True)
class CustNetConfig:
    """Size and version of a CustNet.

    Parameters
    ----------
    input_size : int
        Side of the square RGB input in pixels, at least 16 (printed: 244 in the text, 256 in Algorithm 3).
    width : float
        Multiplies every filter count (at least 8 remain); 1 is the printed width.
    middle_blocks : int
        Repetitions of the middle flow, at least 1 (not printed).
    version : {"text", "algorithm3"}
        ``"text"``: 244 filters, then the block of 728 (p. 26). ``"algorithm3"``: 256 filters, no such block.
    classes : int
        Number of classes, at least 2.

    Raises
    ------
    ParameterError
        When a value is out of range.
    """

    input_size: int = 96
    width: float = 0.25
    middle_blocks: int = 1
    version: str = "text"
    classes: int = 2

    def __post_init__(self) -> None:
        _check_whole("input_size", self.input_size, 16)
        _check_whole("middle_blocks", self.middle_blocks, 1)
        _check_whole("classes", self.classes, 2)
        if not np.isfinite(self.width) or not 0 < self.width <= 4:
            raise ParameterError(f"width = {self.width!r} is not valid", "give a number above 0, at most 4")
        if self.version not in PRINTED_SIZE:
            raise ParameterError(
                f"version = {self.version!r} is unknown", f"use one of {', '.join(PRINTED_SIZE)}"
            )

    def filters(self, printed: int) -> int:
        """Filters of a layer whose printed count is ``printed``, at this width."""
        return max(FEWEST_FILTERS, round(printed * self.width))

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of one picture: (size, size, 3)."""
        return (self.input_size, self.input_size, 3)

    def build(self) -> keras.Model:
        """A new network, see `custnet`; its weights are not drawn yet."""
        return _assemble(self)

    def start(self, model: keras.Model, seed: int) -> list[NDArray[np.float32]]:
        """The weights training starts from: all drawn, see `initial_weights`."""
        return initial_weights(model, seed)

    def checked(self, x: NDArray) -> NDArray[np.float32]:
        """RGB pictures as the network takes them, see `check_pictures`."""
        return check_pictures(x, self.input_size)


def _check_whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ParameterError(f"{name} = {value!r} is not valid", f"give a whole number, at least {least}")


def deviations(config: CustNetConfig) -> tuple[Repair, ...]:
    """How far ``config`` is from the printed size: empty at the printed size and width."""
    found = []
    printed_size = PRINTED_SIZE[config.version]
    if config.input_size != printed_size:
        found.append(
            Repair(
                "p. 24" if config.version == "text" else "p. 28",
                f"input of {printed_size} × {printed_size}",
                f"input of {config.input_size} × {config.input_size}",
                "scale: the cost grows with the area",
            )
        )
    if config.width != 1:
        found.append(
            Repair(
                "pp. 26–28",
                "32, 64, 128, 1024, 244 or 256, and 728 filters",
                f"{config.width:g} times as many, at least {FEWEST_FILTERS}",
                "scale: the cost grows with the square of the width",
            )
        )
    return tuple(found)


def deterministic() -> None:
    """Make TensorFlow's operations repeatable, for this process; the one place that touches global state.

    Where there is a GPU it turns on TensorFlow's deterministic kernels, which cannot be turned off again. On
    a CPU the kernels used here are repeatable as they are, and the deterministic mode makes training twice as
    slow, so it stays off there; a test compares two trainings bit by bit. No generator is seeded: every draw
    here comes from an explicit seed, and seeding TensorFlow's own would make it drop its compiled functions,
    seconds of work at each training.

    Results are equal bit for bit on machines of one kind, whatever the number of cores, because the number of
    threads is fixed (`THREADS`). Another kind of processor may round differently.
    """
    if _GPUS:
        tf.config.experimental.enable_op_determinism()


def arithmetic() -> dict[str, object]:
    """What the last digits of a training depend on besides code and data; part of the key of stored results."""
    return {
        "threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "gpus": len(_GPUS),
        "processor": platform.machine(),
    }


def free() -> None:
    """Give back the memory of networks no longer referred to. Learners still in use keep working."""
    keras.backend.clear_session()
    gc.collect()


# ------------------------------------------------------------------------------------------- the network


def _batch_norm(name: str | None = None) -> layers.Layer:
    return layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name=name)


def depthwise_separable_conv(x: keras.KerasTensor, filters: int, kernel: tuple[int, int] = (3, 3)):
    """Depthwise convolution → BN → ReLU → 1×1 convolution → BN → ReLU, in the printed order (pp. 24–25)."""
    x = layers.DepthwiseConv2D(kernel, padding="same")(x)
    x = layers.Activation("relu")(_batch_norm()(x))
    x = layers.Conv2D(filters, (1, 1), padding="same")(x)
    return layers.Activation("relu")(_batch_norm()(x))


def _projection(x: keras.KerasTensor, filters: int, strides: int, name: str) -> keras.KerasTensor:
    """The repair of a residual: a 1×1 convolution to ``filters`` channels, then batch normalisation."""
    x = layers.Conv2D(filters, (1, 1), strides=strides, padding="same", name=name)(x)
    return _batch_norm(f"{name}_bn")(x)


def _entry_flow(x: keras.KerasTensor, config: CustNetConfig) -> keras.KerasTensor:
    x = layers.Conv2D(config.filters(32), (3, 3), strides=(2, 2), padding="same")(x)
    x = layers.Activation("relu")(_batch_norm()(x))
    x = layers.Conv2D(config.filters(64), (3, 3), padding="same")(x)
    return layers.Activation("relu")(_batch_norm()(x))


def _middle_flow(x: keras.KerasTensor, config: CustNetConfig) -> keras.KerasTensor:
    filters = config.filters(128)
    for block in range(config.middle_blocks):
        residual = x
        for _ in range(3):
            x = depthwise_separable_conv(x, filters)
        if residual.shape[-1] != filters:
            residual = _projection(residual, filters, 1, f"repair_middle_{block}")
        x = layers.Add()([residual, x])
    return x


def _exit_flow(x: keras.KerasTensor, config: CustNetConfig) -> keras.KerasTensor:
    residual = layers.Conv2D(config.filters(1024), (1, 1), strides=(2, 2), padding="same")(x)
    residual = _batch_norm()(residual)
    with_second_block = config.version == "text"
    filters = config.filters(PRINTED_EXIT_FILTERS[config.version])
    for _ in range(2):
        x = depthwise_separable_conv(x, filters)
    x = layers.MaxPooling2D((3, 3), strides=(2, 2), padding="same")(x)
    matched = _projection(residual, filters, 1, "repair_exit_1")
    x = layers.Add(name=None if with_second_block else "last_conv")([matched, x])
    if not with_second_block:
        return x
    filters = config.filters(728)
    for _ in range(2):
        x = depthwise_separable_conv(x, filters)
    x = layers.MaxPooling2D((3, 3), strides=(2, 2), padding="same")(x)
    return layers.Add(name="last_conv")([_projection(residual, filters, 2, "repair_exit_2"), x])


def _assemble(config: CustNetConfig) -> keras.Model:
    picture = keras.Input((config.input_size, config.input_size, 3), name="picture")
    x = layers.Rescaling(-1 / 255, offset=1.0, name="ink")(picture)
    x = _exit_flow(_middle_flow(_entry_flow(x, config), config), config)
    x = layers.GlobalAveragePooling2D(name="pooled")(x)
    logits = layers.Dense(config.classes, name="logits")(x)
    probabilities = layers.Activation("softmax", name="probabilities")(logits)
    return keras.Model(picture, probabilities, name=f"custnet_{config.version}")


def initial_weights(model: keras.Model, seed: int) -> list[NDArray[np.float32]]:
    """Draw a fresh set of weights, in the order of ``model.get_weights()``, from ``seed`` alone.

    Kernels follow Keras's default, the uniform distribution of Glorot and Bengio (2010); biases start at 0,
    batch normalisation at scale 1, shift 0, mean 0 and variance 1.

    Raises
    ------
    ModelError
        When the model has a weight whose start is not defined here.
    """
    generator = np.random.default_rng(seed)
    constants = {"bias": 0.0, "beta": 0.0, "gamma": 1.0, "moving_mean": 0.0, "moving_variance": 1.0}
    drawn = []
    for weight in model.weights:
        if weight.name in constants:
            drawn.append(np.full(weight.shape, constants[weight.name], dtype=np.float32))
        elif weight.name == "kernel":
            draw = keras.initializers.GlorotUniform(seed=int(generator.integers(2**31)))
            drawn.append(keras.ops.convert_to_numpy(draw(weight.shape)))
        else:
            raise ModelError(
                f"weight {weight.path} has no defined start", "add it to networks.initial_weights"
            )
    return drawn


def custnet(config: CustNetConfig, seed: int) -> keras.Model:
    """Build the repaired CustNet (pp. 24–28, Algorithm 3) with weights drawn from ``seed``.

    Parameters
    ----------
    config : CustNetConfig
    seed : int
        The same seed gives the same weights, in any process.

    Returns
    -------
    keras.Model
        One functional graph, not compiled. Input: RGB pictures of shape (n, size, size, 3), 0 to 255, whole
        numbers or floats. Output: class probabilities, shape (n, classes). Layers of note: ``last_conv`` (the
        map that is pooled), ``pooled``, ``logits``, ``probabilities``.
    """
    deterministic()
    model = _assemble(config)
    model.set_weights(initial_weights(model, seed))
    return model


def logit_model(model: keras.Model) -> keras.Model:
    """The same network cut before its softmax, sharing its weights.

    Raises
    ------
    ModelError
        When the model has no layer called ``logits`` or that layer is not linear.
    """
    if "logits" not in {layer.name for layer in model.layers}:
        raise ModelError(
            f"network {model.name} has no layer named logits",
            "name the last layer before the softmax “logits” and give it no activation",
        )
    layer = model.get_layer("logits")
    if getattr(layer, "activation", keras.activations.linear) is not keras.activations.linear:
        raise ModelError(
            f"layer logits of network {model.name} has an activation", "move it into a layer of its own"
        )
    return keras.Model(model.input, layer.output, name=f"{model.name}_logits")


# -------------------------------------------------------------------- the same network, faster to train

#: Channels before a batch normalisation are filled up with zeros to a multiple of this, a register of 16 floats:
#: with any other number, such as the printed 244, oneDNN takes five to eight times as long to normalise.
CHANNELS = 16


class _FusedBatchNorm(layers.BatchNormalization):
    """Batch normalisation that trains in one operation, and one for the gradient, in place of a dozen."""

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None):
        if not (training and self.trainable):
            return super().call(inputs, training=training, mask=mask)
        normalised, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=self.gamma, offset=self.beta, mean=[], variance=[], epsilon=self.epsilon
        )
        # The operation gives the variance over n − 1, Keras keeps that over n.
        count = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], tf.float32)
        for moving, seen in (
            (self.moving_mean, mean),
            (self.moving_variance, variance * (count - 1) / count),
        ):
            moving.assign(moving * self.momentum + seen * (1 - self.momentum))
        return normalised


class _Convolution(layers.Conv2D):
    """A convolution before a batch normalisation: its bias has no effect in training and is left out there.

    Its gradient is zero but for rounding, which Adam would scale up to whole steps. So a bias stays what it was
    drawn as, zero, and the running means fit it; one that started from another value would be missed by them.
    A 1×1 convolution is a matrix product; as such, the gradient of its kernel takes half the time.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        if not training:
            return super().call(inputs)
        if self.kernel_size != (1, 1):
            return tf.nn.conv2d(inputs, self.kernel, self.strides, self.padding.upper())
        x = inputs if self.strides == (1, 1) else inputs[:, :: self.strides[0], :: self.strides[1]]
        channels = x.shape[-1]
        flat = tf.matmul(tf.reshape(x, (-1, channels)), tf.reshape(self.kernel, (channels, self.filters)))
        return tf.reshape(flat, (-1, *x.shape[1:3], self.filters))


class _Depthwise(layers.DepthwiseConv2D):
    """A depthwise convolution before a batch normalisation, without its bias in training."""

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        if not training:
            return super().call(inputs)
        return tf.nn.depthwise_conv2d(inputs, self.kernel, (1, *self.strides, 1), self.padding.upper())


def _normalised_by(layer: layers.Layer) -> layers.Layer | None:
    """The trained batch normalisation that alone reads this convolution, if there is one."""
    if not isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D):
        return None
    readers = [node.operation for node in layer._outbound_nodes]
    if len(readers) == 1 and isinstance(readers[0], layers.BatchNormalization) and readers[0].trainable:
        return readers[0]
    return None


def _faster(layer: layers.Layer) -> layers.Layer:
    config, kind = layer.get_config(), type(layer)
    if kind is layers.BatchNormalization:
        kind = _FusedBatchNorm
    elif kind is layers.Conv2D and _normalised_by(layer):
        kind = _Convolution
        config["filters"] = -(-config["filters"] // CHANNELS) * CHANNELS
    elif kind is layers.DepthwiseConv2D and _normalised_by(layer):
        kind = _Depthwise
    return kind.from_config(config)


def faster(model: keras.Model) -> keras.Model:
    """The same network in operations that train faster on a CPU, with further channels that stay zero.

    It computes what ``model`` does, up to rounding, when it holds its weights as `filled` gives them: a channel
    whose kernels, scale and shift are zero gives zeros and gets zero gradients, so training leaves it zero. For
    networks of convolutions and sums whose maps are pooled before a dense layer.
    """
    return keras.models.clone_model(model, clone_function=_faster)


def filled(weights: list[NDArray], model: keras.Model) -> list[NDArray]:
    """Weights of a network, with zeros at the end of each axis for the further channels of `faster` ``model``."""
    return [
        np.pad(weight, [(0, wide - own) for own, wide in zip(weight.shape, variable.shape, strict=True)])
        for weight, variable in zip(weights, model.weights, strict=True)
    ]


class _Folded(layers.Layer):
    """Where a batch normalisation was; called as one is."""

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None):
        return inputs


def folded(model: keras.Model) -> keras.Model:
    """The same network for inference alone, without its batch normalisations: see `folded_weights`."""
    norms = [_normalised_by(layer) for layer in model.layers]

    def simpler(layer: layers.Layer) -> layers.Layer:
        if layer in norms:
            return _Folded(name=layer.name)
        bias = {"use_bias": True} if _normalised_by(layer) else {}
        return type(layer).from_config(layer.get_config() | bias)

    return keras.models.clone_model(model, clone_function=simpler)


def folded_weights(model: keras.Model) -> list[NDArray[np.float32]]:
    """Weights for `folded` ``model``: in inference a batch normalisation only scales and shifts its channels,
    which the kernel and the bias of the convolution before it can do as well."""
    norms = {layer: _normalised_by(layer) for layer in model.layers}
    weights = []
    for layer, norm in norms.items():
        if norm is not None:
            kernel, *bias = layer.get_weights()
            scale = norm.gamma.numpy() / np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
            shift = (sum(bias) - norm.moving_mean.numpy()) * scale + norm.beta.numpy()
            depthwise = isinstance(layer, layers.DepthwiseConv2D)
            weights += [kernel * (scale[:, np.newaxis] if depthwise else scale), shift]
        elif layer not in norms.values():
            weights += layer.get_weights()
    return weights


class _Adam:
    """Adam (Kingma and Ba 2015) in Keras's formula, for all weights in one vector: 80 small updates cost more."""

    def __init__(self, variables: list[keras.Variable]) -> None:
        self._variables = variables
        self._sizes = [int(np.prod(variable.shape)) for variable in variables]
        self._first, self._second = (tf.Variable(tf.zeros(sum(self._sizes))) for _ in range(2))
        self._steps, self._rate = tf.Variable(0.0), tf.Variable(0.0)

    def reset(self, learning_rate: float) -> None:
        """Forget all earlier steps."""
        for variable in (self._first, self._second, self._steps):
            variable.assign(tf.zeros_like(variable))
        self._rate.assign(learning_rate)

    def apply(self, gradients: list[tf.Tensor | None]) -> None:
        """One step; a weight without a gradient keeps its value."""
        gradient = tf.concat(
            [
                tf.zeros(size) if part is None else tf.reshape(part, (-1,))
                for part, size in zip(gradients, self._sizes, strict=True)
            ],
            axis=0,
        )
        steps = self._steps.assign_add(1.0)
        first = self._first.assign_add((gradient - self._first) * (1 - 0.9))
        second = self._second.assign_add((tf.square(gradient) - self._second) * (1 - 0.999))
        rate = self._rate * tf.sqrt(1 - tf.pow(0.999, steps)) / (1 - tf.pow(0.9, steps))
        changes = tf.split(rate * first / (tf.sqrt(second) + 1e-7), self._sizes)
        for variable, change in zip(self._variables, changes, strict=True):
            variable.assign_sub(tf.reshape(change, variable.shape))


# ------------------------------------------------------------------------------------------ the training


class Architecture(Protocol):
    """What a `Learner` trains: a frozen dataclass that builds a network and knows where its training starts.

    The network is one functional graph with layers ``pooled``, ``logits`` (linear) and ``probabilities``.
    """

    classes: int

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the batch axis."""

    def build(self) -> keras.Model:
        """A new network of this kind, sharing nothing with earlier ones."""

    def start(self, model: keras.Model, seed: int) -> list[NDArray[np.float32]]:
        """Weights in the order of ``model.get_weights()`` that training starts from; ``seed`` draws new ones."""

    def checked(self, x: NDArray) -> NDArray[np.float32]:
        """Inputs (n, …) as float32, or a `ModelError` that says what does not fit."""


@dataclass(frozen=True)
class TrainedNet:
    """What training leaves: plain arrays, which can be stored and used in any process.

    Attributes
    ----------
    weights : list of arrays
        In the order of ``keras.Model.get_weights()``.
    history : dict of arrays, shape (epochs,)
        ``loss`` and ``accuracy`` over the epoch's training batches, each seen before its update and in
        training mode, as Keras reports them; ``val_loss`` and ``val_accuracy`` after the epoch, in inference
        mode, only where validation data were given.
    config : Architecture
        What was trained.
    """

    weights: list[NDArray[np.float32]]
    history: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    config: Architecture = CustNetConfig()


class Learner:
    """One compiled network that can be trained anew as often as wanted.

    Building and tracing a network costs seconds and memory that are not given back, so it is done once per
    configuration. Each `fit` starts from the configuration's own start, zeroed optimiser slots and reset
    running statistics: its result does not depend on what the learner did before.

    Parameters
    ----------
    config : Architecture
        Such as a `CustNetConfig`.
    """

    # Three networks of one function: as it is defined, in the operations that train, and for inference.
    def __init__(self, config: Architecture) -> None:
        deterministic()
        self.config = config
        self._model = config.build()
        self._reader = folded(self._model)
        reads_logits = logit_model(self._reader)
        reads_pooled = keras.Model(self._reader.input, self._reader.get_layer("pooled").output)
        self._trained = faster(self._model)
        self._trained_logits = logit_model(self._trained)
        self._optimizer = _Adam(self._trained.trainable_variables)
        self._loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
        pictures = tf.TensorSpec((None, *config.input_shape), tf.float32)
        labels = tf.TensorSpec((None,), tf.int32)
        # An open batch axis keeps one trace for batches of every size.
        self._train_step = tf.function(self._train_on, input_signature=(pictures, labels))
        self._infer_logits = tf.function(
            lambda x: reads_logits(x, training=False), input_signature=(pictures,)
        )
        self._infer_pooled = tf.function(
            lambda x: reads_pooled(x, training=False), input_signature=(pictures,)
        )

    def __reduce__(self) -> tuple:
        # What is compiled does not travel: a worker process has one learner of its own for each configuration.
        return learner_of, (self.config,)

    def fit(
        self,
        pictures: NDArray,
        labels: NDArray,
        *,
        seed: int,
        epochs: int,
        batch_size: int = 8,
        learning_rate: float = 1e-3,
        validation: tuple[NDArray, NDArray] | None = None,
        start: list[NDArray] | None = None,
    ) -> TrainedNet:
        """Train; the result is a function of the arguments alone.

        Parameters
        ----------
        pictures : array, shape (n, …)
            What the network takes: RGB pictures (n, size, size, 3), 0 to 255, or maps of a frozen backbone.
        labels : int array, shape (n,)
            0 to classes − 1; at least two different ones.
        seed : int
            Draws the weights and the order of the pictures.
        epochs, batch_size : int
            Passes over the pictures; most pictures per step (at least 2). An epoch is cut into batches whose
            sizes differ by at most one.
        learning_rate : float
            Of Adam (Kingma and Ba 2015), constant.
        validation : (pictures, labels), optional
            Followed in the history; never used to stop, select or tune.
        start : list of arrays, optional
            Weights to start from, in the order of ``keras.Model.get_weights()``; else those that the
            configuration draws from ``seed``.

        Raises
        ------
        ParameterError
            When a setting is out of range.
        ModelError
            When the data do not fit the network or the loss stops being finite.
        """
        _check_whole("epochs", epochs, 1)
        _check_whole("batch_size", batch_size, 2)
        if not np.isfinite(learning_rate) or learning_rate <= 0:
            raise ParameterError(f"learning_rate = {learning_rate!r} is not valid", "give a number above 0")
        x, y = self._checked(pictures, labels)
        if np.unique(y).size < 2:
            raise ModelError(
                "all training pictures are of one class", "train on pictures of at least two classes"
            )
        held_out = None if validation is None else self._checked(*validation)
        self._reset(seed, learning_rate, start)
        # A stream of its own: the order of the pictures must not follow from the weights' draw.
        order = np.random.default_rng([int(seed), 1])
        history: dict[str, list[float]] = {}
        for epoch in range(epochs):
            row = self._epoch(x, y, batch_size, order)
            if not np.isfinite(row["loss"]):
                raise ModelError(
                    f"the loss is {row['loss']} in epoch {epoch + 1}",
                    f"lower learning_rate (now {learning_rate:g})",
                )
            if held_out is not None:
                row |= self._followed(*held_out)
            for key, value in row.items():
                history.setdefault(key, []).append(value)
        return TrainedNet(
            self._weights(), {key: np.array(values) for key, values in history.items()}, self.config
        )

    def predict(self, trained: TrainedNet, pictures: NDArray) -> NDArray[np.float64]:
        """Class probabilities, shape (n, classes), each row summing to 1."""
        logits = self._run(trained, self._infer_logits, pictures).astype(float)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def pooled(self, trained: TrainedNet, pictures: NDArray) -> NDArray[np.float64]:
        """Pooled features, shape (n, channels of ``last_conv``): what the last layer or CatBoost is given."""
        return self._run(trained, self._infer_pooled, pictures).astype(float)

    def start(self, seed: int) -> list[NDArray[np.float32]]:
        """The weights `fit` starts from with this seed."""
        return self.config.start(self._model, seed)

    def model(self, trained: TrainedNet) -> keras.Model:
        """A network of its own holding these weights; later training does not touch it."""
        self._check_trained(trained)
        model = self.config.build()
        model.set_weights(trained.weights)
        return model

    def _train_on(self, x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """One step; the summed loss and the number of right answers before the update."""
        with tf.GradientTape() as tape:
            logits = self._trained_logits(x, training=True)
            total = self._loss(y, logits)
            mean = total / tf.cast(tf.shape(x)[0], tf.float32)
        self._optimizer.apply(tape.gradient(mean, self._trained.trainable_variables))
        right = tf.reduce_sum(tf.cast(tf.equal(tf.argmax(logits, 1, tf.int32), y), tf.int32))
        return total, right

    def _epoch(self, x: NDArray, y: NDArray, batch_size: int, order: np.random.Generator) -> dict[str, float]:
        shuffled = order.permutation(len(x))
        total, right = 0.0, 0
        for batch in np.array_split(shuffled, -(-len(x) // batch_size)):
            batch_total, batch_right = self._train_step(x[batch], y[batch])
            total, right = total + float(batch_total), right + int(batch_right)
        return {"loss": total / len(x), "accuracy": right / len(x)}

    def _followed(self, x: NDArray, y: NDArray) -> dict[str, float]:
        self._read(self._weights())
        logits = in_batches(self._infer_logits, x).astype(float)
        peak = logits.max(axis=1, keepdims=True)
        log_sum = peak[:, 0] + np.log(np.exp(logits - peak).sum(axis=1))
        losses = log_sum - logits[np.arange(len(y)), y]
        return {
            "val_loss": float(losses.mean()),
            "val_accuracy": float((logits.argmax(axis=1) == y).mean()),
        }

    def _reset(self, seed: int, learning_rate: float, start: list[NDArray] | None) -> None:
        self._trained.set_weights(filled(self.start(seed) if start is None else start, self._trained))
        self._optimizer.reset(learning_rate)

    def _weights(self) -> list[NDArray[np.float32]]:
        """Weights of the network in training, without the further channels."""
        return [
            np.array(weight[tuple(map(slice, variable.shape))])
            for weight, variable in zip(self._trained.get_weights(), self._model.weights, strict=True)
        ]

    def _run(self, trained: TrainedNet, function: Callable, pictures: NDArray) -> NDArray:
        self._check_trained(trained)
        x = self._checked(pictures)[0]
        self._read(trained.weights)
        return in_batches(function, x)

    def _read(self, weights: list[NDArray]) -> None:
        """Give the network for inference these weights."""
        self._model.set_weights(weights)
        self._reader.set_weights(folded_weights(self._model))

    def _check_trained(self, trained: TrainedNet) -> None:
        if trained.config != self.config:
            raise ModelError(
                f"the weights belong to {trained.config}, this learner is {self.config}",
                "use a learner of the same configuration",
            )

    def _checked(self, pictures: NDArray, labels: NDArray | None = None) -> tuple[NDArray, NDArray]:
        x = self.config.checked(pictures)
        if labels is None:
            return x, np.empty(0, dtype=np.int32)
        y = np.asarray(labels)
        whole = y.dtype.kind in "iub"
        if y.shape != (len(x),) or not whole or y.min() < 0 or y.max() >= self.config.classes:
            raise ModelError(
                f"labels of type {y.dtype} and shape {y.shape} do not fit {len(x)} pictures "
                f"and {self.config.classes} classes",
                f"give one whole number from 0 to {self.config.classes - 1} per picture",
            )
        return x, y.astype(np.int32)


@lru_cache(maxsize=4)
def learner_of(config: Architecture) -> Learner:
    """This process's learner of a configuration, built when it is first asked for."""
    return Learner(config)


def check_pictures(pictures: NDArray, size: int) -> NDArray[np.float32]:
    """RGB pictures as float32 of shape (n, size, size, 3), checked.

    Raises
    ------
    ModelError
        When there is none, the shape is another, an alpha channel is left, or a value leaves 0 to 255.
    """
    x = np.asarray(pictures)
    if x.ndim == 4 and x.shape[-1] == 4:
        raise ModelError(
            f"the pictures still have an alpha channel (shape {x.shape})", "apply pictures.remove_alpha first"
        )
    if x.ndim != 4 or x.shape[1:] != (size, size, 3) or len(x) == 0:
        raise ModelError(
            f"pictures of shape {x.shape} do not fit a network of input size {size}",
            f"give at least one RGB picture as an array of shape (n, {size}, {size}, 3)",
        )
    x = x.astype(np.float32)
    if not (np.isfinite(x).all() and x.min() >= 0 and x.max() <= 255):
        raise ModelError("the pictures have values outside 0 to 255", "give 8-bit RGB levels")
    return x


def in_batches(function: Callable, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """``function`` over ``x`` in batches of `INFERENCE_BATCH`, put together again."""
    starts = range(0, len(x), INFERENCE_BATCH)
    return np.concatenate([function(x[start : start + INFERENCE_BATCH]).numpy() for start in starts])
