"""Features against closed forms, librosa, a second pitch estimate, and voices with planted perturbation."""

import librosa
import numpy as np
import pytest
from scipy.ndimage import median_filter
from scipy.signal import get_window, lfilter

from pdlib import features
from pdlib.errors import ParameterError, PdlibError, RecordingError
from pdlib.preprocessing import Clip, preprocess

RATE = 8000


def tone(frequency=500.0, seconds=1.0, amplitude=0.5, rate=RATE):
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def noise(seconds=1.0, level=0.1, seed=0):
    return np.random.default_rng(seed).normal(0, level, round(seconds * RATE))


def clip_of(samples, rate=RATE, mask=None):
    samples = np.asarray(samples, dtype=np.float64)
    return Clip(
        samples, rate, np.ones(samples.size, dtype=bool) if mask is None else mask, ("made for a test.",)
    )


def pulse_voice(periods, amplitudes, width=0.0005, rate=RATE):
    """Smooth pulses without offset at exact times: a voice whose every period and peak is known."""
    times = np.cumsum(periods)
    grid = np.arange(int((times[-1] + 0.02) * rate)) / rate
    voice = np.zeros(grid.size)
    for time, amplitude in zip(times, amplitudes, strict=True):
        u = ((grid - time) / width) ** 2
        voice += 0.5 * amplitude * (1 - 2 * u) * np.exp(-u)
    return voice


# --- short-time spectra -------------------------------------------------------------------------------


def test_parseval_the_bins_of_each_frame_sum_to_its_mean_square():
    samples = noise()
    for n_fft in (256, 255):
        window = get_window("hann", n_fft)
        framed = features.frames(samples, n_fft, 64) * window
        expected = np.sum(framed**2, axis=1) / np.sum(window**2)
        np.testing.assert_allclose(features.power_spectrogram(samples, n_fft, 64).sum(axis=0), expected)


@pytest.mark.parametrize("amplitude", [1.0, 0.1])
def test_a_sine_carries_half_its_squared_amplitude_in_the_right_bin(amplitude):
    power = features.power_spectrogram(tone(1000, amplitude=amplitude))
    np.testing.assert_allclose(power.sum(axis=0), amplitude**2 / 2, rtol=1e-9)
    assert (power.argmax(axis=0) == 32).all()  # 1000 Hz over 8000/256 Hz per bin


@pytest.mark.parametrize("length", [1, 2, 3, 255, 256, 320, 1001])
def test_the_window_is_scipys_to_the_last_bit(length):
    window, energy = features._hann(length)
    np.testing.assert_array_equal(window, get_window("hann", length))
    assert energy == np.sum(get_window("hann", length) ** 2) and not window.flags.writeable


def test_power_spectrogram_agrees_with_librosa():
    samples = noise()
    theirs = np.abs(librosa.stft(samples, n_fft=256, hop_length=64, center=False)) ** 2
    theirs[1:-1] *= 2
    theirs /= 256 * np.sum(get_window("hann", 256) ** 2)
    np.testing.assert_allclose(features.power_spectrogram(samples), theirs, rtol=1e-9)


def test_frame_times_and_mask_belong_to_the_frames():
    mask = np.arange(1000) < 500
    inside = features.frame_mask(mask, 256, 64)
    assert inside.size == 1 + (1000 - 256) // 64
    assert inside.sum() == 1 + (500 - 256) // 64
    times = features.frame_times(inside.size, 256, 64, RATE)
    assert times[0] == pytest.approx(0.016) and times[1] - times[0] == pytest.approx(0.008)


@pytest.mark.parametrize(
    ("samples", "arguments", "error", "message"),
    [
        (np.ones(100), (256, 64), RecordingError, "100 samples do not fill one frame of 256"),
        (np.ones((2, 500)), (256, 64), RecordingError, r"shape \(2, 500\)"),
        (np.ones(500), (0, 64), ParameterError, "frame_length: 0"),
        (np.ones(500), (256, 0), ParameterError, "hop_length: 0"),
        (np.ones(500), (256, 1.5), ParameterError, "hop_length: 1.5"),
    ],
)
def test_frames_refuse_what_cannot_be_cut(samples, arguments, error, message):
    with pytest.raises(error, match=message):
        features.frames(samples, *arguments)


