"""One case before networks: recognised by its sound, judged only by who has not seen it, compared with others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image
from scipy.stats import binomtest
from soxr import resample

from pdlib import single_case, transfer
from pdlib.errors import DataError, LeakageError, ParameterError, RecordingError
from pdlib.evaluate import COLUMNS
from pdlib.fold_results import FoldResult, predictions
from pdlib.networks import CustNetConfig, custnet, keras
from pdlib.picture_sets import PictureSet
from pdlib.protocols import Fold, speaker_folds
from pdlib.provenance import Store
from pdlib.recordings import RATE, Signal
from pdlib.single_case import (
    alike,
    among,
    find_case,
    find_picture,
    judges,
    look,
    measures,
    same_picture,
    votes,
)


# ── which recording ────────────────────────────────────────────────────────────────────────────────────
def test_a_name_of_the_cohort_is_that_recording(small_cohort):
    case = find_case("PD-02", small_cohort)
    assert (case.name, case.member, case.file) == ("PD-02", "PD-02", None)
    np.testing.assert_array_equal(case.signal.samples, small_cohort.signal("PD-02").samples)


@pytest.mark.parametrize("change", ["none", "16 bit", "half as loud", "44.1 kHz and back", "turned over"])
def test_a_copy_of_a_training_recording_is_not_taken_for_a_stranger(small_cohort, tmp_path, change):
    samples = small_cohort.signal("HC-03").samples.astype(float)
    rate, subtype = RATE, "PCM_16" if change == "16 bit" else "FLOAT"
    if change == "half as loud":
        samples = 0.5 * samples
    elif change == "turned over":
        samples = -samples
    elif change == "44.1 kHz and back":
        samples, rate = resample(samples, RATE, 44100, quality="VHQ"), 44100
    soundfile.write(tmp_path / "stranger.wav", samples, rate, subtype=subtype)
    case = find_case(str(tmp_path / "stranger.wav"), small_cohort)
    assert (case.name, case.member) == ("HC-03", "HC-03")


def test_a_file_with_another_sound_of_equal_length_is_a_stranger_without_a_label(small_cohort, tmp_path):
    samples = small_cohort.signal("HC-03").samples
    soundfile.write(tmp_path / "PD-01.wav", samples[::-1].copy(), RATE, subtype="FLOAT")
    case = find_case(str(tmp_path / "PD-01.wav"), small_cohort)
    assert (case.name, case.member) == ("PD-01.wav", None)
    assert (case.cohort.kind, case.cohort.names, case.cohort.labels.tolist()) == ("own", ["PD-01.wav"], [-1])
    assert len(case.cohort.fingerprint) == 64


def test_an_unknown_name_is_refused_with_the_names_near_it(small_cohort):
    with pytest.raises(ParameterError, match=r"'PD-1' is neither(.|\n)*did you mean .*PD-01"):
        find_case("PD-1", small_cohort)
    with pytest.raises(RecordingError, match="gone.wav does not exist"):
        find_case("gone.wav", small_cohort)


def test_a_recording_that_is_too_short_to_prepare_is_named(small_cohort, tmp_path):
    soundfile.write(tmp_path / "short.wav", small_cohort.signal("HC-01").samples[: int(1.1 * RATE)], RATE)
    with pytest.raises(RecordingError, match=r"^short.wav: "):
        find_case(str(tmp_path / "short.wav"), small_cohort).clip("sound")


# ── what a file and a room leave ───────────────────────────────────────────────────────────────────────
def test_the_energy_that_resampling_cuts_off_is_that_of_the_tones_above_4_khz(tmp_path):
    time = np.arange(2 * 44100) / 44100
    low, high = 0.5 * np.sin(2 * np.pi * 1000 * time), 0.05 * np.sin(2 * np.pi * 6000 * time)
    soundfile.write(tmp_path / "both.wav", np.column_stack([low + high] * 2), 44100, subtype="FLOAT")
    facts = single_case.file_facts(tmp_path / "both.wav")
    assert (facts.rate, facts.channels) == (44100, 2)
    assert facts.above == pytest.approx(10 * np.log10(0.01 / 1.01), abs=0.05)


def test_measures_of_tones_are_those_worked_by_hand():
    time = np.arange(2 * RATE) / RATE
    x = 0.5 * np.sin(2 * np.pi * 1000 * time) + 0.05 * np.sin(2 * np.pi * 3700 * time)
    x += 0.005 * np.sin(2 * np.pi * 50 * time)
    found = measures(Signal(x, RATE))
    power = np.array([0.5, 0.05, 0.005]) ** 2
    assert found["duration"] == 2.0
    assert found["peak"] == pytest.approx(20 * np.log10(np.abs(x).max()), abs=0.01)
    assert found["level of the voice"] == pytest.approx(10 * np.log10(power.sum() / 2), abs=0.01)
    assert found["energy above 3.4 kHz"] == pytest.approx(10 * np.log10(power[1] / power.sum()), abs=0.01)
    assert found["energy below 100 Hz"] == pytest.approx(10 * np.log10(power[2] / power.sum()), abs=0.01)
    assert found["quietest frames"] == pytest.approx(0, abs=0.1)
    x[RATE:] *= 0.1
    assert measures(Signal(x, RATE))["quietest frames"] == pytest.approx(-20, abs=0.1)


def test_a_recording_is_ranked_among_the_others_and_not_against_itself(small_cohort):
    longest = max(small_cohort.names, key=lambda name: small_cohort.signal(name).duration)
    ranks = among(find_case(longest, small_cohort), small_cohort)
    assert ranks["others"].eq(len(small_cohort) - 1).all()
    assert ranks.loc["duration", "below"] == len(small_cohort) - 1 and ranks.loc["duration", "outside"]
    assert ranks.loc["duration", "highest"] < ranks.loc["duration", "value"]


# ── which picture ──────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def noise():
    rng = np.random.default_rng(0)
    return PictureSet(
        ("a", "b", "c"), np.array([0, 1, 1]), rng.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    )


def test_a_picture_saved_again_is_the_picture_of_the_set(noise, tmp_path):
    assert find_picture("", noise).member == "a"
    Image.fromarray(noise.pictures[1]).save(tmp_path / "x.png")
    assert find_picture(str(tmp_path / "x.png"), noise)[::2] == ("b", "b")
    nearly = np.clip(
        noise.pictures[2].astype(int) + (np.indices((32, 32)).sum(axis=0) % 2)[..., None], 0, 255
    )
    assert same_picture(noise, nearly.astype(np.uint8)) == "c"
    Image.fromarray(noise.pictures[1][::-1]).save(tmp_path / "y.png")
    assert find_picture(str(tmp_path / "y.png"), noise)[::2] == ("y.png", None)
    with pytest.raises(DataError, match="gone.png does not exist"):
        find_picture("gone.png", noise)


def test_names_of_classes_must_be_those_of_the_drawn_faces():
    single_case.check_class_names(["Left", "Right"], ("Left", "Right"))
    with pytest.raises(ParameterError, match=r"class_names = \['Right', 'Left'\]"):
        single_case.check_class_names(["Right", "Left"], ("Left", "Right"))


# ── who may judge ──────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def folds():
    names = [f"{c}-{i}" for c in ("HC", "PD") for i in range(6)]
    labels = [0] * 6 + [1] * 6
    return [
        FoldResult(fold, {"score_m": np.linspace(0.1, 0.9, 4), "threshold_m": np.array(0.5)})
        for seed in (0, 1)
        for fold in speaker_folds(names, labels, 3, seed)
    ]


def test_only_folds_that_left_a_recording_out_may_judge_it(folds):
    found = judges(folds, "PD-3")
    assert [r.fold.seed for r in found] == [0, 1]
    assert all("PD-3" in r.fold.test and "PD-3" not in r.fold.train for r in found)
    assert single_case.assert_unseen(found, "PD-3") == 2
    assert judges(folds, None) == folds
    with pytest.raises(LeakageError, match="was trained on PD-3"):
        single_case.assert_unseen(folds, "PD-3")
    with pytest.raises(DataError, match="no fold was trained without X"):
        judges([FoldResult(Fold(0, 0, ("X", "Y"), ("Z",)), {})], "X")


def test_each_network_decides_at_its_own_threshold(folds):
    found = [
        replace(r, arrays={"threshold_m": np.array(t)}) for r, t in zip(folds, (0.2, 0.4, 0.6), strict=False)
    ]
    table = votes(found, "m", [0.5, 0.4, 0.5])
    assert table["predicted"].tolist() == [1, 1, 0]
    assert single_case.said(table, {0: "HC", 1: "PD"}) == "PD 2, HC 1"


def test_a_fold_network_put_together_again_gives_the_score_of_its_run(tmp_path):
    recipe = transfer.cnn_recipe("cnn", 32, epochs=1)
    rng = np.random.default_rng(1)
    data = PictureSet(
        tuple("abcdefgh"), np.arange(8) % 2, rng.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    )
    results = transfer.cross_validate(
        data, recipe, seeds=[0], n_splits=2, cross_fits=2, store=Store(tmp_path)
    )
    frame = predictions(results, data, ["cnn"], "x").set_index("recording")["score"]
    for name in ("a", "d"):
        (score,) = single_case.fold_scores(judges(results, name), recipe, data.take([name]).pictures[0])
        assert score == pytest.approx(frame[name], abs=1e-5)


# ── what a score has meant ─────────────────────────────────────────────────────────────────────────────
def _predictions(scores_by_seed, labels):
    rows = [
        ("m", "v", "speaker", f"r{i}", labels[i], 0, seed, score, 0.5, int(score >= 0.5))
        for seed, scores in enumerate(scores_by_seed)
        for i, score in enumerate(scores)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def test_the_nearest_scores_are_counted_with_wilsons_interval_and_without_the_case_itself():
    scores = np.array([0.05, 0.1, 0.4, 0.45, 0.5, 0.55, 0.9, 0.95])
    frame = _predictions([scores - 0.04, scores + 0.04], [0, 0, 0, 1, 1, 1, 1, 1])
    found = alike(frame, 0.5, k=3, member="r4")  # the means over both seeds are the scores themselves
    assert (found.count, found.positive) == (3, 2)
    assert (found.nearest, found.farthest) == pytest.approx((0.4, 0.55))
    interval = binomtest(2, 3).proportion_ci(method="wilson")
    assert (found.low, found.high) == (interval.low, interval.high)
    assert found.prevalence == 4 / 7 and not found.tells
    assert alike(frame, 0.5, k=99).count == 8


def test_a_score_tells_something_only_if_its_like_differ_from_all():
    scores = np.linspace(0, 1, 40)
    sharp = _predictions([scores], (np.arange(40) >= 20).astype(int))
    blind = _predictions([scores], (np.arange(40) % 2).astype(int))
    assert alike(sharp, 0.95, k=10).tells and alike(sharp, 0.95, k=10).share == 1
    assert not alike(blind, 0.95, k=10).tells
    with pytest.raises(DataError, match="several models"):
        alike(pd.concat([sharp, sharp.assign(model="other")]), 0.5, k=3)
    with pytest.raises(ParameterError, match="k = 0"):
        alike(sharp, 0.5, k=0)


# ── where a network looks ──────────────────────────────────────────────────────────────────────────────
def test_both_maps_of_a_look_are_of_the_same_class_and_add_up():
    network = custnet(CustNetConfig(input_size=32, width=0.125), seed=5)
    picture = np.random.default_rng(2).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    logits = keras.Model(network.input, network.get_layer("logits").output)
    x = picture[None].astype(np.float32)
    values = {tone: logits(np.full_like(x, tone) if tone else x)[0].numpy() for tone in (0, 255)}
    first = look(network, picture, explained="HC", baseline="white", steps=32, max_steps=512)
    second = look(network, picture, explained="PD", baseline="white", steps=32, max_steps=512)
    predicted = look(network, picture, baseline="white", steps=32, max_steps=512)
    for asked, found in enumerate((first, second)):
        assert found.asked == asked
        change = float(values[0][asked] - values[255][asked])
        assert found.integrated.sum() == pytest.approx(change, rel=2 * max(found.gap, 1e-3))
    assert predicted.asked == int(values[0].argmax())
    assert predicted.probability == pytest.approx(float(network(x)[0, 1]), abs=1e-6)
    assert not np.allclose(first.integrated, second.integrated)
    cam, integrated = predicted.pooled()
    assert cam.shape == integrated.shape == (min(predicted.grid, single_case.FINEST),) * 2
    assert integrated.mean() == pytest.approx(float(predicted.integrated.mean()), rel=1e-4)
    with pytest.raises(ParameterError, match="explained = 'both'"):
        look(network, picture, explained="both")


def test_the_network_looked_at_is_the_one_nearest_to_the_mean():
    table = pd.DataFrame({"score": [0.1, 0.5, 0.9, 0.45], "seed": [0, 0, 0, 1]})
    assert single_case.typical(table) == (1, 3)
    assert single_case.typical(table.iloc[:2]) == (0, 1)  # equally near: the first
    assert single_case.typical(table.iloc[:1]) == (0, None)
