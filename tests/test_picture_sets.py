from dataclasses import replace

import numpy as np
import pytest

from pdlib.errors import DataError, ParameterError
from pdlib.features import log_mel_spectrogram
from pdlib.picture_sets import PictureSet, slope_pictures, spectrogram_picture, spectrogram_pictures
from pdlib.preprocessing import preprocess


def test_names_and_pictures_never_part():
    with pytest.raises(DataError):
        PictureSet(("a",), np.zeros(2), np.zeros((2, 4, 4, 3), np.uint8))
    data = PictureSet(
        ("a", "b"), np.array([0, 1]), np.stack([np.zeros((4, 4, 3)), np.ones((4, 4, 3))]).astype(np.uint8)
    )
    assert data.take(["b"]).pictures.max() == 1
    with pytest.raises(DataError, match="no picture of c"):
        data.take(["c"])


@pytest.mark.parametrize("variant", ["paper", "sound"])
def test_slope_pictures_of_a_cohort(small_cohort, store, variant):
    data = slope_pictures(small_cohort, variant=variant, size=48, store=store)
    assert data.pictures.shape == (12, 48, 48, 3) and data.pictures.dtype == np.uint8
    assert data.names == tuple(small_cohort.names)
    assert len({picture.tobytes() for picture in data.pictures}) == 12


@pytest.mark.parametrize("variant", ["paper", "sound"])
def test_spectrogram_pictures_are_grey_and_kept_between_runs(small_cohort, store, variant):
    data = spectrogram_pictures(small_cohort, variant=variant, size=40, store=store)
    assert data.pictures.shape == (12, 40, 40, 3) and data.pictures.dtype == np.uint8
    assert (data.pictures == data.pictures[..., :1]).all()
    assert len({picture.tobytes() for picture in data.pictures}) == 12
    again = spectrogram_pictures(small_cohort, variant=variant, size=40, store=store)
    assert (store.computed, store.loaded) == (1, 1)
    np.testing.assert_array_equal(data.pictures, again.pictures)


@pytest.fixture(scope="module")
def tone():
    """One second of 2 kHz, with its last quarter silent."""
    time = np.arange(8000) / 8000
    return preprocess(
        0.5 * np.sin(2 * np.pi * 2000 * time) * (time < 0.75), 8000, variant="paper", seconds=1.0
    )


def test_a_tone_is_one_bright_line_at_its_height_and_padding_is_black(tone):
    picture = spectrogram_picture(tone, 64)[..., 0].astype(float)
    level = log_mel_spectrogram(tone.samples, tone.sample_rate)
    loudest = int(level[:, : level.shape[1] // 2].mean(axis=1).argmax())
    assert abs(int(picture[:, :32].mean(axis=1).argmax()) - (63 - loudest)) <= 1  # band 0 is the bottom row
    assert picture[:, 52:].max() == 0


def test_equal_levels_are_equal_greys_in_every_recording(tone):
    quieter = replace(tone, samples=0.1 * tone.samples)
    one, other = (spectrogram_picture(clip, 64)[..., 0].astype(float) for clip in (tone, quieter))
    bright = one > 100
    assert (one - other)[bright].mean() == pytest.approx(20 / 80 * 255, abs=1.5)


@pytest.mark.parametrize("size", [31, 1025, 64.0, True])
def test_a_size_that_no_spectrogram_picture_has_is_refused(tone, size):
    with pytest.raises(ParameterError, match="size"):
        spectrogram_picture(tone, size)
