"""Printed against printed: each check against brute force, a hand-made example, or a case that must pass."""

import ast
import itertools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from pdlib import cross_checks as checks
from pdlib import metrics, printed
from pdlib.cohort import TABLE_2
from pdlib.metrics import Confusion

RATE = 8000


def matrices(n):
    """Every confusion matrix of ``n`` samples."""
    for tp, fn, fp in itertools.product(range(n + 1), repeat=3):
        if tp + fn + fp <= n:
            yield Confusion(tp, fn, fp, n - tp - fn - fp)


def as_text(value):
    return f"{value:.6f}"


def voices_of(*samples, labels=None):
    """As much of a cohort as the checks ask for, from arrays at 8 kHz."""
    labels = np.zeros(len(samples), int) if labels is None else np.array(labels)
    signals = {f"V-{i}": SimpleNamespace(samples=s, sample_rate=RATE) for i, s in enumerate(samples)}
    table = pd.DataFrame({"duration_s": [s.size / RATE for s in samples]})
    return SimpleNamespace(signals=lambda: signals, labels=labels, table=table)


def tone(hertz, seconds, level=0.5):
    return level * np.sin(2 * np.pi * hertz * np.arange(int(RATE * seconds)) / RATE)


# --- the survey -------------------------------------------------------------------------------------------
def test_the_range_of_the_matthews_correlation_holds_every_small_matrix_and_is_reached():
    seen = {}
    for c in matrices(14):
        below = (c.tp + c.fp) * (c.tp + c.fn) * (c.tn + c.fp) * (c.tn + c.fn)
        if c.tp == 0 or not c.fp + c.fn or not below:  # F1 of 0 or 1 leaves nothing to divide
            continue
        mcc = (c.tp * c.tn - c.fp * c.fn) / np.sqrt(below)
        seen.setdefault((c.tp, c.tn), []).append((c.fp, c.fn, mcc))
    assert len(seen) > 50
    for (tp, tn), found in seen.items():
        c = Confusion(tp, found[0][1], found[0][0], tn)
        low, high = checks.mcc_range(f"{metrics.accuracy(c):.9f}", f"{metrics.f1(c):.9f}")
        assert all(low - 1e-6 <= mcc <= high + 1e-6 for _, _, mcc in found)
        if any(fp == fn for fp, fn, _ in found):
            assert min(mcc for *_, mcc in found) == pytest.approx(low, abs=1e-6)
        if any(0 in (fp, fn) for fp, fn, _ in found):
            assert max(mcc for *_, mcc in found) == pytest.approx(high, abs=1e-6)


def test_accuracies_from_other_rates_are_those_of_the_matrix_the_rates_come_from():
    tried = 0
    for c in matrices(12):
        of = checks.rates(c)
        if not all(0 < of[m] < 1 for m in ("precision", "recall", "specificity")):
            continue
        tried += 1
        texts = {m: as_text(value) for m, value in of.items()}
        low, high = checks.accuracy_from_rates(texts["precision"], texts["recall"], texts["specificity"])
        assert low - 1e-9 <= of["accuracy"] <= high + 1e-9 and high - low < 1e-4
        if c.tp + c.fn == c.tn + c.fp:
            low, high = checks.accuracy_with_equal_classes(texts["precision"], texts["recall"])
            assert low - 1e-9 <= of["accuracy"] <= high + 1e-9 and high - low < 1e-4
    assert tried > 100


def test_quoted_metrics_pass_where_they_can_be_counted_and_fail_where_they_cannot():
    found = checks.quoted_metrics().set_index("study")["one matrix"]
    assert len(found) == 7
    assert set(found.index[found]) == {"[4] Karaman, text, equal classes", "[12] Khosla, Table 1"}


def test_the_mean_of_a_quoted_precision_and_recall_by_hand():
    row = checks.quoted_metrics().set_index("study").loc["[16] Tracy, Table 1"]
    assert row["lowest"] < 2 * 0.901 * 0.797 / (0.901 + 0.797) < row["highest"] < 0.847


def test_a_rate_of_fifty_is_found_reachable_only_when_some_count_prints_it():
    rows = checks.shares_of_fifty()
    assert dict(zip(rows["metric"], rows["nearest count of 50"], strict=True)) == {
        "recall": 43,
        "specificity": 47,
    }
    for row in rows.itertuples(index=False):
        counted = any(f"{100 * k / 50:.1f}%" == row.printed for k in range(51))
        assert row[-1] == counted


def test_the_survey_stands_in_text_and_table_as_the_rows_of_the_data_say():
    found = checks.survey_places().set_index("place")
    assert found.loc["text", "references"] == "[13]"
    assert found.loc["Table 1", "references"] == "[15], [16]"
    assert found["studies"].sum() == len(set(range(4, 29)))