def test_a_sample_that_is_not_a_number_never_reaches_a_spectrum():
    samples = noise()
    samples[5] = np.nan
    for call in (features.power_spectrogram, lambda x: features.praat_markers(x, RATE)):
        with pytest.raises(RecordingError, match="1 of 8000 values are not finite"):
            call(samples)


# --- mel scale and log-mel spectrogram ----------------------------------------------------------------


def test_mel_scale_is_librosas_and_goes_back():
    hertz = np.linspace(0, 4000, 200)
    np.testing.assert_allclose(features.hz_to_mel(hertz), librosa.hz_to_mel(hertz, htk=True))
    np.testing.assert_allclose(features.mel_to_hz(features.hz_to_mel(hertz)), hertz, atol=1e-9)
    assert features.hz_to_mel(1000) == pytest.approx(1000, abs=0.1)


def test_printed_mel_is_a_straight_line_six_times_too_high_at_1_khz():
    assert features.mel_printed(0) == 2595
    assert features.mel_printed(1000) == pytest.approx(6302, abs=0.5)
    np.testing.assert_allclose(np.diff(features.mel_printed([0, 1000, 2000, 3000]), 2), 0, atol=1e-9)


@pytest.mark.parametrize(("rate", "n_fft", "n_mels"), [(8000, 256, 64), (8000, 512, 40), (1000, 32, 18)])
def test_filter_bank_is_librosas(rate, n_fft, n_mels):
    theirs = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=n_mels, htk=True, norm=None, dtype=np.float64)
    np.testing.assert_allclose(features.mel_filter_bank(rate, n_fft, n_mels), theirs, atol=1e-12)


def test_bands_share_out_the_power_between_the_outermost_centres():
    total = features.mel_filter_bank(RATE).sum(axis=0)
    centres = features.mel_to_hz(np.linspace(0, features.hz_to_mel(4000), 66))
    bins = np.arange(129) * RATE / 256
    np.testing.assert_allclose(total[(bins >= centres[1]) & (bins <= centres[-2])], 1)


@pytest.mark.parametrize(("rate", "seconds"), [(8000, 0.032), (8000, 3.0), (1000, 2.0), (256, 2.0)])
def test_bands_are_the_whole_banks_product_whatever_is_left_out(rate, seconds):
    n_mels, n_fft, hop = features.spectrogram_sizes(rate)
    samples = noise(seconds)[: round(seconds * rate)]
    bands = features.mel_filter_bank(rate, n_fft, n_mels) @ features.power_spectrogram(samples, n_fft, hop)
    found = features.log_mel_spectrogram(samples, rate)
    np.testing.assert_allclose(found, 10 * np.log10(np.maximum(bands, 1e-8)), rtol=0, atol=1e-12)


def test_log_mel_spectrogram_is_librosas():
    samples = noise()
    theirs = librosa.feature.melspectrogram(
        y=samples, sr=RATE, n_fft=256, hop_length=64, center=False, n_mels=64, htk=True, norm=None
    )
    theirs = librosa.power_to_db(
        2 * theirs / (256 * np.sum(get_window("hann", 256) ** 2)), amin=1e-8, top_db=None
    )
    ours = features.log_mel_spectrogram(samples, RATE)
    assert ours.shape == (64, 122)
    # Every bin doubled, which is wrong at 0 Hz and 4 kHz only, where no triangle has any weight.
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize(("rate", "expected"), [(8000, (64, 256, 64)), (1000, (18, 32, 8)), (256, (5, 8, 2))])
def test_sizes_follow_the_rate_and_no_band_is_empty(rate, expected):
    assert features.spectrogram_sizes(rate) == expected
    bank = features.mel_filter_bank(rate, expected[1], expected[0])
    assert (bank.sum(axis=1) > 0).all()


