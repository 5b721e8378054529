"""A cohort in parts gives what it gives whole, goes on where it stopped, and is never in memory as a whole."""

import pickle
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from pdlib import chunks, paths, picture_sets, recordings
from pdlib.baselines import acoustic_table
from pdlib.errors import WriteError
from pdlib.picture_sets import PictureSet, slope_pictures, spectrogram_pictures
from pdlib.provenance import Store, fingerprint
from pdlib.recordings import AtHand, Cohort, Recording, Signal
from pdlib.synthetic import synthetic_cohort


@pytest.fixture
def in_fives(monkeypatch):
    """Parts of five recordings, so that a cohort of twelve has three."""
    monkeypatch.setattr(chunks, "CHUNK", 5)


def test_the_parts_of_a_cohort_are_all_of_it_in_order(small_cohort, in_fives, monkeypatch):
    found = list(chunks.parts(small_cohort))
    assert [len(part) for part in found] == [5, 5, 2]
    assert [name for part in found for name in part.names] == small_cohort.names
    assert len({part.fingerprint for part in found}) == 3
    monkeypatch.setattr(chunks, "CHUNK", 12)
    (whole,) = chunks.parts(small_cohort)
    assert whole.fingerprint == small_cohort.fingerprint


@pytest.mark.parametrize("pictures_of", [slope_pictures, spectrogram_pictures])
def test_pictures_made_in_parts_are_those_made_at_once(small_cohort, tmp_path, in_fives, pictures_of):
    found = pictures_of(small_cohort, variant="sound", size=32, store=Store(tmp_path / "parts"))
    assert isinstance(found.pictures, np.memmap) and len(list((tmp_path / "parts").glob("*/*.npz"))) == 3
    work = {slope_pictures: picture_sets._slope_graphs, spectrogram_pictures: picture_sets._spectrograms}
    rate = {"target_sr": 8000} if pictures_of is slope_pictures else {}
    at_once = work[pictures_of](small_cohort, variant="sound", size=32, **rate)["pictures"]
    np.testing.assert_array_equal(found.pictures, at_once)
    assert fingerprint(found.pictures) == fingerprint(at_once)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(found)).pictures, at_once)  # as a worker gets them
    np.testing.assert_array_equal(found.labels, small_cohort.labels)


def test_a_table_made_in_parts_is_the_one_made_at_once(small_cohort, tmp_path, monkeypatch):
    few = small_cohort.subset(small_cohort.names[4:8])  # of both classes
    at_once = acoustic_table(few, store=Store(tmp_path / "whole"))
    monkeypatch.setattr(chunks, "CHUNK", 3)
    pd.testing.assert_frame_equal(acoustic_table(few, store=Store(tmp_path / "parts")), at_once)
    assert len(list((tmp_path / "parts").glob("*/*.npz"))) == 2


def test_an_interrupted_run_goes_on_at_the_part_where_it_stopped(
    small_cohort, tmp_path, in_fives, monkeypatch
):
    store, draw, seen = Store(tmp_path), picture_sets.slope_picture, []

    def stumbling(clip, size):
        seen.append(size)
        if len(seen) == 8:
            raise KeyboardInterrupt
        return draw(clip, size)

    monkeypatch.setattr(picture_sets, "slope_picture", stumbling)
    with pytest.raises(KeyboardInterrupt):
        slope_pictures(small_cohort, variant="sound", size=32, store=store)
    assert store.computed == 1  # the first five are kept
    seen.clear()
    monkeypatch.setattr(
        picture_sets, "slope_picture", lambda clip, size: (seen.append(size), draw(clip, size))[1]
    )
    found = slope_pictures(small_cohort, variant="sound", size=32, store=store)
    assert len(seen) == 7 and (store.computed, store.loaded) == (3, 1)
    monkeypatch.undo()
    whole = slope_pictures(small_cohort, variant="sound", size=32, store=Store(tmp_path / "other"))
    np.testing.assert_array_equal(found.pictures, whole.pictures)


