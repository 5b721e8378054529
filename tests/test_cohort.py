"""Reading recordings, the workbook, and choosing a cohort."""

import hashlib
import os
import pickle
import socket
import warnings

import numpy as np
import openpyxl
import pandas as pd
import pytest
import soundfile

from pdlib import data, paths
from pdlib.cohort import (
    TABLE_2,
    Signal,
    clipped_fraction,
    individuals_cohort,
    load_cohort,
    read_signal,
    read_workbook,
    table2,
)
from pdlib.errors import DataError, ParameterError, PdlibError, RecordingError
from pdlib.synthetic import synthetic_cohort, synthetic_voice
from tests.test_data import serving, zip_of


def tone(seconds: float = 2.0, rate: int = 8000, frequency: float = 200.0, level: float = 0.5) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return level * np.sin(2 * np.pi * frequency * time)


def saved(path, samples, rate: int = 8000, **options):
    soundfile.write(path, samples, rate, **options)
    return path


# ── one recording ──────────────────────────────────────────────────────────────────────────────────────
def test_float_samples_come_back_bit_for_bit(tmp_path):
    samples = tone().astype(np.float32)
    signal = read_signal(saved(tmp_path / "a.wav", samples, subtype="FLOAT", format="WAVEX"))
    assert signal.sample_rate == 8000 and signal.samples.dtype == np.float32 and signal.notes == ()
    np.testing.assert_array_equal(signal.samples, samples)
    assert signal.duration == 2.0


def test_a_signal_cannot_be_changed_by_the_one_who_borrows_it(tmp_path):
    signal = read_signal(saved(tmp_path / "a.wav", tone()))
    with pytest.raises(ValueError, match="read-only"):
        signal.samples[0] = 1.0
    again = pickle.loads(pickle.dumps(signal))
    assert not again.samples.flags.writeable and again.digest() == signal.digest()


def test_an_empty_file_is_named(tmp_path):
    (tmp_path / "a.wav").touch()
    with pytest.raises(RecordingError, match=r"a.wav is empty \(0 bytes\)"):
        read_signal(tmp_path / "a.wav")


def test_a_wav_with_a_header_and_no_samples_is_too_short(tmp_path):
    with pytest.raises(RecordingError, match=r"a.wav is too short: 0.000 s"):
        read_signal(saved(tmp_path / "a.wav", np.zeros(0)))


@pytest.mark.parametrize("format", ["WAV", "WAVEX"])
def test_a_wav_that_was_cut_off_names_both_durations(tmp_path, format):
    path = saved(tmp_path / "a.wav", tone(3.0), subtype="FLOAT", format=format)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 8000 * 4])
    with pytest.raises(RecordingError, match=r"promises 3.000 s, the file holds 2.000 s"):
        read_signal(path)


def test_a_flac_that_was_cut_off_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    path = saved(tmp_path / "a.flac", 0.1 * rng.standard_normal(24000))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(RecordingError, match="a.flac"):
        read_signal(path)