def test_more_bands_than_bins_are_refused_with_the_numbers():
    with pytest.raises(
        ParameterError, match=r"n_mels: \d+ of 64 bands up to 500 Hz hold none of the 17 bins.*n_fft=32"
    ):
        features.log_mel_spectrogram(tone(100, rate=1000), 1000, n_mels=64)


def test_printed_double_logarithm_is_undefined_for_any_recording_within_full_scale():
    power = features.power_spectrogram(tone(amplitude=1.0))
    assert np.isnan(features.double_log_printed(features.mel_filter_bank(RATE) @ power)).all()
    assert features.double_log_printed(np.e**np.e) == pytest.approx(1)


def test_printed_compression_needs_a_large_alpha_and_a_magnitude_above_zero():
    assert np.isnan(features.log_compress_printed(0.0, 1.0))
    assert features.log_compress_printed(0.5, 100.0) == pytest.approx(np.log(np.log(51)))
    assert features.log_compress(0.0, 1.0) == 0
    with pytest.raises(ParameterError, match="alpha"):
        features.log_compress(0.5, 0)


# --- harmonic and percussive parts --------------------------------------------------------------------


def test_harmonic_and_percussive_parts_add_up_to_the_whole():
    power = features.power_spectrogram(np.r_[noise() + tone(), np.zeros(4000)])
    harmonic, percussive = features.harmonic_percussive(power)
    np.testing.assert_allclose(harmonic + percussive, power, rtol=1e-12, atol=1e-300)
    assert (harmonic >= 0).all() and (percussive >= 0).all()


def test_separation_is_librosas():
    power = features.power_spectrogram(noise() + tone())
    theirs = librosa.decompose.hpss(power, kernel_size=(31, 17), power=1.0)
    for ours, other in zip(features.harmonic_percussive(power), theirs, strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-6)