def test_speakers_taken_from_pictures_in_a_file_are_the_right_ones_and_lie_in_a_file(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK", 4)
    whole = np.random.default_rng(0).integers(0, 255, (11, 8, 8, 3), dtype=np.uint8)
    mapped = chunks.joined((whole[i : i + 4] for i in (0, 4, 8)), 11)
    names = [f"HC-{i}" for i in range(11)]
    asked = [names[i] for i in (9, 2, 7, 0, 10, 3)]
    data = PictureSet(tuple(names), np.arange(11), mapped)
    taken = data.take(asked)
    assert isinstance(taken.pictures, np.memmap) and taken.labels.tolist() == [9, 2, 7, 0, 10, 3]
    np.testing.assert_array_equal(taken.pictures, whole[[9, 2, 7, 0, 10, 3]])
    few = data.take(asked[:2]).pictures
    assert not isinstance(few, np.memmap)
    np.testing.assert_array_equal(few, whole[[9, 2]])
    heat = np.random.default_rng(1).random((11, 8, 8))
    plain = PictureSet(tuple(names), np.arange(11), whole)
    monkeypatch.setattr(chunks, "CHUNK", 11)
    at_once = plain.overlaid(heat, 0.4).pictures
    monkeypatch.setattr(chunks, "CHUNK", 4)
    np.testing.assert_array_equal(data.overlaid(heat, 0.4).pictures, at_once)


def test_rows_joined_in_a_file_leave_no_file_and_cannot_be_written_over(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "results_dir", lambda: tmp_path / "results")
    found = chunks.joined(iter([np.zeros((2, 3)), np.ones((1, 3))]), 3)
    assert list((tmp_path / "results").iterdir()) == []
    assert found[2].tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="read-only"):
        found[0, 0] = 5


def test_a_folder_that_takes_no_file_is_named(tmp_path, monkeypatch):
    taken = tmp_path / "taken"
    taken.write_text("a file where the folder should be")
    monkeypatch.setattr(paths, "results_dir", lambda: taken)
    with pytest.raises(WriteError, match="taken"):
        chunks.joined(iter([np.zeros((2, 3)), np.ones((1, 3))]), 3)


# ── how much is in memory ──────────────────────────────────────────────────────────────────────────────
def most_allocated(run) -> int:
    """Bytes of Python's and NumPy's memory in use at most while ``run`` runs."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_joining_many_parts_takes_the_memory_of_one():
    part = 2**20

    def streamed(count: int) -> int:
        return most_allocated(
            lambda: chunks.joined((np.full((1, part), i, dtype=np.uint8) for i in range(count)), count)
        )

    few, many = streamed(4), streamed(40)
    assert few < 4 * part and many < few + part / 2


def test_hashing_an_array_copies_nothing():
    array = np.zeros(2**22, dtype=np.uint8)
    assert most_allocated(lambda: fingerprint(array)) < array.nbytes / 4


def test_signals_at_hand_stay_within_their_bytes_and_the_longest_unused_goes_first():
    made = []

    def make(recording):
        made.append(recording.name)
        return Signal(np.full(1000, len(made)), 8000)

    shelf = AtHand(make, most=3 * 4000)
    asked = {name: Recording(name, 0, None, name) for name in "abcd"}
    for name in "abcadab":
        shelf.signal(asked[name])
        assert shelf.bytes <= 12000
    # d pushed b out, the one unused for longest; a was used again and stayed
    assert "".join(made) == "abcdb"
    lone = AtHand(make, most=10)
    assert lone.signal(asked["a"]) is lone.signal(asked["a"])  # the signal in use stays however long it is


def test_a_large_cohort_of_voices_holds_few_of_them_and_speaks_the_others_again(monkeypatch):
    kept_whole = synthetic_cohort(8, 5)
    expected = {name: signal.samples for name, signal in kept_whole.signals().items()}
    monkeypatch.setattr(recordings, "AT_HAND_BYTES", 200_000)
    streamed = synthetic_cohort(8, 5)
    total = sum(samples.nbytes for samples in expected.values())
    assert streamed.at_hand.bytes <= 200_000 < total / 2
    assert streamed.fingerprint == kept_whole.fingerprint
    for name, signal in streamed.signals().items():
        np.testing.assert_array_equal(signal.samples, expected[name])
        assert streamed.at_hand.bytes <= 200_000
    monkeypatch.setattr(chunks, "CHUNK", 3)
    assert all(part.at_hand is streamed.at_hand for part in chunks.parts(streamed))


def test_a_part_sent_to_another_process_brings_no_samples_and_speaks_the_same():
    cohort = synthetic_cohort(6, 2)
    part = cohort.subset(cohort.names[:3])
    sent = pickle.dumps(part)
    assert len(sent) < part.signal("HC-01").samples.nbytes / 4
    there = pickle.loads(sent)
    assert there.at_hand.bytes == 0 and there.fingerprint == part.fingerprint
    np.testing.assert_array_equal(there.signal("HC-02").samples, part.signal("HC-02").samples)


def test_signals_that_can_be_had_from_nowhere_else_stay():
    signal = Signal(np.ones(8000), 8000)
    recording = Recording("HC-01", 0, None, "x")
    people = pd.DataFrame({"age": [50.0], "sex": ["F"], "validated": [False]}, index=["HC-01"])
    cohort = Cohort("own", "arrays", (recording,), people, {"HC-01": signal})
    assert pickle.loads(pickle.dumps(cohort)).signal("HC-01").samples.sum() == 8000
    assert cohort.signals()["HC-01"] is signal and "HC-02" not in cohort.signals()
