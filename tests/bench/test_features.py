"""What the bench of the features compares gives the same numbers, and its rows are whole."""

import json

import numpy as np
import pytest
import soundfile

from tests.bench import features as bench
from tests.bench import l_mhp_loops


@pytest.fixture(scope="module")
def voices():
    return bench.synthetic_voices(2)


@pytest.mark.parametrize("comparison", bench.COMPARISONS, ids=lambda comparison: comparison.what)
def test_ways_that_are_compared_give_equal_results(comparison, voices):
    for voice in voices:
        for name, tolerance in comparison.tolerances.items():
            expected = comparison.ways[comparison.reference](voice)
            assert comparison.apart(comparison.ways[name](voice), expected) <= tolerance, name


@pytest.mark.parametrize("comparison", bench.COMPARISONS, ids=lambda comparison: comparison.what)
def test_a_way_is_compared_for_equality_or_its_note_says_what_it_is(comparison):
    for name in comparison.ways:
        if name != comparison.reference and comparison.reference is not None:
            assert name in comparison.tolerances or name in comparison.notes


def test_distances_of_results_see_a_shape_a_missing_number_and_a_difference():
    assert bench.largest_difference(np.zeros(2), np.zeros(3)) == np.inf
    assert bench.largest_difference([0, np.nan], [0, 1]) == np.inf
    assert bench.largest_difference([0, np.nan], [0.5, np.nan]) == 0.5
    assert bench.relative_difference([0, 4], [1, 4]) == 0.25
    assert bench.mean_difference(np.zeros((2, 2, 4)), np.ones((2, 2, 4))) == 1


def test_the_part_is_whole_and_says_what_it_leaves_out():
    part = bench.measure(rounds=1, small=True)
    assert {row.what for row in part.rows} == {comparison.what for comparison in bench.COMPARISONS}
    assert all(0 < row.low <= row.median <= row.high and row.unit == "ms per recording" for row in part.rows)
    assert len(part.left_out) == 1 and part.facts["synthetic voices"] == bench.FEW_VOICES


@pytest.fixture
def folder(tmp_path, voices):
    for number, voice in enumerate(voices):
        soundfile.write(tmp_path / f"{number}.wav", voice.signal.samples, bench.RATE, subtype="FLOAT")
    return tmp_path


def test_the_loops_over_files_make_the_same_spectrograms(folder, voices):
    for number, voice in enumerate(voices):
        ours, theirs = (l_mhp_loops.WAYS[way]()(folder / f"{number}.wav") for way in ("pdlib", "librosa"))
        np.testing.assert_array_equal(ours, bench.features.l_mhp(voice.clip))
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-6)


@pytest.mark.parametrize("way", l_mhp_loops.WAYS)
def test_a_loop_over_files_tells_its_stages(way, folder, capsys):
    l_mhp_loops.main([way, str(folder)])
    told = json.loads(capsys.readouterr().out)
    assert told["recordings"] == 2
    assert all(told[stage] > 0 for stage in ("imports", "first", "others"))


def test_a_loop_over_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(SystemExit) as stopped:
        l_mhp_loops.main(["pdlib", str(tmp_path)])
    assert stopped.value.code == 2
