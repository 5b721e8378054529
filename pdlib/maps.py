"""What all explanations share: the one map type, and a network opened so that it can be explained.

An opened network is one flat graph cut at its logits that shares every weight with the network it was made
from, whatever was nested in what. What is asked of it is compiled once per architecture, not once per call or
network, for batches of any size; batch normalisation is taken into the convolution before it, which saves a
quarter of the time.
"""

from __future__ import annotations

import json
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdlib.errors import ModelError, ParameterError
from pdlib.networks import keras, logit_model, tf

#: What can be explained: the class score before the softmax, or the probability after it.
OUTPUTS = ("logits", "probabilities")


@dataclass(frozen=True, eq=False)
class Maps:
    """Explanations of a batch of pictures, one value per pixel; what every method of the book returns.

    Attributes
    ----------
    maps : float32 array, shape (n, height, width)
        At the size of the network's input. Unsigned maps lie in [0, 1], each divided by its own maximum;
        signed ones are in units of the explained output (see the method).
    dead : bool array, shape (n,)
        True where the map is zero everywhere. Such a map says nothing and must not be read as "unimportant".
    signed : bool
        Whether negative values occur: they speak against the class.
    method : str
        A key of `explain.METHODS`.
    settings : mapping
        Everything the method was told: layer, baseline, steps, rule, seed, explained output.
    gap : float64 array, shape (n,), or None
        Relative completeness gap, see `explain.integrated_gradients`; None for other methods.
    """

    maps: NDArray[np.float32]
    dead: NDArray[np.bool_]
    signed: bool
    method: str
    settings: Mapping[str, object]
    gap: NDArray[np.float64] | None = None


def check_whole(name: str, value: object, least: int) -> None:
    """Refuse what is not a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ParameterError(f"{name} = {value!r} is not valid", f"give a whole number, at least {least}")


def check_above_0(name: str, value: object) -> None:
    """Refuse what is not a finite number above 0."""
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not np.isfinite(value) or value <= 0:
        raise ParameterError(f"{name} = {value!r} is not valid", "give a number above 0")


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuse what is not one of ``choices``."""
    if value not in choices:
        raise ParameterError(f"{name} = {value!r} is unknown", f"use one of {', '.join(choices)}")


def enlarge(maps: NDArray[np.floating], height: int, width: int) -> NDArray[np.float32]:
    """Enlarge maps (n, rows, columns) to (n, height, width), each cell over its own part of the picture.

    Bilinear, cell centres on the centres of the parts they cover. Zooming by aligned corners,
    the default of tf-keras-vis, moves the outer cells by half a cell.
    """
    column = np.asarray(maps, dtype=np.float32)[..., np.newaxis]
    return tf.image.resize(column, (height, width), method="bilinear").numpy()[..., 0]


# ── one flat graph ─────────────────────────────────────────────────────────────────────────────────────
class _Use(keras.layers.Layer):
    """One use of a layer: calls the layer, holds its weights, and has an output of its own.

    Calling the layer itself anew would write the call into the network it comes from, and its ``output``
    would go on naming the call in that other graph.
    """

    def __init__(self, layer: keras.layers.Layer, name: str, arguments: tuple[tuple, dict]) -> None:
        super().__init__(name=name, autocast=False, dtype=getattr(layer, "dtype_policy", None))
        self.layer = layer
        if hasattr(layer, "activation"):
            self.activation = layer.activation  # `logit_model` asks for it
        flat = keras.tree.flatten(arguments)
        self.tensors = [one for one in flat if isinstance(one, keras.KerasTensor)]
        self.arguments = arguments

        def filled(tensors):
            given = iter(tensors)
            one_by_one = [next(given) if isinstance(one, keras.KerasTensor) else one for one in flat]
            return keras.tree.pack_sequence_as(arguments, one_by_one)

        self._filled = filled

    def call(self, tensors):
        args, options = self._filled(tensors)
        return self.layer(*args, **options)

    def compute_output_spec(self, tensors):
        args, options = self._filled(tensors)
        return self.layer.compute_output_spec(*args, **options)


def _repeated(name: str, use: int) -> str:
    return name if use == 1 else f"{name}.{use}"


