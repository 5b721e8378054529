"""Predictions, intervals, tests and files; second implementations are scikit-learn and scipy."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from sklearn import metrics as sk

from pdlib import evaluate, paths
from pdlib.errors import DataError, ParameterError, WriteError

KNOWN = {
    "accuracy": lambda y, s, p: sk.accuracy_score(y, p),
    "auc": lambda y, s, p: sk.roc_auc_score(y, s),
    "precision": lambda y, s, p: sk.precision_score(y, p),
    "recall": lambda y, s, p: sk.recall_score(y, p),
    "specificity": lambda y, s, p: sk.recall_score(y, p, pos_label=0),
    "f1": lambda y, s, p: sk.f1_score(y, p),
    "brier": lambda y, s, p: sk.brier_score_loss(y, s),
}


def predictions(n_pd=40, n_hc=41, seeds=3, effect=1.0, start=0, model="m"):
    rng = np.random.default_rng(start)
    names = [f"PD-{i:02d}" for i in range(1, n_pd + 1)] + [f"HC-{i:02d}" for i in range(1, n_hc + 1)]
    labels = np.array([1] * n_pd + [0] * n_hc)
    rows = []
    base = rng.normal(size=labels.size) + effect * labels
    for seed in range(seeds):
        score = 1 / (1 + np.exp(-(base + 0.5 * rng.normal(size=labels.size) - effect / 2)))
        threshold = 0.45 + 0.03 * seed
        rows.append(
            pd.DataFrame(
                {
                    "model": model, "variant": "sound", "protocol": "speaker",
                    "recording": names, "label": labels,
                    "fold": np.arange(labels.size) % 5, "seed": seed, "score": score, "threshold": threshold,
                    "predicted": (score >= threshold).astype(int),
                }
            )
        )  # fmt: skip
    return pd.concat(rows, ignore_index=True)


# ── summaries ──────────────────────────────────────────────────────────────────────────────────────────
def test_summary_values_are_the_mean_over_seeds_of_scikit_learns_metrics():
    frame = predictions()
    table = evaluate.summary(frame, n_boot=50).set_index("metric")
    assert list(table.index) == ["accuracy", "auc", "precision", "recall", "specificity", "f1", "brier"]
    for name, oracle in KNOWN.items():
        per_seed = [
            oracle(part["label"], part["score"], part["predicted"]) for _, part in frame.groupby("seed")
        ]
        assert table.loc[name, "value"] == pytest.approx(np.mean(per_seed), abs=1e-12), name
        assert table.loc[name, "low"] < table.loc[name, "value"] < table.loc[name, "high"]
    assert set(table["speakers"]) == {81} and set(table["seeds"]) == {3} and set(table["undefined"]) == {0}


def test_every_replicate_is_the_metric_of_the_drawn_speakers():
    # the weighted formulas against scikit-learn on the really repeated rows, ties included
    frame = predictions(n_pd=7, n_hc=9, seeds=2)
    frame["score"] = frame["score"].round(1)
    frame["predicted"] = (frame["score"] >= frame["threshold"]).astype(int)
    table = evaluate._Table.of(frame)
    pos, neg = evaluate._resamples(table.labels, 20, seed=3)
    for name, oracle in KNOWN.items():
        ours = table.metric(name, pos, neg)
        for replicate in range(20):
            rows = np.repeat(np.arange(16), (pos + neg)[replicate].astype(int))
            for seed in range(2):
                drawn = table.labels[rows], table.scores[rows, seed], table.predicted[rows, seed]
                if name == "precision" and not drawn[2].any():
                    assert np.isnan(ours[replicate, seed])
                else:
                    assert ours[replicate, seed] == pytest.approx(oracle(*drawn)), name


def test_replicates_worked_on_a_few_at_a_time_are_those_worked_on_at_once(monkeypatch):
    frame = predictions(n_pd=7, n_hc=9, seeds=2)
    at_once = evaluate.summary(frame, n_boot=50), evaluate.permutation_p(frame, n=50)
    monkeypatch.setattr(evaluate, "_WEIGHTS", 100)  # six replicates of sixteen speakers
    few = evaluate.summary(frame, n_boot=50), evaluate.permutation_p(frame, n=50)
    pd.testing.assert_frame_equal(few[0], at_once[0], rtol=1e-12)
    assert few[1] == at_once[1]


def test_scores_of_many_speakers_are_never_held_against_each_other_in_pairs():
    labels, scores = np.arange(3000) % 2, np.random.default_rng(0).random(3000)
    frame = pd.DataFrame({
        "model": "m", "variant": "v", "protocol": "p", "recording": [f"R-{i}" for i in range(3000)],
        "label": labels, "fold": 0, "seed": 0, "score": scores, "threshold": 0.5,
        "predicted": (scores >= 0.5).astype(int),
    })  # fmt: skip
    for work in (
        lambda: evaluate.summary(frame, ["auc"], n_boot=10),
        lambda: evaluate.choose_threshold(labels, scores),
    ):
        tracemalloc.start()
        work()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 3000 * 3000 / 2  # bytes; pairs would take a byte each at least


def test_each_replicate_keeps_the_class_sizes_and_draws_every_speaker_equally_often():
    labels = np.array([1] * 40 + [0] * 41)
    pos, neg = evaluate._resamples(labels, 4000, seed=0)
    assert (pos.sum(axis=1) == 40).all() and (neg.sum(axis=1) == 41).all()
    assert not (pos[:, labels == 0].any() or neg[:, labels == 1].any())
    # each count is binomial(n, 1/n): mean 1, variance 1 − 1/n
    own = np.hstack([pos[:, :40], neg[:, 40:]])
    assert np.abs(own.mean(axis=0) - 1).max() < 4.5 / np.sqrt(4000)
    assert own.var() == pytest.approx(1 - 1 / 40.5, abs=0.02)


def test_recall_interval_agrees_with_scipys_bootstrap_and_the_binomial_quantiles():
    frame = predictions(seeds=1)
    hits = frame.loc[frame["label"] == 1, "predicted"].to_numpy()
    ours = evaluate.summary(frame, ["recall"], n_boot=20000).iloc[0]
    scipys = scipy.stats.bootstrap(
        (hits,), np.mean, n_resamples=20000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert (ours["low"], ours["high"]) == pytest.approx((scipys.low, scipys.high), abs=1 / 40)
    exact = scipy.stats.binom(40, hits.mean()).ppf([0.025, 0.975]) / 40
    assert (ours["low"], ours["high"]) == pytest.approx(tuple(exact), abs=1 / 40)


def test_auc_interval_agrees_with_scipys_two_sample_bootstrap():
    frame = predictions(seeds=1)
    pos, neg = (frame.loc[frame["label"] == label, "score"].to_numpy() for label in (1, 0))

    def auc(x, y, axis=-1):
        return scipy.stats.mannwhitneyu(x, y, axis=axis).statistic / (x.shape[axis] * y.shape[axis])

    scipys = scipy.stats.bootstrap(
        (pos, neg), auc, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    ours = evaluate.summary(frame, ["auc"], n_boot=4000).iloc[0]
    assert (ours["low"], ours["high"]) == pytest.approx((scipys.low, scipys.high), abs=0.01)


def test_intervals_cover_the_planted_auc_about_as_often_as_they_say():
    truth = scipy.stats.norm.cdf(1 / np.sqrt(2))  # two unit normals one apart
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        frame = predictions(seeds=1)
        score = scipy.stats.norm.cdf(rng.normal(size=81) + frame["label"])
        frame = frame.assign(score=score, predicted=(score >= frame["threshold"]).astype(int))
        row = evaluate.summary(frame, ["auc"], n_boot=300).iloc[0]
        inside += row["low"] <= truth <= row["high"]
    assert 0.88 <= inside / 200 <= 0.99


def test_seeds_of_one_speaker_go_together_so_copies_of_a_seed_do_not_narrow_the_interval():
    frame = predictions(seeds=1)
    copies = pd.concat([frame.assign(seed=seed) for seed in range(10)])
    pd.testing.assert_frame_equal(
        evaluate.summary(frame).drop(columns="seeds"), evaluate.summary(copies).drop(columns="seeds")
    )


def test_order_of_rows_and_rerun_change_nothing_but_the_bootstrap_seed_does():
    frame = predictions()
    first = evaluate.summary(frame)
    pd.testing.assert_frame_equal(first, evaluate.summary(frame.sample(frac=1, random_state=1)))
    assert not first["low"].equals(evaluate.summary(frame, seed=1)["low"])


def test_perfect_and_useless_models_get_the_known_values():
    frame = predictions(seeds=1)
    perfect = frame.assign(score=frame["label"] * 1.0, predicted=frame["label"])
    table = evaluate.summary(perfect).set_index("metric")
    others = table.drop("brier")
    assert (others[["value", "low", "high"]] == 1).all(axis=None)
    assert (table.loc["brier", ["value", "low", "high"]] == 0).all()
    constant = evaluate.summary(frame.assign(score=0.5, predicted=1)).set_index("metric")
    assert constant.loc["auc", "value"] == 0.5 and constant.loc["brier", "value"] == 0.25


def test_precision_of_a_model_that_never_says_pd_is_nan_and_not_zero():
    frame = predictions(seeds=1).assign(score=0.1, predicted=0)
    row = evaluate.summary(frame, ["precision"]).iloc[0]
    assert row[["value", "low", "high"]].isna().all() and row["undefined"] == 1


def test_share_of_replicates_without_a_precision_is_stated():
    # one PD speaker of four is called PD: it is not drawn in (3/4)^4 of the replicates
    frame = predictions(n_pd=4, n_hc=4, seeds=1).assign(score=0.1, predicted=0)
    frame.loc[0, ["score", "predicted"]] = [0.9, 1]
    frame["predicted"] = frame["predicted"].astype(int)
    row = evaluate.summary(frame, ["precision"], n_boot=20000).iloc[0]
    assert row["value"] == 1 and row["undefined"] == pytest.approx(0.75**4, abs=0.01)


def test_summary_refuses_mixed_models_unfinished_seeds_and_unknown_metrics():
    frame = predictions()
    with pytest.raises(DataError, match="mix models: m, other"):
        evaluate.summary(pd.concat([frame, frame.assign(model="other")]))
    with pytest.raises(DataError, match="seed 2 has no prediction for"):
        evaluate.summary(frame.iloc[:-1])
    with pytest.raises(ParameterError, match="acuracy"):
        evaluate.summary(frame, ["acuracy"])


def test_by_group_gives_each_model_its_own_summary():
    a, b = predictions(), predictions(effect=2, start=5, model="b")
    table = evaluate.by_group(pd.concat([a, b]), n_boot=100)
    for model, frame in (("m", a), ("b", b)):
        part = (
            table[table["model"] == model]
            .drop(columns=["model", "variant", "protocol"])
            .reset_index(drop=True)
        )
        pd.testing.assert_frame_equal(part, evaluate.summary(frame, n_boot=100))


def test_summary_by_sex_equals_the_summary_of_each_half_and_a_missing_speaker_is_named():
    frame = predictions()
    names = frame["recording"].unique()
    sex = pd.Series(np.where(np.arange(81) % 2, "F", "M"), index=names)
    table = evaluate.summary_by(frame, sex, n_boot=100)
    men = evaluate.summary(frame[frame["recording"].map(sex) == "M"], n_boot=100)
    part = table[table["group"] == "M"].drop(columns="group").reset_index(drop=True)
    pd.testing.assert_frame_equal(part, men)
    with pytest.raises(DataError, match=names[0]):
        evaluate.summary_by(frame, sex.drop(names[0]))


def test_with_the_classes_swapped_auc_and_accuracy_stay_and_recall_becomes_specificity():
    frame = predictions()
    frame.loc[0, "score"], frame.loc[0, "predicted"] = frame.loc[0, "threshold"], 1  # on the threshold itself
    table = evaluate.summary(frame, n_boot=10).set_index("metric")["value"]
    turned = evaluate.summary(evaluate.swap_classes(frame), n_boot=10).set_index("metric")["value"]
    same = ["auc", "accuracy", "brier"]
    for name, partner in [*zip(same, same, strict=True), ("recall", "specificity")]:
        assert turned[name] == pytest.approx(table[partner], abs=1e-12)


# ── comparisons ────────────────────────────────────────────────────────────────────────────────────────
def test_a_model_differs_from_itself_by_exactly_nothing():
    frame = predictions()
    row = evaluate.paired_difference(frame, frame.assign(model="copy"), "auc")
    assert (row["value"], row["low"], row["high"]) == (0, 0, 0)


def test_paired_difference_of_recall_agrees_with_scipys_paired_bootstrap():
    a, b = predictions(seeds=1), predictions(seeds=1, start=9)
    pd_rows = (a["label"] == 1).to_numpy()
    difference = (a["predicted"] - b["predicted"]).to_numpy()[pd_rows]
    ours = evaluate.paired_difference(a, b, "recall", n_boot=20000)
    scipys = scipy.stats.bootstrap(
        (difference,), np.mean, n_resamples=20000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert ours["value"] == pytest.approx(difference.mean())
    assert (ours["low"], ours["high"]) == pytest.approx((scipys.low, scipys.high), abs=1 / 40)
    assert ours["a"] - ours["b"] == pytest.approx(ours["value"])


def test_models_tested_on_different_speakers_cannot_be_paired():
    with pytest.raises(DataError, match="different recordings"):
        evaluate.paired_difference(predictions(), predictions(n_pd=39), "auc")


def test_permutation_p_equals_the_exact_p_of_a_small_case():
    # 4 PD above 4 HC: 1 of 70 label arrangements is as good, so p → 1/70 with the +1 correction
    frame = predictions(n_pd=4, n_hc=4, seeds=1)
    score = np.r_[np.linspace(0.6, 0.9, 4), np.linspace(0.1, 0.4, 4)]
    frame = frame.assign(score=score, predicted=(score >= 0.45).astype(int))
    exact = scipy.stats.mannwhitneyu(score[:4], score[4:], alternative="greater", method="exact").pvalue
    assert exact == pytest.approx(1 / 70)
    for metric in ("auc", "brier"):
        assert evaluate.permutation_p(frame, metric, n=20000) == pytest.approx(exact, abs=0.004)
    assert evaluate.permutation_p(frame, "auc", n=1, seed=3) in (0.5, 1.0)


def test_permutation_p_is_never_zero_and_uniform_enough_without_an_effect():
    assert evaluate.permutation_p(predictions(effect=5), "auc", n=99) == 1 / 100
    ps = [evaluate.permutation_p(predictions(effect=0, start=s, seeds=2), "auc", n=199) for s in range(200)]
    assert scipy.stats.kstest(ps, "uniform").pvalue > 0.001
    assert np.isnan(evaluate.permutation_p(predictions(seeds=1).assign(score=0.1, predicted=0), "precision"))


# ── examples to show ───────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("n_pd", [5, 7, 40, 41])
@pytest.mark.parametrize("per_class", [1, 4, 5])
def test_examples_are_numpys_inverted_cdf_quantiles_of_each_class(n_pd, per_class):
    frame = predictions(n_pd=n_pd, seeds=1)
    found = evaluate.gallery(frame.sample(frac=1, random_state=2), per_class)
    levels = (np.arange(per_class) + 0.5) / per_class
    for label in (0, 1):
        scores = frame.loc[frame["label"] == label, "score"]
        part = found[found["label"] == label]
        np.testing.assert_allclose(part["quantile"], levels)
        # away from the border of two recordings, where numpy's own share is rounded
        steps = levels * len(scores)
        exact = np.where(np.isclose(steps, np.rint(steps)), np.nextafter(levels, 0) - 1e-9, levels)
        np.testing.assert_array_equal(part["score"], np.quantile(scores, exact, method="inverted_cdf"))
    assert found["recording"].is_unique and found["label"].is_monotonic_increasing


def test_examples_of_equal_scores_go_by_name_and_carry_their_own_row():
    frame = predictions(n_pd=4, n_hc=6, seeds=1)
    frame.loc[frame["label"] == 1, ["score", "predicted"]] = [0.7, 1]
    frame["predicted"] = frame["predicted"].astype(int)
    found = evaluate.gallery(frame.iloc[::-1], per_class=4)
    assert list(found["recording"][found["label"] == 1]) == ["PD-01", "PD-02", "PD-03", "PD-04"]
    rows = frame.set_index("recording").loc[found["recording"]]
    for column in ("label", "fold", "score", "threshold", "predicted"):
        np.testing.assert_array_equal(found[column], rows[column])
    np.testing.assert_array_equal(found["right"], rows["predicted"] == rows["label"])


def test_examples_of_mixed_models_or_seeds_or_more_than_there_are_are_refused():
    frame = predictions(n_pd=4, n_hc=6, seeds=2)
    with pytest.raises(DataError, match="mix seeds: 0, 1"):
        evaluate.gallery(frame, 2)
    one = frame[frame["seed"] == 0]
    with pytest.raises(DataError, match="mix models: m, other"):
        evaluate.gallery(pd.concat([one, one.assign(model="other")]), 2)
    with pytest.raises(ParameterError, match="there are 4 recordings of PD"):
        evaluate.gallery(one)
    for per_class in (0, 2.0, True):
        with pytest.raises(ParameterError, match="per_class"):
            evaluate.gallery(one, per_class)


# ── curves with bands ──────────────────────────────────────────────────────────────────────────────────
def test_roc_band_runs_through_scikit_learns_curve_and_its_area_is_the_auc():
    frame = predictions(seeds=1)
    frame["score"] = frame["score"].round(2)
    frame["predicted"] = (frame["score"] >= frame["threshold"]).astype(int)
    band = evaluate.roc_band(frame, n_boot=100, points=2001)
    fpr, tpr, _ = sk.roc_curve(frame["label"], frame["score"], drop_intermediate=False)
    steps = pd.DataFrame({"x": fpr, "y": tpr}).groupby("x")["y"].max()  # the curve jumps where x stands still
    for x, y in steps.items():
        assert np.interp(x + 1e-3, band["false_positive_rate"], band["recall"]) == pytest.approx(y, abs=0.01)
    area = np.trapezoid(band["recall"], band["false_positive_rate"])
    assert area == pytest.approx(sk.roc_auc_score(frame["label"], frame["score"]), abs=2e-3)
    assert (band["low"] <= band["recall"] + 1e-12).mean() > 0.95 and (band["high"] >= band["low"]).all()
    with pytest.raises(DataError, match="both classes"):
        evaluate.roc_band(frame[frame["label"] == 1])


def test_mean_band_of_normal_curves_has_the_textbook_width_and_skips_missing_voice():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(400, 30))
    mean, low, high = evaluate.mean_band(values)
    np.testing.assert_allclose(mean, values.mean(axis=0))
    np.testing.assert_allclose((high - low).mean(), 2 * 1.96 / 20, rtol=0.05)
    values[:100, 3], values[:, 4] = np.nan, np.nan
    mean, low, high = evaluate.mean_band(values)
    assert mean[3] == pytest.approx(np.nanmean(values[:, 3]))
    assert np.isnan([mean[4], low[4], high[4]]).all() and np.isfinite(low[3])


# ── files ──────────────────────────────────────────────────────────────────────────────────────────────
def test_predictions_come_back_bit_for_bit_from_their_file(tmp_path):
    frame = predictions()
    frame.loc[0, "score"] = np.nextafter(frame.loc[0, "threshold"], 1)
    frame.loc[0, "predicted"] = 1
    frame.loc[1, "model"] = "NA"  # a text that careless readers take for a missing value
    path = evaluate.write_predictions(frame[frame.columns[::-1]], tmp_path / "a" / "p.csv")
    back = evaluate.read_predictions(path)
    pd.testing.assert_frame_equal(back, frame[list(evaluate.COLUMNS)], check_exact=True)
    assert (back["score"].to_numpy().view("i8") == frame["score"].to_numpy().view("i8")).all()
    first = path.read_bytes()
    assert b"\r" not in first
    assert evaluate.write_predictions(back, path).read_bytes() == first


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label": 2}, "label is neither"),
        ({"predicted": -1}, "predicted is neither"),
        ({"score": 1.01}, r"score lies outside \[0, 1\]"),
        ({"score": np.nan}, "'score' must hold float64, a value is missing"),
        ({"threshold": np.inf}, "'threshold' must hold float64, finite"),
        ({"threshold": 0.0, "score": 0.2, "predicted": 0}, "not score ≥ threshold"),
        ({"seed": 0.5}, "'seed' must hold int64"),
        ({"fold": "one"}, "'fold' must hold int64"),
        ({"model": ""}, "'model' must hold str"),
        ({"recording": 3}, "'recording' must hold str"),
        ({"age": 71}, r"unknown ones \['age'\]"),
    ],
)
def test_rows_that_break_the_schema_are_refused_with_the_column_named(change, words):
    with pytest.raises(DataError, match=words):
        evaluate.check_predictions(predictions().assign(**change))


def test_duplicates_two_labels_lost_columns_and_empty_frames_are_refused():
    frame = predictions()
    with pytest.raises(DataError, match="occur twice"):
        evaluate.check_predictions(pd.concat([frame, frame.iloc[[5]]]))
    with pytest.raises(DataError, match="two labels"):
        evaluate.check_predictions(frame.assign(label=frame["label"].where(frame.index != 0, 0)))
    with pytest.raises(DataError, match=r"lack the columns \['seed'\]"):
        evaluate.check_predictions(frame.drop(columns="seed"))
    with pytest.raises(DataError, match="without a row"):
        evaluate.check_predictions(frame.iloc[:0])


def test_damaged_files_are_refused_with_the_file_named(tmp_path):
    path = evaluate.write_predictions(predictions(), tmp_path / "p.csv")
    whole = path.read_text()
    for damaged in ("", "a,b\n1\n", whole.replace(",0.45,", ",zero,", 1), whole[: len(whole) // 2]):
        path.write_text(damaged)
        with pytest.raises(DataError, match="p.csv"):
            evaluate.read_predictions(path)
    with pytest.raises(DataError, match="none.csv"):
        evaluate.read_predictions(tmp_path / "none.csv")


def test_a_read_only_folder_is_named_when_predictions_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="cannot write"):
        evaluate.write_predictions(predictions(), tmp_path / "file" / "p.csv")


def test_committed_predictions_keep_the_schema():
    for path in sorted((paths.DATA / "predictions").glob("*.csv")):
        assert len(evaluate.read_predictions(path))


def test_holm_agrees_with_a_case_worked_by_hand_and_leaves_unknown_ones_out():
    assert evaluate.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert evaluate.holm([0.01, np.nan, 0.04]) == pytest.approx([0.02, np.nan, 0.04], nan_ok=True)
