"""Pretrained networks with new heads: the joined graph is the two-step model, and folds stay honest."""

import numpy as np
import pytest

from pdlib import chunks, transfer
from pdlib.errors import LeakageError, ModelError, ParameterError
from pdlib.fold_results import kept_weights, ledgers, predictions
from pdlib.networks import Learner, TrainedNet, keras
from pdlib.picture_sets import PictureSet
from pdlib.protocols import Fold, Ledger, speaker_folds
from pdlib.provenance import Store
from pdlib.transfer import PlainCNN, Recipe, Top, Trainer, fold_network
from pdlib.weights import load_backbone

SIZE = 32
CUT = "conv_pw_8_relu"


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("mobilenet_v1_025", SIZE, weights="untrained", seed=3)


@pytest.fixture(scope="module")
def voices():
    """Twelve pictures; those of class 1 have a bright band, so there is something to learn."""
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 6)
    pictures = rng.integers(0, 120, (12, SIZE, SIZE, 3))
    pictures[labels == 1, 8:16] += 120
    names = tuple(f"S-{i:02d}" for i in range(12))
    return PictureSet(names, labels, pictures.astype(np.uint8))


def recipes(backbone):
    base = Recipe("base", Top(backbone), epochs=3, learning_rate=1e-2, batch_size=4)
    tuned = Recipe("tuned", Top(backbone, CUT), epochs=2, learning_rate=1e-3, batch_size=4, head=base)
    plain = Recipe("plain", PlainCNN(SIZE), epochs=2, learning_rate=1e-2, batch_size=4)
    return {recipe.model: recipe for recipe in (base, tuned, plain)}


@pytest.fixture(scope="module")
def finished(backbone, voices, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("results"))
    done = {
        name: transfer.cross_validate(voices, recipe, seeds=[0], n_splits=2, cross_fits=2, store=store)
        for name, recipe in recipes(backbone).items()
    }
    return done, store


@pytest.mark.parametrize("model", ["base", "tuned", "plain"])
def test_the_joined_graph_gives_the_scores_of_the_two_step_model(finished, backbone, voices, model):
    recipe = recipes(backbone)[model]
    for result in finished[0][model]:
        network = fold_network(result, recipe)
        assert not any(isinstance(layer, keras.Model) for layer in network.layers)
        test = voices.take(result.fold.test)
        joined = network.predict(test.pictures.astype(np.float32), verbose=0)[:, 1]
        np.testing.assert_allclose(joined, result.arrays[f"score_{model}"], atol=1e-5)


def test_resnet50_in_the_four_steps_of_the_note_equals_the_joined_graph():
    backbone = load_backbone("resnet50", SIZE, weights="untrained", seed=1)
    pictures = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3)).astype(np.float32)
    features = backbone.features(pictures)  # steps 1 and 2
    assert features.shape[1:] == (1, 1, 2048)
    top = Top(backbone)
    learner = Learner(top)  # step 3
    net = learner.fit(features, np.array([0, 1, 0, 1]), seed=0, epochs=2, batch_size=2)  # step 4
    two_steps = learner.predict(net, features)
    joined = top.joined(net).predict(pictures, verbose=0)
    np.testing.assert_allclose(joined, two_steps, atol=1e-5)


def test_what_lies_below_the_cut_is_not_trained_and_what_lies_above_is(finished, backbone):
    start = {layer.name: layer.get_weights() for layer in backbone.graph().layers}
    network = fold_network(finished[0]["tuned"][0], recipes(backbone)["tuned"])
    order = [layer.name for layer in network.layers]
    moved = set()
    for layer in network.layers:
        before = start.get(layer.name, layer.get_weights())  # the head is new
        changed = any(
            not np.array_equal(one, other) for one, other in zip(before, layer.get_weights(), strict=True)
        )
        if changed:
            moved.add(layer.name)
            assert order.index(layer.name) > order.index(CUT)
            assert not isinstance(layer, keras.layers.BatchNormalization)
    assert {"conv_pw_9", "conv_pw_13"} <= moved


def test_finetuning_starts_from_the_head_of_its_base_and_from_the_backbones_weights(
    backbone, voices, monkeypatch
):
    seen = []
    fit = Learner.fit

    def watch(self, *args, **options):
        net = fit(self, *args, **options)
        seen.append((self, options.get("start"), net))
        return net

    monkeypatch.setattr(Learner, "fit", watch)
    recipe = recipes(backbone)["tuned"]
    trainer = Trainer(recipe, voices, _NoStore())
    fold = speaker_folds(voices.names, voices.labels, 3, 0)[0]
    trainer.fit("tuned", fold.train, 0, Ledger(fold))
    (_, none, head), (learner, start, _) = seen
    assert none is None
    for given, wanted in zip(start[-2:], head.weights[-2:], strict=True):
        np.testing.assert_array_equal(given, wanted)
    for given, wanted in zip(start[:-2], learner.start(0)[:-2], strict=True):
        np.testing.assert_array_equal(given, wanted)


class _NoStore:
    def get(self, step, inputs, compute, modules):
        return compute()