def test_a_wav_of_unknown_length_from_a_pipe_is_read(tmp_path):
    path = saved(tmp_path / "a.wav", tone(2.0))
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert read_signal(path).duration == pytest.approx(2.0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_are_counted_and_placed(tmp_path, value):
    samples = tone(2.0)
    samples[8000:8003] = value
    with pytest.raises(
        RecordingError, match=r"holds 3 samples that are NaN or infinite, the first at 1.000 s"
    ):
        read_signal(saved(tmp_path / "a.wav", samples, subtype="FLOAT"))


@pytest.mark.parametrize("samples", [np.zeros(16000), np.full(16000, 0.3), tone(level=5e-5)])
def test_silence_is_refused(tmp_path, samples):
    with pytest.raises(RecordingError, match="a.wav is silent"):
        read_signal(saved(tmp_path / "a.wav", samples, subtype="FLOAT"))


def test_clipping_is_noted_and_kept(tmp_path):
    samples = np.clip(tone(level=2.0), -1, 1)
    signal = read_signal(saved(tmp_path / "a.wav", samples, subtype="FLOAT"))
    assert any(note.startswith("clipped: ") for note in signal.notes)
    np.testing.assert_array_equal(signal.samples, samples.astype(np.float32))


def test_the_clipped_share_is_that_of_a_cut_sine():
    """A sine of amplitude a cut at 1 lies flat for (2/π)·arccos(1/a) of the time."""
    for rate in (8000, 44100):
        share = clipped_fraction(np.clip(tone(rate=rate, level=2.0, frequency=101), -1, 1), rate)
        assert share == pytest.approx(2 / np.pi * np.arccos(0.999 / 2.0), abs=0.01)


@pytest.mark.parametrize("rate", [8000, 44100])
def test_a_peak_at_full_scale_is_not_clipping(rate):
    assert clipped_fraction(tone(rate=rate, level=1.0, frequency=100), rate) == 0


def test_a_level_beyond_full_scale_is_noted(tmp_path):
    signal = read_signal(saved(tmp_path / "a.wav", tone(level=1.5, frequency=1000), subtype="FLOAT"))
    assert any("louder than full scale: its peak is 1.5" in note for note in signal.notes)


def test_stereo_is_averaged_and_noted(tmp_path):
    left, right = tone(level=0.4), tone(level=0.2)
    signal = read_signal(saved(tmp_path / "a.wav", np.c_[left, right], subtype="FLOAT"))
    np.testing.assert_allclose(signal.samples, (left + right) / 2, atol=1e-6)
    assert signal.notes == ("2 channels averaged to one",)


def test_channels_that_cancel_are_refused(tmp_path):
    with pytest.raises(RecordingError, match="2 channels that cancel"):
        read_signal(saved(tmp_path / "a.wav", np.c_[tone(), -0.98 * tone()]))


def test_a_silent_second_channel_is_no_reason_to_refuse(tmp_path):
    signal = read_signal(saved(tmp_path / "a.wav", np.c_[tone(), 0 * tone()]))
    assert np.abs(signal.samples).max() == pytest.approx(0.25, abs=1e-3)


@pytest.mark.parametrize("rate", [11025, 16000, 44100, 48000])
def test_higher_rates_are_resampled_to_8_khz_and_noted(tmp_path, rate):
    """In the middle the result is the same tone sampled at 8 kHz."""
    signal = read_signal(saved(tmp_path / "a.wav", tone(rate=rate, frequency=440), rate, subtype="FLOAT"))
    assert signal.sample_rate == 8000 and len(signal.samples) == pytest.approx(16000, abs=1)
    assert signal.notes == (f"resampled from {rate} Hz to 8000 Hz",)
    inner = slice(2000, 14000)
    np.testing.assert_allclose(signal.samples[inner], tone(frequency=440)[inner], atol=1e-3)


def test_resampling_does_not_fold_high_tones_into_the_band(tmp_path):
    high = tone(rate=44100, frequency=6000, level=0.5) + tone(rate=44100, frequency=440, level=0.01)
    signal = read_signal(saved(tmp_path / "a.wav", high, 44100, subtype="FLOAT"))
    assert np.abs(signal.samples[2000:14000]).max() < 0.011


def test_a_rate_below_8_khz_is_refused(tmp_path):
    with pytest.raises(RecordingError, match="sampled at 4000 Hz"):
        read_signal(saved(tmp_path / "a.wav", tone(rate=4000), 4000))


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "DOUBLE"])
def test_every_depth_gives_the_same_wave(tmp_path, subtype):
    signal = read_signal(saved(tmp_path / "a.wav", tone(), subtype=subtype))
    np.testing.assert_allclose(signal.samples, tone(), atol=1 / 100 if subtype == "PCM_U8" else 1e-4)
    assert signal.notes == ()


def test_mp3_is_read_and_noted(tmp_path):
    path = saved(tmp_path / "a.mp3", tone(3.0, rate=44100), 44100, format="MP3")
    signal = read_signal(path)
    assert signal.sample_rate == 8000 and signal.duration == pytest.approx(3.0, abs=0.1)
    assert "lossy" in signal.notes[0] and "44100" in signal.notes[1]
    spectrum = np.abs(np.fft.rfft(signal.samples[4000:20000]))
    assert spectrum.argmax() * 8000 / 16000 == pytest.approx(200, abs=1)