def test_accuracies_above_the_headline_are_those_above_and_no_rival_of_the_tables():
    every, above = checks.survey_above("0%"), checks.survey_above()
    values = every["printed"].astype(float)
    assert list(above["printed"].astype(float)) == list(values[values >= 99.06])
    assert 0 < len(above) < len(every)
    assert set(every["place"]) == {"Table 1", "text"}


def test_the_age_auc_of_table_2_counts_pairs():
    sick = [age for _, label, age, _ in TABLE_2 if label == "PwPD"]
    well = [age for _, label, age, _ in TABLE_2 if label == "HC"]
    pairs = [(s > w) + 0.5 * (s == w) for s in sick for w in well]
    assert checks.table_2_age_auc() == pytest.approx(np.mean(pairs), abs=1e-12)


def test_table_2_is_compared_class_by_class_and_unknown_sex_is_left_out():
    people = pd.DataFrame(
        {"label": ["HC", "HC", "PD", "PD"], "age": [20.0, 40.0, 70.0, 80.0], "sex": ["M", None, "M", "F"]}
    )
    found = checks.table_2_against_all(SimpleNamespace(table=people)).set_index(["of", "class"])
    assert found.loc[("Table 2", "HC"), ["men", "mean age"]].tolist() == [5, 250 / 6]
    assert found.loc[("all recordings", "HC"), ["men", "share of men", "mean age"]].tolist() == [1, 1, 30]
    assert found.loc[("all recordings", "PD"), "share of men"] == 0.5


# --- the matrix -------------------------------------------------------------------------------------------
def test_the_matrix_leaves_no_pd_recording_called_hc_and_gives_these_fractions():
    assert (checks.MATRIX.fn, checks.MATRIX.total) == (0, 162)
    found = checks.matrix_metrics().set_index("metric")["from the matrix"]
    by_hand = {
        "accuracy": 158 / 162,
        "precision": 80 / 84,
        "recall": 1,
        "specificity": 78 / 82,
        "F1": 160 / 164,
    }
    assert found.to_dict() == pytest.approx(by_hand)


def test_every_reading_of_the_four_counts_is_tried_once():
    found = checks.matrix_readings()
    assert len(found) == found["reading"].nunique() == 24 + 1
    assert found["values met"].max() == 1


def test_a_reading_that_gives_the_printed_values_would_be_found(monkeypatch):
    of = checks.rates(Confusion(tp=78, fn=4, fp=0, tn=80))
    monkeypatch.setitem(checks.RESULTS, "Tables 3–5", {m: f"{value:.2%}" for m, value in of.items()})
    best = checks.matrix_readings().iloc[0]
    assert best["reading"] == "TP 78, FN 4, FP 0, TN 80" and best["values met"] == 5


def scored(c, right_pd, wrong_pd, wrong_hc, right_hc):
    """Labels and scores of a matrix; each argument draws the scores of one cell."""
    labels = np.repeat([1, 1, 0, 0], [c.tp, c.fn, c.fp, c.tn])
    return labels, np.concatenate([right_pd(c.tp), wrong_pd(c.fn), wrong_hc(c.fp), right_hc(c.tn)])


@pytest.mark.parametrize("c", [checks.MATRIX, Confusion(9, 3, 2, 6), Confusion(5, 5, 1, 19)])
def test_no_scores_with_these_decisions_leave_the_bounds_of_the_area_and_some_reach_them(c):
    recall, specificity = metrics.recall(c), metrics.specificity(c)
    low, high = checks.least_auc(recall, specificity), checks.most_auc(recall, specificity)

    def at(value):
        return lambda n: np.full(n, value)

    assert metrics.auc(*scored(c, at(0.6), at(0.1), at(0.9), at(0.4))) == pytest.approx(low)
    assert metrics.auc(*scored(c, at(0.9), at(0.4), at(0.6), at(0.1))) == pytest.approx(high)
    rng = np.random.default_rng(0)
    for a, b in rng.uniform(0.2, 5, (200, 2)):

        def above(n, a=a):
            return 0.5 + rng.beta(a, 1, n) / 2

        def below(n, b=b):
            return 0.499 * rng.beta(b, 1, n)

        labels, scores = scored(c, above, below, above, below)
        assert metrics.confusion(labels, (scores >= 0.5).astype(int)) == c
        assert low - 1e-12 <= metrics.auc(labels, scores) <= high + 1e-12  # fmt: skip


