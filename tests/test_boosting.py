"""Boosting: a planted rule is found, nothing is selected on followed data, equal seeds give equal trees."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, log_loss

from pdlib.boosting import BoostConfig, boost, staged_scores
from pdlib.errors import ModelError, ParameterError

SMALL = BoostConfig(iterations=60, depth=3, learning_rate=0.1)


def planted(n, seed, columns=12, flip=0.0):
    """Features of which only the first tells the class; a share of labels can be flipped."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, columns))
    y = (x[:, 0] > 0).astype(int)
    return x, np.where(rng.random(n) < flip, 1 - y, y)


@pytest.fixture(scope="module")
def fitted():
    x, y = planted(80, 0)
    return boost(x, y, SMALL, seed=0, validation=planted(60, 1)), x, y


def test_a_planted_rule_is_found_and_scores_are_those_of_class_1(fitted):
    boosted, _, _ = fitted
    x, y = planted(200, 2)
    scores = boosted.score(x)
    assert scores.shape == (200,) and ((0 <= scores) & (scores <= 1)).all()
    assert ((scores > 0.5) == y).mean() > 0.95


def test_the_planted_feature_is_the_one_the_trees_use(fitted):
    assert np.argmax(fitted[0].model.get_feature_importance()) == 0


def test_the_curves_are_those_a_second_implementation_computes(fitted):
    boosted, x, y = fitted
    held_out, truth = planted(60, 1)
    for features, labels, prefix in ((x, y, ""), (held_out, truth, "val_")):
        stages = staged_scores(boosted, features)
        assert stages.shape == (SMALL.iterations, len(labels))
        losses = [log_loss(labels, stage, labels=[0, 1]) for stage in stages]
        right = [accuracy_score(labels, stage > 0.5) for stage in stages]
        assert boosted.history[f"{prefix}loss"] == pytest.approx(losses, abs=1e-6)
        assert boosted.history[f"{prefix}accuracy"] == pytest.approx(right, abs=1e-9)


def test_the_last_stage_is_the_score(fitted):
    boosted, x, _ = fitted
    assert staged_scores(boosted, x)[-1] == pytest.approx(boosted.score(x), abs=1e-12)


def test_followed_data_neither_stop_nor_select_trees():
    x, y = planted(60, 3)
    noise = planted(40, 4, flip=0.5)  # its loss is best after few trees
    alone = boost(x, y, SMALL, seed=5)
    followed = boost(x, y, SMALL, seed=5, validation=noise)
    assert np.argmin(followed.history["val_loss"]) < SMALL.iterations - 1
    assert followed.model.tree_count_ == SMALL.iterations
    assert (alone.score(x) == followed.score(x)).all()
    assert "val_loss" not in alone.history


def test_the_same_seed_gives_the_same_trees_and_another_seed_others():
    x, y = planted(60, 6, flip=0.2)
    first, again, other = (boost(x, y, SMALL, seed=seed).score(x) for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()


def test_names_of_columns_do_not_reach_the_trees():
    x, y = planted(60, 7)
    named = pd.DataFrame(x, columns=[f"f{i}" for i in range(x.shape[1])])
    assert (boost(named, y, SMALL, seed=0).score(x) == boost(x, y, SMALL, seed=0).score(named)).all()


def test_nothing_is_written_to_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    boost(*planted(40, 8), BoostConfig(iterations=5), seed=0)
    assert list(tmp_path.iterdir()) == []


def test_one_class_is_refused():
    with pytest.raises(ModelError, match="both classes"):
        boost(np.random.default_rng(0).normal(size=(10, 3)), np.ones(10, dtype=int), SMALL, seed=0)


def test_constant_features_are_refused():
    with pytest.raises(ModelError, match="constant"):
        boost(np.ones((10, 3)), np.arange(10) % 2, SMALL, seed=0)


def test_some_constant_features_among_others_do_no_harm():
    x, y = planted(60, 9)
    x[:, 5] = 1.0
    assert ((boost(x, y, SMALL, seed=0).score(x) > 0.5) == y).mean() > 0.95


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_located(value):
    x, y = planted(20, 10)
    x[7, 2] = value
    with pytest.raises(ModelError, match="feature 2 of row 7"):
        boost(x, y, SMALL, seed=0)


def test_shapes_that_do_not_fit_are_refused(fitted):
    x, y = planted(20, 11)
    for features, labels in ((x[:, 0], y), (x, y[:-1]), (x, y + 1), (x[:0], y[:0]), (x, y.astype(float))):
        with pytest.raises(ModelError):
            boost(features, labels, SMALL, seed=0)
    with pytest.raises(ModelError, match="12 columns"):
        fitted[0].score(x[:, :4])


@pytest.mark.parametrize(
    "wrong", [{"iterations": 0}, {"depth": 17}, {"depth": 2.5}, {"learning_rate": 0}, {"iterations": True}]
)
def test_impossible_settings_are_named(wrong):
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        BoostConfig(**wrong)