def test_a_fifth_of_a_second_is_too_short(tmp_path):
    with pytest.raises(RecordingError, match=r"a.wav is too short: 0.200 s, at least 1.0 s"):
        read_signal(saved(tmp_path / "a.wav", tone(0.2)))


def test_a_minute_is_accepted_whole_and_noted(tmp_path):
    signal = read_signal(saved(tmp_path / "a.wav", tone(60.0)))
    assert signal.duration == 60.0 and signal.notes[0].startswith("long recording: 60.0 s")


def test_a_recording_of_hours_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("pdlib.recordings.MAX_SECONDS", 3.0)
    with pytest.raises(RecordingError, match="longer than 3 s: 4 s"):
        read_signal(saved(tmp_path / "a.wav", tone(4.0)))


@pytest.mark.parametrize("content", [b"These are words, not sound.", b"RIFF\x10\0\0\0WAVEjunk", b"RIF"])
def test_a_file_that_is_no_audio_is_named(tmp_path, content):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(RecordingError, match=r"a.wav cannot be read as audio"):
        read_signal(tmp_path / "a.wav")


def test_a_folder_or_nothing_instead_of_a_file_is_named(tmp_path):
    with pytest.raises(RecordingError, match="is a folder"):
        read_signal(tmp_path)
    with pytest.raises(RecordingError, match="b.wav does not exist"):
        read_signal(tmp_path / "b.wav")


# ── the workbook ───────────────────────────────────────────────────────────────────────────────────────
SPEAKERS = {"AH_1": ("HC-01", 0), "AH_2": ("HC-02", 0), "AH_3": ("PD-01", 1)}
ROWS = (("AH_1", "HC", 40, "M"), ("AH_2", "HC", 50.5, "F"), ("AH_3", "PwPD", 70, "M"))


def workbook(path, rows=ROWS, sheet="Parselmouth", header=("Sample ID", "Label", "Age", "Sex")):
    book = openpyxl.Workbook()
    book.active.title = "LPC_means"
    book.active.append(["Sample", "LPC1", "Label"])
    page = book.create_sheet(sheet)
    page.append(header)
    for row in rows:
        page.append(row)
    book.save(path)
    return path


def test_ages_and_sexes_come_from_the_right_sheet_in_the_cohorts_order(tmp_path):
    frame = read_workbook(workbook(tmp_path / "d.xlsx", rows=[*reversed(ROWS), (None,) * 4]), SPEAKERS)
    assert frame.index.tolist() == ["HC-01", "HC-02", "PD-01"]
    assert frame["age"].tolist() == [40.0, 50.5, 70.0] and frame["sex"].tolist() == ["M", "F", "M"]


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (ROWS[:2], "PD-01 is missing"),
        ((*ROWS, ("AH_9", "HC", 40, "M")), "row 5: speaker 'AH_9' has no recording"),
        ((*ROWS, ROWS[0]), "row 5: HC-01 stands there twice, first in row 2"),
        ((("AH_1", "HC", "40", "M"), *ROWS[1:]), "row 2: HC-01: age '40' is not a number"),
        ((("AH_1", "HC", None, "M"), *ROWS[1:]), "row 2: HC-01: age None is not a number"),
        ((("AH_1", "HC", True, "M"), *ROWS[1:]), "row 2: HC-01: age True is not a number"),
        ((("AH_1", "HC", 400, "M"), *ROWS[1:]), "row 2: HC-01: age 400 is outside 0–120 years"),
        ((("AH_1", "HC", -4, "M"), *ROWS[1:]), "row 2: HC-01: age -4 is outside"),
        ((("AH_1", "HC", 40, "X"), *ROWS[1:]), "row 2: HC-01: sex 'X' is neither M nor F"),
        ((("AH_1", "ill", 40, "M"), *ROWS[1:]), "row 2: HC-01: label 'ill' is neither HC nor PwPD"),
        ((("AH_1", "PwPD", 40, "M"), *ROWS[1:]), "row 2: HC-01: label 'PwPD' is not that of its folder"),
        ((), "HC-01 is missing, HC-02 is missing, PD-01 is missing"),
    ],
)
def test_a_faulty_row_is_named_with_sheet_row_and_speaker(tmp_path, rows, match):
    with pytest.raises(DataError, match=f"d.xlsx, sheet Parselmouth: .*{match}"):
        read_workbook(workbook(tmp_path / "d.xlsx", rows=rows), SPEAKERS)