def test_the_matrix_excludes_both_printed_areas_and_the_rounded_rates_do_not():
    found = checks.auc_bounds().set_index("operating point")[["0.90 possible", "0.89 possible"]]
    assert found.loc["matrix of p. 33"].tolist() == [False, False]
    assert found.loc["Tables 3–5, rounding granted"].tolist() == [True, True]


# --- metrics of no one model ------------------------------------------------------------------------------
@pytest.mark.parametrize("c", [Confusion(90, 10, 5, 95), Confusion(70, 30, 60, 40), Confusion(8, 4, 2, 500)])
def test_recall_specificity_and_share_of_pd_come_back_from_a_matrix_s_own_values(c, monkeypatch):
    of = checks.rates(c)
    texts = {m: f"{of[m]:.9f}" for m in ("accuracy", "precision", "f1")}
    monkeypatch.setitem(checks.RESULTS, "p. 33", texts)
    row = checks.printed_triples().iloc[0]
    assert row["recall implied"] == pytest.approx(of["recall"], abs=1e-6)
    assert row["share of PD implied"] == pytest.approx((c.tp + c.fn) / c.total, abs=1e-6)
    if c.tp + c.fn == c.fp + c.tn:
        assert row["specificity needed, equal classes"] == pytest.approx(of["specificity"], abs=1e-6)
        assert row["least, rounding granted"] <= row["specificity needed, equal classes"]


def test_the_specificity_that_the_printed_values_need_is_more_than_everybody():
    assert (checks.printed_triples()["least, rounding granted"] > 1).all()


def test_the_fewest_samples_are_those_of_a_plain_search():
    found = checks.fewest_samples().set_index(["metric", "page"])
    tp, wrong = np.meshgrid(np.arange(1, 300), np.arange(300))
    for (metric, at), row in found.iterrows():
        weight = 2 if metric == "F1" else 1
        low, high = printed.reach(row["printed"])
        share = weight * tp / (weight * tp + wrong)
        assert row["fewest samples"] == (tp + wrong)[(low <= share) & (share <= high)].min(), at
    assert found.loc[("precision", "33"), "fewest samples"] == 24  # 23 of 24


def test_sets_that_have_a_printed_value_are_those_of_a_plain_search():
    found = checks.fewest_samples().set_index(["metric", "page"])["sets (PD + HC) that have it"]
    for metric, at, text in (
        ("precision", "33", "0.9583"),
        ("precision", "42", "0.9582"),
        ("F1", "33, 42", "0.8459"),
    ):
        for n_pd, n_hc in checks.NAMED_SETS:
            tp, fp = np.meshgrid(np.arange(1, n_pd + 1), np.arange(n_hc + 1))
            value = tp / (tp + fp) if metric == "precision" else 2 * tp / (tp + n_pd + fp)
            there = (np.round(value, 4) == float(text)).any()
            assert (f"{n_pd} + {n_hc}" in found[metric, at]) == there, (metric, n_pd)


def test_a_search_that_ends_too_early_says_so():
    assert checks.fewest_samples(largest=30)["fewest samples"].isna().tolist() == [False, True, True]


def test_the_largest_precision_is_that_of_a_plain_search():
    r, s = np.meshgrid(np.linspace(0.945, 0.955, 101), np.linspace(0.935, 0.945, 101))
    assert checks.most_precise() == pytest.approx((r / (r + 1 - s)).max(), abs=1e-12)


def test_harmonic_means_of_the_tables_by_hand():
    found = checks.harmonic_means().set_index(["table", "model"])
    assert len(found) == 12 and found["quoted"].sum() == 9
    assert found.loc[("Table 3", "HMM"), "harmonic mean"] == pytest.approx(2 / (1 / 0.8633 + 1 / 0.8426))
    assert found.loc[("Table 4", "VGG16"), "accuracy − mean"] == pytest.approx(
        0.63 - 2 / (1 / 0.59 + 1 / 0.85)
    )
    assert found.loc["Table 4", "F1 possible"].tolist() == [True, True, True, False]


# --- preparation ------------------------------------------------------------------------------------------
def test_clip_lengths_by_hand():
    found = checks.clip_lengths().set_index("sr (Hz)")
    assert found["target_samples"].to_dict() == {8000: 3000, 1000: 375, 256: 96}
    assert found.loc[8000].tolist()[1:] == [3000 / 8000, 3.0, 3000 / 256]


def test_filled_and_cut_recordings_are_counted_and_zeros_measured():
    found = checks.padded_to_longest(voices_of(*(np.ones(int(s * RATE)) for s in (2, 3, 4)))).set_index(
        "made as long as"
    )
    assert found.loc["the longest"].tolist() == [4, 2, 0, 0.25]
    assert found.loc["three seconds", ["filled", "cut", "median share of zeros"]].tolist() == [1, 1, 0]


