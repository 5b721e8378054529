"""Preprocessing against closed forms, a second resampler, and recordings that must be refused."""

import numpy as np
import pytest
from scipy.signal import resample_poly

from pdlib import preprocessing as pre
from pdlib.errors import ParameterError, PdlibError, RecordingError

RATE = 8000


def tone(frequency=150.0, seconds=2.0, rate=RATE, amplitude=0.5):
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


# --- equations 1 to 7 ---------------------------------------------------------------------------------


def test_printed_speed_ratio_makes_a_long_recording_longer():
    printed = pre.speed_ratio_printed(3, 6)
    assert printed == 0.5
    assert pre.adjusted_duration(6, printed) == 12


@pytest.mark.parametrize("current", [1.516125, 3.0, 7.21])
def test_righted_speed_ratio_reaches_the_target_duration(current):
    assert pre.adjusted_duration(current, pre.speed_ratio(3, current)) == pytest.approx(3)
    assert pre.speed_ratio(3, current) == pytest.approx(1 / pre.speed_ratio_printed(3, current))


def test_printed_adjusted_audio_is_no_length():
    # A length would follow the recording; here 2 s and 6 s get the same one.
    short = pre.adjusted_audio_printed(1.0, pre.speed_ratio_printed(1, 2))
    long = pre.adjusted_audio_printed(1.0, pre.speed_ratio_printed(3, 6))
    assert short == long


def test_speed_change_moves_pitch_by_an_octave_per_doubling():
    assert pre.pitch_shift_semitones(2) == pytest.approx(12)
    assert pre.pitch_shift_semitones(0.5) == pytest.approx(-12)


@pytest.mark.parametrize("length", [12129, 24000, 57680])
def test_scaling_factor_makes_equation_3_yield_the_wanted_length(length):
    assert pre.truncated_length_printed(length, pre.scaling_factor(length, 24000)) == 24000


def test_equation_3_on_samples_keeps_the_length_and_ruins_the_sound():
    sound = tone()
    rounded = pre.truncated_samples_printed(sound, 1.0)
    assert rounded.size == sound.size
    assert set(np.unique(np.abs(rounded))) == {0.0}


def test_truncate_keeps_the_beginning_and_pad_keeps_everything():
    samples = np.arange(1.0, 6.0)
    assert pre.truncate(samples, 3).tolist() == [1, 2, 3]
    padded, mask = pre.pad(samples, 8)
    assert padded.tolist() == [1, 2, 3, 4, 5, 0, 0, 0]
    assert mask.tolist() == [True] * 5 + [False] * 3


def test_a_recording_that_is_long_enough_gets_no_zeros():
    assert pre.zeros_to_add_printed(3, 5) == -2
    assert pre.zeros_to_add(3, 5) == 0
    padded, mask = pre.pad(np.ones(5), 3)
    assert padded.size == 5 and mask.all()


def test_equation_5_appends_to_a_list_but_not_to_an_array():
    assert pre.pad_printed([0.5, 0.25], 2) == [0.5, 0.25, 0, 0]
    assert pre.pad_printed(np.array([0.5, 0.25]), 2).tolist() == [0.5, 0.25]
    with pytest.raises(ValueError):
        pre.pad_printed(np.array([0.5, 0.25]), 3)


def test_a_tone_at_exactly_half_the_rate_can_vanish_so_equation_6_is_a_bound():
    assert pre.nyquist_rate(4000) == RATE
    assert not pre.rate_suffices(RATE, 4000)
    assert pre.rate_suffices(RATE, 3999)
    assert np.abs(tone(4000)).max() < 1e-9  # sampled at twice its frequency, every sample is a zero crossing


@pytest.mark.parametrize("rate", [8000, 1000, 256])
def test_equation_7_returns_whatever_rate_the_padding_used(rate):
    assert pre.sample_rate(round(3 * rate), 3) == rate


