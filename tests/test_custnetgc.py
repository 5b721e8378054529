import numpy as np
import pytest

from pdlib import custnetgc
from pdlib.boosting import BoostConfig
from pdlib.custnetgc import MODELS, FittedChain, Plan, cross_validate
from pdlib.errors import LeakageError
from pdlib.fold_results import ledgers, predictions
from pdlib.networks import CustNetConfig
from pdlib.picture_sets import PictureSet
from pdlib.protocols import speaker_folds

TINY = Plan(
    network=CustNetConfig(input_size=32, width=0.05),
    boosting=BoostConfig(iterations=5),
    epochs=1,
    batch_size=4,
    n_splits=2,
    cross_fits=2,
)


@pytest.fixture(scope="module")
def voices():
    rng = np.random.default_rng(0)
    names = [f"HC-{i:02d}" for i in range(1, 7)] + [f"PD-{i:02d}" for i in range(1, 7)]
    return PictureSet(
        tuple(names), np.repeat([0, 1], 6), rng.integers(0, 255, (12, 32, 32, 3), dtype=np.uint8)
    )


@pytest.fixture(scope="module")
def finished(voices, tmp_path_factory):
    store = custnetgc.Store(tmp_path_factory.mktemp("results"))
    return cross_validate(voices, TINY, seeds=[0], store=store), store


def test_every_speaker_is_scored_once_by_every_model(finished, voices):
    frame = predictions(finished[0], voices, MODELS, "paper")
    counts = frame.groupby(["model", "recording"]).size()
    assert set(frame["model"]) == set(MODELS)
    assert (counts == 1).all() and len(counts) == len(MODELS) * len(voices)
    assert frame["score"].between(0, 1).all()


def test_nothing_is_fitted_on_a_test_speaker(finished):
    table = ledgers(finished[0])
    assert (table.loc[table["act"] == "fitted", "of them tested"] == 0).all()
    assert set(table.loc[table["act"] == "fitted", "what"]) >= {
        "teacher",
        "CustNet",
        "CatBoost",
        "teacher without part 0",
    }


def test_a_training_picture_gets_its_heat_map_from_teachers_that_did_not_know_its_label(voices, monkeypatch):
    fold = speaker_folds(voices.names, voices.labels, 2, 0)[0]
    train = voices.take(fold.train)
    parts = speaker_folds(train.names, train.labels, 2, 0)
    monkeypatch.setattr(custnetgc, "speaker_folds", lambda *_, **__: parts)
    drawn = []
    laid = PictureSet.overlaid
    monkeypatch.setattr(
        PictureSet,
        "overlaid",
        lambda self, maps, strength: drawn.append(maps.copy()) or laid(self, maps, strength),
    )
    flipped = np.array(
        [1 - y if name in parts[0].test else y for name, y in zip(voices.names, voices.labels, strict=True)]
    )
    learner = custnetgc.Learner(TINY.network)
    for labels in (voices.labels, flipped):
        custnetgc.run_fold(PictureSet(voices.names, labels, voices.pictures), fold, TINY, learner, seed=0)
    own = np.isin(fold.train, parts[0].test)
    np.testing.assert_array_equal(
        drawn[0][own], drawn[2][own]
    )  # their own labels changed, their maps did not
    assert not np.array_equal(
        drawn[0][~own], drawn[2][~own]
    )  # the others' teacher did see the changed labels


def test_a_chain_that_would_fit_on_a_test_speaker_is_stopped(voices, monkeypatch):
    fold = speaker_folds(voices.names, voices.labels, 2, 0)[0]
    monkeypatch.setattr(PictureSet, "take", lambda self, names: self)  # the fault: the split is forgotten
    with pytest.raises(LeakageError, match="test speakers"):
        custnetgc.run_fold(voices, fold, TINY, learner=None, seed=0)


def test_the_labels_of_test_speakers_do_not_reach_their_scores(finished, voices):
    fold = finished[0][0].fold
    flipped = voices.labels.copy()
    for row, name in enumerate(voices.names):
        if name in fold.test:
            flipped[row] = 1 - flipped[row]
    other = PictureSet(voices.names, flipped, voices.pictures)
    again = custnetgc.run_fold(other, fold, TINY, custnetgc.Learner(TINY.network), seed=0)
    for model in MODELS:
        np.testing.assert_array_equal(again[f"score_{model}"], finished[0][0].arrays[f"score_{model}"])
        assert again[f"threshold_{model}"] == finished[0][0].arrays[f"threshold_{model}"]


def test_finished_folds_are_read_back_and_a_changed_plan_is_computed_anew(finished, voices):
    results, store = finished
    again = custnetgc.Store(store.folder)
    back = cross_validate(voices, TINY, seeds=[0], store=again)
    assert (again.computed, again.loaded) == (0, 2)
    for one, other in zip(results, back, strict=True):
        for name in one.arrays:
            np.testing.assert_array_equal(one.arrays[name], other.arrays[name])
    changed = Plan(**{**TINY.__dict__, "strength": 0.3})
    with pytest.raises(RuntimeError, match="computed"):
        cross_validate(voices, changed, seeds=[0], store=_Refusing(store.folder))


class _Refusing(custnetgc.Store):
    def get_all(self, step, inputs, compute, modules):
        def refuse(places):
            raise RuntimeError("computed")

        return super().get_all(step, inputs, refuse, modules)


def test_the_kept_chain_scores_unseen_pictures_as_the_fold_did(finished, voices):
    learner = custnetgc.Learner(TINY.network)
    for result in finished[0]:
        chain = FittedChain.of(result, voices, TINY, learner)
        again = chain.scores(voices.take(result.fold.test))
        for model in MODELS:
            np.testing.assert_allclose(again[model], result.arrays[f"score_{model}"], atol=1e-6)
