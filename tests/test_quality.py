"""Checks before any model: what is refused, what is flagged, and what passes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr

from pdlib import quality
from pdlib.baselines import acoustic_table
from pdlib.errors import RecordingError, UsageError
from pdlib.quality import FINE, FLAGGED, LIMITS, REFUSED, Limit, check, look_over, oddest, unlike
from pdlib.recordings import RATE
from tests import sounds


@pytest.fixture(scope="module")
def known(small_cohort, tmp_path_factory):
    from pdlib.provenance import Store

    return acoustic_table(small_cohort, store=Store(tmp_path_factory.mktemp("results")))


@pytest.fixture
def look(small_cohort, known, tmp_path):
    def at(samples, rate=RATE, name="own.wav", **options):
        path = tmp_path / name
        soundfile.write(path, samples, rate, **options)
        return look_over(str(path), small_cohort, known)

    return at


def refused(found):
    return {each.name for each in found.refused}


def flagged(found):
    return {each.name for each in found.flagged}


# ── one limit ──────────────────────────────────────────────────────────────────────────────────────────
LIMIT = Limit("it", "dB", ".1f", "why", "too low", "too high", 0.0, 10.0, 2.0, 8.0, like_cohort=True)


@pytest.mark.parametrize(
    ("value", "verdict", "words"),
    [
        (-0.1, REFUSED, "too low"), (0.0, FLAGGED, "too low"), (2.0, FLAGGED, "below every other"),
        (4.0, FINE, "it: 4.0 db"), (6.0, FINE, ""), (6.1, FLAGGED, "above every other"),
        (8.1, FLAGGED, "too high"), (10.0, FLAGGED, "too high"), (10.1, REFUSED, "too high"),
        (np.nan, REFUSED, "too low"),
    ],
)  # fmt: skip
def test_a_value_on_a_limit_is_taken_and_one_beyond_it_is_not(value, verdict, words):
    found = check("any", value, pd.Series([3.0, 5.0, 6.0]), LIMIT)
    assert found.verdict == verdict
    assert words in found.said.lower()
    assert found.cohort == "3.0 to 6.0 dB"


def test_every_limit_has_a_reason_and_words_for_each_side_it_refuses_or_flags():
    for name, limit in LIMITS.items():
        assert len(limit.why) > 40, name
        assert limit.low or (limit.refuse_below is None and limit.flag_below is None), name
        assert limit.high or (limit.refuse_above is None and limit.flag_above is None), name


def test_measures_are_unlike_only_beyond_all_others():
    others = pd.DataFrame({"a": [1.0, 2.0], "energy below 100 Hz": [-40.0, -30.0], "length": [1.0, 2.0]})
    own = pd.Series({"a": 2.1, "energy below 100 Hz": -30.0, "length": 9.0})
    assert unlike(own, others) == ["a"]


def test_the_oddest_recording_is_the_one_beyond_the_rest_in_most_measures():
    table = pd.DataFrame({"a": [1, 2, 3, 9], "b": [1, 2, 3, 9], "c": [1, 2, 3, 2]}, index=list("wxyz"))
    # w is lowest in all three, x in none, y highest in c, z highest in a and b
    assert oddest(table) == (3, 3)


# ── sounds that are no voice, and spoilt voices ────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("samples", "reasons"),
    [
        (np.zeros(3 * RATE), {"level"}),
        (1e-5 * sounds.noise(), {"level"}),
        (sounds.noise(), {"voiced share"}),
        (sounds.sine(), {"harmonics to noise", "change of sound"}),
        (sounds.sine(50), {"voiced share"}),
        (sounds.sawtooth(), {"harmonics to noise", "change of sound"}),
        (sounds.chord(), {"voiced share"}),
        (sounds.melody(), {"change of sound"}),
        (sounds.speech(1), {"voiced share", "change of sound"}),
        (sounds.speech(2), {"change of sound"}),
        (sounds.with_noise(sounds.vowel(), 2), {"harmonics to noise"}),
        (sounds.overdriven(sounds.vowel()), {"clipping"}),
        (0.5 * sounds.overdriven(sounds.vowel()), {"clipping"}),
        (sounds.vowel()[:4000], {"length"}),
        (sounds.vowel()[: int(1.25 * RATE)], {"steady voice"}),
    ],
    ids=[
        "zeros", "next to nothing", "white noise", "sine", "hum", "sawtooth", "chord", "melody", "speech",
        "more speech", "noisy vowel", "clipped", "clipped and turned down", "half a second", "too short a vowel",
    ],
)  # fmt: skip
def test_what_is_no_sustained_vowel_is_refused_for_the_right_reason(look, samples, reasons):
    assert reasons <= refused(look(samples, subtype="FLOAT"))


def test_a_rate_below_8_khz_is_refused_and_said(look):
    found = look(sounds.vowel()[::2], 4000)
    assert refused(found) == {"sample rate"} and found.case is None
    assert "formants" in found.refused[0].said
    assert "4000 Hz" in found.notes[0]


def test_a_recording_of_eleven_minutes_is_refused_without_reading_it(look, monkeypatch):
    monkeypatch.setattr(quality.soundfile, "read", lambda *_, **__: pytest.fail("it was read"))
    assert refused(look(np.zeros(660 * RATE, dtype=np.float32))) == {"length"}


def test_channels_that_cancel_are_refused_and_two_alike_are_flagged(look):
    voice = 0.9 * sounds.vowel()
    assert refused(look(np.column_stack([voice, -voice]))) == {"level left by averaging"}
    found = look(np.column_stack([voice, voice]))
    assert "channels" in flagged(found) and not refused(found)


def test_a_quiet_recording_is_flagged_and_judged_all_the_same(look):
    found = look(0.01 * sounds.vowel(), subtype="FLOAT")
    assert "level" in flagged(found) and not refused(found)


@pytest.mark.parametrize(
    ("name", "rate"), [("a.flac", 48000), ("a.mp3", 44100), ("a.ogg", 44100), ("a.wav", 16000)]
)
def test_a_voice_in_another_format_and_rate_is_not_refused(look, name, rate):
    found = look(soxr.resample(0.9 * sounds.vowel(3), RATE, rate), rate, name)
    assert not refused(found)
    assert any("Resampled" in note for note in found.notes)


def test_no_recording_of_the_cohort_is_refused_among_its_others(small_cohort, known):
    found = {name: look_over(name, small_cohort, known) for name in small_cohort.names}
    assert {name: refused(each) for name, each in found.items() if each.refused} == {}
    assert all(each.case.member == name for name, each in found.items())


# ── files that cannot be read ──────────────────────────────────────────────────────────────────────────
def test_broken_files_end_in_one_sentence_and_not_in_a_page(small_cohort, known, tmp_path):
    whole = tmp_path / "whole.wav"
    soundfile.write(whole, sounds.vowel(), RATE)
    made = {"text": b"this is no sound\n" * 50, "empty": b"", "cut off": whole.read_bytes()[:20000]}
    for name, content in made.items():
        path = tmp_path / f"{name}.wav"
        path.write_bytes(content)
        with pytest.raises(RecordingError, match=rf"^{name}.wav "):
            look_over(str(path), small_cohort, known)
    spoilt = sounds.vowel()
    spoilt[100] = np.nan
    soundfile.write(tmp_path / "nan.wav", spoilt, RATE, subtype="FLOAT")
    with pytest.raises(RecordingError, match="NaN"):
        look_over(str(tmp_path / "nan.wav"), small_cohort, known)


def test_a_missing_file_and_a_folder_are_wrong_use_and_no_path_is_said(small_cohort, known, tmp_path):
    for name, said in (("gone.wav", "no file gone.wav"), (".", "is a folder")):
        with pytest.raises(UsageError, match=said) as error:
            look_over(str(tmp_path / name), small_cohort, known)
        assert error.value.exit_code == 2
        assert str(tmp_path.parent) not in str(error.value)


# ── the published recordings ───────────────────────────────────────────────────────────────────────────
@pytest.mark.real
def test_no_published_recording_is_refused_among_the_others(real_cohort):
    known = acoustic_table(real_cohort)
    table = quality.of_cohort(real_cohort, known)
    most, _ = oddest(table)
    for name in real_cohort.names:
        others = table.drop(index=name)
        measured = [each for each in LIMITS if each in table.columns]
        verdicts = {each: check(each, table.loc[name, each], others[each]).verdict for each in measured}
        assert REFUSED not in verdicts.values(), (name, verdicts)
        assert len(unlike(table.loc[name], others)) <= most