@pytest.mark.parametrize(
    "call",
    [
        lambda: pre.speed_ratio(0, 3),
        lambda: pre.speed_ratio_printed(3, -1),
        lambda: pre.adjusted_duration(3, np.nan),
        lambda: pre.adjusted_audio_printed("1", 1),
        lambda: pre.truncated_length_printed(10, 0),
        lambda: pre.truncate([1.0], -1),
        lambda: pre.pad([1.0], 2.5),
        lambda: pre.nyquist_rate(-1),
        lambda: pre.sample_rate(100, 0),
    ],
)
def test_equations_refuse_numbers_without_meaning(call):
    with pytest.raises(ParameterError):
        call()


# --- Algorithm 1 --------------------------------------------------------------------------------------


def test_algorithm_1_with_the_original_rate_writes_a_third_of_a_second():
    result = pre.printed_algorithm_1(tone(), RATE)
    assert result.target_samples == 3000 == result.samples.size
    assert result.true_duration == pytest.approx(11.71875)
    assert result.declared_duration == pytest.approx(0.375)
    assert result.played_speed == pytest.approx(31.25)


def test_algorithm_1_with_the_target_rate_keeps_an_eighth_of_three_seconds():
    result = pre.printed_algorithm_1(tone(100), RATE, reading="target")
    assert result.samples.size == 96
    assert result.true_duration == result.declared_duration == pytest.approx(0.375)


def test_algorithm_1_with_equation_7_gives_each_length_its_own_rate():
    short = pre.printed_algorithm_1(tone(100, 1.5), RATE, reading="equation 7")
    long = pre.printed_algorithm_1(tone(100, 6.0), RATE, reading="equation 7")
    assert short.declared_rate == pytest.approx(128, abs=1)
    assert long.declared_rate == pytest.approx(512, abs=1)


def test_algorithm_1_to_the_letter_forgets_its_padding():
    result = pre.printed_algorithm_1(tone(100), RATE, assign_padding=False)
    assert result.samples.size == 512 < result.target_samples


def test_algorithm_1_names_an_unknown_reading():
    with pytest.raises(ParameterError, match="reading.*'mine'"):
        pre.printed_algorithm_1(tone(), RATE, reading="mine")