def separated_by_sorting(power, harmonic_kernel, percussive_kernel):
    """The parts from medians that sort each window, mirrored at the ends: slow and plain."""

    def medians(rows, kernel):
        mirrored = np.pad(rows, ((0, 0), (kernel // 2, kernel // 2)), mode="symmetric")
        return np.sort(np.lib.stride_tricks.sliding_window_view(mirrored, kernel, axis=1))[..., kernel // 2]

    lasting, broad = medians(power, harmonic_kernel), medians(power.T, percussive_kernel).T
    np.testing.assert_array_equal(lasting, median_filter(power, size=(1, harmonic_kernel), mode="reflect"))
    np.testing.assert_array_equal(broad, median_filter(power, size=(percussive_kernel, 1), mode="reflect"))
    share = np.where(lasting + broad > 0, lasting / np.where(lasting + broad > 0, lasting + broad, 1), 0.5)
    return share * power, (1 - share) * power


@pytest.mark.parametrize("values", ["noise", "ties", "constant", "zeros", "rising", "huge and tiny"])
@pytest.mark.parametrize(
    ("shape", "kernels"),
    [
        ((129, 372), (31, 17)),
        ((1, 1), (1, 1)),
        ((1, 9), (9, 1)),
        ((9, 1), (1, 9)),
        ((17, 31), (31, 17)),
        ((6, 40), (3, 5)),
    ],
)
def test_no_median_sees_a_neighbouring_row_or_is_off_by_one_bit(values, shape, kernels):
    rng = np.random.default_rng(shape[1])
    power = {
        "noise": rng.exponential(size=shape),
        "ties": rng.integers(0, 3, shape).astype(float),
        "constant": np.full(shape, 0.1),
        "zeros": np.zeros(shape),
        "rising": np.arange(float(np.prod(shape))).reshape(shape),
        "huge and tiny": 10.0 ** rng.uniform(-300, 300, shape),
    }[values]
    for layout in (np.ascontiguousarray, np.asfortranarray):
        found = features.harmonic_percussive(layout(power), *kernels)
        for part, expected in zip(found, separated_by_sorting(power, *kernels), strict=True):
            np.testing.assert_array_equal(part, expected)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_power_that_is_not_a_number_reaches_no_median(value):
    power = np.ones((129, 100))
    power[3, 7] = value
    with pytest.raises(RecordingError, match="power: 1 of 12900 values are not finite"):
        features.harmonic_percussive(power)


def test_a_lone_point_that_neither_median_sees_is_shared_equally():
    power = np.zeros((129, 100))
    power[60, 50] = 1.0
    harmonic, percussive = features.harmonic_percussive(power)
    assert harmonic[60, 50] == percussive[60, 50] == 0.5


def test_a_tone_is_harmonic_and_a_click_is_percussive():
    samples = tone(1000, amplitude=0.1)
    samples[4000] += 1.0
    harmonic, percussive = features.harmonic_percussive(features.power_spectrogram(samples))
    click_frames = features.frames(np.abs(samples) > 0.5, 256, 64).any(axis=1)
    away = np.abs(np.arange(129) - 32) > 10  # bins the tone does not reach
    quiet = ~click_frames
    assert harmonic[32, quiet].sum() > 0.99 * (harmonic + percussive)[32, quiet].sum()
    clicked = np.ix_(away, click_frames)
    assert percussive[clicked].sum() > 0.99 * (harmonic + percussive)[clicked].sum()


@pytest.mark.parametrize(
    ("kernels", "name"), [((31, 131), "percussive"), ((30, 17), "harmonic"), ((301, 17), "harm")]
)
def test_a_median_that_does_not_fit_is_refused(kernels, name):
    with pytest.raises(ParameterError, match=f"{name}.*_kernel|{name}.*kernel"):
        features.harmonic_percussive(features.power_spectrogram(noise()), *kernels)


def test_l_mhp_stacks_the_three_spectrograms_in_decibels():
    clip = clip_of(noise() + tone())
    stacked = features.l_mhp(clip)
    assert stacked.shape == (64, 122, 3) and np.isfinite(stacked).all()
    np.testing.assert_allclose(stacked[..., 0], features.log_mel_spectrogram(clip.samples, RATE))
    power = 10 ** (stacked / 10)
    np.testing.assert_allclose(power[..., 1] + power[..., 2], power[..., 0], rtol=1e-6)


def test_twice_the_amplitude_is_six_decibels_everywhere_above_the_floor():
    soft, loud = (features.l_mhp(clip_of(gain * (noise() + tone()))) for gain in (0.5, 1.0))
    above = soft > features.FLOOR_DB
    assert above.mean() > 0.99
    np.testing.assert_allclose((loud - soft)[above], 20 * np.log10(2), atol=1e-9)


def test_silence_lies_on_the_floor_whatever_else_is_in_the_clip():
    clip = preprocess(tone(seconds=1.5), RATE, "paper")
    padded = ~features.frames(clip.mask, 256, 64).any(axis=1)
    assert padded.sum() > 100
    assert (features.l_mhp(clip)[:, padded] == features.FLOOR_DB).all()


def test_a_rate_of_1_khz_keeps_fewer_bands_and_256_hz_says_what_does_not_fit():
    vowel = noise(2.0) + tone(100, 2.0)
    assert features.l_mhp(preprocess(vowel, RATE, "paper", 1000)).shape == (18, 372, 3)
    with pytest.raises(ParameterError, match="percussive_kernel: 17 bins.*5 bins"):
        features.l_mhp(preprocess(vowel, RATE, "paper", 256))
    assert features.l_mhp(preprocess(vowel, RATE, "paper", 256), percussive_kernel=3).shape == (5, 381, 3)


# --- spectral slope and energy ------------------------------------------------------------------------


def test_white_noise_has_no_slope():
    for unit in ("dB/kHz", "dB/octave"):
        slope, _ = features.slope_curves(clip_of(noise(20)), unit=unit).mean()
        assert slope == pytest.approx(0, abs=0.1)


def coloured_noise(gain, seconds=30.0):
    """Noise whose amplitude spectrum follows ``gain(frequency)``."""
    spectrum = np.fft.rfft(noise(seconds))
    frequency = np.fft.rfftfreq(round(seconds * RATE), 1 / RATE)
    return np.fft.irfft(spectrum * gain(np.maximum(frequency, 1.0)))


def test_pink_noise_falls_by_three_decibels_per_octave():
    samples = coloured_noise(lambda f: f**-0.5 * 10)
    slope, _ = features.slope_curves(clip_of(samples), unit="dB/octave", low_hz=200).mean()
    assert slope == pytest.approx(-10 * np.log10(2), abs=0.1)


def test_noise_that_falls_by_eight_decibels_per_khz_is_measured_so():
    samples = coloured_noise(lambda f: 10 ** (-8 * f / 1000 / 20))
    curves = features.slope_curves(clip_of(samples))
    assert curves.mean()[0] == pytest.approx(-8, abs=0.1)
    assert curves.unit == "dB/kHz"


def test_one_pole_filtered_noise_has_the_slope_of_the_filters_formula():
    pole = 0.7
    bins = np.arange(129) * RATE / 256
    level = -10 * np.log10(1 - 2 * pole * np.cos(2 * np.pi * bins / RATE) + pole**2)
    use = bins >= features.SLOPE_LOW_HZ
    expected = np.polyfit(bins[use] / 1000, level[use], 1)[0]
    slope, _ = features.slope_curves(clip_of(lfilter([1], [1, -pole], noise(30)))).mean()
    assert slope == pytest.approx(expected, abs=0.1)


def test_slope_agrees_with_numpys_line_fit_frame_by_frame():
    samples = noise()
    curves = features.slope_curves(clip_of(samples), low_hz=500, high_hz=1500)
    bins = np.arange(129) * RATE / 256
    use = (bins >= 500) & (bins <= 1500)
    level = 10 * np.log10(features.power_spectrogram(samples, 256, 80)[use])
    np.testing.assert_allclose(curves.slope, np.polyfit(bins[use] / 1000, level, 1)[0])


def test_the_bin_at_half_the_rate_does_not_tilt_a_flat_spectrum():
    impulse = np.zeros(256)
    impulse[128] = 0.5  # its spectrum is flat; the one-sided power spectrum halves the last bin
    slopes = features.slope_curves(clip_of(impulse)).slope
    np.testing.assert_allclose(slopes, 0, atol=1e-9)


def test_slope_does_not_depend_on_gain_and_energy_follows_it():
    # Below 4 kHz, where one bin in a thousand of white noise would touch the floor under a single bin.
    soft, loud = (features.slope_curves(clip_of(gain * noise()), high_hz=3990) for gain in (0.25, 1.0))
    np.testing.assert_allclose(soft.slope, loud.slope, atol=1e-9)
    np.testing.assert_allclose(loud.energy - soft.energy, 20 * np.log10(4))


def test_energy_of_a_sine_is_half_its_squared_amplitude():
    curves = features.slope_curves(clip_of(tone(1000, amplitude=1.0)))
    np.testing.assert_allclose(curves.energy, 10 * np.log10(0.5), atol=1e-9)


def test_padding_has_no_slope_and_is_marked():
    clip = preprocess(noise(1.5) + tone(seconds=1.5), RATE, "paper")
    curves = features.slope_curves(clip)
    inside, silent = curves.times < 1.5 - 0.016, curves.times > 1.5 + 0.016
    assert np.isnan(curves.slope[silent]).all() and np.isfinite(curves.slope[inside]).all()
    assert not curves.mask[~inside].any() and curves.mask[inside].all()
    assert (curves.energy[silent] == features.FLOOR_DB).all()


def test_as_drawn_the_padding_is_a_dip_at_the_end_that_the_voice_does_not_have():
    clip = preprocess(noise(1.5) + tone(seconds=1.5), RATE, "paper")
    curves = features.slope_curves(clip)
    drawn = curves.as_drawn()
    late = curves.times > 2
    assert np.isfinite(drawn.slope).all() and (drawn.slope[late] == 0).all() and drawn.mask.all()
    assert np.mean(drawn.energy[late]) < np.mean(drawn.energy[curves.times < 1]) - 60
    assert np.ptp(curves.energy[curves.mask]) < 3


def test_mean_leaves_padding_out():
    voice = noise(1.5)
    padded = np.r_[voice, np.zeros(12000)]
    with_padding = clip_of(padded, mask=np.arange(24000) < 12000)
    assert features.slope_curves(with_padding).mean() == pytest.approx(
        features.slope_curves(clip_of(voice)).mean()
    )


def test_a_silent_clip_has_no_mean_slope():
    with pytest.raises(RecordingError, match="no frame holds sound"):
        features.slope_curves(clip_of(np.zeros(8000))).mean()


@pytest.mark.parametrize("rate", [1000, 256])
def test_slopes_work_at_the_papers_other_rates(rate):
    clip = preprocess(noise(2.0), RATE, "paper", rate)
    curves = features.slope_curves(clip)
    assert np.isfinite(curves.slope[curves.mask]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"unit": "dB/mel"}, "unit: 'dB/mel'"),
        ({"low_hz": 3990}, "low_hz=3990, high_hz=4000: 1 bins"),
        ({"frame_s": 0}, "frame_s: 0"),
        ({"hop_s": -1}, "hop_s: -1"),
        ({"frame_s": 0.0001}, "too few samples"),
    ],
)
def test_slopes_refuse_settings_without_meaning(arguments, message):
    with pytest.raises(ParameterError, match=message):
        features.slope_curves(clip_of(noise()), **arguments)


# --- energy ratios ------------------------------------------------------------------------------------


def test_alpha_ratio_of_two_tones_is_the_ratio_of_their_powers():
    samples = tone(500, 2.0, amplitude=0.5) + tone(2500, 2.0, amplitude=0.05)
    assert features.alpha_ratio(clip_of(samples)) == pytest.approx(20, abs=0.01)


def test_hammarberg_index_of_two_tones_is_the_difference_of_their_peaks():
    samples = tone(500, 2.0, amplitude=0.5) + tone(2500, 2.0, amplitude=0.05)
    assert features.hammarberg_index(clip_of(samples)) == pytest.approx(20, abs=0.01)


def test_long_term_spectrum_holds_the_mean_power_and_leaves_padding_out():
    samples = np.r_[tone(1000, amplitude=1.0), np.zeros(8000)]
    _, power = features.long_term_spectrum(clip_of(samples, mask=np.arange(16000) < 8000))
    assert power.sum() == pytest.approx(0.5)


def test_ratios_need_the_band_up_to_4_khz_and_a_sound():
    low = preprocess(noise(2.0), RATE, "paper", 1000)
    for ratio in (features.alpha_ratio, features.hammarberg_index):
        with pytest.raises(ParameterError, match="sample_rate.*8000 Hz or more, not 1000"):
            ratio(low)
        with pytest.raises(RecordingError, match="silent"):
            ratio(clip_of(np.zeros(8000)))


# --- Praat markers ------------------------------------------------------------------------------------


def pitch_by_autocorrelation(samples, rate=RATE):
    """First high peak of the autocorrelation, refined by a parabola: a second, independent estimate."""
    samples = samples - samples.mean()
    spectrum = np.abs(np.fft.rfft(samples, 2 * samples.size)) ** 2
    correlation = np.fft.irfft(spectrum)[: samples.size] / np.arange(samples.size, 0, -1)
    lags = np.arange(int(rate / 500), int(rate / 75))
    is_peak = (correlation[lags] > correlation[lags - 1]) & (correlation[lags] >= correlation[lags + 1])
    peak = lags[is_peak & (correlation[lags] > 0.8 * correlation[lags].max())][0]
    left, middle, right = correlation[peak - 1 : peak + 2]
    return rate / (peak + 0.5 * (left - right) / (left - 2 * middle + right))


@pytest.mark.parametrize("f0", [90.0, 137.0, 233.0, 310.0])
def test_pitch_agrees_with_the_truth_and_with_a_second_estimate(f0):
    count = int(1.5 * f0)
    voice = pulse_voice(np.full(count, 1 / f0), np.ones(count))
    markers = features.praat_markers(voice, RATE)
    assert markers["f0_mean_hz"] == pytest.approx(f0, rel=0.003)
    assert markers["f0_mean_hz"] == pytest.approx(pitch_by_autocorrelation(voice), rel=0.003)
    assert markers["f0_sd_hz"] < 0.5 and markers["voiced_share"] > 0.95


@pytest.mark.parametrize("planted", [0.004, 0.01])
def test_planted_jitter_is_found(planted):
    # Periods T(1 + d) and T(1 - d) in turn: jitter (local) is 2d, RAP 4d/3 and PPQ5 4d/5 of the mean period.
    signs = np.where(np.arange(200) % 2, 1, -1)
    voice = pulse_voice((1 + planted * signs) / 130, np.ones(200))
    markers = features.praat_markers(voice, RATE)
    assert markers["jitter_local"] == pytest.approx(2 * planted, rel=0.1)
    assert markers["jitter_rap"] == pytest.approx(4 / 3 * planted, rel=0.1)
    assert markers["jitter_ppq5"] == pytest.approx(4 / 5 * planted, rel=0.15)


@pytest.mark.parametrize("planted", [0.01, 0.03])
def test_planted_shimmer_is_found(planted):
    signs = np.where(np.arange(200) % 2, 1, -1)
    voice = pulse_voice(np.full(200, 1 / 130), 1 + planted * signs)
    markers = features.praat_markers(voice, RATE)
    assert markers["shimmer_local"] == pytest.approx(2 * planted, rel=0.1)
    assert markers["shimmer_apq3"] == pytest.approx(4 / 3 * planted, rel=0.1)
    assert markers["jitter_local"] < 0.002


@pytest.mark.parametrize("snr_db", [10, 20])
def test_harmonics_to_noise_ratio_is_the_planted_one(snr_db):
    voice = pulse_voice(np.full(260, 1 / 130), np.ones(260))
    hiss = noise(voice.size / RATE, 1.0)[: voice.size]
    hiss *= np.sqrt(np.mean(voice**2) / np.mean(hiss**2)) * 10 ** (-snr_db / 20)
    assert features.praat_markers(voice + hiss, RATE)["hnr_db"] == pytest.approx(snr_db, abs=1)


def test_cepstral_peak_falls_as_breath_noise_rises():
    voice = pulse_voice(np.full(200, 1 / 130), np.ones(200))
    hiss = noise(voice.size / RATE, 1.0)[: voice.size]
    peaks = [features.praat_markers(voice + level * hiss, RATE)["cpps_db"] for level in (0.001, 0.01, 0.05)]
    assert peaks[0] > peaks[1] > peaks[2] > 0


def test_markers_do_not_depend_on_gain():
    voice = (
        pulse_voice(np.full(200, 1 / 130), np.ones(200)) + noise(2, 0.01)[: int(RATE * (200 / 130 + 0.02))]
    )
    soft, loud = (features.praat_markers(gain * voice, RATE) for gain in (0.05, 1.0))
    assert tuple(soft) == features.PRAAT_NAMES
    for name in features.PRAAT_NAMES:
        assert soft[name] == pytest.approx(loud[name], rel=1e-3, abs=1e-6), name


@pytest.mark.parametrize("samples", [np.zeros(8000), noise()], ids=["silence", "noise"])
def test_a_recording_without_a_voice_has_no_jitter_and_says_so(samples):
    with pytest.raises(RecordingError, match="Praat finds a pitch in .* frames"):
        features.praat_markers(samples, RATE)


def test_praat_refuses_clips_too_short_or_too_slow():
    with pytest.raises(RecordingError, match="samples"):
        features.praat_markers(tone(100, 0.02), RATE)
    with pytest.raises(ParameterError, match="Praat's markers.*not 1000"):
        features.praat_markers(tone(100, rate=1000), 1000)


# --- MFCC and the table of features -------------------------------------------------------------------


def test_mfcc_are_librosas():
    samples = noise()
    theirs = librosa.feature.mfcc(S=features.log_mel_spectrogram(samples, RATE), n_mfcc=13)
    np.testing.assert_allclose(features.mfcc(samples, RATE), theirs, atol=1e-9)


def test_gain_moves_the_first_coefficient_only():
    soft, loud = (features.mfcc(gain * noise(), RATE) for gain in (0.5, 1.0))
    np.testing.assert_allclose(loud[0] - soft[0], 20 * np.log10(2) * np.sqrt(64))
    np.testing.assert_allclose(loud[1:], soft[1:], atol=1e-9)


def test_more_coefficients_than_bands_are_refused():
    with pytest.raises(ParameterError, match="n_mfcc: 13 coefficients cannot come from 5 bands at 256 Hz"):
        features.mfcc(tone(100, rate=256), 256)


def vowel(seconds=1.5, f0=130, seed=0):
    """Pulses with random perturbation through three formants, with a little breath."""
    rng = np.random.default_rng(seed)
    count = int(seconds * f0)
    source = pulse_voice(rng.normal(1, 0.005, count) / f0, rng.normal(1, 0.02, count), width=0.0003)
    for frequency, bandwidth in ((700, 90), (1200, 110), (2600, 160)):
        radius, angle = np.exp(-np.pi * bandwidth / RATE), 2 * np.pi * frequency / RATE
        source = lfilter([1], [1, -2 * radius * np.cos(angle), radius**2], source)
    return 0.5 * source / np.abs(source).max() + rng.normal(0, 0.002, source.size)


def test_acoustic_features_keep_their_order_and_are_all_numbers():
    rows = [features.acoustic_features(preprocess(vowel(seed=seed), RATE, "sound")) for seed in (0, 1)]
    assert list(rows[0].index) == list(rows[1].index) and rows[0].index.is_unique
    assert tuple(rows[0].index[: len(features.PRAAT_NAMES)]) == features.PRAAT_NAMES
    assert len(rows[0]) == 48
    assert all(np.isfinite(row).all() for row in rows)
    assert not np.allclose(rows[0], rows[1])


def test_added_zeros_change_no_acoustic_feature():
    voice = vowel()
    bare = features.acoustic_features(clip_of(voice))
    mask = np.arange(24000) < voice.size
    padded = features.acoustic_features(clip_of(np.r_[voice, np.zeros(24000 - voice.size)], mask=mask))
    np.testing.assert_allclose(padded, bare, rtol=1e-9)


def test_features_of_silence_and_noise_are_errors_not_nan():
    for samples in (np.zeros(8000), noise()):
        with pytest.raises(RecordingError):
            features.acoustic_features(clip_of(samples))


# --- the public recordings ----------------------------------------------------------------------------


def refused(cohort, names, variant, compute):
    """Names and messages of the recordings for which ``compute`` raises; others must give finite numbers."""
    failed = []
    for name in names:
        signal = cohort.signal(name)
        try:
            assert np.isfinite(compute(preprocess(signal.samples, signal.sample_rate, variant))).all(), name
        except PdlibError as error:
            failed.append((name, str(error)))
    return failed


@pytest.mark.real
@pytest.mark.parametrize("variant", ["paper", "sound"])
def test_every_public_recording_yields_spectrograms_and_slopes(real_cohort, variant):
    assert not refused(real_cohort, real_cohort.names, variant, features.l_mhp)
    assert not refused(
        real_cohort, real_cohort.names, variant, lambda clip: features.slope_curves(clip).mean()
    )


@pytest.mark.real
@pytest.mark.parametrize("variant", ["paper", "sound"])
def test_one_public_recording_in_eight_yields_every_marker(real_cohort, variant):
    assert not refused(real_cohort, real_cohort.names[::8], variant, features.acoustic_features)


@pytest.mark.real
def test_the_dip_at_the_end_of_the_public_recordings_is_padding(real_cohort):
    drawn, masked = [], []
    for name in real_cohort.names:
        signal = real_cohort.signal(name)
        curves = features.slope_curves(preprocess(signal.samples, signal.sample_rate))
        late = curves.times > 2.5
        drawn.append(curves.as_drawn().energy[late].mean() - curves.energy[curves.times < 1].mean())
        if (late & curves.mask).any():
            masked.append(curves.energy[late & curves.mask].mean() - curves.energy[curves.times < 1].mean())
    assert np.mean(drawn) < -20  # dB, as plotted
    assert np.mean(masked) > -6  # dB, in the voices that last that long
