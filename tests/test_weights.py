"""Backbones: graphs equal to Keras's own, weights checked before use, files that cannot do harm, honest labels."""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
import warnings
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import numpy as np
import pytest

from pdlib import weights as w
from pdlib.errors import DataError, FetchError, ModelError, ParameterError
from pdlib.networks import initial_weights, keras, logit_model, tf
from pdlib.provenance import fingerprint
from pdlib.weights import BACKBONES, WeightsMissing, load_backbone

SMALL = "mobilenet_v1_025"
NAMES = tuple(BACKBONES)
KERAS_SMALL = BACKBONES[SMALL].files[0]
PREPROCESS = {
    "resnet50": keras.applications.resnet50.preprocess_input,
    "mobilenet_v2": keras.applications.mobilenet_v2.preprocess_input,
    "mobilenet_v1_025": keras.applications.mobilenet.preprocess_input,
}


def pictures(n=3, size=32, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (n, size, size, 3)).astype(np.float32)


def application(name, size=32, **options):
    return BACKBONES[name].constructor(weights=None, input_shape=(size, size, 3), **options)


def close(found, wanted, share=1e-5):
    """Equal to this share of the largest value: untrained maps are tiny, an absolute tolerance would say nothing."""
    assert np.abs(wanted).max() > 0
    np.testing.assert_allclose(found, wanted, rtol=0, atol=share * np.abs(wanted).max())


#: Compiled and uncompiled networks round differently: on the real weights, Keras's own ``predict`` and its own
#: call differ by 1e-5 of the largest value, and both are about as far from double precision.
COMPILED = 5e-5


def same_weights(first, second):
    pairs = zip(first.graph().get_weights(), second.graph().get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.fixture(autouse=True)
def nothing_from_this_machine(monkeypatch, tmp_path):
    """No folder, cache or server of the machine takes part; tests that want one set it."""
    monkeypatch.delenv("PDLIB_WEIGHTS", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(w, "KERAS_SERVER", "http://127.0.0.1:9")


# ── files of weights to try ────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def trained():
    """A small network whose weights let something through, so that its maps can be compared."""
    model = application(SMALL, include_top=False)
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.05, 0.5, v.shape).astype(np.float32) for v in model.weights])
    return model


@pytest.fixture(scope="module")
def new_form(trained, tmp_path_factory):
    """Its weights in the form Keras 3 writes."""
    path = tmp_path_factory.mktemp("new") / "small.weights.h5"
    trained.save_weights(path)
    return path


def write_old_form(model, path, order=None):
    """Weights in the form Keras 2 wrote, in which its ImageNet files are."""
    layers = [layer for layer in model.layers if layer.weights]
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layers[i].name.encode() for i in order or range(len(layers))]
        for layer in layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{weight.name}:0" for weight in layer.weights]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, value in zip(names, layer.get_weights(), strict=True):
                group[name] = value
    return path


@pytest.fixture(scope="module")
def old_form(trained, tmp_path_factory):
    return write_old_form(trained, tmp_path_factory.mktemp("old") / "small.h5")


def copied(path, folder, name=None):
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / (name or path.name)
    target.write_bytes(path.read_bytes())
    return target


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


# ── graphs ─────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module", params=NAMES)
def untrained(request):
    """A backbone's name, its graph with weights of seed 3, pictures and their maps."""
    graph = load_backbone(request.param, 32, "untrained", seed=3).graph()
    x = pictures()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return request.param, graph, x, graph(x, training=False).numpy()


def set_drawn(reference, graph, seed):
    """Weights as documented: drawn by the common rule, statistics of normalisation as in ``graph``."""
    reference.set_weights(initial_weights(reference, seed))
    for layer in reference.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights(graph.get_layer(layer.name).get_weights())


def test_the_graph_is_the_application_with_its_preprocessing_inside(untrained):
    name, graph, x, maps = untrained
    reference = application(name, include_top=False)
    set_drawn(reference, graph, 3)
    close(maps, reference(PREPROCESS[name](x.copy()), training=False).numpy())
    assert graph.layers[-1].name == BACKBONES[name].last_layer == reference.layers[-1].name


def test_the_graph_is_flat_frozen_and_takes_pictures(untrained):
    _, graph, x, maps = untrained
    assert [tensor.name for tensor in graph.inputs] == ["picture"] and graph.input_shape == (None, 32, 32, 3)
    assert not any(isinstance(layer, keras.Model) for layer in graph.layers)
    assert not any(layer.trainable for layer in graph.layers) and not graph.trainable_weights
    np.testing.assert_array_equal(graph(x, training=True).numpy(), maps)