def test_the_samples_of_p_11_are_the_setting_and_not_the_recordings():
    found = checks.sample_counts(voices_of(tone(150, 2), tone(150, 3), tone(150, 4)))
    assert found["with 24 000 samples"].tolist() == [1, 3]
    assert found.loc[0, ["fewest", "most"]].tolist() == [16_000, 32_000]


def test_a_gain_moves_levels_and_leaves_ratios():
    found = checks.gain_and_noise(gains=(1.0, 10.0))
    assert found["tone (dB)"].tolist() == pytest.approx([-3.01, 16.99], abs=0.01)
    assert np.ptp(found["signal-to-noise ratio (dB)"]) < 1e-9
    found = checks.one_gain(voices_of(tone(100, 2, 0.5), tone(100, 2, 0.05)), gains=(1.0, 0.1))
    assert found["highest level (dB)"].diff().iloc[1] == pytest.approx(-20)
    assert found["range (dB)"].tolist() == pytest.approx([20, 20])


def test_energy_above_a_rate_s_limit_is_that_of_the_planted_tones():
    both = tone(200, 3) + tone(1500, 3)  # equal powers, one on each side of 500 Hz, both above 128 Hz
    found = checks.energy_above(voices_of(both)).set_index("rate (Hz)")
    assert found["median share of energy above"].tolist() == pytest.approx([0, 0.5, 1], abs=0.01)
    assert found["recordings with more than 1 % above"].tolist() == [0, 1, 1]


def test_the_shallowest_low_of_a_class_is_the_planted_one():
    def dipping(depth_db):
        gain = np.ones(3 * RATE)
        gain[11_000:13_000] = 10 ** (-depth_db / 20)
        return gain * tone(150, 3)

    voices = voices_of(*map(dipping, (6, 12, 0, 0)), labels=[1, 1, 0, 0])
    found = checks.least_low(voices).set_index(["prepared", "class"])
    for variant in ("paper", "sound"):
        assert found.loc[(variant, "PD"), "shallowest (dB)"] == pytest.approx(6, abs=0.3)
        assert found.loc[(variant, "HC"), "shallowest (dB)"] < 0.3
        assert found.loc[(variant, ["HC", "PD"]), "1 dB or more"].tolist() == [0, 2]


def test_checks_of_recordings_work_on_a_cohort(small_cohort):
    assert checks.table_2_against_all(small_cohort)["speakers"].tolist() == [6, 6, 6, 6]
    assert checks.least_low(small_cohort)["clips"].tolist() == [6, 6, 6, 6]


# --- algorithm and references -----------------------------------------------------------------------------
def test_a_line_of_algorithm_4_runs_when_every_name_in_it_is_given_or_was_set_before():
    known, expected = {"TP", "TN", "FP", "FN"}, []
    for line in checks.ALGORITHM_4:
        names = [node for node in ast.walk(ast.parse(line)) if isinstance(node, ast.Name)]
        runs = all(n.id in known for n in names if isinstance(n.ctx, ast.Load))
        expected.append(runs)
        known |= {n.id for n in names if isinstance(n.ctx, ast.Store)} if runs else set()
    found = checks.algorithm_4()
    assert [said == "runs" for said in found["in the printed order"][:-1]] == expected
    assert 0 < sum(expected) < len(expected)


def test_f1_waits_for_precision_first_and_for_a_recall_that_never_comes():
    row = checks.algorithm_4().set_index("printed line").filter(like="F1_score", axis=0).iloc[0]
    assert row.tolist() == ["letters", "Precision is not defined", "Recall is not defined"]
    assert "outside function" in checks.algorithm_4().iloc[-1, 2]


def test_a_definition_in_words_is_told_from_a_line_that_is_meant_to_run():
    lines = checks.algorithm_4().set_index("printed line")["written in"]
    in_words = lines[lines == "words"].index
    assert len(in_words) == 6 and all("_of_" in line or "True_" in line for line in in_words)
    assert lines["Accuracy = (TP + TN) / (TP + TN + FP + FN) * 100"] == "letters"


def test_a_reference_is_uncited_when_neither_its_number_nor_its_author_is_in_the_text(monkeypatch):
    assert checks.uncited()["reference"].tolist() == [f"[{n}]" for n in sorted(checks.UNCITED)]
    monkeypatch.setattr(checks, "CITED_BY_NUMBER", checks.CITED_BY_NUMBER | {34})
    assert "[34]" not in checks.uncited()["reference"].tolist()
