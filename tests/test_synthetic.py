"""The synthetic voices: what was planted is what a second program finds."""

import numpy as np
import parselmouth
import pytest
from parselmouth.praat import call
from scipy.signal import welch
from sklearn.metrics import roc_auc_score

from pdlib.errors import ParameterError
from pdlib.features import hz_to_mel, mel_to_hz, spectrogram_sizes
from pdlib.picture_sets import spectrogram_pictures
from pdlib.synthetic import (
    BAND_LEVEL_DB,
    PLANTED,
    PLANTED_BAND,
    Voice,
    draw_voice,
    planted_band_cohort,
    planted_band_mask,
    synthetic_cohort,
    synthetic_truth,
    synthetic_voice,
)

PLAIN = {
    "label": 0, "sex": "M", "age": 50, "duration": 3.0, "f0": 120.0, "jitter": 0.1, "shimmer": 0.5,
    "tremor": 0.05, "tremor_rate": 5.0, "harmonics_to_noise": 32.0, "open_quotient": 0.6, "drift": 0.0,
    "tract": 1.0, "pause": 0.01,
}  # fmt: skip


@pytest.fixture(scope="module")
def cohort():
    return synthetic_cohort(81, seed=0)


@pytest.fixture(scope="module")
def truth():
    return synthetic_truth(81, seed=0)


def speak(seed: int = 0, **changed) -> np.ndarray:
    return synthetic_voice(seed, voice=Voice(**(PLAIN | changed))).samples