def test_a_graph_can_be_cloned(untrained):
    _, graph, x, maps = untrained
    clone = keras.models.clone_model(graph)
    clone.set_weights(graph.get_weights())
    np.testing.assert_array_equal(clone(x).numpy(), maps)


def test_untrained_maps_are_of_order_1_and_differ_between_pictures(untrained):
    name, _, x, maps = untrained
    assert 0.05 < maps.std() < 5
    assert np.abs(maps[0] - maps[1]).max() > 0.05


def test_untrained_statistics_are_those_of_noise_and_depend_on_the_seed_alone():
    first, again, other = (load_backbone(SMALL, 32, "untrained", seed=s).graph() for s in (1, 1, 2))
    w._drawn.cache_clear()
    fresh = load_backbone(SMALL, 32, "untrained", seed=1).graph()
    name = "conv_dw_5_bn"
    for graph, same in ((again, True), (fresh, True), (other, False)):
        pairs = zip(first.get_layer(name).get_weights(), graph.get_layer(name).get_weights(), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs) == same
    variance = first.get_layer(name).get_weights()[3]
    assert not np.allclose(variance, 1)


@pytest.mark.parametrize("name", NAMES)
def test_the_classifier_is_the_applications_split_before_the_softmax(name):
    graph = load_backbone(name, 32, "untrained", with_top=True, seed=4).graph()
    reference = application(name, include_top=True, classifier_activation=None)
    set_drawn(reference, graph, 4)
    values = reference.get_weights()
    values[-1] = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    reference.set_weights(values)
    logits = graph.get_layer("logits")
    logits.bias.assign(values[-1])
    x = pictures()
    wanted = reference(PREPROCESS[name](x.copy()), training=False)
    close(logit_model(graph)(x).numpy(), wanted.numpy())
    close(graph(x).numpy(), tf.nn.softmax(wanted).numpy())
    assert [layer.name for layer in graph.layers[-3:]] == ["pooled", "logits", "probabilities"]
    np.testing.assert_array_equal(logits.kernel.numpy(), values[-2].reshape(logits.kernel.shape))


def test_features_are_the_last_maps_with_and_without_the_classifier():
    x = pictures()
    backbone = load_backbone(SMALL, 32, "untrained")
    features = backbone.features(x, batch=2)
    close(features, backbone.graph()(x).numpy(), COMPILED)
    assert features.dtype == np.float32
    close(load_backbone(SMALL, 32, "untrained", with_top=True).features(x), features, COMPILED)


def test_a_graph_can_be_changed_without_changing_another_or_the_features():
    backbone = load_backbone(SMALL, 32, "untrained", seed=5)
    x = pictures()
    before, first, second = backbone.features(x), backbone.graph(), backbone.graph()
    for layer in first.layers:
        layer.trainable = True
    # In place, as optimisers do it: a variable that lived in the memory of a kept array would spoil it.
    optimizer = keras.optimizers.SGD(1e3)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(first(x, training=True))
    optimizer.apply(tape.gradient(loss, first.trainable_variables), first.trainable_variables)
    for variable in first.variables:
        variable.value.assign_add(tf.ones_like(variable.value))
    assert not np.allclose(first(x).numpy(), before)
    close(second(x).numpy(), before, COMPILED)
    np.testing.assert_array_equal(backbone.features(x), before)
    np.testing.assert_array_equal(load_backbone(SMALL, 32, "untrained", seed=5).features(x), before)
    assert not any(layer.trainable for layer in backbone.graph().layers)


def test_pictures_that_do_not_fit_are_refused():
    backbone = load_backbone(SMALL, 32, "untrained")
    with pytest.raises(ModelError, match="input size 32"):
        backbone.features(pictures(size=40))
    with pytest.raises(ModelError, match="0 to 255"):
        backbone.features(pictures() - 200)
    with pytest.raises(ParameterError, match="batch"):
        backbone.features(pictures(), batch=0)


# ── identity ───────────────────────────────────────────────────────────────────────────────────────────
def test_backbones_are_equal_exactly_when_all_that_determines_them_is(new_form):
    def make(size=32, weights="untrained", **options):
        return load_backbone(SMALL, size, weights, **options)

    base = make(seed=1)
    others = [make(seed=2), make(40, seed=1), make(with_top=True, seed=1), make(weights=new_form)]
    assert base == make(seed=1) and hash(base) == hash(make(seed=1))
    assert len({base, *others}) == 5
    assert len({fingerprint(b.identity) for b in (base, *others)}) == 5
    assert make(weights=new_form, seed=8) == make(weights=new_form, seed=9)
    assert base != "mobilenet"


def test_the_title_says_what_the_weights_are(new_form):
    assert load_backbone(SMALL, 32, "untrained").title == "MobileNet (α = 0.25) (untrained)"
    assert load_backbone(SMALL, 32, new_form).title == "MobileNet (α = 0.25), own file"