# --- resampling ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("target", "inside", "outside"), [(1000, 400, 600), (256, 100, 160)])
def test_resampling_keeps_what_fits_and_folds_nothing_back(target, inside, outside):
    kept = pre.resample(tone(inside), RATE, target)
    middle = slice(kept.size // 4, -kept.size // 4)
    expected = tone(inside, rate=target)
    assert kept.size == expected.size
    assert np.abs(kept[middle] - expected[middle]).max() < 1e-3
    assert np.abs(pre.resample(tone(outside), RATE, target)[middle]).max() < 1e-3


def test_resampling_agrees_with_a_second_resampler():
    rng = np.random.default_rng(0)
    smooth = np.convolve(rng.normal(size=16000), np.hanning(81) / 40, mode="same")
    ours, theirs = pre.resample(smooth, RATE, 1000), resample_poly(smooth, 1, 8)
    middle = slice(100, -100)
    assert np.abs(ours[middle] - theirs[middle]).max() < 0.02 * np.abs(ours).max()


def test_upsampling_is_refused_because_the_band_was_never_recorded():
    with pytest.raises(ParameterError, match="target_sr: 8000 Hz is above the recording's 4000 Hz"):
        pre.preprocess(tone(rate=4000), 4000)


# --- the paper's way ----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", pre.TARGET_RATES)
@pytest.mark.parametrize("seconds", [1.516125, 3.0, 7.21])
def test_paper_clip_is_three_seconds_with_its_peak_at_one(target, seconds):
    clip = pre.preprocess(tone(100, seconds), RATE, "paper", target)
    assert clip.samples.size == clip.mask.size == 3 * target
    assert clip.sample_rate == target
    assert np.abs(clip.samples).max() == pytest.approx(1)
    assert clip.mask.sum() == pytest.approx(min(seconds, 3) * target, abs=1)
    assert not clip.samples[~clip.mask].any()
    assert clip.padded_share == pytest.approx(max(0, 1 - seconds / 3), abs=2 / target)


def test_paper_gain_is_constant_and_set_after_truncation():
    samples = np.concatenate([tone(100, 3.0, amplitude=0.25), tone(100, 1.0, amplitude=1.0)])
    clip = pre.preprocess(samples, RATE)
    np.testing.assert_allclose(clip.samples, samples[:24000] / np.abs(samples[:24000]).max())


@pytest.mark.parametrize("variant", ["paper", "sound"])
def test_clip_does_not_depend_on_the_recording_level(variant):
    rng = np.random.default_rng(1)
    samples = tone(seconds=2.5) + rng.normal(0, 0.01, 20000)
    loud, soft = (pre.preprocess(gain * samples, RATE, variant) for gain in (1.5, 0.01))
    np.testing.assert_allclose(loud.samples, soft.samples, atol=1e-9)


def test_the_callers_samples_are_left_alone():
    samples = tone()
    before = samples.copy()
    for variant in ("paper", "sound"):
        pre.preprocess(samples, RATE, variant)
    np.testing.assert_array_equal(samples, before)


def test_steps_tell_what_was_done():
    steps = pre.preprocess(tone(seconds=1.5), RATE, "paper", 1000).steps
    assert "8000 Hz to 1000 Hz" in steps[0]
    assert "zeros" in steps[1] and "50.0%" in steps[1]
    assert "peak is 1" in steps[2]
    assert all(step.endswith(".") for step in steps)


# --- the sound way ------------------------------------------------------------------------------------


def vowel_with_silence(before=0.7, voice=2.0, after=0.4, noise=1e-4):
    rng = np.random.default_rng(2)
    samples = np.concatenate(
        [np.zeros(round(before * RATE)), tone(seconds=voice), np.zeros(round(after * RATE))]
    )
    return samples + rng.normal(0, noise, samples.size)


def test_voiced_part_finds_the_planted_voice():
    start, stop = pre.voiced_part(vowel_with_silence(), RATE)
    assert start / RATE == pytest.approx(0.7, abs=0.02)
    assert stop / RATE == pytest.approx(2.7, abs=0.02)


def test_a_click_far_from_the_voice_does_not_count_as_voice():
    samples = vowel_with_silence()
    samples[800:840] = 0.9
    assert pre.voiced_part(samples, RATE)[0] / RATE == pytest.approx(0.7, abs=0.02)


def test_a_short_dip_does_not_end_the_voice_but_a_pause_does():
    for gap, expected in ((0.06, 2.06), (0.3, 1.2)):
        parts = [tone(seconds=1.2), np.zeros(round(gap * RATE)), tone(seconds=0.8)]
        start, stop = pre.voiced_part(np.concatenate(parts), RATE)
        assert (stop - start) / RATE == pytest.approx(expected, abs=0.03)


def test_sound_clip_has_a_fixed_level_and_no_added_zero():
    samples = vowel_with_silence()
    clip = pre.preprocess(samples, RATE, "sound")
    assert clip.samples.size == RATE and clip.mask.all() and clip.padded_share == 0
    assert 20 * np.log10(np.sqrt(np.mean(clip.samples**2))) == pytest.approx(pre.SOUND_LEVEL_DB)


def test_sound_clip_is_the_middle_of_the_voice():
    ramp = np.linspace(0.2, 0.8, 3 * RATE) * np.sign(tone(seconds=3.0) + 1e-9)  # the level tells the time
    clip = pre.preprocess(ramp, RATE, "sound")
    middle = np.abs(ramp[RATE : 2 * RATE])
    np.testing.assert_allclose(np.abs(clip.samples) / np.abs(clip.samples).max(), middle / middle.max())


def test_voiced_part_does_not_depend_on_gain():
    samples = vowel_with_silence()
    assert len({pre.voiced_part(gain * samples, RATE) for gain in (0.02, 1.0, 20.0)}) == 1


def test_resampling_to_the_same_rate_gives_a_copy():
    samples = tone()
    same = pre.resample(samples, RATE, RATE)
    np.testing.assert_array_equal(same, samples)
    assert not np.shares_memory(same, samples)


def test_sound_clip_has_one_length_whatever_the_recording_length():
    lengths = {pre.preprocess(tone(seconds=s), RATE, "sound").samples.size for s in (1.35, 2.0, 7.0, 60.0)}
    assert lengths == {RATE}


def test_a_recording_too_short_for_the_window_is_refused_not_padded():
    with pytest.raises(RecordingError, match=r"1\.20 s of voice leave 0\.90 s.*needs 1 s"):
        pre.preprocess(tone(seconds=1.2), RATE, "sound")


# --- recordings and settings that must be refused -----------------------------------------------------

BAD_RECORDINGS = {
    "empty": (np.array([]), "empty"),
    "not finite": (np.r_[tone(), np.nan], "1 of 16001 values are not finite"),
    "infinite": (np.r_[tone(), np.inf], "not finite"),
    "silent": (np.zeros(16000), "silent"),
    "nearly silent": (tone(amplitude=1e-6), "silent"),
    "two channels": (np.stack([tone(), tone()]), r"shape \(2, 16000\) is not one channel"),
    "integers": ((tone() * 32767).astype(np.int16), "type int16"),
    "too short": (tone(seconds=0.05), r"0\.050 s at 8000 Hz is shorter"),
}


@pytest.mark.parametrize("variant", ["paper", "sound"])
@pytest.mark.parametrize("case", BAD_RECORDINGS)
def test_unusable_recordings_are_refused_by_name(case, variant):
    samples, message = BAD_RECORDINGS[case]
    with pytest.raises(RecordingError, match=f"samples.*{message}"):
        pre.preprocess(samples, RATE, variant)


def test_fifth_of_a_second_is_padded_by_the_paper_and_refused_by_sound_practice():
    clip = pre.preprocess(tone(seconds=0.2), RATE, "paper")
    assert clip.padded_share == pytest.approx(1 - 0.2 / 3)
    with pytest.raises(RecordingError, match="window needs 1 s"):
        pre.preprocess(tone(seconds=0.2), RATE, "sound")


def test_a_recording_at_44100_hz_is_brought_to_8_khz():
    clip = pre.preprocess(tone(rate=44100), 44100)
    assert clip.sample_rate == 8000 and clip.samples.size == 24000


def test_a_voice_wholly_above_the_new_band_is_refused_instead_of_blown_up():
    with pytest.raises(RecordingError, match="nothing of the recording is left.*256 Hz"):
        pre.preprocess(tone(1500) * np.hanning(16000), RATE, "paper", 256)  # no onset, so nothing low


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sample_rate": 0}, "sample_rate: 0"),
        ({"sample_rate": -8000}, "sample_rate: -8000"),
        ({"sample_rate": np.nan}, "sample_rate: nan"),
        ({"sample_rate": "8000"}, "sample_rate: '8000'"),
        ({"sample_rate": 8000.5}, "sample_rate: 8000.5"),
        ({"target_sr": 4000}, "target_sr: 4000 Hz is not one of 8000, 1000, 256"),
        ({"variant": "best"}, "variant: 'best'"),
        ({"seconds": 0}, "seconds: 0"),
        ({"variant": "sound", "edge_s": -1}, "edge_s: -1"),
        ({"variant": "sound", "level_db": np.inf}, "level_db: inf"),
    ],
)
def test_unusable_settings_are_refused_by_name(arguments, message):
    with pytest.raises(ParameterError, match=message):
        pre.preprocess(tone(), **({"sample_rate": RATE} | arguments))


def test_a_clip_needs_a_mask_that_fits():
    with pytest.raises(ParameterError, match="Clip"):
        pre.Clip(np.ones(3), RATE, np.ones(2, dtype=bool), ())


# --- the public recordings ----------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize("target", pre.TARGET_RATES)
def test_every_public_recording_passes_both_variants(real_cohort, target):
    failed = []
    for name in real_cohort.names:
        signal = real_cohort.signal(name)
        for variant in ("paper", "sound"):
            try:
                pre.preprocess(signal.samples, signal.sample_rate, variant, target)
            except PdlibError as error:
                failed.append((name, variant, str(error)))
    assert not failed