def test_all_faulty_rows_are_named_at_once(tmp_path):
    rows = (("AH_1", "HC", "old", "M"), ("AH_2", "HC", 50, "W"), ROWS[2])
    with pytest.raises(DataError, match=r"row 2: HC-01.*row 3: HC-02"):
        read_workbook(workbook(tmp_path / "d.xlsx", rows=rows), SPEAKERS)


def test_a_missing_sheet_column_or_workbook_is_named(tmp_path):
    with pytest.raises(DataError, match="d.xlsx has no sheet 'Parselmouth'") as caught:
        read_workbook(workbook(tmp_path / "d.xlsx", sheet="Sheet2"), SPEAKERS)
    assert "LPC_means, Sheet2" in caught.value.way_out
    with pytest.raises(DataError, match="no column 'Age'"):
        read_workbook(workbook(tmp_path / "d.xlsx", header=("Sample ID", "Label", "Years", "Sex")), SPEAKERS)
    with pytest.raises(DataError, match="e.xlsx does not exist"):
        read_workbook(tmp_path / "e.xlsx", SPEAKERS)
    (tmp_path / "f.xlsx").write_text("no workbook")
    with pytest.raises(DataError, match="f.xlsx cannot be read as a workbook"):
        read_workbook(tmp_path / "f.xlsx", SPEAKERS)


# ── the reader's own folder ────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def own(tmp_path):
    """A folder of two HC and two PD recordings, in three formats."""
    folder = tmp_path / "own"
    for index, (name, label) in enumerate(
        [("HC_mine/ann.wav", 0), ("HC_mine/bob.flac", 0), ("pd/cy.wav", 1), ("pd/dee.ogg", 1)]
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        saved(path, synthetic_voice(index, label).samples, 8000)
    return folder


def test_an_own_folder_becomes_a_cohort_without_ages(own):
    cohort = load_cohort(own)
    assert cohort.kind == "own" and cohort.names == ["HC-01", "HC-02", "PD-01", "PD-02"]
    assert cohort.labels.tolist() == [0, 0, 1, 1]
    assert cohort.table["age"].isna().all() and not cohort.table["validated"].any()
    assert "no workbook" in cohort.source and "2 HC, 2 PD" in cohort.source
    with pytest.raises(DataError, match="the age of HC-01 is not known, nor that of 3 more"):
        cohort.covariates("age")


def test_an_own_workbook_gives_the_ages(own):
    rows = (("ann", "HC", 40, "F"), ("bob", "HC", 50, "M"), ("cy", "PwPD", 60, "M"), ("dee", "PwPD", 70, "F"))
    workbook(own / "people.xlsx", rows=rows)
    cohort = load_cohort(str(own))
    assert cohort.covariates("sex", "age").to_numpy().tolist() == [[0, 40], [1, 50], [1, 60], [0, 70]]
    workbook(own / "people.xlsx", rows=(*rows[:3], ("dee", "PwPD", 71, "F")))
    assert load_cohort(own).fingerprint != cohort.fingerprint, "another age must be another cohort"
    workbook(own / "more.xlsx", rows=rows)
    with pytest.raises(DataError, match="2 workbooks: more.xlsx, people.xlsx"):
        load_cohort(own)


def test_a_folder_without_classes_or_with_one_is_named(own, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="in none no folder begins with HC"):
        load_cohort(tmp_path / "none")
    for path in (own / "pd").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="pd/ in own is empty"):
        load_cohort(own)
    (own / "pd").rmdir()
    with pytest.raises(DataError, match="in own no folder begins with PD"):
        load_cohort(own)
    (own / "PD_1").mkdir()
    (own / "PD_2").mkdir()
    with pytest.raises(DataError, match="2 folders begin with PD"):
        load_cohort(own)