def test_the_table_shows_every_origin(new_form):
    backbones = [load_backbone(SMALL, 32, "untrained", seed=7), load_backbone(SMALL, 32, new_form)]
    shown = w.table({b.title: b.origin for b in backbones})
    assert shown["network"].tolist() == [b.title for b in backbones]
    assert shown["weights"].tolist() == ["untrained", "own file"]
    assert shown["sha256"].tolist() == ["none", sha256(new_form)]
    assert "seed 7" in shown["source"][0]
    assert str(new_form.parent) not in shown.to_string()
    assert list(w.table([backbones[0].origin])) == list(shown)[1:]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"name": "vgg16"}, "vgg16"),
        ({"size": 31}, "size = 31"),
        ({"size": 64.0}, "size = 64.0"),
        ({"seed": -1}, "seed = -1"),
        ({"with_top": "yes"}, "with_top = 'yes'"),
        ({"weights": "imagnet"}, "imagnet"),
        ({"weights": "ImageNet"}, "ImageNet"),
        ({"weights": None}, "None"),
    ],
)
def test_wrong_arguments_are_named(arguments, named):
    with pytest.raises(ParameterError, match=named):
        load_backbone(**{"name": SMALL, "size": 32, "weights": "untrained"} | arguments)


# ── a reader's own file ────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("form", ["new_form", "old_form"])
def test_an_own_file_gives_its_weights_and_no_claim_about_them(form, trained, request):
    path = request.getfixturevalue(form)
    backbone = load_backbone(SMALL, 32, str(path))
    x = pictures()
    close(backbone.graph()(x).numpy(), trained(PREPROCESS[SMALL](x.copy()), training=False).numpy())
    origin = backbone.origin
    assert (origin.kind, origin.label, origin.checked) == ("own", "own file", False)
    assert (origin.file, origin.sha256) == (path.name, sha256(path))


def test_a_replaced_file_is_read_anew(new_form, trained, tmp_path):
    path = copied(new_form, tmp_path)
    before = load_backbone(SMALL, 32, path)
    other = application(SMALL, include_top=False)
    other.set_weights([np.array(v) * 0.5 for v in trained.get_weights()])
    other.save_weights(path)
    after = load_backbone(SMALL, 32, path)
    assert after != before and not same_weights(after, before)


@pytest.mark.parametrize("name", ["w.keras", "w.pkl", "w.pb", "w.pt", "w.npz", "w.hdf5", "w.weights.json"])
def test_other_kinds_of_file_are_not_opened(name, tmp_path):
    (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(DataError, match=r"is not read(.|\n)*\.weights\.h5"):
        load_backbone(SMALL, 32, tmp_path / name)


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir])
def test_a_file_that_is_not_there_is_named(make, tmp_path):
    make(tmp_path / "mine.weights.h5")
    with pytest.raises(DataError, match=r"mine\.weights\.h5: there is no such file"):
        load_backbone(SMALL, 32, tmp_path / "mine.weights.h5")


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_renamed_pickle_is_recognised_and_not_run(tmp_path):
    path, trace = tmp_path / "mine.weights.h5", tmp_path / "it-ran"
    path.write_bytes(pickle.dumps(Harmful(trace)))
    with pytest.raises(DataError, match="not an HDF5 file, it looks like a pickle"):
        load_backbone(SMALL, 32, path)
    assert not trace.exists()
    pickle.loads(path.read_bytes())
    assert trace.exists()  # the file would have done it


def test_a_renamed_keras_archive_is_recognised_and_not_run(tmp_path):
    trace = tmp_path / "it-ran"
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x)])
    model.save(tmp_path / "mine.keras")
    for name in ("mine.h5", "mine.weights.h5"):
        (tmp_path / name).write_bytes((tmp_path / "mine.keras").read_bytes())
        assert zipfile.is_zipfile(tmp_path / name)
        with pytest.raises(DataError, match="not an HDF5 file, it is a zip archive"):
            load_backbone(SMALL, 32, tmp_path / name)
    assert not trace.exists()


def test_a_page_saved_under_the_files_name_is_not_taken_for_it(tmp_path):
    (tmp_path / "mine.h5").write_text("<html>Please sign in</html>")
    with pytest.raises(DataError, match="not an HDF5 file"):
        load_backbone(SMALL, 32, tmp_path / "mine.h5")


def test_a_truncated_file_is_called_damaged(new_form, old_form, tmp_path):
    for path in (new_form, old_form):
        (tmp_path / path.name).write_bytes(path.read_bytes()[:-1000])
        with pytest.raises(DataError, match="damaged or incomplete"):
            load_backbone(SMALL, 32, tmp_path / path.name)