def flatten(model: keras.Model) -> keras.Model:
    """One functional graph of the same function, sharing the weights, with no network inside a network.

    Parameters
    ----------
    model : keras.Model
        A functional graph or a Sequential with one input, which may hold others as layers. It is not changed.

    Returns
    -------
    keras.Model
        Layers keep their names; a name that occurs again gets ``.2``, ``.3`` and so on.

    Raises
    ------
    ModelError
        When the network, or one inside it, is neither functional nor Sequential, is not built yet, or has
        several inputs.
    """
    uses: dict[str, int] = {}

    def call(layer, *args, **kwargs):
        if isinstance(layer, keras.Model):
            return run(layer, *args)
        uses[layer.name] = uses.get(layer.name, 0) + 1
        use = _Use(layer, _repeated(layer.name, uses[layer.name]), (args, kwargs))
        return use(use.tensors)

    def run(part, tensor):
        if isinstance(part, keras.Sequential):
            for layer in part.layers:
                tensor = call(layer, tensor)
            return tensor
        # what keras.models.clone_model does with a functional graph, without the model it builds around it
        through = getattr(part, "_run_through_graph", None)
        if through is None:
            raise ModelError(
                f"network {part.name} is neither a functional graph nor a Sequential: its inside is not known",
                "build it by calling layers on keras.Input",
            )
        return through(tensor, call_fn=call)

    if not getattr(model, "inputs", None):
        raise ModelError(
            f"network {model.name} is not built or not functional", "give its first layer a keras.Input"
        )
    if len(model.inputs) != 1:
        raise ModelError(f"network {model.name} has {len(model.inputs)} inputs", "explain one of one input")
    picture = keras.Input(batch_shape=model.inputs[0].shape, name="picture")
    return keras.Model(picture, run(model, picture), name=model.name)


class _Convolved:
    """A convolution not computed yet, so that a batch normalisation behind it can be taken into its kernel."""

    def __init__(self, layer: keras.layers.Layer, x: tf.Tensor) -> None:
        self.layer, self.x = layer, x

    @cached_property
    def value(self) -> tf.Tensor:
        """What the layer gives."""
        return self.layer(self.x)

    def normalised(self, norm: keras.layers.BatchNormalization) -> tf.Tensor:
        """What ``norm`` gives behind it, in inference: a convolution with another kernel and another bias."""
        scale = tf.math.rsqrt(norm.moving_variance + norm.epsilon)
        if norm.scale:
            scale = scale * norm.gamma
        shift = -norm.moving_mean * scale
        if norm.center:
            shift = shift + norm.beta
        layer, kernel = self.layer, tf.convert_to_tensor(self.layer.kernel)
        if layer.use_bias:
            shift = shift + layer.bias * scale
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        convolve = keras.ops.depthwise_conv if depthwise else keras.ops.conv
        x = convolve(
            self.x,
            kernel * tf.reshape(scale, kernel.shape[2:] if depthwise else (-1,)),
            strides=layer.strides,
            padding=layer.padding,
            data_format=layer.data_format,
            dilation_rate=layer.dilation_rate,
        )
        return tf.nn.bias_add(x, shift)