def test_every_speaker_is_scored_once_and_nothing_is_fitted_on_one_who_is_tested(finished, voices):
    for model, results in finished[0].items():
        frame = predictions(results, voices, [model], "sound")
        assert sorted(frame["recording"]) == sorted(voices.names)
        table = ledgers(results)
        assert (table.loc[table["act"] == "fitted", "of them tested"] == 0).all()
    assert {"tuned", "head of tuned", "tuned without part 0"} <= set(ledgers(finished[0]["tuned"])["what"])


def test_fitting_on_a_test_speaker_is_stopped(backbone, voices):
    fold = speaker_folds(voices.names, voices.labels, 2, 0)[0]
    trainer = Trainer(recipes(backbone)["base"], voices, _NoStore())
    with pytest.raises(LeakageError, match="test speakers"):
        trainer.fit("base", voices.names, 0, Ledger(fold))


def test_the_labels_of_test_speakers_do_not_reach_their_scores(finished, backbone, voices):
    result = finished[0]["tuned"][0]
    flipped = voices.labels.copy()
    flipped[[voices.names.index(name) for name in result.fold.test]] ^= 1
    trainer = Trainer(
        recipes(backbone)["tuned"], PictureSet(voices.names, flipped, voices.pictures), _NoStore()
    )
    again = transfer.run_fold(trainer, result.fold, cross_fits=2, seed=0)
    for name in ("score_tuned", "threshold_tuned"):
        np.testing.assert_array_equal(again[name], result.arrays[name])


def test_maps_made_in_parts_are_those_made_at_once_and_train_the_same(backbone, voices, tmp_path, monkeypatch):
    recipe = recipes(backbone)["base"]
    at_once = Trainer(recipe, voices, Store(tmp_path / "whole"))
    monkeypatch.setattr(chunks, "CHUNK", 5)
    parts = Trainer(recipe, voices, Store(tmp_path / "parts"))
    assert isinstance(parts.inputs, np.memmap) and len(list((tmp_path / "parts").glob("*/*.npz"))) == 3
    np.testing.assert_allclose(parts.inputs, at_once.inputs, rtol=1e-5, atol=1e-6)
    names, fold = voices.names[:10], Fold(0, 0, voices.names[:10], voices.names[10:])
    trained = [each.fit("base", names, 0, Ledger(fold)) for each in (parts, at_once)]
    for ours, theirs in zip(*(net.weights for net in trained), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_finished_folds_are_read_back_and_frozen_maps_are_computed_once_for_all_folds(
    finished, backbone, voices
):
    done, store = finished
    again = Store(store.folder)
    for name, recipe in recipes(backbone).items():
        back = transfer.cross_validate(voices, recipe, seeds=[0], n_splits=2, cross_fits=2, store=again)
        for one, other in zip(done[name], back, strict=True):
            np.testing.assert_array_equal(one.arrays[f"score_{name}"], other.arrays[f"score_{name}"])
    assert again.computed == 0
    assert len(list((store.folder / "frozen-maps").glob("*.npz"))) == 2  # one per cut


def test_a_network_learns_what_is_plainly_there(voices):
    recipe = Recipe("plain", PlainCNN(SIZE), epochs=12, learning_rate=1e-2, batch_size=4)
    trainer = Trainer(recipe, voices, _NoStore())
    fold = speaker_folds(voices.names, voices.labels, 3, 0)[0]
    arrays = transfer.run_fold(trainer, fold, cross_fits=2, seed=0)
    truth = voices.take(fold.test).labels
    assert ((arrays["score_plain"] > 0.5) == truth).all()


def test_the_kept_weights_belong_to_the_recipe_that_left_them(finished, backbone):
    result = finished[0]["base"][0]
    with pytest.raises(ModelError, match="weights belong to"):
        Learner(PlainCNN(SIZE)).predict(
            TrainedNet(kept_weights(result.arrays, "net"), config=Top(backbone)), np.zeros((1, SIZE, SIZE, 3))
        )


@pytest.mark.parametrize("cut", ["no_such_layer", "conv_pw_9_relu_typo"])
def test_a_cut_that_is_no_layer_is_refused(backbone, cut):
    with pytest.raises(ModelError, match="no layer"):
        Top(backbone, cut).parts()


def test_a_cut_inside_a_residual_block_is_refused():
    backbone = load_backbone("mobilenet_v2", SIZE, weights="untrained")
    with pytest.raises(ModelError, match="side path"):
        Top(backbone, "block_5_expand").parts()


@pytest.mark.parametrize("maps", [np.zeros((2, 3, 3, 5)), np.zeros((0, 2, 2, 128)), np.zeros((2, 128))])
def test_maps_that_do_not_fit_the_cut_are_refused(backbone, maps):
    with pytest.raises(ModelError, match="do not fit"):
        Top(backbone, CUT).checked(maps)


def test_maps_that_are_not_finite_are_refused(backbone):
    top = Top(backbone, CUT)
    with pytest.raises(ModelError, match="not finite"):
        top.checked(np.full((1, *top.input_shape), np.nan))


@pytest.mark.parametrize("size", [16, 31.5])
def test_a_picture_too_small_for_the_cnn_is_refused(size):
    with pytest.raises(ParameterError, match="input_size"):
        PlainCNN(size)