def praat(samples: np.ndarray, floor: float = 75) -> dict[str, float]:
    """Praat's own measures of at most two seconds of the steady middle, by its own defaults.

    The pitch ``floor`` (Hz) is set by sex, as Praat's manual asks for; else a hoarse high voice is heard an
    octave too low.
    """
    skip = max(2000, (len(samples) - 16000) // 2)
    sound = parselmouth.Sound(samples[skip:-skip].astype(float), 8000)
    points = call(sound, "To PointProcess (periodic, cc)", floor, 300)
    limits = (0, 0, 0.0001, 0.02, 1.3)
    pitch = sound.to_pitch_cc(pitch_floor=floor, pitch_ceiling=300)
    f0 = pitch.selected_array["frequency"]
    return {
        "f0": float(np.median(f0[f0 > 0])),  # a few frames land an octave too low
        "jitter": 100 * call(points, "Get jitter (local)", *limits),
        "shimmer": 100 * call([sound, points], "Get shimmer (local)", *limits, 1.6),
        "harmonics_to_noise": call(sound.to_harmonicity_cc(minimum_pitch=floor), "Get mean", 0, 0),
    }


@pytest.fixture(scope="module")
def measured(cohort, truth):
    floor = {"M": 75, "F": 120}
    return {name: praat(s.samples, floor[truth.loc[name, "sex"]]) for name, s in cohort.signals().items()}


# ── determinism and form ───────────────────────────────────────────────────────────────────────────────
def test_the_same_seed_gives_the_same_samples_and_another_seed_others():
    first, second, other = synthetic_cohort(4, 0), synthetic_cohort(4, 0), synthetic_cohort(4, 1)
    assert first.fingerprint == second.fingerprint != other.fingerprint
    np.testing.assert_array_equal(first.signal("PD-02").samples, second.signal("PD-02").samples)


def test_a_voice_does_not_depend_on_the_size_of_its_cohort(cohort, small_cohort):
    for name in small_cohort.names:
        np.testing.assert_array_equal(small_cohort.signal(name).samples, cohort.signal(name).samples)


def test_81_voices_are_41_and_40_with_even_sexes(cohort):
    table = cohort.table
    counts = table.groupby(["label", "sex"]).size().to_dict()
    assert counts == {("HC", "M"): 21, ("HC", "F"): 20, ("PD", "M"): 20, ("PD", "F"): 20}
    assert cohort.kind == "synthetic" and cohort.source.startswith("SYNTHETIC")


def test_every_voice_has_the_form_of_the_recordings(cohort):
    for signal in cohort.signals().values():
        assert signal.sample_rate == 8000 and 1.5 <= signal.duration <= 7.0
        assert np.abs(signal.samples).max() == 1.0 and np.isfinite(signal.samples).all()
        assert "SYNTHETIC" in signal.notes[0]
        steps = signal.samples.astype(float) * 32767
        np.testing.assert_allclose(steps, np.round(steps), atol=0.01)
    assert len({recording.sha256 for recording in cohort.recordings}) == 81


def test_a_voice_lies_in_the_telephone_band():
    frequency, power = welch(speak(), 8000, nperseg=1024)
    inside = power[(frequency > 500) & (frequency < 1500)].mean()
    assert 10 * np.log10(power[frequency > 3800].mean() / inside) < -30
    assert 10 * np.log10(power[frequency < 60].mean() / inside) < -30


def test_a_voice_swells_and_fades(cohort):
    for signal in cohort.signals().values():
        middle = np.sqrt(np.mean(signal.samples[4000:8000] ** 2))
        assert np.abs(signal.samples[:40]).max() < 0.1 * middle
        assert np.abs(signal.samples[-40:]).max() < 0.1 * middle


@pytest.mark.parametrize("size", [0, 3, 1_000_001, 12.0, True, "12"])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(ParameterError, match="size"):
        synthetic_cohort(size)


@pytest.mark.parametrize("seed", [-1, 1.5, True, None])
def test_a_seed_that_is_none_is_refused(seed):
    with pytest.raises(ParameterError, match="seed"):
        synthetic_cohort(4, seed)


def test_an_unknown_label_or_sex_is_refused():
    with pytest.raises(ParameterError, match="label 2"):
        draw_voice(0, 2)
    with pytest.raises(ParameterError, match="sex 'X'"):
        draw_voice(0, 0, "X")


# ── what is planted, and nothing else ──────────────────────────────────────────────────────────────────
def test_only_what_planted_says_differs_between_the_classes():
    for seed in range(20):
        hc, pd = vars(draw_voice(seed, 0)), vars(draw_voice(seed, 1))
        differing = {name for name in hc if hc[name] != pd[name]} - {"label"}
        assert differing <= set(PLANTED)
        assert len(differing) >= len(PLANTED) - 1, "a value cut off at its limit may be the same in both"


def test_age_does_not_enter_the_sound():
    np.testing.assert_array_equal(speak(age=30), speak(age=80))


@pytest.mark.parametrize("name", list(PLANTED))
def test_the_drawn_values_follow_the_planted_distribution(name):
    """Mean and spread over 600 speakers of a class, within four standard errors."""
    planted = PLANTED[name]
    for label, middle in ((0, planted.hc), (1, planted.pd)):
        rng = np.random.default_rng(label)
        values = np.array([planted.draw(rng, label) for _ in range(600)])
        deviations = np.log(values / middle) if planted.log else values - middle
        assert np.median(deviations) == pytest.approx(0, abs=4 * 1.25 * planted.spread / np.sqrt(600))
        assert (np.quantile(deviations, 0.75) - np.quantile(deviations, 0.25)) / 1.349 == pytest.approx(
            planted.spread, rel=0.2
        )


def test_the_classes_overlap_in_every_planted_value_and_differ_in_each(truth):
    for name, planted in PLANTED.items():
        sign = np.sign(planted.effect)
        auc = roc_auc_score(truth["label"], sign * truth[name])
        assert 0.6 < auc < 0.95, name


@pytest.mark.parametrize("name", ["f0", "duration", "tract", "pause", "drift", "tremor_rate"])
def test_what_is_not_planted_gives_no_class_away(truth, name):
    """AUC within three standard errors (about 0.065 each) of a coin."""
    assert roc_auc_score(truth["label"], truth[name]) == pytest.approx(0.5, abs=0.2)


# ── Praat as the second implementation ─────────────────────────────────────────────────────────────────
def test_praat_finds_the_planted_f0(measured, truth):
    for name, found in measured.items():
        assert found["f0"] == pytest.approx(truth.loc[name, "f0"], rel=0.02), name


@pytest.mark.parametrize(("name", "least"), [("jitter", 0.8), ("shimmer", 0.5), ("harmonics_to_noise", 0.7)])
def test_praat_finds_the_planted_order_of_the_classes(measured, truth, name, least):
    """Also speaker by speaker; shimmer least so, for breath noise adds to what Praat calls shimmer."""
    values = np.array([found[name] for found in measured.values()])
    label = truth["label"].to_numpy()
    difference = values[label == 1].mean() - values[label == 0].mean()
    assert np.sign(difference) == np.sign(PLANTED[name].effect)
    assert np.corrcoef(values, truth[name])[0, 1] > least


@pytest.mark.parametrize("jitter", [0.5, 1.0, 2.0])
def test_praat_measures_the_jitter_that_was_planted(jitter):
    found = [praat(speak(seed, jitter=jitter))["jitter"] for seed in range(4)]
    assert np.mean(found) == pytest.approx(jitter, rel=0.15)


@pytest.mark.parametrize("shimmer", [4.0, 8.0])
def test_praat_hears_more_shimmer_where_more_was_planted(shimmer):
    found = np.mean([praat(speak(seed, shimmer=shimmer))["shimmer"] for seed in range(4)])
    assert found == pytest.approx(shimmer, rel=0.35)


@pytest.mark.parametrize("planted", [10.0, 20.0])
def test_praat_hears_the_planted_noise(planted):
    found = np.mean(
        [praat(speak(seed, harmonics_to_noise=planted))["harmonics_to_noise"] for seed in range(4)]
    )
    assert found == pytest.approx(planted, abs=2.5)


@pytest.mark.parametrize("rate", [4.5, 6.5])
def test_the_tremor_swings_at_its_rate_and_depth(rate):
    samples = speak(tremor=3.0, tremor_rate=rate, duration=6.0)
    pitch = parselmouth.Sound(samples.astype(float), 8000).to_pitch_cc(0.01, 75, pitch_ceiling=300)
    f0 = pitch.selected_array["frequency"][20:-20]
    swing = (f0 - f0.mean()) / f0.mean()
    padded = np.abs(np.fft.rfft(swing * np.hanning(len(swing)), 2**14))
    assert padded.argmax() * 100 / 2**14 == pytest.approx(rate, abs=0.2)
    assert 100 * np.sqrt(2) * swing.std() == pytest.approx(3.0, rel=0.15)


def test_praat_finds_the_formants_of_a():
    sound = parselmouth.Sound(speak(f0=100.0).astype(float), 8000)
    formants = sound.to_formant_burg(max_number_of_formants=4, maximum_formant=4000)
    for number, expected in ((1, 730), (2, 1090), (3, 2440)):
        values = [formants.get_value_at_time(number, time) for time in np.arange(0.5, 2.5, 0.05)]
        assert np.median(values) == pytest.approx(expected, rel=0.08)


# ── a class difference in one band ─────────────────────────────────────────────────────────────────────
N_BAND = 16


@pytest.fixture(scope="module")
def banded():
    return planted_band_cohort(N_BAND, seed=3)


@pytest.fixture(scope="module")
def unbanded():
    """The same voices with a noise too weak for a step of 16 bits."""
    return planted_band_cohort(N_BAND, seed=3, level_db=-200.0)


@pytest.fixture(scope="module")
def many_banded():
    return planted_band_cohort(80, seed=1)


def added(banded, unbanded, name: str) -> np.ndarray:
    """What was added to a voice, at the gain of the voice."""
    after, before = (c.signal(name).samples.astype(float) for c in (banded, unbanded))
    frequency, spectrum = np.fft.rfftfreq(len(before), 1 / 8000), np.fft.rfft(before)
    outside = (frequency > 300) & (frequency < 2000)
    gain = np.vdot(spectrum[outside], np.fft.rfft(after)[outside]).real / np.sum(
        np.abs(spectrum[outside]) ** 2
    )
    return after / gain - before


def test_the_banded_hc_are_the_very_voices_of_the_other_cohort(banded):
    other = synthetic_cohort(N_BAND, seed=3)
    for name in banded.names[: N_BAND // 2]:
        np.testing.assert_array_equal(banded.signal(name).samples, other.signal(name).samples)
    assert banded.names == other.names and banded.labels.tolist() == other.labels.tolist()
    assert banded.kind == "synthetic" and banded.source.startswith("SYNTHETIC")


def test_the_same_seed_gives_the_same_banded_samples_and_any_change_others(banded):
    assert planted_band_cohort(N_BAND, seed=3).fingerprint == banded.fingerprint
    few = planted_band_cohort(4, seed=3)
    for changed in ({"seed": 4}, {"band": (1500.0, 2000.0)}, {"level_db": -20.0}):
        assert planted_band_cohort(4, **({"seed": 3} | changed)).fingerprint != few.fingerprint


def test_every_banded_voice_has_the_form_of_the_recordings(banded):
    for signal in banded.signals().values():
        assert signal.sample_rate == 8000 and np.abs(signal.samples).max() == 1.0
        assert "SYNTHETIC" in signal.notes[0]
        steps = signal.samples.astype(float) * 32767
        np.testing.assert_allclose(steps, np.round(steps), atol=0.01)


def test_the_added_noise_lies_in_its_band_at_its_level(banded, unbanded):
    for name, label in zip(banded.names, banded.labels, strict=True):
        noise, voice = added(banded, unbanded, name), unbanded.signal(name).samples.astype(float)
        if not label:
            assert np.abs(noise).max() < 1e-6
            continue
        level = 10 * np.log10(np.mean(noise**2) / np.mean(voice**2))
        assert level == pytest.approx(BAND_LEVEL_DB, abs=0.2), name
        power = np.abs(np.fft.rfft(noise)) ** 2
        frequency = np.fft.rfftfreq(len(noise), 1 / 8000)
        inside = (frequency >= PLANTED_BAND[0]) & (frequency <= PLANTED_BAND[1])
        assert power[inside].sum() > 0.995 * power.sum(), name


def test_ages_of_banded_voices_follow_one_distribution(many_banded):
    """That of the HC, within four standard errors (12 years is the spread in a class)."""
    means = many_banded.table.groupby("label")["age"].mean()
    assert abs(means["PD"] - means["HC"]) < 4 * 12 * np.sqrt(2 / 40)
    assert abs(means.mean() - PLANTED["age"].hc) < 4 * 12 / np.sqrt(80)


@pytest.mark.parametrize("variant", ["sound", "paper"])
@pytest.mark.parametrize("size", [32, 64, 150])
def test_the_mask_holds_what_the_noise_adds_to_the_pictures(banded, unbanded, variant, size):
    """The same voices with and without the noise, so that nothing but the noise differs."""
    after, before = (
        spectrogram_pictures(c, variant=variant, size=size).pictures[N_BAND // 2 :, :, :, 0].astype(float)
        for c in (banded, unbanded)
    )
    mask = planted_band_mask(size)
    rise = (after - before).mean(axis=0)
    assert rise[mask].mean() > (
        24 if variant == "sound" else 15
    )  # 3.2 levels are 1 dB; "paper" is part silence
    assert np.abs(rise[~mask]).mean() < 0.5
    # One band below and one above take part of it: a triangle's foot, and the window's main lobe.
    near = np.zeros(size, dtype=bool)
    rows = np.flatnonzero(mask.any(axis=1))
    foot = int(np.ceil(size / 64)) + 1
    near[max(0, rows.min() - foot) : rows.max() + foot + 1] = True
    assert np.abs(rise[~near].mean(axis=1)).max() < 0.5
    assert rise[mask].sum() > 0.9 * np.clip(rise, 0, None).sum()


@pytest.mark.parametrize("variant", ["sound", "paper"])
def test_the_class_means_differ_inside_the_mask_and_nowhere_else(many_banded, variant):
    """Other voices in either class: row by row against the standard error of the difference."""
    pictures = spectrogram_pictures(many_banded, variant=variant, size=64).pictures
    levels = pictures[..., 0].astype(float).mean(axis=2)
    hc, pd = levels[many_banded.labels == 0], levels[many_banded.labels == 1]
    error = np.sqrt(hc.var(axis=0, ddof=1) / len(hc) + pd.var(axis=0, ddof=1) / len(pd))
    z = (pd.mean(axis=0) - hc.mean(axis=0)) / np.maximum(error, 0.2)
    inside = planted_band_mask(64).all(axis=1)
    assert np.median(z[inside]) > (8 if variant == "sound" else 4)
    assert np.abs(z[~inside]).max() < 3.5


@pytest.mark.parametrize("band", [PLANTED_BAND, (500.0, 900.0), (3000.0, 3400.0), (1000.0, 1100.0)])
def test_the_rows_of_the_mask_are_the_bands_of_the_spectrogram_that_reach_into_the_band(band):
    n_mels = spectrogram_sizes(8000)[0]
    edges = mel_to_hz(np.linspace(0, hz_to_mel(4000), n_mels + 2))
    reached = (edges[:-2] < band[1]) & (edges[2:] > band[0])
    np.testing.assert_array_equal(planted_band_mask(n_mels, band)[::-1, 0], reached)


@pytest.mark.parametrize("size", [32, 64, 96, 224])
def test_the_mask_lies_at_the_height_of_its_band(size):
    """Height from the bottom in equal steps of mel, by the formula itself."""
    for band in (PLANTED_BAND, (500.0, 900.0), (3000.0, 3400.0)):
        mask = planted_band_mask(size, band)
        assert (mask.all(axis=1) == mask.any(axis=1)).all()
        rows = np.flatnonzero(mask.any(axis=1))
        assert (np.diff(rows) == 1).all()
        # Band k of 64 has its triangle from k to k + 2 steps of 1/65 of the scale and is drawn from k to
        # k + 1 above the bottom: the first that reaches the lower end starts 1 to 2 steps below it.
        low, high = (65 * np.log10(1 + hz / 700) / np.log10(1 + 4000 / 700) for hz in band)
        bottom, top = 64 * (1 - (rows.max() + 1) / size), 64 * (1 - rows.min() / size)
        slack = 0.51 + 32 / size
        assert bottom == pytest.approx(low - 1.5, abs=slack)
        assert top == pytest.approx(high + 0.5, abs=slack)


@pytest.mark.parametrize(
    "wrong",
    [
        {"band": (2800.0, 2200.0)}, {"band": (2200.0, 2250.0)}, {"band": (100.0, 900.0)},
        {"band": (3000.0, 3900.0)}, {"band": (2200.0,)}, {"band": 2200.0},
        {"band": (float("nan"), 2800.0)}, {"level_db": 3.0}, {"level_db": float("nan")},
    ],
)  # fmt: skip
def test_a_band_or_level_that_is_none_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(ParameterError, match=f"{name} ="):
        planted_band_cohort(4, 0, **wrong)
    if name == "band":
        with pytest.raises(ParameterError, match="band ="):
            planted_band_mask(64, **wrong)


@pytest.mark.parametrize("size", [0, -3, 64.0, True])
def test_a_mask_of_no_size_is_refused(size):
    with pytest.raises(ParameterError, match="size"):
        planted_band_mask(size)
