"""Confounding: matching against brute force, tests against planted truth, net benefit and Bayes by hand."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import norm, spearmanr

from pdlib import confounding, evaluate
from pdlib.cohort import Cohort
from pdlib.confounding import (
    PREPARATIONS,
    SHORTCUTS,
    age_correlation,
    age_strata,
    all_pairs,
    binormal_shift,
    close_pairs,
    combined,
    deep_lows,
    false_alarms_per_case,
    format_table,
    hanley_mcneil_se,
    level_over_time,
    matched_pairs,
    net_benefit,
    net_benefit_band,
    overlap_of_ages,
    pair_concordance,
    pooled_table,
    predictive_summary,
    predictive_value,
    prepared_pictures,
    recalibrated,
    restricted_permutation,
    shifted,
    shortcut_table,
    simulated_gain_power,
    simulated_power,
    speakers_needed,
    stratum_pairs,
    treat_all,
)
from pdlib.errors import DataError, ParameterError
from pdlib.recordings import Recording, Signal


def predictions(scores, labels, *, seed=0, model="m", threshold=0.5, folds=None):
    scores = np.asarray(scores, dtype=float)
    return pd.DataFrame({
        "model": model, "variant": "v", "protocol": "speaker",
        "recording": [f"R-{k:03d}" for k in range(scores.size)], "label": np.asarray(labels, dtype=int),
        "fold": 0 if folds is None else folds, "seed": seed, "score": scores, "threshold": threshold,
        "predicted": (scores >= threshold).astype(int),
    })  # fmt: skip


def group(ages, sexes, labels):
    names = [f"R-{k:03d}" for k in range(len(ages))]
    people = pd.DataFrame({"age": np.asarray(ages, dtype=float), "sex": list(sexes)}, index=names)
    return people, pd.Series(list(labels), index=names)


def cohort_of(samples_by_name, ages=None):
    """Own recordings made of arrays at 8 kHz; PD by name."""
    names = list(samples_by_name)
    people = pd.DataFrame(
        {"age": ages or [np.nan] * len(names), "sex": ["F"] * len(names), "validated": False}, index=names
    )
    recordings = tuple(Recording(n, int(n.startswith("PD")), None, f"{k}") for k, n in enumerate(names))
    held = {n: Signal(np.asarray(x, dtype=np.float32), 8000, ()) for n, x in samples_by_name.items()}
    return Cohort("own", "arrays", recordings, people, held)


# ── shortcuts ──────────────────────────────────────────────────────────────────────────────────────────
def test_shortcuts_have_the_values_of_a_sine_with_a_quiet_start():
    time = np.arange(16000) / 8000  # two seconds, 500 Hz, whole periods in 50 ms
    sine = np.sin(2 * np.pi * 500 * time)
    sine[:400] *= 0.1
    found = shortcut_table(cohort_of({"HC-01": sine})).loc["HC-01"]
    assert list(found.index) == list(SHORTCUTS)
    assert found["duration"] == 2 and found["padding"] == pytest.approx(1 / 3)
    assert found["last-50-ms"] == pytest.approx(-3.01, abs=0.01)
    assert found["first-50-ms"] == pytest.approx(-23.01, abs=0.01)
    # 5 frames of 100 are the quietest; two and a half of them are the quiet start
    assert -23.02 < found["noise-floor"] < -10
    assert found["crest"] == pytest.approx(3.01 + 0.11, abs=0.03) and found["peak"] == pytest.approx(1)
    assert found["high-band"] < -40 and found["clipping"] == 0


def test_energy_above_the_telephone_band_and_flat_tops_are_seen():
    time = np.arange(8000) / 8000
    high = np.sin(2 * np.pi * 3900 * time) + np.sin(2 * np.pi * 1000 * time)
    found = shortcut_table(cohort_of({"HC-01": np.clip(2 * high, -1, 1), "PD-01": high / 2}))
    assert found.loc["PD-01", "high-band"] == pytest.approx(-3.01, abs=0.01)
    assert found.loc["HC-01", "clipping"] > 0.1 > found.loc["PD-01", "clipping"]


def test_format_traces_are_read_from_ages_and_file_names_and_left_out_where_unknown(small_cohort, tmp_path):
    assert "identifier" not in format_table(small_cohort)  # synthetic voices have no file
    made = cohort_of({"HC-01": np.ones(8000), "PD-01": np.ones(8000)}, ages=[61.0, 61.5])
    files = [tmp_path / "AH_064F_7AB0-1.wav", tmp_path / "AH_545622717-461D.wav"]
    named = tuple(Recording(r.name, r.label, f, "") for r, f in zip(made.recordings, files, strict=True))
    found = format_table(Cohort("own", "arrays", named, made.people, made.held))
    assert found["decimal-age"].tolist() == [0, 1] and found["identifier"].tolist() == [3, 9]
    assert format_table(cohort_of({"HC-01": np.ones(8000)})).shape == (1, 0)


def test_a_planted_drop_of_the_gain_is_found_at_its_time_and_even_in_all_bands():
    noise = np.random.default_rng(0).standard_normal(24000) * 0.1
    noise[11200:12800] *= 0.1  # 20 dB less from 1.4 to 1.6 s
    lows = deep_lows(cohort_of({"HC-01": noise})).loc["HC-01"]
    assert lows["depth"] > 15 and lows["start"] == pytest.approx(1.5, abs=0.1)
    assert lows["start"] + lows["end"] == pytest.approx(3)
    assert lows.filter(like="fall").to_numpy() == pytest.approx(20, abs=3)
    steps = level_over_time(cohort_of({"HC-01": noise}), np.arange(0, 4.01, 0.5))
    assert steps.loc["HC-01", 0.25] == pytest.approx(0, abs=0.3)
    assert np.isnan(steps.loc["HC-01", 3.75])  # the recording is over
    backwards = level_over_time(cohort_of({"HC-01": noise[:16000]}), [0, 0.2, 0.4, 0.6, 0.8], from_end=True)
    assert backwards.loc["HC-01"].argmin() == 2  # the drop begins 0.6 s and ends 0.4 s before the end


# ── matching ───────────────────────────────────────────────────────────────────────────────────────────
def best_by_trying(people, labels, limit):
    """Most pairs, then least years, over every assignment."""
    ill, well = (list(labels.index[labels == k]) for k in (1, 0))
    well = well + [None] * len(ill)
    best = (0, 0.0)
    for order in set(permutations(well, len(ill))):
        chosen = [(a, b) for a, b in zip(ill, order, strict=True) if b and people.sex[a] == people.sex[b]]
        apart = [abs(people.age[a] - people.age[b]) for a, b in chosen]
        apart = [years for years in apart if years <= limit]
        best = max(best, (len(apart), -sum(apart)))
    return best


@pytest.mark.parametrize("seed", range(8))
def test_matching_is_as_good_as_the_best_of_all_assignments(seed):
    rng = np.random.default_rng(seed)
    people, labels = group(rng.integers(40, 80, 8), rng.choice(["F", "M"], 8), [1] * 4 + [0] * 4)
    limit = int(rng.integers(2, 15))
    pairs = matched_pairs(labels, people, limit)
    most, years = best_by_trying(people, labels, limit)
    assert len(pairs) == most
    assert pairs["years"].abs().sum() == pytest.approx(-years)
    assert (pairs["years"].abs() <= limit).all() and pairs["pd"].is_unique and pairs["hc"].is_unique


def test_matching_prefers_more_pairs_to_closer_ones():
    # 60 fits 60 exactly, but then 64 has no partner within five years
    people, labels = group([60, 64, 60, 56], "FFFF", [1, 1, 0, 0])
    assert len(matched_pairs(labels, people, 5)) == 2


def test_nobody_is_matched_across_sex_or_without_an_age():
    people, labels = group([60, 61, np.nan], "FMF", [1, 0, 0])
    assert matched_pairs(labels, people, 5).empty and close_pairs(labels, people, 5).empty
    with pytest.raises(ParameterError, match="years"):
        matched_pairs(labels, people, 0)


def test_strata_and_overlap_are_what_their_names_say():
    people, labels = group([59, 60, 69, 70, 30], "FFFMF", [0, 1, 0, 1, 0])
    assert age_strata(people, 10).tolist() == ["50–59 F", "60–69 F", "60–69 F", "70–79 M", "30–39 F"]
    assert stratum_pairs(labels, age_strata(people, 10)).to_numpy().tolist() == [["R-001", "R-002"]]
    assert list(overlap_of_ages(labels, people)) == ["R-001", "R-002"]  # 60 to 69


# ── concordance within pairs ───────────────────────────────────────────────────────────────────────────
def test_over_all_pairs_the_concordance_is_the_auc():
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], 15)
    frame = predictions(rng.integers(0, 9, 30) / 10, labels)  # with ties
    found = pair_concordance(frame, all_pairs(frame.set_index("recording")["label"]))
    auc = evaluate.summary(frame, ["auc"]).iloc[0]
    assert found["value"] == pytest.approx(auc["value"])
    assert (found["pairs"], found["speakers"]) == (225, 30)
    assert [found["low"], found["high"]] == pytest.approx([auc["low"], auc["high"]], abs=0.03)


def test_within_pairs_wins_are_counted_and_ties_are_half():
    frame = predictions([0.9, 0.2, 0.5, 0.1, 0.3, 0.5], [1, 1, 1, 0, 0, 0])
    pairs = pd.DataFrame({"pd": ["R-000", "R-001", "R-002"], "hc": ["R-003", "R-004", "R-005"]})
    found = pair_concordance(frame, pairs, n_boot=4000)
    assert found["value"] == 0.5 and found["pairs"] == 3  # won, lost, tied
    assert (found["low"], found["high"]) == (0.0, 1.0)
    nothing = pair_concordance(frame, pairs.iloc[:0])
    assert np.isnan(nothing["value"]) and nothing["pairs"] == 0


def confounded(n, seed, effect=0.0):
    """Speakers whose label and score both depend on the stratum, and on each other only through ``effect``."""
    rng = np.random.default_rng(seed)
    old = rng.integers(0, 2, n)
    labels = (rng.random(n) < np.where(old == 1, 0.85, 0.15)).astype(int)
    scores = expit(2 * old + effect * labels + rng.normal(size=n))
    frame = predictions(scores, labels)
    return frame, pd.Series(old, index=frame["recording"])


def test_shuffling_within_strata_holds_its_size_where_a_confounder_is_planted_and_plain_shuffling_does_not():
    runs = [confounded(80, seed) for seed in range(80)]
    restricted = [
        restricted_permutation(frame, old, n=99, seed=k)["p"] for k, (frame, old) in enumerate(runs)
    ]
    plain = [restricted_permutation(frame, n=99, seed=k)["p"] for k, (frame, _) in enumerate(runs)]
    assert np.mean(np.array(restricted) <= 0.05) < 0.13  # 0.05 with a standard error of 0.024
    assert np.mean(np.array(plain) <= 0.05) > 0.9


def test_shuffling_within_strata_finds_a_planted_effect_beside_the_confounder():
    found = [
        restricted_permutation(*confounded(80, seed, effect=1.2), n=99, seed=seed)["p"] for seed in range(40)
    ]
    assert np.mean(np.array(found) <= 0.05) > 0.8


def test_the_mean_of_the_shuffled_aucs_is_what_the_stratum_explains():
    frame, old = confounded(2000, 3)
    found = restricted_permutation(frame, old, n=50, seed=0)
    assert found["null"] == pytest.approx(found["auc"], abs=0.02) and found["null"] > 0.75
    assert found["mixed"] == 2000
    plain = restricted_permutation(frame, n=50, seed=0)
    assert plain["null"] == pytest.approx(0.5, abs=0.02)


def test_a_plain_permutation_test_agrees_with_the_exact_one_and_pure_strata_cannot_be_shuffled():
    frame = predictions([0.9, 0.8, 0.7, 0.3, 0.2, 0.1], [1, 1, 1, 0, 0, 0])
    found = restricted_permutation(frame, n=20000)
    assert found["p"] == pytest.approx(1 / 20, abs=0.006)  # 6 over 3 orders, one of them as good
    both = restricted_permutation(frame, n=20000, two_sided=True)
    assert both["p"] == pytest.approx(2 / 20, abs=0.009)
    pure = pd.Series(list("aaabbb"), index=frame["recording"])
    assert np.isnan(restricted_permutation(frame, pure, n=20)["p"])


def test_the_correlation_with_age_is_that_of_scipy_in_the_chosen_class_alone():
    rng = np.random.default_rng(0)
    scores, ages = rng.random(30), rng.integers(40, 80, 30).astype(float)
    labels = np.repeat([0, 1], 15)
    frame = predictions(scores, labels)
    found = age_correlation(frame, pd.Series(ages, index=frame["recording"]), 1, n_boot=300)
    assert found["rho"] == pytest.approx(spearmanr(scores[15:], ages[15:]).statistic)
    assert found["low"] < found["rho"] < found["high"] and found["speakers"] == 15
    few = age_correlation(predictions([0.1, 0.2], [0, 1]), pd.Series([1.0, 2.0], index=["R-000", "R-001"]), 1)
    assert np.isnan(few["rho"])


def test_two_models_combine_by_the_mean_of_their_log_odds():
    a, b = predictions([0.5, 0.9], [0, 1]), predictions([0.8, 0.9], [0, 1], model="b")
    made = combined(a, b, model="both")
    assert made["score"].tolist() == pytest.approx([2 / 3, 0.9])  # odds √(1·4) = 2
    assert combined(predictions([0.0, 1.0], [0, 1]), b, model="both")["score"].between(0, 1).all()
    with pytest.raises(DataError, match="share no speaker"):
        combined(a, predictions([0.5, 0.5], [0, 1], seed=9), model="both")


# ── use ────────────────────────────────────────────────────────────────────────────────────────────────
def test_net_benefit_agrees_with_a_case_worked_by_hand():
    labels, probabilities = [1, 1, 0, 0, 0], [0.9, 0.4, 0.6, 0.2, 0.1]
    # at 0.5: one true and one false alarm of five; at 0.3: two and one; the odds are 1 and 3/7
    assert net_benefit(labels, probabilities, [0.5, 0.3]) == pytest.approx([0.0, 2 / 5 - 1 / 5 * 3 / 7])
    # the same rates (1/2, 1/3) in a population with one in ten
    assert net_benefit(labels, probabilities, [0.5], 0.1) == pytest.approx([0.05 - 0.3])
    assert treat_all([0.2], 0.2) == pytest.approx([0.0])  # indifferent where threshold and prevalence agree
    with pytest.raises(ParameterError):
        net_benefit(labels, probabilities, [1.0])


def test_the_band_of_net_benefit_holds_the_value_and_restates_the_probabilities():
    labels = np.repeat([0, 1], 40)
    scores = expit(np.random.default_rng(0).normal(2.0 * labels - 1, 1))
    frame = predictions(scores, labels)
    band = net_benefit_band(frame, [0.2, 0.5], n_boot=300)
    assert band["value"].to_numpy() == pytest.approx(net_benefit(labels, scores, [0.2, 0.5]))
    assert (band["low"] < band["value"]).all() and (band["value"] < band["high"]).all()
    rare = net_benefit_band(frame, [0.05], prevalence=0.01, n_boot=20)["value"][0]
    assert rare == pytest.approx(net_benefit(labels, shifted(scores, 0.5, 0.01), [0.05], 0.01)[0])


def test_restated_probabilities_follow_bayes():
    # 0.9 at one half is a likelihood ratio of 9; with prior odds of 1 to 99 that is 9/108
    assert shifted(0.9, 0.5, 0.01) == pytest.approx(9 / 108)


@pytest.mark.parametrize(
    ("recall", "specificity", "people", "sick"), [(0.95, 0.94, 100_000, 1000), (1.0, 78 / 82, 82_000, 820)]
)
def test_the_predictive_value_is_what_counting_people_gives(recall, specificity, people, sick):
    true, false = sick * recall, (people - sick) * (1 - specificity)
    assert predictive_value(recall, specificity, sick / people) == pytest.approx(true / (true + false))
    assert false_alarms_per_case(recall, specificity, sick / people) == pytest.approx(false / true)


def test_the_predictive_value_of_the_printed_rates_and_of_a_test_that_calls_nobody():
    assert predictive_value(0.95, 0.94, 0.01) == pytest.approx(0.1379, abs=5e-5)
    assert np.isnan(predictive_value(0.0, 1.0, 0.01)) and false_alarms_per_case(0.0, 0.9, 0.01) == np.inf
    with pytest.raises(ParameterError, match="prevalence"):
        predictive_value(0.9, 0.9, 1.0)


def test_the_predictive_summary_has_the_rates_of_evaluate():
    labels = np.repeat([0, 1], 30)
    frame = predictions(expit(np.random.default_rng(2).normal(labels, 1)), labels)
    found = predictive_summary(frame, 0.01, n_boot=500)
    rates = evaluate.summary(frame, ["recall", "specificity"]).set_index("metric")["value"]
    assert found["value"][["recall", "specificity"]].tolist() == pytest.approx(rates.tolist())
    assert found.loc["predictive value", "value"] == pytest.approx(predictive_value(*rates, 0.01))
    assert (found["low"] <= found["value"]).all() and (found["value"] <= found["high"]).all()


def test_recalibration_mends_scores_that_are_too_sure_and_uses_no_score_of_its_own_fold():
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 100)
    sure = expit(6 * rng.normal(2.0 * labels - 1, 2))
    folds = np.repeat(np.arange(5), 40)
    frame = predictions(sure, labels, folds=folds)
    mended = recalibrated(frame).sort_values("recording")
    assert evaluate.brier(labels, mended["score"]) < evaluate.brier(labels, sure) - 0.05
    other = predictions(np.where(folds == 0, 1 - sure, sure), labels, folds=folds)
    changed = recalibrated(other).sort_values("recording")
    line = [np.polyfit(confounding.log_odds(a[folds == 0]), confounding.log_odds(b["score"].to_numpy()[folds == 0]), 1)
            for a, b in ((sure, mended), (1 - sure, changed))]  # fmt: skip
    assert line[0] == pytest.approx(line[1], abs=1e-6)


# ── sample size ────────────────────────────────────────────────────────────────────────────────────────
def test_the_standard_error_is_that_of_the_formula_at_one_half_and_of_simulated_scores():
    # with no effect the exact variance of the statistic is (m + n + 1) / 12mn
    assert hanley_mcneil_se(0.5, 40, 41) == pytest.approx(np.sqrt(82 / (12 * 40 * 41)), rel=1e-6)
    rng = np.random.default_rng(0)
    ill, well = rng.normal(binormal_shift(0.75), 1, (4000, 40)), rng.normal(size=(4000, 40))
    v10, _ = confounding._placements(ill, well)
    assert v10.mean() == pytest.approx(0.75, abs=0.005)
    assert v10.mean(axis=1).std() == pytest.approx(hanley_mcneil_se(0.75, 40, 40), rel=0.08)


def test_placements_give_the_area_that_evaluate_gives():
    rng = np.random.default_rng(0)
    ill, well = rng.normal(0.5, 1, (1, 12)), rng.normal(size=(1, 9))
    v10, v01 = confounding._placements(ill, well)
    wanted = evaluate.auc([1] * 12 + [0] * 9, expit(np.r_[ill[0], well[0]]))
    assert v10.mean() == pytest.approx(wanted) and v01.mean() == pytest.approx(wanted)


@pytest.mark.parametrize(("auc", "n"), [(0.6, 150), (0.7, 40), (0.8, 20)])
def test_simulated_power_agrees_with_hanley_and_mcneil(auc, n):
    expected = norm.cdf((auc - 0.5) / hanley_mcneil_se(auc, n, n) - norm.ppf(0.975))
    assert simulated_power(auc, n, simulations=2000) == pytest.approx(expected, abs=0.06)


def test_without_an_effect_the_power_is_half_the_level():
    assert simulated_power(0.5, 60, simulations=4000) == pytest.approx(0.025, abs=0.012)


def test_a_gain_is_easier_to_show_when_larger_and_its_population_value_is_right():
    few, many = (simulated_gain_power(0.85, gain, 100, simulations=500) for gain in (0.02, 0.05))
    assert few < many
    # over a base that tells nothing, the gain is the area of the second score alone
    first, both = binormal_shift(0.85), binormal_shift(0.9)
    second = np.sqrt(both**2 - first**2)
    assert norm.cdf(np.hypot(first, second) / np.sqrt(2)) == pytest.approx(0.9)
    with pytest.raises(ParameterError):
        simulated_gain_power(0.95, 0.06, 50)


def test_the_search_finds_the_smallest_size_of_a_known_curve():
    def known(n):
        return norm.cdf(np.sqrt(n) * 0.25 - 1.96)  # 0.8 at n = 125.6

    assert 126 <= speakers_needed(known, 0.8, 20) <= 129
    assert 126 <= speakers_needed(known, 0.8, 1000) <= 129
    with pytest.raises(ParameterError, match="not reached"):
        speakers_needed(lambda n: 0.1, 0.8, 100)


# ── other cuts ─────────────────────────────────────────────────────────────────────────────────────────
def test_only_the_printed_lengths_show_zeros_and_only_the_zeros_show_in_the_picture_of_zeros(small_cohort):
    sets = {name: prepared_pictures(small_cohort, name, 64).pictures for name in PREPARATIONS}
    short = np.array([small_cohort.signal(n).duration < 2.5 for n in small_cohort.names])
    black = {name: (pictures[:, :, -4:].max(axis=(1, 2, 3)) == 0) for name, pictures in sets.items()}
    assert (
        short.any()
        and (black["as printed"] == black["zeros only"]).all()
        and black["as printed"][short].all()
    )
    assert not any(
        black[name].any() for name in ("equal length, start", "equal length, middle", "middle second")
    )
    durations = [round(small_cohort.signal(n).duration, 3) for n in small_cohort.names]
    alike = [(a, b) for a in range(12) for b in range(a) if min(durations[a], durations[b]) >= 3]
    assert all((sets["zeros only"][a] == sets["zeros only"][b]).all() for a, b in alike)
    assert (sets["below 3.8 kHz"][:, :2] <= sets["as printed"][:, :2]).mean() > 0.95
    with pytest.raises(ParameterError, match="unknown"):
        prepared_pictures(small_cohort, "louder", 64)


def test_equal_level_undoes_the_gain_of_a_recording_that_one_click_had_turned_down():
    time = np.arange(24000) / 8000
    voice = 0.1 * np.sin(2 * np.pi * 200 * time)
    clicked = voice.copy()
    clicked[12000] = 1.0
    made = cohort_of({"HC-01": voice, "PD-01": clicked})
    apart = {}
    for name in ("as printed", "equal level"):
        first, second = prepared_pictures(made, name, 64).pictures[:, :, :16].astype(float)
        apart[name] = abs(first.mean() - second.mean())
    assert apart["equal level"] < 0.2 * apart["as printed"]


def test_pooled_maps_are_channel_means_by_recording():
    maps = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    table = pooled_table(maps, ["HC-01", "PD-01"])
    assert table.shape == (2, 5) and table.loc["HC-01", "channel_0"] == maps[0, :, :, 0].mean()