def test_the_same_sound_twice_is_refused_even_in_another_format(own):
    samples, rate = soundfile.read(own / "HC_mine/ann.wav", dtype="int16")
    saved(own / "pd/again.flac", samples, rate)
    with pytest.raises(DataError, match="HC_mine/ann.wav and pd/again.flac hold the same sound"):
        load_cohort(own)


def test_two_files_of_one_name_are_refused(own):
    saved(own / "pd/ann.wav", synthetic_voice(99).samples)
    with pytest.raises(DataError, match="two recordings are called ann"):
        load_cohort(own)


def test_a_file_that_is_no_recording_is_not_passed_over(own):
    (own / "pd/.DS_Store").touch()
    load_cohort(own)
    (own / "pd/eve.m4a").write_bytes(b"x")
    with pytest.raises(DataError, match="pd/eve.m4a is not a recording"):
        load_cohort(own)


def test_a_bad_recording_in_an_own_folder_is_named_at_once(own):
    saved(own / "pd/short.wav", tone(0.2))
    with pytest.raises(RecordingError, match="short.wav is too short"):
        load_cohort(own)


def test_an_unknown_cohort_is_refused():
    with pytest.raises(ParameterError, match="cohort = 'reel'"):
        load_cohort("reel")


# ── what a cohort gives away, and what not ─────────────────────────────────────────────────────────────
def test_covariates_are_given_by_name_only(small_cohort):
    assert list(small_cohort.covariates("age").columns) == ["age"]
    frame = small_cohort.covariates("age", "sex")
    assert frame.index.tolist() == small_cohort.names and frame.dtypes.tolist() == [float, float]
    for wrong in ((), ("name",), ("age", "label"), ("recording",), ("duration_s",)):
        with pytest.raises(ParameterError):
            small_cohort.covariates(*wrong)


def test_a_signal_carries_no_name_label_or_age(small_cohort):
    assert set(vars(small_cohort.signal("HC-01"))) == {"samples", "sample_rate", "notes"}
    notes = {signal.notes for signal in small_cohort.signals().values()}
    assert len(notes) == 1, "a note that differs by class would give the class away"


def test_the_table_has_the_promised_columns(small_cohort):
    table = small_cohort.table
    assert table.columns.tolist() == ["recording", "label", "age", "sex", "duration_s", "validated"]
    assert table["label"].tolist() == ["HC"] * 6 + ["PD"] * 6 and not table["validated"].any()


def test_a_subset_keeps_order_and_refuses_strangers(small_cohort):
    names = ["PD-02", "HC-01"]
    part = small_cohort.subset(names)
    assert part.names == names and part.labels.tolist() == [1, 0] and "2 of 12" in part.source
    assert part.signal("HC-01") is small_cohort.signal("HC-01")
    assert part.fingerprint != small_cohort.fingerprint
    assert small_cohort.subset(small_cohort.names).fingerprint == small_cohort.fingerprint
    with pytest.raises(ParameterError, match="no recording 'HC-02'"):
        part.signal("HC-02")
    for wrong in ([], ["HC-01", "HC-01"], ["HC-99"]):
        with pytest.raises(ParameterError):
            small_cohort.subset(wrong)


def test_the_fingerprint_sees_names_labels_contents_and_ages(small_cohort):
    from dataclasses import replace

    first, *rest = small_cohort.recordings
    people = small_cohort.people.copy()
    people.loc["HC-01", "age"] += 1
    others = [
        replace(small_cohort, recordings=(replace(first, label=1), *rest)),
        replace(small_cohort, recordings=(replace(first, sha256="0"), *rest)),
        replace(small_cohort, recordings=(*rest, first)),
        replace(small_cohort, people=people),
    ]
    prints = {cohort.fingerprint for cohort in (small_cohort, *others)}
    assert len(prints) == 5 and all(len(one) == 64 for one in prints)