def _takes_norm(layer: object) -> bool:
    """Whether a batch normalisation may be taken into this layer; a layer of another class may do more."""
    return (
        type(layer) in (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
        and layer.activation is keras.activations.linear
        and layer.data_format == "channels_last"
        and layer.dtype_policy.name == "float32"
        and not getattr(layer, "lora_enabled", False)
    )


def _is_norm(layer: object) -> bool:
    return (
        type(layer) is keras.layers.BatchNormalization
        and layer.axis in (-1, 3)
        and layer.dtype_policy.name == "float32"
    )


class _Inference(keras.layers.Layer):
    """A flat graph in inference: the same function but for the rounding, computed in fewer steps.

    Logits and class activation maps stay the same to about 1e-6 of the largest value in CustNet and 1e-4 in the
    deep MobileNetV2. A gradient by the picture does too, but where a ReLU or a maximum is about to switch: there
    rounding decides between two gradients.
    """

    def __init__(self, graph: keras.Model) -> None:
        super().__init__(name=graph.name, autocast=False)
        self.graph = graph

    def call(self, x, training=False, met: Mapping[str, Callable[[tf.Tensor], None]] | None = None):
        """Logits of the pictures ``x``; ``met[name]`` is given the output of this layer before it is used."""
        met = met or {}

        def settled(arguments):
            return keras.tree.map_structure(
                lambda one: one.value if isinstance(one, _Convolved) else one, arguments
            )

        def call(use, tensors):
            if _is_norm(use.layer) and isinstance(tensors[0], _Convolved):
                value = tensors[0].normalised(use.layer)
            elif _takes_norm(use.layer) and use.name not in met:
                return _Convolved(use.layer, *settled(tensors))
            else:
                value = use.call(settled(tensors))
            if use.name in met:
                met[use.name](value)
            return value

        return settled(self.graph._run_through_graph(x, call_fn=call))


# ── what is compiled ───────────────────────────────────────────────────────────────────────────────────
#: From the maps of a layer and the gradients of the asked logits by them, (b, rows, columns, channels) both, to
#: one map per picture, (b, rows, columns).
Weighing = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
#: Architectures whose compiled functions are kept, each with the weights of the first network it was seen in.
KEPT = 4


@dataclass(frozen=True, eq=False)
class _Walk:
    """A flat graph step by step: what tells two architectures apart, and what belongs to this network alone.

    Attributes
    ----------
    key : str or None
        Equal for two graphs only if they are the same function of their weights; None where that cannot be
        told, as with layers of other libraries.
    names : tuple of str
        Of the layers, in the order of the steps.
    variables : tuple of Variable
        In the order of the steps, each once.
    """

    key: str | None
    names: tuple[str, ...]
    variables: tuple[keras.Variable, ...]

    @classmethod
    def of(cls, graph: keras.Model) -> _Walk:
        steps, names, places, variables = [], [], {}, {}

        def call(use, tensors):
            place = places.setdefault(id(use.layer), len(names))  # a layer used twice has its weights once
            names.append(use.name)
            variables.update((id(one), one) for one in getattr(use.layer, "variables", ()))
            steps.append((place, _described(use), tensors))
            return len(names) - 1

        graph._run_through_graph(-1, call_fn=call)
        key = None
        if all(described is not None for _place, described, _tensors in steps):
            shapes = [(tuple(one.shape), one.dtype) for one in variables.values()]
            key = json.dumps([graph.inputs[0].shape, steps, shapes])
        return cls(key, tuple(names), tuple(variables.values()))


def _described(use: _Use) -> list | None:
    """All that a step does but for its weights and its inputs, or None where it may do more than it tells."""
    layer = use.layer
    ours = type(layer).__module__.startswith(("keras.src.layers.", "pdlib."))
    if not ours or isinstance(layer, keras.layers.Lambda) or "call" in vars(layer):
        return None
    function = getattr(layer, "activation", None)
    if function is not None and not getattr(function, "__module__", "").startswith("keras."):
        return None
    arguments = keras.tree.map_structure(
        lambda one: "→" if isinstance(one, keras.KerasTensor) else one, use.arguments
    )
    try:
        settings = {name: value for name, value in layer.get_config().items() if name != "name"}
        return [type(layer).__module__, type(layer).__qualname__, json.dumps([settings, arguments])]
    except (TypeError, NotImplementedError):  # something in it that has no plain description
        return None


_WHOLE, _SHARES = tf.TensorSpec((None,), tf.int32), tf.TensorSpec((None,), tf.float32)


class _Compiled:
    """The functions of one architecture, each traced on its first call; weights are their first argument."""

    def __init__(self, graph: keras.Model, walk: _Walk) -> None:
        self._graph, self._walk = graph, walk
        self._functions: dict[object, Callable] = {}

    def __call__(
        self, weights: Sequence[keras.Variable], what: str, *given: object, **how: object
    ) -> NDArray[np.float32]:
        """The answer of the function ``what``, made by ``how``, for a network of this architecture."""
        key = (what, *how.values())
        if key not in self._functions:
            self._functions[key] = _MADE[what](_asking(self._graph, self._walk), **how)
        return self._functions[key]([one.value for one in weights], *given).numpy()

    def traces(self) -> dict[object, int]:
        """How often each function was traced."""
        return {key: one.experimental_get_tracing_count() for key, one in self._functions.items()}


# None of the functions below refers to a `_Compiled`: TensorFlow would then hold it in memory for ever.
def _asking(graph: keras.Model, walk: _Walk) -> Callable:
    """A function that makes compiled functions of this graph from Python ones."""
    run = _Inference(graph)
    pictures = tf.TensorSpec(graph.inputs[0].shape, tf.float32)
    weights = [tf.TensorSpec(one.shape, one.dtype) for one in walk.variables]

    def logits(values, x, **options):
        with keras.StatelessScope(state_mapping=list(zip(walk.variables, values, strict=True))):
            return run(x, training=False, **options)

    def compiled(function: Callable, *others: tf.TensorSpec, sets: int = 1) -> Callable:
        # an open batch axis keeps one trace for batches of every size
        signature = (weights, *[pictures] * sets, *others)
        # a partial, since TensorFlow would take all functions of one piece of code for the same one traced again
        # and again, and warn of it
        entry = partial(lambda function, values, *given: function(partial(logits, values), *given), function)
        return tf.function(entry, input_signature=signature, autograph=False)

    return compiled


def _score(values: tf.Tensor, classes: tf.Tensor, output: str) -> tf.Tensor:
    if output == "probabilities":
        values = tf.nn.softmax(values)
    return tf.gather(values, classes, axis=1, batch_dims=1)


def _logits_of(compiled: Callable) -> Callable:
    return compiled(lambda logits, x: logits(x))


def _gradient_of(compiled: Callable, output: str) -> Callable:
    def gradient(logits, x, classes):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            score = _score(logits(x), classes, output)
        return tape.gradient(score, x)

    return compiled(gradient, _WHOLE)


def _path_of(compiled: Callable, output: str) -> Callable:
    """See `Opened.path`."""

    def path(logits, ends, starts, classes, source, place, weight, into, count):
        start = tf.gather(starts, source)
        far = tf.gather(ends, source) - start
        x = start + place[:, tf.newaxis, tf.newaxis, tf.newaxis] * far
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            score = _score(logits(x), tf.gather(classes, source), output)
        parts = weight[:, tf.newaxis, tf.newaxis] * tf.reduce_sum(tape.gradient(score, x) * far, axis=-1)
        return tf.math.unsorted_segment_sum(parts, into, count)

    others = (_WHOLE, _WHOLE, _SHARES, _SHARES, _WHOLE, tf.TensorSpec((), tf.int32))
    return compiled(path, *others, sets=2)


def _weighed_of(compiled: Callable, layer: str, weighing: Weighing) -> Callable:
    """See `Opened.weighed`."""

    def weighed(logits, x, classes):
        met = []
        with tf.GradientTape(watch_accessed_variables=False) as tape:

            def watch(maps):  # from here on only: what leads to the layer needs no gradient
                tape.watch(maps)
                met.append(maps)

            score = _score(logits(x, met={layer: watch}), classes, "logits")
        return weighing(met[0], tape.gradient(score, met[0]))

    return compiled(weighed, _WHOLE)


_MADE = {"logits": _logits_of, "gradient": _gradient_of, "path": _path_of, "weighed": _weighed_of}
_KNOWN: OrderedDict[str, tuple[_Compiled, tuple[str, ...]]] = OrderedDict()


def _compiled_for(graph: keras.Model, walk: _Walk) -> tuple[_Compiled, tuple[str, ...]]:
    """The functions of this architecture and what its layers are called in them."""
    if walk.key is None:
        return _Compiled(graph, walk), walk.names
    found = _KNOWN.pop(walk.key, None) or (_Compiled(graph, walk), walk.names)
    _KNOWN[walk.key] = found
    while len(_KNOWN) > KEPT:
        _KNOWN.popitem(last=False)
    return found


# ── an opened network ──────────────────────────────────────────────────────────────────────────────────
class Opened:
    """A network as one flat graph cut at its logits, with its compiled functions. Made by `opened`.

    Attributes
    ----------
    graph : keras.Model
        From the pictures to the logits.
    """

    def __init__(self, model: keras.Model) -> None:
        self.name = model.name
        flat = flatten(model)
        if _repeated("logits", 2) in {layer.name for layer in flat.layers}:
            raise ModelError(
                f"network {self.name} has several layers named logits", "rename all but the last"
            )
        self.graph = graph = logit_model(flat)
        shape = graph.outputs[0].shape
        if len(shape) != 2 or shape[-1] < 2:
            raise ModelError(
                f"logits of network {self.name} have the shape {shape}: the classes need a unit each",
                "give the layer one unit per class; with a single unit, class 0 and class 1 would get the "
                "same map, and ScoreCAM a softmax over one value",
            )
        self.classes = shape[-1]
        walk = _Walk.of(graph)
        self._weights = walk.variables
        self._compiled, names = _compiled_for(graph, walk)
        self._called = dict(zip(walk.names, names, strict=True))

    def checked(self, pictures: ArrayLike, classes: ArrayLike) -> tuple[NDArray, NDArray[np.int32]]:
        """Pictures as float32 and classes as int32, both checked against the network."""
        x = self.pictures(pictures)
        found = np.asarray(classes)
        fits = found.shape == (len(x),) and found.dtype.kind in "iub"
        if not fits or found.min() < 0 or found.max() >= self.classes:
            raise ModelError(
                f"classes of type {found.dtype} and shape {found.shape} do not fit {len(x)} pictures and "
                f"{self.classes} classes",
                f"give one whole number from 0 to {self.classes - 1} per picture",
            )
        return x, found.astype(np.int32)

    def pictures(self, pictures: ArrayLike) -> NDArray[np.float32]:
        """Pictures as float32, checked: at least one, finite, of the network's input shape."""
        x = np.asarray(pictures)
        expected = tuple(self.graph.inputs[0].shape[1:])
        fits = x.ndim == len(expected) + 1 and len(x) > 0 and x.dtype.kind in "iubf"
        if not fits or any(b not in (None, a) for a, b in zip(x.shape[1:], expected, strict=True)):
            raise ModelError(
                f"pictures of type {x.dtype} and shape {x.shape} do not fit network {self.name}",
                f"give at least one picture, as an array of shape (n, {', '.join(map(str, expected))})",
            )
        x = x.astype(np.float32)
        if not np.isfinite(x).all():
            raise ModelError(
                f"the pictures for network {self.name} are not finite", "check how they are made"
            )
        return x

    def layer(self, name: str) -> keras.layers.Layer:
        """The layer of the flat graph with this name, checked to have rows and columns."""
        found = {layer.name: layer for layer in self.graph.layers}
        if name not in found:
            raise ModelError(
                f"network {self.name} has no layer {name} before its logits",
                f"use one of: {', '.join(found)}",
            )
        if _repeated(name, 2) in found:
            raise ModelError(
                f"network {self.name} uses {name} more than once", "choose a layer that is used once"
            )
        shape = found[name].output.shape
        if len(shape) != 4 or shape[1:3] == (1, 1):
            raise ModelError(
                f"layer {name} has no rows and columns (its output is {shape})",
                "choose a layer before the pooling",
            )
        return found[name]

    def logits(self, x: NDArray[np.float32], batch_size: int) -> NDArray[np.float32]:
        """Logits, shape (n, classes)."""
        starts = range(0, len(x), batch_size)
        return np.concatenate(
            [self._compiled(self._weights, "logits", x[start : start + batch_size]) for start in starts]
        )

    def scores(
        self, x: NDArray[np.float32], classes: NDArray[np.int32], output: str, batch_size: int
    ) -> NDArray[np.float64]:
        """The explained output of each picture, shape (n,)."""
        # one picture broadcast to n, as a black baseline is, is asked once
        values = self.logits(x[:1] if x.strides[0] == 0 else x, batch_size).astype(np.float64)
        if output == "probabilities":
            powers = np.exp(values - values.max(axis=1, keepdims=True))
            values = powers / powers.sum(axis=1, keepdims=True)
        return np.broadcast_to(values, (len(x), self.classes))[np.arange(len(x)), classes]

    def gradients(
        self, x: NDArray[np.float32], classes: NDArray[np.int32], output: str
    ) -> NDArray[np.float32]:
        """Gradient of the explained output by the picture, shape of ``x``; one pass, so mind the memory."""
        return self._compiled(self._weights, "gradient", x, classes, output=output)

    def path(
        self,
        ends: NDArray[np.float32],
        starts: NDArray[np.float32],
        classes: NDArray[np.int32],
        source: NDArray[np.integer],
        place: NDArray[np.floating],
        weight: NDArray[np.floating],
        into: NDArray[np.integer],
        count: int,
        output: str,
    ) -> NDArray[np.float32]:
        """Weighted gradients at points of straight paths times the paths, summed; shape (count, height, width).

        One pass of as many points as ``source`` has, so mind the memory.

        Parameters
        ----------
        ends, starts : array, shape (k, height, width, 3)
            Of the paths.
        classes : int array, shape (k,)
        source : int array, shape (b,)
            The path each point lies on.
        place, weight : array, shape (b,)
            How far along its path, from 0 to 1, and how much its gradient counts.
        into : int array, shape (b,)
            The map, of ``count``, that the point adds to.
        """
        numbers = (np.asarray(part, dtype=np.float32) for part in (place, weight))
        given = (
            ends, starts, classes, source.astype(np.int32), *numbers, into.astype(np.int32), np.int32(count)
        )  # fmt: skip
        return self._compiled(self._weights, "path", *given, output=output)

    def weighed(
        self, layer: str, weighing: Weighing, x: NDArray[np.float32], classes: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """``weighing`` of the layer's maps and the gradients of the asked logits by them, in one pass.

        Compiled once for a layer and a ``weighing``, so give the same function each time.
        """
        called = self._called[self.layer(layer).name]
        return self._compiled(self._weights, "weighed", x, classes, layer=called, weighing=weighing)

    def finish(
        self,
        maps: NDArray[np.floating],
        method: str,
        settings: Mapping[str, object],
        *,
        signed: bool,
        gap: NDArray[np.float64] | None = None,
    ) -> Maps:
        """`Maps` of these values, unless one of them is not finite."""
        found = np.asarray(maps, dtype=np.float32)
        if not np.isfinite(found).all() or (gap is not None and not np.isfinite(gap).all()):
            raise ModelError(
                f"the {method} map of network {self.name} is not finite",
                "check the network's weights and its input",
            )
        return Maps(found, ~found.any(axis=(1, 2)), signed, method, dict(settings), gap)


# The value holds layers, never the network itself, so a network no longer used takes its entry along.
_OPENED: weakref.WeakKeyDictionary[keras.Model, tuple[tuple[int, ...], Opened]] = weakref.WeakKeyDictionary()


def opened(model: keras.Model) -> Opened:
    """Open a network for explanation; the same network is opened, and compiled, once.

    Its weights may change between calls, since they are shared. Layers must not be exchanged inside a nested
    network or changed in place after the first explanation.

    Raises
    ------
    ModelError
        When it cannot be flattened, or has no linear layer named ``logits`` with a unit per class.
    """
    layers = tuple(id(layer) for layer in model.layers)  # another set where a Sequential grew or shrank
    known = _OPENED.get(model)
    if known is None or known[0] != layers:
        known = _OPENED[model] = (layers, Opened(model))
    return known[1]


def class_scores(
    model: keras.Model,
    pictures: ArrayLike,
    classes: ArrayLike,
    *,
    output: str = "logits",
    batch_size: int = 32,
) -> NDArray[np.float64]:
    """The output that an explanation explains, one number per picture.

    Parameters
    ----------
    model : keras.Model
        With a linear layer named ``logits``.
    pictures : array, shape (n, height, width, 3)
        In the scale the network expects.
    classes : int array, shape (n,)
        Whose output is wanted, per picture.
    output : {"logits", "probabilities"}
        Before or after a softmax over the logits.
    batch_size : int
        Pictures at a time.

    Raises
    ------
    ModelError, ParameterError
        When the network, the pictures, the classes or a setting do not fit.
    """
    check_whole("batch_size", batch_size, 1)
    check_choice("output", output, OUTPUTS)
    net = opened(model)
    x, asked = net.checked(pictures, classes)
    return net.scores(x, asked, output, batch_size)
