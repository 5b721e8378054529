"""Opened networks: the flat graph is the same function with the same weights, and nothing is left ambiguous."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from pdlib import maps as maps_module
from pdlib import networks
from pdlib.errors import ModelError, ParameterError
from pdlib.maps import check_above_0, class_scores, enlarge, flatten, opened
from pdlib.networks import CustNetConfig, custnet, keras, tf

SIZE = 16


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)


def head(x):
    x = keras.layers.GlobalAveragePooling2D(name="pooled")(x)
    return keras.layers.Softmax(name="probabilities")(keras.layers.Dense(2, name="logits")(x))


def backbone(name="backbone"):
    """A functional graph with a branch, an operation that is no layer, and normalisation."""
    picture = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="stem")(picture)
    x = keras.layers.BatchNormalization(name="norm")(x)
    y = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="branch")(x)
    return keras.Model(picture, keras.layers.Add(name="joined")([x, y]) * 2.0, name=name)


def one_sequential():
    rescale = keras.layers.Rescaling(1 / 127.5, offset=-1)
    stem = keras.layers.Conv2D(4, 3, activation="relu", name="stem")
    model = keras.Sequential([keras.Input((SIZE, SIZE, 3)), rescale, stem])
    model.add(
        keras.layers.GlobalAveragePooling2D()
    )  # each addition rebuilds the graph: outputs name old ones
    model.add(keras.layers.Dense(2, name="logits"))
    model.add(keras.layers.Softmax())
    return model


def functional_in_functional():
    picture = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(picture)
    return keras.Model(picture, head(backbone()(x, training=False)))


def functional_in_sequential():
    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            backbone(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, name="logits"),
        ]
    )


def three_deep():
    inner = keras.Sequential([keras.layers.Rescaling(1 / 127.5, offset=-1), backbone()], name="inner")
    picture = keras.Input((SIZE, SIZE, 3))
    middle = keras.Model(picture, keras.layers.ReLU(name="last_conv")(inner(picture)), name="middle")
    picture = keras.Input((SIZE, SIZE, 3))
    return keras.Model(picture, head(middle(picture)))


NESTED = {
    f.__name__: f for f in (one_sequential, functional_in_functional, functional_in_sequential, three_deep)
}


@pytest.mark.parametrize("name", NESTED)
def test_the_flat_graph_is_the_same_function_of_the_same_weights(name, pictures):
    model = NESTED[name]()
    flat = flatten(model)
    assert not any(isinstance(layer, keras.Model) for layer in flat.layers)
    assert flat(pictures).numpy() == pytest.approx(model(pictures).numpy(), abs=1e-6)
    before = flat(pictures).numpy()
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.1, 0.9, weight.shape) for weight in model.get_weights()])
    after = flat(pictures).numpy()
    assert np.abs(after - before).max() > 1e-3, "the flat graph keeps weights of its own"
    assert after == pytest.approx(model(pictures).numpy(), abs=1e-5)


def test_a_pretrained_kind_of_backbone_is_flattened_with_all_its_layers(pictures):
    inner = keras.applications.MobileNetV2(
        weights=None, include_top=False, input_shape=(32, 32, 3), alpha=0.35
    )
    picture = keras.Input((32, 32, 3))
    model = keras.Model(picture, head(inner(picture)))
    rng = np.random.default_rng(1)
    # random statistics: an untrained MobileNetV2 gives features of size 1e-12, which would equal anything
    inner.set_weights([rng.uniform(0.2, 1, weight.shape) * 0.5 for weight in inner.get_weights()])
    x = rng.uniform(-1, 1, (3, 32, 32, 3)).astype(np.float32)
    flat = flatten(model)
    names = {layer.name for layer in flat.layers}
    assert {layer.name for layer in inner.layers[1:]} <= names and {"pooled", "logits"} <= names
    expected = model(x).numpy()
    assert np.ptp(expected) > 1e-3
    assert flat(x).numpy() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", NESTED)
def test_flattening_leaves_the_network_as_it_was(name, pictures):
    model = NESTED[name]()

    def state():
        inside = [layer for layer in model._flatten_layers()]  # all of them, at any depth
        return [
            (id(layer), layer.name, len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in inside
        ]

    before, weights, answer = state(), model.get_weights(), model(pictures).numpy()
    opened(model)
    class_scores(model, pictures, np.zeros(len(pictures), int))
    assert state() == before
    assert all((a == b).all() for a, b in zip(weights, model.get_weights(), strict=True))
    assert (model(pictures).numpy() == answer).all()


def test_a_layer_used_twice_keeps_both_uses_and_cannot_be_explained(pictures):
    picture = keras.Input((SIZE, SIZE, 3))
    twice = keras.layers.Conv2D(3, 3, padding="same", name="twice")
    x = keras.layers.ReLU(name="last_conv")(twice(twice(picture)))
    model = keras.Model(picture, head(x))
    assert flatten(model)(pictures).numpy() == pytest.approx(model(pictures).numpy(), abs=1e-6)
    with pytest.raises(ModelError, match="uses twice more than once"):
        opened(model).layer("twice")
    assert opened(model).layer("last_conv").output.shape == (None, SIZE, SIZE, 3)


def test_what_cannot_be_flattened_is_refused_with_the_way_out():
    class Free(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ModelError, match="not built or not functional"):
        flatten(Free())
    with pytest.raises(ModelError, match="not built or not functional"):
        flatten(keras.Sequential([keras.layers.Dense(2, name="logits")]))
    picture = keras.Input((SIZE, SIZE, 3))
    with pytest.raises(ModelError, match="neither a functional graph nor a Sequential"):
        flatten(keras.Model(picture, head(Free(name="free")(picture))))
    other = keras.Input((SIZE, SIZE, 3))
    with pytest.raises(ModelError, match="2 inputs"):
        flatten(keras.Model([picture, other], keras.layers.Add()([picture, other])))


def with_last(*layers):
    picture = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.GlobalAveragePooling2D(name="pooled")(
        keras.layers.Conv2D(3, 3, name="last_conv")(picture)
    )
    for layer in layers:
        x = layer(x)
    return keras.Model(picture, x)


def test_networks_whose_classes_have_no_logit_each_are_refused():
    dense, sigmoid = keras.layers.Dense, keras.layers.Activation("sigmoid")
    with pytest.raises(ModelError, match="a unit each"):
        opened(with_last(dense(1, name="logits"), sigmoid))
    with pytest.raises(ModelError, match="no layer named logits"):
        opened(with_last(dense(2, activation="softmax")))
    with pytest.raises(ModelError, match="has an activation"):
        opened(with_last(dense(2, activation="softmax", name="logits")))
    inner = keras.Model(x := keras.Input((3,)), dense(2, name="logits")(x))
    with pytest.raises(ModelError, match="several layers named logits"):
        opened(with_last(inner, dense(2, name="logits")))


def test_the_softmax_is_cut_off_wherever_it_stands(pictures):
    """Closed form: pooled maps times the kernel of the last layer."""
    model = three_deep()
    kernel, bias = model.get_layer("logits").get_weights()
    pooled = keras.Model(model.input, model.get_layer("pooled").output)(pictures).numpy()
    expected = pooled @ kernel + bias
    for label in (0, 1):
        asked = np.full(len(pictures), label)
        assert class_scores(model, pictures, asked) == pytest.approx(expected[:, label], abs=1e-4)
        found = class_scores(model, pictures, asked, output="probabilities", batch_size=2)
        assert found == pytest.approx(model(pictures).numpy()[:, label], abs=1e-6)


def test_a_network_is_opened_once_and_follows_its_weights(pictures):
    model = three_deep()
    net = opened(model)
    x, asked = net.checked(pictures, np.ones(5, int))
    for batch in (5, 3, 1):
        net.gradients(x[:batch], asked[:batch], "logits")
        net.logits(x[:batch], 4)
    assert opened(model) is net
    assert net._compiled.traces() == {("gradient", "logits"): 1, ("logits",): 1}
    before = net.gradients(x, asked, "logits")
    kernel, bias = model.get_layer("logits").get_weights()
    model.get_layer("logits").set_weights([2 * kernel, bias])
    assert opened(model) is net
    assert net.gradients(x, asked, "logits") == pytest.approx(2 * before, rel=1e-4, abs=1e-9)


def normalised(seed, *, activation="relu", strides=1, scale=1 / 255, extra=None, swap=False, bias=True):
    """Convolutions with every place a batch normalisation can stand in; the same shapes whatever is chosen."""
    layers = keras.layers
    picture = keras.Input((SIZE, SIZE, 3))
    x = layers.Rescaling(scale)(picture)
    x = layers.Conv2D(4, 3, strides=2, padding="same", use_bias=bias)(x)
    x = layers.Activation(activation)(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x)
    x = layers.BatchNormalization(scale=False)(x)
    both = layers.Conv2D(8, 1, groups=2, dilation_rate=1)(x)  # used with and without normalisation
    x = layers.Add()([both, layers.BatchNormalization(center=False)(both)])
    y = layers.BatchNormalization()(layers.Conv2D(8, 3, activation=activation, padding="same")(x))
    x = layers.Concatenate()([y, x] if swap else [x, y])
    x = layers.Conv2D(5, 3, strides=strides, padding="same", name="last_conv")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = extra(x) if extra else x
    model = keras.Model(picture, head(x))
    rng = np.random.default_rng(seed)
    model.set_weights(
        [
            rng.normal(0, 0.4, v.shape) if "kernel" in v.path else rng.uniform(0.2, 1, v.shape)
            for v in model.weights
        ]
    )
    return model


def by_keras(model, pictures, asked):
    """Logits, their gradient by the picture, maps of the last layer and their gradient, without `pdlib.maps`."""
    ends = [model.get_layer(name).output for name in ("last_conv", "logits")]
    both, x = keras.Model(model.input, ends), tf.constant(pictures.astype(np.float32))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        maps, logits = both(x, training=False)
        score = tf.gather(logits, asked, axis=1, batch_dims=1)
    return [part.numpy() for part in (logits, tape.gradient(score, x), maps, tape.gradient(score, maps))]


def products(maps, gradients):
    return tf.reduce_sum(maps * gradients, axis=-1)


def close(found, expected):
    assert np.abs(expected).max() > 1e-6
    return np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("activation", ["relu", "softplus"])
@pytest.mark.parametrize("bias", [True, False])
def test_normalisation_taken_into_a_kernel_changes_nothing(pictures, activation, bias):
    model, asked = normalised(1, activation=activation, bias=bias), np.array([0, 1, 1, 0, 1], dtype=np.int32)
    logits, gradients, maps, slopes = by_keras(model, pictures, asked)
    net = opened(model)
    x, asked = net.checked(pictures, asked)
    assert close(net.logits(x, 2), logits)
    assert close(net.gradients(x, asked, "logits"), gradients)
    # the layer that is asked for is the convolution itself, not what normalisation makes of it
    assert close(net.weighed("last_conv", products, x, asked), (maps * slopes).sum(axis=-1))


def test_networks_of_one_architecture_share_what_is_compiled_but_no_weights(pictures):
    asked = np.ones(5, dtype=np.int32)
    first, second = normalised(1), normalised(2)
    nets = [opened(model) for model in (first, second)]
    assert nets[0]._compiled is nets[1]._compiled
    for _ in range(2):  # in turn: neither takes over the weights of the other
        for model, net in zip((first, second), nets, strict=True):
            x, _asked = net.checked(pictures, asked)
            logits, gradients, maps, slopes = by_keras(model, pictures, asked)
            assert close(net.logits(x, 2), logits)
            assert close(net.gradients(x, asked, "logits"), gradients)
            assert close(net.weighed("last_conv", products, x, asked), (maps * slopes).sum(axis=-1))
    assert set(nets[0]._compiled.traces().values()) == {1}
    del first, nets  # the one it was compiled for may go
    gc.collect()
    again = normalised(3)
    assert close(opened(again).logits(x, 5), by_keras(again, pictures, asked)[0])
    assert set(opened(again)._compiled.traces().values()) == {1}


class Doubled(keras.layers.Layer):
    """Of another library: what it does is not known from outside."""

    def __init__(self, by):
        super().__init__()
        self.by = by

    def call(self, x):
        return x * self.by

    def get_config(self):
        return {}


def changed_call():
    layer = keras.layers.Activation("linear")
    layer.call = lambda x: 3 * x
    return layer


ALIKE = {
    "activation": lambda: normalised(1, activation="elu"),
    "strides": lambda: normalised(1, strides=2),
    "scale": lambda: normalised(1, scale=1 / 127.5),
    "order of inputs": lambda: normalised(1, swap=True),
    "a layer of another library": lambda: normalised(1, extra=Doubled(3.0)),
    "the same, told otherwise": lambda: normalised(1, extra=Doubled(2.0)),
    "an operation": lambda: normalised(1, extra=lambda x: x * 2.0),
    "another operation": lambda: normalised(1, extra=lambda x: x * 3.0),
    "a Lambda": lambda: normalised(1, extra=keras.layers.Lambda(lambda x: 2 * x)),
    "another Lambda": lambda: normalised(1, extra=keras.layers.Lambda(lambda x: 3 * x)),
    "a call of its own": lambda: normalised(1, extra=changed_call()),
    "a function of its own": lambda: normalised(1, extra=keras.layers.Activation(lambda x: 4 * x)),
    "another function": lambda: normalised(1, extra=keras.layers.Activation(lambda x: 5 * x)),
}  # fmt: skip


def test_networks_that_only_look_alike_do_not_share(pictures):
    asked = np.ones(5, dtype=np.int32)
    nets = {"the plain one": normalised(1), **{name: make() for name, make in ALIKE.items()}}
    compiled = [opened(model)._compiled for model in nets.values()]
    assert len({id(one) for one in compiled}) == len(nets)
    for name, model in nets.items():
        found = opened(model).logits(pictures.astype(np.float32), 5)
        assert close(found, by_keras(model, pictures, asked)[0]), name


def test_few_architectures_are_kept(pictures):
    for side in range(8):
        picture = keras.Input((SIZE, SIZE, 3))
        maps = keras.layers.Conv2D(side + 2, 1)(picture)
        class_scores(keras.Model(picture, head(maps)), pictures, np.zeros(5, int))
    assert len(maps_module._KNOWN) == maps_module.KEPT


def test_an_opened_network_survives_the_freeing_of_others(pictures):
    model = three_deep()
    asked = np.ones(5, int)
    before = class_scores(model, pictures, asked)
    networks.free()
    assert (class_scores(model, pictures, asked) == before).all()
    assert opened(model).gradients(*opened(model).checked(pictures, asked), "logits").any()


def test_a_network_no_longer_used_is_given_back():
    model = custnet(CustNetConfig(input_size=16, width=0.05), seed=0)
    class_scores(model, np.zeros((1, 16, 16, 3)), [0])
    net, gone = weakref.ref(opened(model)), weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None and net() is None


def test_a_sequential_that_grew_is_opened_anew(pictures):
    model = keras.Sequential([keras.Input((SIZE, SIZE, 3)), keras.layers.GlobalAveragePooling2D()])
    model.add(keras.layers.Dense(2, name="logits", kernel_initializer="ones"))
    asked = np.zeros(5, int)
    before = class_scores(model, pictures, asked)
    model.pop()
    model.add(keras.layers.Rescaling(2.0))
    model.add(keras.layers.Dense(2, name="logits", kernel_initializer="ones"))
    assert class_scores(model, pictures, asked) == pytest.approx(2 * before, rel=1e-6)


def test_wrong_pictures_classes_and_settings_are_refused(pictures):
    model = three_deep()
    good = np.zeros(5, int)
    for wrong in (pictures[:, :8], pictures[0], pictures[:0], pictures[..., :1], pictures.astype(str)):
        with pytest.raises(ModelError, match="do not fit"):
            class_scores(model, wrong, good[: len(wrong)])
    broken = pictures.astype(float)
    broken[0, 0, 0, 0] = np.nan
    with pytest.raises(ModelError, match="not finite"):
        class_scores(model, broken, good)
    for classes in ([0], good + 2, good - 1, good.astype(float), good[:, None]):
        with pytest.raises(ModelError, match="classes"):
            class_scores(model, pictures, classes)
    with pytest.raises(ParameterError, match="output = 'loss'"):
        class_scores(model, pictures, good, output="loss")
    for size in (0, 2.5, True):
        with pytest.raises(ParameterError, match="batch_size"):
            class_scores(model, pictures, good, batch_size=size)
    for value in (0, -1.0, np.inf, np.nan, True, "1"):
        with pytest.raises(ParameterError, match="above 0"):
            check_above_0("sigma", value)


def test_an_outer_cell_is_enlarged_over_its_own_part():
    coarse = np.zeros((1, 4, 4))
    coarse[0, 0, 0] = 1
    large = enlarge(coarse, 32, 32)[0]
    assert large[:4, :4].min() == 1  # half a cell from the edge the value is its own
    assert large[8:, 12:].max() == 0


def test_enlarging_is_linear_between_the_centres_of_cells():
    assert enlarge(np.array([[[0.0, 1.0]]]), 1, 4)[0, 0] == pytest.approx([0, 0.25, 0.75, 1])