def test_two_recordings_of_one_name_cannot_make_a_cohort(small_cohort):
    from dataclasses import replace

    with pytest.raises(DataError, match="two recordings are called HC-01"):
        replace(small_cohort, recordings=small_cohort.recordings[:1] * 2)


def test_a_cohort_survives_pickling(small_cohort):
    again = pickle.loads(pickle.dumps(small_cohort))
    assert again.fingerprint == small_cohort.fingerprint
    np.testing.assert_array_equal(again.signal("PD-06").samples, small_cohort.signal("PD-06").samples)


def test_individuals_are_synthetic_unless_asked_for(small_cohort, own):
    real = load_cohort(own)
    assert individuals_cohort(real, "synthetic").kind == "synthetic"
    assert individuals_cohort(real, "real") is real
    assert individuals_cohort(real, "none") is None
    assert individuals_cohort(small_cohort, "synthetic") is small_cohort
    with pytest.raises(ParameterError, match="individuals = 'all'"):
        individuals_cohort(real, "all")


# ── auto ───────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def nothing_here(tmp_path, monkeypatch):
    """A machine without a local copy, and with a server that cannot be reached."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        monkeypatch.setattr(data, "BASE_URL", f"http://127.0.0.1:{sock.getsockname()[1]}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("PDLIB_DATA", raising=False)
    monkeypatch.setattr(paths, "RAW", tmp_path / "data/raw")
    return tmp_path


def test_auto_without_data_or_network_is_synthetic_and_says_so_loudly(nothing_here):
    with pytest.warns(UserWarning, match="SYNTHETIC: the published recordings could not be had"):
        cohort = load_cohort("auto", size=12, seed=3)
    assert cohort.kind == "synthetic" and len(cohort) == 12
    assert "no connection to the server" in cohort.source and "No number here" in cohort.source
    assert cohort.fingerprint == synthetic_cohort(12, 3).fingerprint
    assert str(nothing_here) not in cohort.source


def test_auto_on_a_disk_that_takes_nothing_says_why_without_naming_the_machine(nothing_here):
    (nothing_here / "data").write_text("a file where a folder is needed")
    with pytest.warns(UserWarning, match="cannot write data/raw"):
        cohort = load_cohort("auto", size=4)
    assert str(nothing_here) not in cohort.source


def test_real_without_data_or_network_is_an_error(nothing_here):
    with pytest.raises(PdlibError, match="could not be downloaded"):
        load_cohort("real")


def test_auto_with_a_wrong_pdlib_data_is_an_error_and_not_synthetic(nothing_here, monkeypatch):
    monkeypatch.setenv("PDLIB_DATA", str(nothing_here))
    with pytest.raises(DataError, match="PDLIB_DATA"):
        load_cohort("auto")


def test_auto_with_strange_files_in_data_raw_is_an_error_and_not_synthetic(nothing_here):
    (nothing_here / "data/raw/HC_AH").mkdir(parents=True)
    saved(nothing_here / "data/raw/HC_AH/mine.wav", tone())
    with pytest.raises(DataError, match="HC_AH/mine.wav"):
        load_cohort("auto")


@pytest.fixture
def small_publication(nothing_here, monkeypatch):
    """The published set in small: four voices and their workbook, with registry and archives to match."""
    folder = nothing_here / "published"
    names = {"HC_AH/AH_1.wav": 0, "HC_AH/AH_2.wav": 0, "PD_AH/AH_3.wav": 1, "PD_AH/AH_4.wav": 1}
    for index, (file, label) in enumerate(names.items()):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        saved(folder / file, synthetic_voice(index, label).samples, subtype="FLOAT")
    workbook(folder / data.WORKBOOK, rows=[*ROWS, ("AH_4", "PwPD", 65, "F")])
    files = [*names, data.WORKBOOK]
    contents = [(folder / file).read_bytes() for file in files]
    rows = [
        (name, file, len(content), hashlib.sha256(content).hexdigest(), "doi:none file 1", "CC BY 4.0")
        for name, file, content in zip(
            ["HC-01", "HC-02", "PD-01", "PD-02", "workbook"], files, contents, strict=True
        )
    ]
    pd.DataFrame(rows, columns=list(data.COLUMNS)).to_csv(nothing_here / "registry.csv", index=False)
    monkeypatch.setattr(paths, "REGISTRY", nothing_here / "registry.csv")
    held = {1: contents[4]}
    held[2] = zip_of({f: c for f, c in zip(files, contents, strict=True) if f.startswith("HC")})
    held[3] = zip_of({f: c for f, c in zip(files, contents, strict=True) if f.startswith("PD")})
    archives = [(1, data.WORKBOOK), (2, "HC_AH.zip"), (3, "PD_AH.zip")]
    monkeypatch.setattr(
        data, "ARCHIVES", [data.Archive(n, name, hashlib.md5(held[n]).hexdigest()) for n, name in archives]
    )
    return folder, held


def test_auto_downloads_verifies_and_then_stays_local(small_publication, monkeypatch):
    _, held = small_publication
    with serving(held) as server, warnings.catch_warnings():
        warnings.simplefilter("error")
        monkeypatch.setattr(data, "BASE_URL", server.url)
        first = load_cohort("auto")
        assert first.kind == "real" and "fetched from Figshare" in first.source and len(server.log) == 3
        assert first.table["validated"].all() and first.table["age"].tolist() == [40.0, 50.5, 70.0, 65.0]
        again = load_cohort("auto")
        assert "verified local copy" in again.source and len(server.log) == 3
        assert again.fingerprint == first.fingerprint


def test_pdlib_data_is_taken_before_anything_else(small_publication, monkeypatch):
    folder, _ = small_publication
    monkeypatch.setenv("PDLIB_DATA", str(folder))
    for which in ("auto", "real", str(folder)):
        cohort = load_cohort(which)
        assert cohort.kind == "real" and cohort.names == ["HC-01", "HC-02", "PD-01", "PD-02"]


def test_a_folder_of_the_published_set_with_a_wrong_file_is_no_own_cohort(small_publication):
    folder, _ = small_publication
    saved(folder / "HC_AH/AH_1.wav", tone())
    with pytest.raises(DataError, match=r"wrong content: HC-01"):
        load_cohort(folder)


# ── the 81 ─────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.real
def test_the_81_are_as_their_authors_describe_them(real_cohort):
    table = real_cohort.table
    assert table["label"].value_counts().to_dict() == {"HC": 41, "PD": 40}
    assert table["validated"].all() and table["duration_s"].between(1.5, 7.21).all()
    for signal in real_cohort.signals().values():
        assert signal.sample_rate == 8000 and np.abs(signal.samples).max() == 1.0
    short = table[table["duration_s"] < 3].groupby("label").size()
    assert short.to_dict() == {"HC": 21, "PD": 16}


@pytest.mark.real
def test_no_file_name_of_a_real_recording_shows_in_what_a_page_prints(real_cohort):
    shown = f"{real_cohort!r} {real_cohort.recordings!r} {real_cohort.source} {real_cohort.table.to_string()}"
    assert "AH_" not in shown and os.environ["PDLIB_DATA"] not in shown


@pytest.mark.real
def test_table_2_agrees_with_the_workbook_once_ages_are_rounded(real_cohort):
    table = table2(real_cohort)
    assert table["agrees"].all() and len(table) == 12
    assert table.groupby("label")["age"].mean().round(1).to_dict() == {"HC": 41.7, "PwPD": 71.5}
    assert table["recording"].tolist() == [f"HC-{i:02d}" for i in range(1, 7)] + [
        f"PD-{i:02d}" for i in range(2, 8)
    ]


def test_table_2_without_the_recordings_compares_nothing(small_cohort):
    table = table2(small_cohort)
    assert table["workbook_age"].isna().all() and table["agrees"].isna().all()
    assert list(zip(table["sample_id"], table["label"], table["age"], table["sex"], strict=True)) == list(
        TABLE_2
    )


def test_signal_is_what_it_was_given():
    assert Signal(np.ones(4), 8000).samples.dtype == np.float32