def test_a_file_of_another_size_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "mine.h5"
    with path.open("wb") as file:
        file.truncate(2**40)  # a hole: it takes no room, and hashing it would take an hour
    with pytest.raises(DataError, match="1,099,511,627,776 bytes"):
        load_backbone(SMALL, 32, path)


FIRST = "layers/conv2d/vars/0"


def external_link(file, tmp_path):
    del file[FIRST]
    file[FIRST] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/secret")


def soft_link(file, tmp_path):
    del file[FIRST]
    file[FIRST] = h5py.SoftLink("/layers/conv2d_1/vars/0")


def loop(file, tmp_path):
    file["layers/conv2d/again"] = file["/"]


def external_storage(file, tmp_path):
    shape = file[FIRST].shape
    (tmp_path / "secret.bin").write_bytes(np.full(shape, 7, np.float32).tobytes())
    del file[FIRST]
    parts = [(str(tmp_path / "secret.bin"), 0, h5py.h5f.UNLIMITED)]
    file.create_dataset(FIRST, shape, "f4", external=parts)


def virtual(file, tmp_path):
    shape = file[FIRST].shape
    layout = h5py.VirtualLayout(shape, "f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "secret", shape)
    del file[FIRST]
    file.create_virtual_dataset(FIRST, layout)


def plug_in(file, tmp_path):
    values = file[FIRST][()]
    del file[FIRST]
    file.create_dataset(FIRST, data=values, chunks=values.shape, compression="lzf")


def never_written(file, tmp_path):
    shape = file[FIRST].shape
    del file[FIRST]
    file.create_dataset(FIRST, shape, "f4", chunks=shape)


def open_texts(file, tmp_path):
    file["layers"].attrs["names"] = np.array(["a"] * 1001, dtype=h5py.string_dtype())


def texts(file, tmp_path):
    file["layers/text"] = np.array(["a", "b"], dtype=h5py.string_dtype())


def named_type(file, tmp_path):
    file["layers/type"] = np.dtype("f4")


def promise(file, tmp_path):
    bomb = file.create_dataset("layers/bomb", (10**11,), "f4", chunks=(1000,))
    bomb[:1000] = 1


CRAFTED = {
    external_link: "link to another file",
    soft_link: "is a link",
    loop: "stands there twice",
    external_storage: "in another file",
    virtual: "from other files",
    plug_in: "filter 32000, a plug-in",
    never_written: "promises",
    open_texts: "more than 1000 texts",
    texts: "no plain numbers",
    named_type: "neither a group nor an array",
    promise: "promises 400,000,000,000 bytes",
}


@pytest.mark.parametrize("craft", CRAFTED, ids=lambda craft: craft.__name__)
def test_a_crafted_file_is_refused(craft, new_form, tmp_path):
    path = copied(new_form, tmp_path / "crafted")
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = np.full((3, 3, 3, 8), 7, np.float32)
    with h5py.File(path, "r+") as file:
        craft(file, tmp_path)
    with pytest.raises(DataError, match=CRAFTED[craft]) as caught:
        load_backbone(SMALL, 32, path)
    assert str(path) in caught.value.problem and caught.value.way_out


def test_a_packed_promise_is_refused_by_its_shape(new_form, tmp_path):
    path = copied(new_form, tmp_path)
    with h5py.File(path, "r+") as file:
        bomb = file.create_dataset("layers/bomb", (10**11,), "f4", chunks=(1000,), compression="gzip")
        bomb[:1000] = 1
    with pytest.raises(ModelError, match=r"left over the shapes \(100000000000,\)"):
        load_backbone(SMALL, 32, path)


def test_packed_weights_are_read_like_others(new_form, trained, tmp_path):
    path = copied(new_form, tmp_path)
    with h5py.File(path, "r+") as file:
        values = file[FIRST][()]
        del file[FIRST]
        file.create_dataset(FIRST, data=values, compression="gzip", shuffle=True, fletcher32=True)
    assert same_weights(load_backbone(SMALL, 32, path), load_backbone(SMALL, 32, new_form))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(value, new_form, tmp_path):
    path = copied(new_form, tmp_path)
    with h5py.File(path, "r+") as file:
        file[FIRST][0, 0, 0, 0] = value
    with pytest.raises(DataError, match="missing or not finite, the first in layer conv1"):
        load_backbone(SMALL, 32, path)


def test_what_keras_leaves_as_it_was_is_not_taken_for_weights(new_form, tmp_path, monkeypatch):
    # It does so with a mere warning for layers kept in lists; here for all of them.
    monkeypatch.setattr(
        keras.Model, "load_weights", lambda self, path: warnings.warn("skipped", stacklevel=1)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match="missing or not finite, the first in layer conv1"):
            load_backbone(SMALL, 32, copied(new_form, tmp_path))


def test_weights_of_another_network_are_refused_with_both_counts(new_form):
    with pytest.raises(
        ModelError, match=r"MobileNetV2 without its classifier: expected 260 arrays.*found 135"
    ):
        load_backbone("mobilenet_v2", 32, new_form)
    with pytest.raises(
        ModelError, match=r"with its classifier: expected 137 .*missing the shapes \(1, 1, 256"
    ):
        load_backbone(SMALL, 32, new_form, with_top=True)


def test_a_file_with_the_classifier_is_not_taken_for_one_without(tmp_path):
    path = tmp_path / "top.weights.h5"
    application(SMALL, include_top=True).save_weights(path)
    with pytest.raises(ModelError, match=r"left over the shapes \(1, 1, 256, 1000\), \(1000,\)"):
        load_backbone(SMALL, 32, path)
    backbone = load_backbone(SMALL, 32, path, with_top=True)
    assert backbone.graph().get_layer("logits").kernel.shape == (256, 1000)


def test_states_of_random_generators_are_allowed_and_other_whole_numbers_are_not(new_form, tmp_path):
    path = copied(new_form, tmp_path)
    with h5py.File(path, "r+") as file:
        file["layers/dropout/seed_generator/vars/0"] = np.zeros(2, np.uint32)
    load_backbone(SMALL, 32, path)
    with h5py.File(path, "r+") as file:
        file["layers/more"] = np.zeros(63, np.uint32)
    with pytest.raises(ModelError, match="65 whole numbers that are no weights"):
        load_backbone(SMALL, 32, path)


def test_a_wrong_shape_of_the_right_size_is_refused(new_form, tmp_path):
    path = copied(new_form, tmp_path)
    with h5py.File(path, "r+") as file:
        values = file[FIRST][()]
        del file[FIRST]
        file[FIRST] = values.reshape(values.shape[::-1])
    with pytest.raises(
        ModelError, match=r"missing the shapes \(3, 3, 3, 8\); left over the shapes \(8, 3, 3, 3\)"
    ):
        load_backbone(SMALL, 32, path)


@pytest.mark.parametrize("moved", ["layers/conv2d", "layers"])
def test_right_shapes_under_wrong_names_are_refused_and_not_passed_over(moved, new_form, tmp_path):
    path = copied(new_form, tmp_path)
    with h5py.File(path, "r+") as file:
        file.move(moved, "unknown")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Keras only warns of what it leaves as it was
        with pytest.raises((ModelError, DataError), match="does not fit|missing or not finite"):
            load_backbone(SMALL, 32, path)


def test_the_older_form_is_not_read_in_another_order(trained, tmp_path):
    # Keras reads it by order alone: two batch normalisations of one size would change places silently.
    layers = [layer for layer in trained.layers if layer.weights]
    first = next(i for i, layer in enumerate(layers) if layer.name == "conv_dw_1_bn")
    order = list(range(len(layers)))
    other = next(i for i, layer in enumerate(layers) if layer.name == "conv1_bn")
    order[first], order[other] = other, first
    path = write_old_form(trained, tmp_path / "swapped.h5", order)
    assert application(SMALL, include_top=False).load_weights(path) is None  # not a word from Keras
    with pytest.raises(ModelError, match="expected layer conv1_bn, found conv_dw_1_bn"):
        load_backbone(SMALL, 32, path)


def test_a_name_that_hides_the_form_is_told_apart(new_form, old_form, tmp_path):
    with pytest.raises(DataError, match=r"newer form(.|\n)*ends in \.weights\.h5"):
        load_backbone(SMALL, 32, copied(new_form, tmp_path, "mine.h5"))
    with pytest.raises(DataError, match=r"older form(.|\n)*ends in \.h5 without \.weights"):
        load_backbone(SMALL, 32, copied(old_form, tmp_path, "mine.weights.h5"))


# ── PDLIB_WEIGHTS and the registry ─────────────────────────────────────────────────────────────────────
def register(monkeypatch, tmp_path, *rows):
    """A registry with these rows (file, sha256, label) for the small backbone, and Keras's own after them."""
    lines = [",".join(w.COLUMNS)]
    lines += [f"{SMALL},no,{file},{known},{label},A source.,A licence" for file, known, label in rows]
    lines.append(f"{SMALL},no,{KERAS_SMALL},,ImageNet,Keras's own,A licence")
    (tmp_path / "registry.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(w, "REGISTRY", tmp_path / "registry.csv")


@pytest.mark.parametrize("asked", ["imagenet", "imagenet-else-untrained"])
def test_a_registered_file_is_found_checked_and_labelled(asked, monkeypatch, tmp_path, new_form, capfd):
    register(monkeypatch, tmp_path, (new_form.name, sha256(new_form), "ImageNet (test)"))
    monkeypatch.setenv("PDLIB_WEIGHTS", str(new_form.parent))
    backbone = load_backbone(SMALL, 32, asked)
    assert backbone.origin == w.Origin(
        "imagenet", "ImageNet (test)", new_form.name, sha256(new_form), "A source; licence A licence.", True
    )
    assert backbone.title == "MobileNet (α = 0.25), ImageNet (test)"
    assert backbone == load_backbone(SMALL, 32, new_form)
    assert load_backbone(SMALL, 32, new_form).origin == backbone.origin  # its hash is known by any path
    backbone.features(pictures())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("asked", ["imagenet", "imagenet-else-untrained"])
def test_a_wrong_hash_is_an_error_with_the_ways_out(asked, monkeypatch, tmp_path, new_form):
    register(monkeypatch, tmp_path, (new_form.name, "0" * 64, "ImageNet"))
    monkeypatch.setenv("PDLIB_WEIGHTS", str(new_form.parent))
    with pytest.raises(DataError) as caught:
        load_backbone(SMALL, 32, asked)
    assert not isinstance(caught.value, WeightsMissing)
    for part in (str(new_form), f"expected {'0' * 64}", f"found {sha256(new_form)}"):
        assert part in caught.value.problem
    for part in ("right file", "weights = its path", "weights = untrained"):
        assert part in caught.value.way_out


def test_the_better_of_two_registered_files_is_taken(monkeypatch, tmp_path, new_form, old_form):
    folder = tmp_path / "both"
    rows = [
        (copied(path, folder).name, sha256(path), label) for path, label in ((old_form, "A"), (new_form, "B"))
    ]
    monkeypatch.setenv("PDLIB_WEIGHTS", str(folder))
    for order in (rows, rows[::-1]):
        register(monkeypatch, tmp_path, *order)
        assert load_backbone(SMALL, 32).origin.label == order[0][2]


def test_a_known_name_without_a_known_hash_is_called_unchecked(monkeypatch, tmp_path, old_form):
    register(monkeypatch, tmp_path)
    copied(old_form, tmp_path / "folder", KERAS_SMALL)
    monkeypatch.setenv("PDLIB_WEIGHTS", str(tmp_path / "folder"))
    origin = load_backbone(SMALL, 32).origin
    assert (origin.label, origin.checked, origin.sha256) == ("ImageNet (unchecked)", False, sha256(old_form))


@pytest.mark.parametrize("asked", ["imagenet", "imagenet-else-untrained"])
def test_a_folder_that_is_not_there_is_an_error(asked, monkeypatch, tmp_path):
    monkeypatch.setenv("PDLIB_WEIGHTS", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"PDLIB_WEIGHTS = .*nowhere is not a folder"):
        load_backbone(SMALL, 32, asked)


def test_the_committed_registry_knows_keras_files_and_hashes():
    known = w.registry()
    by_file = known.set_index("file")
    for spec in BACKBONES.values():
        for top in (False, True):
            assert (by_file.loc[spec.files[top], "backbone"], by_file.loc[spec.files[top], "top"]) == (
                spec.name,
                top,
            )
    stated = {
        "resnet50": "66c8b43daff3fcc15bc4f30e3d2a167e21a14d9c9598a5394e5516471f4af504",
        "mobilenet_v2": "f8aff69536bd77a692c594f559c798c19bf7f3f36668fc9fa00b21c6aab4797c",
    }
    for name, value in stated.items():
        assert by_file.loc[BACKBONES[name].files[0], "sha256"] == value
    assert not known["file"].duplicated().any()
    assert (known["label"] == "ImageNet (dequantised)").sum() == 2


@pytest.mark.parametrize(
    "line",
    [
        "vgg16,no,a.h5,,ImageNet,s,l",
        "resnet50,maybe,a.h5,,ImageNet,s,l",
        "resnet50,no,../a.h5,,ImageNet,s,l",
        "resnet50,no,a.keras,,ImageNet,s,l",
        "resnet50,no,a.h5,abc,ImageNet,s,l",
        "resnet50,no,a.h5,,,s,l",
        "resnet50,no,a.h5",
    ],
)
def test_a_broken_registry_row_is_named(line, tmp_path):
    (tmp_path / "r.csv").write_text(",".join(w.COLUMNS) + "\n" + line + "\n")
    with pytest.raises(DataError, match=r"r\.csv.* line 2"):
        w.registry(tmp_path / "r.csv")


def test_a_missing_or_foreign_registry_is_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot read none\.csv"):
        w.registry(tmp_path / "none.csv")
    (tmp_path / "r.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="must have the columns"):
        w.registry(tmp_path / "r.csv")


# ── Keras's download and cache ─────────────────────────────────────────────────────────────────────────
class Server:
    """Files by path; each answer is (status, headers, body), or a number of seconds to say nothing."""

    def __init__(self):
        self.answers, self.asked = {}, []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.asked.append(self.path)
                answer = server.answers.get(self.path, (404, {}, b"no such file"))
                if isinstance(answer, threading.Event):
                    answer.wait(30)
                    return
                status, headers, body = answer
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.httpd.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.httpd.server_port}"

    def give(self, name, body, top=False, promised=None):
        spec = BACKBONES[name]
        headers = {} if promised is None else {"Content-Length": str(promised)}
        self.answers[f"/{spec.folder}/{spec.files[top]}"] = (200, headers, body)


@pytest.fixture
def server(monkeypatch):
    server = Server()
    monkeypatch.setattr(w, "KERAS_SERVER", server.url)
    yield server
    server.httpd.shutdown()
    server.httpd.server_close()


def cache():
    folder = Path(os.environ["KERAS_HOME"]) / "models"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_a_download_is_kept_where_keras_keeps_it_and_made_once(server, old_form, trained, capfd, monkeypatch):
    body = old_form.read_bytes()
    server.give(SMALL, body, promised=len(body))
    for _ in range(2):
        w._read.cache_clear()
        backbone = load_backbone(SMALL, 32)
    assert capfd.readouterr() == ("", "")
    assert len(server.asked) == 1 and cache() == [KERAS_SMALL]
    origin = backbone.origin
    assert (origin.label, origin.file, origin.checked) == ("ImageNet (unchecked)", KERAS_SMALL, False)
    assert origin.sha256 == sha256(old_form)
    x = pictures()
    close(backbone.graph()(x).numpy(), trained(PREPROCESS[SMALL](x.copy()), training=False).numpy())
    # Keras itself finds it: its own constructor loads the same weights without asking anybody.
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", os.environ["KERAS_HOME"])
    theirs = keras.applications.MobileNet(
        alpha=0.25, weights="imagenet", include_top=False, input_shape=(224, 224, 3)
    )
    for ours, value in zip(trained.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, value)
    assert len(server.asked) == 1


def test_the_addresses_and_hashes_are_those_this_keras_uses(monkeypatch):
    class Asked(Exception):
        pass

    def get_file(fname, origin, cache_subdir=None, file_hash=None):
        raise Asked(fname, origin, cache_subdir, file_hash)

    monkeypatch.undo()
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    for spec in BACKBONES.values():
        for top in (False, True):
            with pytest.raises(Asked) as asked:
                spec.constructor(weights="imagenet", include_top=top, input_shape=(224, 224, 3))
            url = f"{w.KERAS_SERVER}/{spec.folder}/{spec.files[top]}"
            assert asked.value.args == (spec.files[top], url, "models", spec.md5[top] or None)


def missing(asked="imagenet", name=SMALL, **options):
    with pytest.raises(WeightsMissing) as caught:
        load_backbone(name, 32, asked, **options)
    return caught.value


def test_without_a_connection_the_three_ways_out_are_given(capfd):
    error = missing()
    assert "MobileNet (α = 0.25) without its classifier" in error.problem and "refused" in error.problem
    for part in (
        "connect",
        KERAS_SMALL,
        "mobilenet_v1_0.25_224_no_top.weights.h5",
        "PDLIB_WEIGHTS",
        "untrained",
    ):
        assert part in error.way_out
    assert capfd.readouterr() == ("", "") and cache() == []


def test_a_folder_without_a_file_of_the_backbone_is_mentioned(monkeypatch, tmp_path):
    monkeypatch.setenv("PDLIB_WEIGHTS", str(tmp_path))
    assert "PDLIB_WEIGHTS holds no file of them" in missing().problem


def test_untrained_takes_over_only_on_request_and_says_why(capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        backbone = load_backbone(SMALL, 32, "imagenet-else-untrained", seed=6)
    assert backbone == load_backbone(SMALL, 32, "untrained", seed=6)
    assert (backbone.origin.kind, backbone.origin.label) == ("untrained", "untrained")
    assert (
        "no ImageNet weights could be had" in backbone.origin.source and "refused" in backbone.origin.source
    )
    assert "untrained" in backbone.title
    assert capfd.readouterr() == ("", "")


def test_a_file_that_is_not_on_the_server_is_missing(server):
    assert "HTTP 404" in missing().problem and cache() == []


def test_a_broken_download_leaves_nothing_behind(server, old_form):
    body = old_form.read_bytes()
    server.give(SMALL, body[:100_000], promised=len(body))
    assert "the download failed" in missing().problem and cache() == []


def test_a_server_that_says_nothing_is_given_up(server, monkeypatch):
    monkeypatch.setattr(w, "DOWNLOAD_SECONDS", 0.2)
    spec, released = BACKBONES[SMALL], threading.Event()
    server.answers[f"/{spec.folder}/{spec.files[0]}"] = released
    assert "timed out" in missing().problem and cache() == []
    released.set()


@pytest.mark.parametrize("asked", ["imagenet", "imagenet-else-untrained"])
@pytest.mark.parametrize("what", ["half", "page", "other network"])
def test_a_download_of_something_else_is_an_error_and_not_kept(what, asked, server, old_form):
    body, name = old_form.read_bytes(), SMALL
    if what == "half":
        body = body[:100_000]  # and no promised length by which to notice
    elif what == "page":
        body = b"<html>Please sign in</html>"
    else:
        name = "mobilenet_v2"
    server.give(name, body)
    with pytest.raises(FetchError, match="something else") as caught:
        load_backbone(name, 32, asked)
    assert not isinstance(caught.value, WeightsMissing)
    assert BACKBONES[name].files[0] in caught.value.problem and cache() == []


def test_a_download_with_another_hash_names_both(server, old_form):
    for name, top, known in (
        (
            "mobilenet_v2",
            False,
            "sha256 expected f8aff69536bd77a692c594f559c798c19bf7f3f36668fc9fa00b21c6aab4797c",
        ),
        ("resnet50", True, "md5 expected 2cb95161c43110f7111970584f804107"),
    ):
        server.give(name, old_form.read_bytes(), top)
        with pytest.raises(FetchError, match=f"{known}, found [0-9a-f]+"):
            load_backbone(name, 32, with_top=top)
    assert cache() == []


@pytest.mark.parametrize("asked", ["imagenet", "imagenet-else-untrained"])
def test_a_broken_file_in_keras_cache_is_named_and_may_be_deleted(asked, old_form):
    cached = copied(old_form, Path(os.environ["KERAS_HOME"]) / "models", KERAS_SMALL)
    cached.write_bytes(cached.read_bytes()[:200_000])
    with pytest.raises(DataError, match="damaged or incomplete") as caught:
        load_backbone(SMALL, 32, asked)
    assert str(cached) in caught.value.problem and "delete it" in caught.value.way_out
    assert cached.exists()


def test_a_cached_file_with_another_hash_is_named_and_may_be_deleted(old_form):
    copied(old_form, Path(os.environ["KERAS_HOME"]) / "models", BACKBONES["resnet50"].files[0])
    with pytest.raises(DataError, match=r"sha256 expected 66c8b43d(.|\n)*delete it") as caught:
        load_backbone("resnet50", 32)
    assert sha256(old_form) in caught.value.problem


def test_a_cache_that_cannot_be_written_is_a_missing_file_with_a_way_out(
    server, old_form, monkeypatch, tmp_path
):
    server.give(SMALL, old_form.read_bytes())
    (tmp_path / "a-file").touch()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "a-file"))
    error = missing()
    assert "cannot write" in error.problem and "KERAS_HOME" in error.way_out


# ── the real files ─────────────────────────────────────────────────────────────────────────────────────
REAL = os.environ.get("PDLIB_WEIGHTS")
REAL_FILES = {
    ("mobilenet_v2", False): ("mobilenet_v2_1.0_224_no_top.weights.h5", "ImageNet (dequantised)"),
    ("mobilenet_v2", True): ("mobilenet_v2_1.0_224_top.weights.h5", "ImageNet (dequantised)"),
    ("mobilenet_v1_025", False): ("mobilenet_v1_0.25_224_no_top.weights.h5", "ImageNet"),
}


@pytest.mark.parametrize(("name", "top"), REAL_FILES, ids=lambda value: str(value))
def test_the_real_files_give_what_keras_gives(name, top, monkeypatch):
    file, label = REAL_FILES[name, top]
    if not REAL or not (Path(REAL) / file).is_file():
        pytest.skip(f"PDLIB_WEIGHTS has no {file} on this machine")
    monkeypatch.setenv("PDLIB_WEIGHTS", REAL)
    backbone = load_backbone(name, 96, with_top=top)
    assert (backbone.origin.label, backbone.origin.checked) == (label, True)
    reference = application(name, 96, include_top=top)
    reference.load_weights(Path(REAL) / file)
    x = pictures(2, 96)
    wanted = reference(PREPROCESS[name](x.copy()), training=False).numpy()
    assert wanted.std() > 1e-4
    np.testing.assert_allclose(backbone.graph()(x).numpy(), wanted, rtol=0, atol=1e-5)
    if top:
        assert backbone.graph().output_shape == (None, 1000)
    else:
        close(backbone.features(x), wanted, COMPILED)
