"""Pictures: the drawn row of a known value, alpha removed as printed and as it should be, the overlay."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from pdlib import pictures
from pdlib.errors import ModelError, ParameterError

SLOPE, ENERGY, WHITE = pictures.SLOPE_COLOUR, pictures.ENERGY_COLOUR, (255, 255, 255)


def curves(slope=-10.0, energy=-20.0, frames=97, **more):
    """Curves of one second; numbers become flat curves."""
    times = 0.016 + 0.01 * np.arange(frames)
    return SimpleNamespace(
        times=times,
        slope=np.broadcast_to(np.asarray(slope, dtype=float), frames).copy(),
        energy=np.broadcast_to(np.asarray(energy, dtype=float), frames).copy(),
        mask=np.ones(frames, dtype=bool),
        **more,
    )


def rows_of(picture, colour, column):
    """Rows of one column whose pixel is exactly ``colour``."""
    return np.flatnonzero((picture[:, column, :3] == colour).all(axis=-1))


@pytest.mark.parametrize("size", [64, 96, 244, 256])
def test_flat_curves_lie_where_the_scales_put_them(size):
    picture = pictures.slope_graph(curves(slope=-10, energy=-20), size)
    assert picture.shape == (size, size, 4) and picture.dtype == np.uint8
    margin = pictures.line_width(size) / 2
    for colour, share in ((SLOPE, 10 / 20), (ENERGY, 20 / 80)):
        centre = margin + share * (size - 2 * margin)
        rows = rows_of(picture, colour, size // 2)
        assert abs((rows.min() + rows.max() + 1) / 2 - centre) <= 0.5


def test_axes_ticks_or_frames_never_appear():
    picture = pictures.slope_graph(curves(), 96)
    corners = picture[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == 255).all()
    inked = (picture[..., :3] != 255).any(axis=-1).any(axis=1)
    assert inked.sum() <= 4 * pictures.line_width(96)  # two lines and nothing else


def test_every_pixel_is_opaque():
    assert (pictures.slope_graph(curves(), 64)[..., 3] == 255).all()


def test_the_recording_spans_the_full_width():
    picture = pictures.slope_graph(curves(), 96)
    inked = (picture[..., :3] != 255).any(axis=-1).any(axis=0)
    assert inked.all()
    columns = pictures.time_to_column(np.array([0.5, 1.0, 1.5]), 100)
    assert columns == pytest.approx([25, 50, 75])  # a recording of two seconds


def test_a_step_in_the_curve_appears_at_its_time():
    energy = np.where(np.arange(97) < 48, -60.0, -20.0)
    picture = pictures.slope_graph(curves(energy=energy), 96)
    left, right = rows_of(picture, ENERGY, 20).mean(), rows_of(picture, ENERGY, 75).mean()
    assert left - right == pytest.approx(0.5 * (96 - pictures.line_width(96)), abs=1)


def test_values_beyond_the_limits_stay_whole_inside_the_picture():
    beyond = pictures.slope_graph(curves(slope=500, energy=-500), 96)
    at_limit = pictures.slope_graph(curves(slope=pictures.SLOPE_LIMITS[1], energy=-80), 96)
    assert (beyond == at_limit).all()
    assert rows_of(beyond, SLOPE, 48).size >= 2 and rows_of(beyond, ENERGY, 48).size >= 2


def test_a_gap_in_a_curve_stays_white_and_is_not_bridged():
    slope = np.full(97, -5.0)
    slope[40:60] = np.nan
    picture = pictures.slope_graph(curves(slope=slope), 96)
    assert rows_of(picture, SLOPE, 48).size == 0
    assert rows_of(picture, SLOPE, 20).size and rows_of(picture, SLOPE, 80).size


def test_a_single_frame_between_gaps_is_drawn_as_a_dot():
    slope = np.full(97, np.nan)
    slope[48] = -5
    picture = pictures.slope_graph(curves(slope=slope), 96)
    assert (picture[..., :3] == SLOPE).all(axis=-1).any()


def test_masked_leaves_the_padding_out_and_the_default_shows_it():
    padded = curves()
    padded.mask[60:] = False
    shown, left_out = pictures.slope_graph(padded, 96), pictures.slope_graph(padded, 96, masked=True)
    assert rows_of(shown, ENERGY, 85).size and not rows_of(left_out, ENERGY, 85).size


def test_different_curves_give_different_pictures_and_equal_ones_the_same_bytes():
    one = pictures.slope_graph(curves(slope=-8), 96)
    assert one.tobytes() == pictures.slope_graph(curves(slope=-8), 96).tobytes()
    assert (one != pictures.slope_graph(curves(slope=-9), 96)).any()


def test_the_scale_does_not_follow_the_data():
    steep = np.linspace(-18, -2, 97)
    gentle = steep / 4 - 7.5
    assert (pictures.slope_graph(curves(slope=steep)) != pictures.slope_graph(curves(slope=gentle))).any()


def test_the_scale_of_other_sample_rates_follows_their_bandwidth():
    assert pictures.slope_limits_at(8000) == pictures.SLOPE_LIMITS
    assert pictures.slope_limits_at(1000) == (-160, 160)
    assert pictures.slope_limits_at(256) == (-625, 625)


def test_a_slope_in_another_unit_is_refused_on_the_scale_of_db_per_khz():
    with pytest.raises(ParameterError, match="dB/octave"):
        pictures.slope_graph(curves(unit="dB/octave"))
    pictures.slope_graph(curves(unit="dB/octave"), slope_limits=(-24, 6))


@pytest.mark.parametrize("size", [0, 15, 2000, 96.0, True, "96"])
def test_an_impossible_size_is_named(size):
    with pytest.raises(ParameterError, match="size"):
        pictures.slope_graph(curves(), size)


def test_an_impossible_scale_is_named():
    with pytest.raises(ParameterError, match="slope_limits"):
        pictures.slope_graph(curves(), slope_limits=(0, 0))


def test_curves_that_cannot_be_drawn_are_refused():
    with pytest.raises(ModelError, match="nothing to draw"):
        pictures.slope_graph(curves(slope=np.nan, energy=np.nan))
    uneven = curves()
    uneven.energy = uneven.energy[:-1]
    with pytest.raises(ModelError, match="shapes"):
        pictures.slope_graph(uneven)
    backwards = curves()
    backwards.times = backwards.times[::-1]
    with pytest.raises(ModelError, match="increasing"):
        pictures.slope_graph(backwards)


def test_real_slopes_and_levels_fill_the_scale_without_leaving_it(real_cohort):
    from pdlib.features import slope_curves
    from pdlib.preprocessing import preprocess

    slopes, levels = [], []
    for name in real_cohort.names:
        signal = real_cohort.signal(name)
        drawn = slope_curves(preprocess(signal.samples, signal.sample_rate, variant="sound"))
        slopes.append(drawn.slope)
        levels.append(drawn.energy)
    for values, (low, high) in (
        (np.concatenate(slopes), pictures.SLOPE_LIMITS),
        (np.concatenate(levels), pictures.ENERGY_LIMITS),
    ):
        assert ((values >= low) & (values <= high)).mean() > 0.999
        assert np.ptp(np.percentile(values, [1, 99])) > 0.15 * (high - low)


def test_equation_24_as_printed_turns_every_opaque_pixel_white():
    rgba = np.random.default_rng(0).integers(0, 256, (20, 20, 4), dtype=np.uint8)
    rgba[..., 3] = 255
    assert (pictures.remove_alpha(rgba, "paper") == 255).all()
    assert (pictures.remove_alpha(pictures.slope_graph(curves(), 64), "paper") == 255).all()


def test_equation_24_as_printed_keeps_the_colour_of_transparent_pixels():
    rgba = np.array([[[10, 20, 30, 0], [10, 20, 30, 51]]], dtype=np.uint8)
    assert pictures.remove_alpha(rgba, "paper").tolist() == [[[10, 20, 30], [59, 67, 75]]]


def test_compositing_agrees_with_pillow():
    from PIL import Image

    rgba = np.random.default_rng(1).integers(0, 256, (32, 32, 4), dtype=np.uint8)
    paper = Image.new("RGBA", (32, 32), WHITE)
    expected = np.asarray(Image.alpha_composite(paper, Image.fromarray(rgba)).convert("RGB")).astype(int)
    assert np.abs(pictures.remove_alpha(rgba).astype(int) - expected).max() <= 1


def test_compositing_leaves_opaque_colours_and_whitens_transparent_ones():
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], dtype=np.uint8)
    assert pictures.remove_alpha(rgba).tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_alpha_is_removed_from_a_batch_as_from_each_picture():
    batch = np.random.default_rng(2).integers(0, 256, (3, 8, 8, 4), dtype=np.uint8)
    assert (pictures.remove_alpha(batch) == np.stack([pictures.remove_alpha(one) for one in batch])).all()


def test_wrong_input_to_remove_alpha_is_refused():
    with pytest.raises(ParameterError, match="rule"):
        pictures.remove_alpha(np.zeros((4, 4, 4), dtype=np.uint8), "drop")
    for wrong in (np.zeros((4, 4, 3), dtype=np.uint8), np.zeros((4, 4, 4))):
        with pytest.raises(ModelError, match="RGBA"):
            pictures.remove_alpha(wrong)


def test_overlay_is_the_stated_mixture_and_hot_is_red_and_cold_is_blue():
    rgb = np.full((1, 2, 3), 100, dtype=np.uint8)
    heat = np.array([[0.0, 1.0]])
    cold, hot = pictures.heat_colours(heat)[0].astype(int)
    assert cold[2] > 100 > cold[0] and hot[0] > 100 > hot[2]
    mixed = pictures.overlay(rgb, heat, 0.25)[0]
    assert mixed.tolist() == [np.rint(75 + 0.25 * colour).astype(int).tolist() for colour in (cold, hot)]
    assert (pictures.overlay(rgb, heat, 0) == rgb).all()
    assert (pictures.overlay(rgb, heat, 1) == pictures.heat_colours(heat)).all()


def test_overlay_of_a_batch_is_that_of_each_picture():
    rng = np.random.default_rng(3)
    rgb, heat = rng.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8), rng.random((3, 8, 8))
    singly = np.stack([pictures.overlay(one, own) for one, own in zip(rgb, heat, strict=True)])
    assert (pictures.overlay(rgb, heat) == singly).all()


def test_wrong_input_to_overlay_is_refused():
    rgb = np.zeros((8, 8, 3), dtype=np.uint8)
    with pytest.raises(ModelError, match="differ"):
        pictures.overlay(rgb, np.zeros((4, 4)))
    for outside in (np.full((8, 8), 1.5), np.full((8, 8), np.nan)):
        with pytest.raises(ModelError, match="outside"):
            pictures.overlay(rgb, outside)
    with pytest.raises(ParameterError, match="strength"):
        pictures.overlay(rgb, np.zeros((8, 8)), 1.2)


def test_drawing_and_boosting_do_not_load_tensorflow():
    code = "import sys, pdlib.pictures, pdlib.boosting; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
