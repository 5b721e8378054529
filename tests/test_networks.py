"""CustNet: the repaired network has the printed layers, training follows from its seed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from pdlib import networks
from pdlib.errors import ModelError, ParameterError
from pdlib.networks import CustNetConfig, Learner, custnet, keras, logit_model, tf
from pdlib.pictures import remove_alpha, slope_graph
from pdlib.printed_network import CHOICES, REPAIRS

TINY = CustNetConfig(input_size=32, width=0.125)


def drawn_curve(rng, dips):
    """Curves of one second: a wobbling slope and level, in one class with a dip somewhere in the middle."""
    times = 0.016 + 0.01 * np.arange(97)

    def wobble(size):
        waves = np.sin(2 * np.pi * (rng.uniform(2, 6) * times + rng.random()))
        return size * waves + rng.normal(0, 0.8, 97)

    slope, energy = rng.normal(-8, 1) + wobble(1), rng.normal(-20, 3) + wobble(2)
    if dips:
        dip = np.exp(-0.5 * ((times - rng.uniform(0.25, 0.75)) / rng.uniform(0.03, 0.07)) ** 2)
        slope, energy = slope - rng.uniform(3, 6) * dip, energy - rng.uniform(15, 30) * dip
    return SimpleNamespace(times=times, slope=slope, energy=energy, mask=np.ones(97, dtype=bool))


def dip_pictures(n, size, seed):
    """An easy problem with a known answer: does the curve dip (1) or not (0)?"""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    return np.stack([remove_alpha(slope_graph(drawn_curve(rng, dips), size)) for dips in labels]), labels


@pytest.fixture(scope="module")
def learner():
    return Learner(TINY)


@pytest.fixture(scope="module")
def data():
    return dip_pictures(14, 32, 0)


def same(first, second):
    return all((a == b).all() for a, b in zip(first.weights, second.weights, strict=True))


# ------------------------------------------------------------------------------- the repaired network


@pytest.mark.parametrize(
    ("version", "size", "shapes"),
    [
        ("text", 244, {"Add": [(122, 122, 128), (61, 61, 244), (31, 31, 728)]}),
        ("algorithm3", 256, {"Add": [(128, 128, 128), (64, 64, 256)]}),
    ],
)
def test_the_repaired_network_has_the_printed_sizes_at_full_scale(version, size, shapes):
    model = custnet(CustNetConfig(input_size=size, width=1, version=version), seed=0)
    adds = [layer.output.shape[1:] for layer in model.layers if isinstance(layer, keras.layers.Add)]
    assert adds == shapes["Add"]
    printed = {32, 64, 128, 1024, 244, 728} if version == "text" else {32, 64, 128, 1024, 256}
    convolutions = {layer.filters for layer in model.layers if type(layer) is keras.layers.Conv2D}
    assert convolutions == printed
    assert networks.deviations(CustNetConfig(input_size=size, width=1, version=version)) == ()


def test_the_only_layers_beyond_the_printed_ones_are_the_named_projections():
    model = custnet(CustNetConfig(input_size=244, width=1, middle_blocks=2), seed=0)
    repairs = [layer.name for layer in model.layers if layer.name.startswith("repair_")]
    assert sorted(repairs) == sorted(
        f"repair_{where}{part}" for where in ("middle_0", "exit_1", "exit_2") for part in ("", "_bn")
    )
    kinds = [type(layer).__name__ for layer in model.layers if layer.name not in repairs]
    # two entry and one residual convolution, and a pointwise one in each of 6 + 2 + 2 separable convolutions
    assert kinds.count("Conv2D") == 3 + 10 and kinds.count("DepthwiseConv2D") == 10
    assert kinds.count("BatchNormalization") == 3 + 2 * 10
    assert kinds.count("MaxPooling2D") == 2 and kinds.count("Add") == 2 + 2


def test_every_repair_says_where_what_and_why():
    for note in REPAIRS + CHOICES + networks.deviations(TINY):
        assert note.where and note.printed and note.change and note.why
    assert len(networks.deviations(TINY)) == 2


def test_width_keeps_a_least_number_of_filters():
    assert CustNetConfig(width=0.01).filters(1024) == 10
    assert CustNetConfig(width=0.01).filters(64) == networks.FEWEST_FILTERS


@pytest.mark.parametrize(
    "wrong",
    [{"input_size": 8}, {"input_size": 96.5}, {"width": 0}, {"width": float("nan")}, {"middle_blocks": 0}]
    + [{"version": "xception"}, {"classes": 1}],
)
def test_impossible_settings_are_named(wrong):
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        CustNetConfig(**wrong)


# ----------------------------------------------------------------------------------------- the network


def test_whole_numbers_and_floats_are_the_same_picture(data):
    model = custnet(TINY, seed=0)
    whole, floats = (model(data[0].astype(kind)).numpy() for kind in (np.uint8, np.float32))
    assert (whole == floats).all() and whole.sum(axis=1) == pytest.approx(1)


def test_white_paper_is_zero_and_ink_is_one():
    model = custnet(TINY, seed=0)
    ink = keras.Model(model.input, model.get_layer("ink").output)
    picture = np.full((1, 32, 32, 3), 255, dtype=np.uint8)
    picture[0, 0, 0] = 0
    values = ink(picture).numpy()
    assert values[0, 0, 0].tolist() == [1, 1, 1] and np.abs(values[0, 1:]).max() == 0


def test_the_same_seed_gives_the_same_network_and_another_seed_another(data):
    first, again, other = (custnet(TINY, seed).get_weights() for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_logits_pooled_and_probabilities_agree(data):
    model = custnet(TINY, seed=3)
    pooled = keras.Model(model.input, model.get_layer("pooled").output)(data[0]).numpy()
    maps = keras.Model(model.input, model.get_layer("last_conv").output)(data[0]).numpy()
    kernel, bias = model.get_layer("logits").get_weights()
    logits = logit_model(model)(data[0]).numpy()
    assert pooled == pytest.approx(maps.mean(axis=(1, 2)), abs=1e-5)
    assert logits == pytest.approx(pooled @ kernel + bias, abs=1e-5)
    powers = np.exp(logits)
    assert model(data[0]).numpy() == pytest.approx(powers / powers.sum(axis=1, keepdims=True), abs=1e-5)


def test_a_network_without_linear_logits_has_no_logit_model():
    picture = keras.Input((8, 8, 3))
    flat = keras.layers.Flatten()(picture)
    with pytest.raises(ModelError, match="no layer named logits"):
        logit_model(keras.Model(picture, keras.layers.Dense(2, activation="softmax")(flat)))
    squashed = keras.layers.Dense(2, activation="softmax", name="logits")(flat)
    with pytest.raises(ModelError, match="has an activation"):
        logit_model(keras.Model(picture, squashed))


# ---------------------------------------------------------------------------------------- the training


def test_a_fit_after_other_fits_is_that_of_a_fresh_learner(learner, data):
    pictures, labels = data
    learner.fit(pictures[::-1], labels, seed=9, epochs=3, learning_rate=0.01)
    used = learner.fit(pictures, labels, seed=1, epochs=2)
    fresh = Learner(TINY).fit(pictures, labels, seed=1, epochs=2)
    assert same(used, fresh)
    assert all((used.history[key] == fresh.history[key]).all() for key in used.history)


def test_the_result_is_that_of_another_process(learner, data):
    code = (
        "import sys, hashlib, numpy as np\n"
        "from pdlib.networks import CustNetConfig, Learner\n"
        "x = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3)).astype(np.uint8)\n"
        "net = Learner(CustNetConfig(32, 0.125)).fit(x, np.arange(6) % 2, seed=4, epochs=2)\n"
        "print(hashlib.sha256(b''.join(w.tobytes() for w in net.weights)).hexdigest())\n"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    x = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3)).astype(np.uint8)
    here = learner.fit(x, np.arange(6) % 2, seed=4, epochs=2)
    assert other.stdout.strip() == hashlib.sha256(b"".join(w.tobytes() for w in here.weights)).hexdigest()
    assert other.stderr == ""  # TensorFlow's start-up notes would end up in a page


def test_the_seed_decides_weights_and_order(learner, data):
    first, again, other = (learner.fit(*data, seed=seed, epochs=1) for seed in (1, 1, 2))
    assert same(first, again) and not same(first, other)


def test_surrounding_random_state_changes_nothing(learner, data):
    first = learner.fit(*data, seed=1, epochs=1)
    np.random.seed(123)  # noqa: NPY002 - the point is a caller who does
    keras.utils.set_random_seed(321)
    assert same(first, learner.fit(*data, seed=1, epochs=1))


def test_training_moves_the_weights_and_the_running_statistics(learner, data):
    start = networks.initial_weights(learner.model(learner.fit(*data, seed=1, epochs=1)), 1)
    trained = learner.fit(*data, seed=1, epochs=1).weights
    moved = [(a != b).any() for a, b in zip(start, trained, strict=True)]
    # a bias before batch normalisation has no effect, so its gradient is rounding at most
    assert np.mean(moved) > 0.7


def test_following_validation_data_does_not_change_the_training(learner, data):
    alone = learner.fit(*data, seed=1, epochs=2)
    followed = learner.fit(*data, seed=1, epochs=2, validation=dip_pictures(6, 32, 5))
    assert same(alone, followed)
    assert set(alone.history) == {"loss", "accuracy"}
    assert set(followed.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert all(values.shape == (2,) for values in followed.history.values())


def test_the_last_validation_row_is_what_the_trained_network_scores(learner, data):
    held_out, truth = dip_pictures(6, 32, 5)
    net = learner.fit(*data, seed=1, epochs=2, validation=(held_out, truth))
    scores = learner.predict(net, held_out)
    assert scores.shape == (6, 2) and scores.sum(axis=1) == pytest.approx(1)
    assert net.history["val_loss"][-1] == pytest.approx(-np.log(scores[np.arange(6), truth]).mean(), abs=1e-5)
    assert net.history["val_accuracy"][-1] == (scores.argmax(axis=1) == truth).mean()


def test_the_first_loss_is_that_of_the_drawn_weights_in_training_mode(learner, data):
    pictures, labels = data
    net = learner.fit(pictures, labels, seed=1, epochs=1, batch_size=len(labels))
    logits = logit_model(custnet(TINY, 1))(pictures, training=True).numpy().astype(float)
    log_sum = np.log(np.exp(logits).sum(axis=1))
    assert net.history["loss"][0] == pytest.approx((log_sum - logits[np.arange(14), labels]).mean(), abs=1e-4)


def test_the_first_step_is_adams(learner, data):
    pictures, labels = data
    rate = 0.01
    net = learner.fit(pictures, labels, seed=1, epochs=1, batch_size=len(labels), learning_rate=rate)
    model = custnet(TINY, 1)
    before = model.get_layer("logits").get_weights()[0]
    after = learner.model(net).get_layer("logits").get_weights()[0]
    # Adam's first step has the size of the learning rate, whatever the gradient's
    assert np.abs(after - before) == pytest.approx(np.full(before.shape, rate), rel=0.01)


def in_plain_keras(config, pictures, labels, seed, steps):
    """Losses of ``steps`` steps on one batch, and the weights after them, as Keras itself does it."""
    model = custnet(config, seed)
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy")
    losses = [float(model.train_on_batch(pictures.astype(np.float32), labels)) for _ in range(steps)]
    return losses, model.get_weights()


def test_training_is_that_of_plain_keras_up_to_rounding(learner, data):
    pictures, labels = data
    net = learner.fit(pictures, labels, seed=1, epochs=4, batch_size=len(labels))
    order = np.random.default_rng([1, 1]).permutation(len(labels))
    losses, weights = in_plain_keras(TINY, pictures[order], labels[order], 1, 4)
    # One activation that rounds to the other side of zero changes a gradient in its third digit.
    assert net.history["loss"] == pytest.approx(losses, rel=0.01)
    names = [weight.name for weight in learner.model(net).weights]
    # Of a bias before a normalisation the gradient is zero, and Keras's Adam makes steps of its rounding.
    start, ours, theirs = (
        np.concatenate([each.ravel() for name, each in zip(names, kept, strict=True) if name != "bias"])
        for kept in (learner.start(1), net.weights, weights)
    )
    assert np.linalg.norm(ours - theirs) < 0.1 * np.linalg.norm(theirs - start)


@pytest.mark.parametrize("channels", [16, 13])
def test_the_fused_normalisation_is_keras_own(channels):
    x = tf.constant(np.random.default_rng(0).normal(3, 2, (4, 6, 5, channels)).astype(np.float32))
    weight = tf.constant(np.random.default_rng(1).normal(size=x.shape).astype(np.float32))
    found = []
    for kind in (keras.layers.BatchNormalization, networks._FusedBatchNorm):
        layer = kind(momentum=0.7)
        layer.build(x.shape)
        layer.gamma.assign(np.linspace(0.5, 2, channels))
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            score = tf.reduce_sum(y * weight)
        gradients = tape.gradient(score, [x, *(variable.value for variable in layer.trainable_variables)])
        found.append([y, layer(x, training=False), *gradients, *layer.get_weights()])
    for theirs, ours in zip(*found, strict=True):
        assert np.asarray(ours) == pytest.approx(np.asarray(theirs), rel=1e-4, abs=1e-5)


def test_adam_in_one_vector_is_keras_own():
    rng = np.random.default_rng(0)
    shapes = ((3, 4), (5,), (2, 2, 2))
    starts = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    ours, theirs = ([keras.Variable(start) for start in starts] for _ in range(2))
    one, other = networks._Adam(ours), keras.optimizers.Adam(0.01)
    one.reset(0.01)
    for _ in range(20):
        gradients = [tf.constant(rng.normal(size=shape).astype(np.float32)) for shape in shapes]
        one.apply(gradients)
        other.apply_gradients(zip(gradients, theirs, strict=True))
    for a, b in zip(ours, theirs, strict=True):
        assert a.numpy() == pytest.approx(b.numpy(), abs=1e-6)


def test_channels_that_were_filled_up_stay_zero(learner, data):
    net = learner.fit(*data, seed=1, epochs=3)
    spare = 0
    for wide, own in zip(learner._trained.get_weights(), net.weights, strict=True):
        kept = tuple(map(slice, own.shape))
        assert (wide[kept] == own).all()
        wide[kept] = 0
        assert not wide.any()
        spare += wide.size - own.size
    assert spare > 0  # or nothing was tried


def test_folded_normalisations_change_no_score(learner, data):
    net = learner.fit(*data, seed=1, epochs=3)
    plain = learner.model(net)
    kinds = {type(layer) for layer in networks.folded(plain).layers}
    assert keras.layers.BatchNormalization not in kinds
    assert learner.predict(net, data[0]) == pytest.approx(plain(data[0]).numpy(), abs=1e-5)


def test_batches_of_an_epoch_never_leave_a_single_picture_over(learner, monkeypatch):
    sizes = []

    def step(x, y):
        sizes.append(len(x))
        return 0.0, 0

    monkeypatch.setattr(learner, "_train_step", step)
    pictures, labels = np.zeros((17, 32, 32, 3), dtype=np.uint8), np.arange(17) % 2
    learner.fit(pictures, labels, seed=0, epochs=1, batch_size=8)
    assert sizes == [6, 6, 5]


def test_scores_do_not_depend_on_the_pictures_beside_them(learner, data):
    net = learner.fit(*data, seed=1, epochs=2)
    together = learner.predict(net, data[0])
    singly = np.concatenate([learner.predict(net, data[0][i : i + 1]) for i in range(14)])
    assert together == pytest.approx(singly, abs=1e-5)


def test_a_model_handed_out_keeps_its_weights_through_later_fits(learner, data):
    net = learner.fit(*data, seed=1, epochs=1)
    model = learner.model(net)
    expected = learner.predict(net, data[0])
    learner.fit(*data, seed=2, epochs=1)
    assert model(data[0]).numpy() == pytest.approx(expected, abs=1e-5)
    assert learner.predict(net, data[0]) == pytest.approx(expected, abs=1e-6)


def test_pooled_features_are_those_the_last_layer_reads(learner, data):
    net = learner.fit(*data, seed=1, epochs=1)
    features = learner.pooled(net, data[0])
    kernel, bias = learner.model(net).get_layer("logits").get_weights()
    powers = np.exp(features @ kernel + bias)
    expected = powers / powers.sum(axis=1, keepdims=True)
    assert learner.predict(net, data[0]) == pytest.approx(expected, abs=1e-4)


def test_a_learner_survives_free(learner, data):
    before = learner.fit(*data, seed=1, epochs=1)
    networks.free()
    assert same(before, learner.fit(*data, seed=1, epochs=1))


def test_an_easy_problem_is_learnt_and_carries_over_to_new_pictures():
    learner = Learner(CustNetConfig(input_size=64, width=0.125))
    net = learner.fit(*dip_pictures(64, 64, 1), seed=0, epochs=10, batch_size=16, learning_rate=3e-3)
    held_out, truth = dip_pictures(100, 64, 2)
    assert (learner.predict(net, held_out).argmax(axis=1) == truth).mean() > 0.95


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"batch_size": 1}, {"learning_rate": 0.0}, {"learning_rate": float("nan")}]
)
def test_impossible_training_settings_are_named(learner, data, wrong):
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        learner.fit(*data, **({"seed": 0, "epochs": 1} | wrong))


def test_pictures_and_labels_that_do_not_fit_are_refused(learner, data):
    pictures, labels = data
    rgba = np.zeros((14, 32, 32, 4), dtype=np.uint8)
    for x, y, words in (
        (rgba, labels, "alpha"),
        (pictures[:, :16], labels, "input size 32"),
        (pictures[:0], labels[:0], "input size 32"),
        (pictures.astype(float) * np.nan, labels, "0 to 255"),
        (pictures.astype(float) - 10, labels, "0 to 255"),
        (pictures, labels[:-1], "labels"),
        (pictures, labels + 1, "labels"),
        (pictures, labels.astype(float), "labels"),
        (pictures, np.zeros(14, dtype=int), "one class"),
    ):
        with pytest.raises(ModelError, match=words):
            learner.fit(x, y, seed=0, epochs=1)


def test_a_diverging_training_is_not_passed_off_as_a_result(learner, data, monkeypatch):
    monkeypatch.setattr(learner, "_train_step", lambda x, y: (float("nan"), 0))
    with pytest.raises(ModelError, match="learning_rate"):
        learner.fit(*data, seed=0, epochs=1)


def test_weights_of_another_configuration_are_refused(learner, data):
    stranger = networks.TrainedNet([], {}, CustNetConfig(input_size=48, width=0.125))
    with pytest.raises(ModelError, match="belong to"):
        learner.predict(stranger, data[0])
