"""Own recordings: everything missing or doubtful is named at once, and what is said of the chapters is what they do."""

import numpy as np
import openpyxl
import pytest
import soundfile

from pdlib import own_recordings as own
from pdlib.cohort import load_cohort
from pdlib.errors import DataError, UsageError
from pdlib.synthetic import synthetic_cohort

PEOPLE = {f"v{index}": (40 + index, "FM"[index % 2]) for index in range(12)}


@pytest.fixture(scope="module")
def voices():
    return [np.asarray(signal.samples) for signal in synthetic_cohort(12, 3).signals().values()]


@pytest.fixture
def folder(tmp_path, voices):
    """Six voices of each class, v0 … v11, without a table."""
    for index, samples in enumerate(voices):
        place = tmp_path / "mine" / ("HC_home" if index < 6 else "pd")
        place.mkdir(parents=True, exist_ok=True)
        soundfile.write(place / f"v{index}.wav", samples, 8000)
    return tmp_path / "mine"


def table(folder, people=PEOPLE, header="file,age,sex", end="\n"):
    rows = [header, *(",".join(map(str, (name, *rest))) for name, rest in people.items())]
    (folder / "speakers.csv").write_text(end.join(rows) + end, encoding="utf-8")


def stops(check):
    return [f"{finding.where}: {finding.what}" for finding in check.findings if finding.weight == "stops"]


def doubts(check):
    return [f"{finding.where}: {finding.what}" for finding in check.findings if finding.weight == "doubt"]


def runs(check):
    return {answer.chapter[:2]: answer.runs for answer in check.chapters}


def test_a_whole_folder_lets_every_chapter_run_and_its_ages_reach_the_cohort(folder):
    table(folder)
    check = own.check(folder)
    assert check.ok and stops(check) == [] and set(runs(check).values()) == {"yes"} and len(runs(check)) == 18
    people = load_cohort(folder).people
    assert people.loc["HC-01"].tolist() == [40.0, "F", False]
    assert people.loc["PD-01"].tolist() == [50.0, "F", False]  # v10 sorts before v6
    assert own.check(folder).wrote is None, "an unchanged table must not be written again"


@pytest.mark.parametrize("text", ["file;age;sex\n", "\ufeffFile\tAGE\tSex\r\n"])
def test_a_table_as_spreadsheets_save_it_is_read(folder, text):
    mark = ";" if ";" in text else "\t"
    rows = [mark.join((f"{name}.wav", f"{age},5", sex.lower())) for name, (age, sex) in PEOPLE.items()]
    (folder / "speakers.csv").write_text(text + "\n".join(rows), encoding="utf-8")
    assert own.check(folder).ok
    assert sorted(load_cohort(folder).people["age"]) == [age + 0.5 for age, _ in PEOPLE.values()]


def test_a_changed_table_is_never_served_stale_and_an_unfit_one_leaves_no_ages_behind(folder):
    table(folder)
    own.refresh(folder)
    table(folder, PEOPLE | {"v0": (99, "F")})
    own.refresh(folder)
    assert load_cohort(folder).people.loc["HC-01", "age"] == 99
    table(folder, PEOPLE | {"v0": ("old", "F")})
    with pytest.raises(DataError, match="line 2: age 'old' is no age"):
        own.refresh(folder)
    assert not (folder / "speakers.xlsx").exists()


def test_without_ages_the_chapters_that_compare_with_age_run_in_part(folder):
    check = own.check(folder)
    in_part = [number for number, answer in runs(check).items() if answer == "in part"]
    assert in_part == ["03", "09", "10", "11", "12", "13", "15", "17"]
    assert check.ok and any("ages and sexes are not known" in doubt for doubt in doubts(check))
    table(folder, {name: (age,) for name, (age, _) in PEOPLE.items()}, "file,age")
    check = own.check(folder)
    assert check.ok and any("gives no sex of anybody" in doubt for doubt in doubts(check))
    assert load_cohort(folder).people["age"].isna().all(), "ages alone are not used, and the check says so"


def test_everything_wrong_with_the_files_is_listed_at_once(folder, voices):
    soundfile.write(folder / "pd" / "short.wav", voices[0][:6400], 8000)
    soundfile.write(folder / "pd" / "silent.wav", np.zeros(16000), 8000)
    soundfile.write(folder / "pd" / "slow.wav", voices[0][:9000], 4000)
    soundfile.write(folder / "pd" / "again.flac", voices[0], 8000, subtype="PCM_16")
    soundfile.write(folder / "pd" / "v1.wav", voices[6][::-1], 8000)
    (folder / "HC_home" / "notes.txt").touch()
    (folder / "HC_other").mkdir()
    said = "\n".join(stops(own.check(folder)))
    assert "2 folders begin with HC" in said
    (folder / "HC_other").rmdir()
    check = own.check(folder)
    said = "\n".join(stops(check))
    for what in ("notes.txt: is not a recording", "short.wav: is too short", "silent.wav: is silent",
                 "slow.wav: is sampled at 4000 Hz", "are both called v1"):  # fmt: skip
        assert what in said
    assert any("almost the same sound" in doubt and "again.flac" in doubt for doubt in doubts(check))
    assert not check.ok and runs(check)["01"] == "yes" and runs(check)["03"] == "no"


def test_the_same_samples_under_two_names_stop_the_chapters(folder, voices):
    soundfile.write(folder / "pd" / "copy.wav", voices[0], 8000)
    assert any("v0.wav, pd/copy.wav: hold the same sound" in one for one in stops(own.check(folder)))


def test_too_little_voice_stops_only_chapters_that_cut_the_recordings(folder, voices):
    soundfile.write(folder / "pd" / "brief.wav", voices[0][800:10400], 8000)
    check = own.check(folder)
    assert len(stops(check)) == 1 and "1.20 s of voice" in stops(check)[0]
    assert [number for number, answer in runs(check).items() if answer != "no"] == ["01", "02", "03"]
    load_cohort(folder)  # such a folder is read, so it is the chapters that would fail


@pytest.mark.parametrize(
    ("people", "said"),
    [
        (PEOPLE | {"v3": (0, "M")}, "line 5: age '0' is no age"),
        (PEOPLE | {"v3": (41, "X")}, "line 5: sex 'X' is neither M nor F"),
        (PEOPLE | {"nobody": (41, "M")}, "line 14: 'nobody' has no recording"),
        (
            PEOPLE | {"HC_home/v0.wav": (41, "M")},
            "line 14: HC_home/v0.wav stands there twice, first in line 2",
        ),
        ({n: p for n, p in PEOPLE.items() if n != "v5"}, "has no line for HC_home/v5.wav"),
        (PEOPLE | {"v3": ("", "M")}, "gives no age of HC_home/v3.wav"),
    ],
)
def test_a_wrong_line_of_the_table_is_named_and_stops(folder, people, said):
    table(folder, people)
    check = own.check(folder)
    assert not check.ok and any(said in one for one in stops(check)), stops(check)


def test_a_speaker_with_two_recordings_is_refused(folder):
    table(
        folder,
        {n: (*p, "ann" if n in ("v2", "v8") else n) for n, p in PEOPLE.items()},
        "file,age,sex,speaker",
    )
    assert stops(own.check(folder)) == ["speakers.csv: speaker ann has 2 recordings: v2, v8"]


def test_a_workbook_of_the_readers_own_is_never_written_over(folder):
    table(folder)
    book = openpyxl.Workbook()
    book.save(folder / "speakers.xlsx")
    before = (folder / "speakers.xlsx").read_bytes()
    check = own.check(folder)
    assert any("stands beside speakers.xlsx" in one for one in stops(check))
    assert (folder / "speakers.xlsx").read_bytes() == before
    (folder / "speakers.csv").unlink()
    assert any("no sheet 'Parselmouth'" in one for one in stops(own.check(folder)))


def test_fewer_speakers_than_folds_stop_the_chapters_that_validate_models(folder):
    for index in (2, 3, 4, 5):
        (folder / "HC_home" / f"v{index}.wav").unlink()
    check = own.check(folder)
    assert not check.ok
    assert [n for n, answer in runs(check).items() if answer == "no"] == [
        "07", "08", "09", "10", "11", "12", "13", "14", "15", "16", "17", "18",
    ]  # fmt: skip
    assert "5 folds need 5 speakers of each class; the smaller has 2" in check.chapters[9].why
    assert check.chapters[17].why == "needs chapter 07 and others, which would not run"


def test_what_tells_the_classes_apart_besides_the_voice_is_a_doubt(folder, voices):
    table(folder, {name: (20 if int(name[1:]) < 6 else 70, "F") for name in PEOPLE})
    for index in range(6):
        (folder / "pd" / f"v{index + 6}.wav").unlink()
        soundfile.write(folder / "pd" / f"v{index + 6}.wav", np.repeat(voices[index + 6], 2), 16000)
    said = "\n".join(doubts(own.check(folder)))
    for what in (
        "rate goes with the class: 16000 Hz: 0% of HC, 100% of PD",
        "age alone tells",
        "everybody is F",
    ):
        assert what in said


def test_no_folder_and_no_profile_are_refused(folder, tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        own.check(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="there is no profile"):
        own.check(folder, profile="quik")
