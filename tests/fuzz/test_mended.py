"""What the fuzzer has found, one plain test for each: none of it may come back."""

from __future__ import annotations

import json
import zipfile

import nbformat
import numpy as np
import openpyxl
import pytest

from pdlib import claims, data, figure_index, own_recordings, params, provenance, run
from pdlib.cohort import read_workbook
from pdlib.errors import DataError, FetchError, ParameterError, PublishError, RecordingError, UsageError
from pdlib.image_folder import read_image
from pdlib.recordings import read_signal
from tests.fuzz import targets
from tests.fuzz.targets import SPEAKERS, flac_of_silence, packed


def brief(value):
    """The start of a value: an input of megabytes makes no name of a test."""
    return ascii(value)[:30] if isinstance(value, str | bytes) else None


def written(folder, name, content):
    (folder / name).write_bytes(content)
    return folder / name


def test_a_flac_of_a_few_bytes_that_unfolds_to_gigabytes_is_refused(tmp_path):
    path = written(tmp_path, "voice.flac", flac_of_silence(1900, 8, 655350))
    assert path.stat().st_size < 100_000
    with pytest.raises(RecordingError, match="more than 64,000,000 samples"):
        read_signal(path)


@pytest.mark.parametrize(
    ("sheet", "said"),
    [
        (targets._sheet('<row r="99999999999"><c><v>1</v></c></row>'), "below row|cannot be read|no column"),
        (targets._sheet("<row/>" * 500_000), "too large"),
        (targets._sheet("", "<!DOCTYPE x [<!ENTITY a 'b'>]>"), "defines entities"),
        (targets._sheet('<row><c t="d"><v>never</v></c></row>'), "cannot be read as a workbook"),
        (targets._sheet('<row><c r="1A"><v>1</v></c></row>'), "cannot be read as a workbook"),
        (b"<", "cannot be read as a workbook"),
    ],
    ids=brief,
)
def test_a_workbook_with_a_sheet_that_cannot_be_is_refused(sheet, said, tmp_path):
    path = written(tmp_path, "people.xlsx", packed(targets._workbook() | {targets._SHEET: sheet}))
    with pytest.raises(DataError, match=said):
        read_workbook(path, SPEAKERS)


def test_a_workbook_that_unfolds_is_refused_before_it_is_read(tmp_path):
    parts = targets._workbook() | {"xl/sharedStrings.xml": b"<sst>" + b" " * 20_000_000 + b"</sst>"}
    with pytest.raises(DataError, match="unpacks to more than"):
        read_workbook(written(tmp_path, "people.xlsx", packed(parts)), SPEAKERS)


def test_an_age_past_any_float_is_refused(tmp_path):
    cells = '<c t="inlineStr"><is><t>AH_a</t></is></c><c t="inlineStr"><is><t>HC</t></is></c>'
    rows = targets._inline(*targets._ROWS[0]) + f"<row>{cells}<c><v>{'9' * 400}</v></c></row>"
    parts = targets._workbook() | {targets._SHEET: targets._sheet(rows)}
    with pytest.raises(DataError, match="outside 0–120 years"):
        read_workbook(written(tmp_path, "people.xlsx", packed(parts)), SPEAKERS)


@pytest.mark.parametrize("size", ["²", "9" * 30], ids=brief)
def test_a_size_of_the_registry_that_is_no_number_of_bytes_is_refused(size, tmp_path):
    text = targets._REGISTRY.decode().replace(",5,", f",{size},", 1)
    with pytest.raises(DataError, match="is not a registry row"):
        data.registry(written(tmp_path, "registry.csv", text.encode()))


@pytest.mark.parametrize("file", [".", "a\0.wav", "C:/a.wav", "HC_AH\\\\a.wav", "x" * 500], ids=brief)
def test_a_file_of_the_registry_that_is_no_plain_name_is_refused(file, tmp_path):
    text = targets._REGISTRY.decode().replace("HC_AH/a.wav", file)
    with pytest.raises(DataError):
        data.registry(written(tmp_path, "registry.csv", text.encode()))


@pytest.mark.parametrize(
    ("what", "said"), [("lzma", "otherwise than by deflate"), ("bz2", "otherwise than by deflate")], ids=brief
)
def test_an_archive_packed_otherwise_than_by_deflate_is_refused(what, said, tmp_path):
    targets._lay_archive(targets._strange_zip([("HC_AH/a.wav", what)]), tmp_path)
    with pytest.raises(FetchError, match=said):
        fetched(tmp_path)


def test_an_archive_with_a_nameless_member_ends_in_no_index_error(tmp_path):
    targets._lay_archive(targets._strange_zip([("", "plain"), ("HC_AH/a.wav", "plain")]), tmp_path)
    fetched(tmp_path)


def fetched(folder):
    entries = data.registry(written(folder, "registry.csv", targets._REGISTRY))
    archives = [data.Archive(1, "HC_AH.zip", ""), data.Archive(2, "PD_AH.zip", "")]
    return data.fetch(folder / "target", folder, progress=False, archives=archives, entries=entries)


@pytest.mark.parametrize(
    "text",
    ["!!timestamp x", "!!bool x", "!!binary x", "{[1]: 2}", "[" * 5000, "&a [*a]", "9" * 5000, "x" * 200_000],
    ids=brief,
)
def test_a_value_that_yaml_stumbles_over_is_refused(text):
    with pytest.raises(ParameterError, match="cannot be read"):
        params.parse_assignments([f"seed={text}"])


def test_a_profile_whose_aliases_stand_for_a_billion_values_is_refused(tmp_path):
    targets._book(targets._chapter(), tmp_path, targets._LAUGHS)
    with pytest.raises(UsageError, match="is not YAML"):
        params.load_profile("small", params.Project(tmp_path))


@pytest.mark.parametrize("content", [b"\xff", b"a: " + b"9" * 5000, b"minutes: {1: 1e999}"], ids=brief)
def test_a_profile_that_is_no_text_or_no_number_is_refused(content, tmp_path):
    targets._book(targets._chapter(), tmp_path, content)
    with pytest.raises(UsageError):
        params.load_profile("small", params.Project(tmp_path))


@pytest.mark.parametrize(
    "cell",
    [
        "\0",
        "x: int = {[]: 1}  # y",
        "x: int = 1" + "+1" * 5000 + "  # y",
        "x: int" + " | None" * 3000 + " = 1  # y",
        "x: Literal[()] = 1  # y",
        "x: Literal['\\ud800'] = 'a'  # y",
        "x: int = " + "-" * 5000 + "1  # y",
        "x: str = '\ud800'  # y",
    ],
    ids=brief,
)
def test_a_parameters_cell_that_python_stumbles_over_is_refused(cell):
    with pytest.raises(ParameterError):
        params.parse_parameters(cell, "01_one.ipynb")


def test_a_jpeg_of_thousands_of_scans_is_refused(tmp_path):
    with pytest.raises(DataError, match="more than 100 scans"):
        read_image(written(tmp_path, "a.jpg", targets.scans(64, 64, 200)), 48)


def test_a_png_that_unfolds_beyond_what_is_held_in_memory_is_refused(tmp_path):
    with pytest.raises(DataError, match="at most 40 megapixels"):
        read_image(written(tmp_path, "a.png", targets.png(7000, 7000, data=targets.zeros(1000))), 48)


def test_bands_change_nothing_of_a_picture(tmp_path, monkeypatch):
    contents = targets._pictures()[:10]
    whole = [read_image(written(tmp_path, f"{k}.png", c), 48) for k, c in enumerate(contents)]
    monkeypatch.setattr("pdlib.image_folder.BAND", 60)
    for k, one in enumerate(whole):
        np.testing.assert_array_equal(one, read_image(tmp_path / f"{k}.png", 48))


@pytest.mark.parametrize(
    "member",
    [
        b"no array",
        targets._array_file(shape="(1000000000000,)"),
        targets._array_file(raw=b"(" * 9000),
        targets._array_file("'|O'", "()", targets.PICKLE),
    ],
    ids=brief,
)
def test_a_damaged_entry_of_the_store_is_made_anew_and_explained_away(member, tmp_path):
    content, name = targets._stored()
    with zipfile.ZipFile(written(tmp_path, "whole.npz", content)) as file:
        parts = {inside: file.read(inside) for inside in file.namelist()}
    (tmp_path / "fold").mkdir()
    written(tmp_path / "fold", name, packed(parts | {"weights.npy": member}))
    store = provenance.Store(tmp_path)
    found = store.get("fold", {"seed": 1}, lambda: dict(targets._ARRAYS), ["errors"])
    assert store.computed == 1 and found["weights"].shape == (20, 30)
    written(tmp_path / "fold", name, b"")
    assert store.explain("fold", {"seed": 2}, ["errors"]) == ["what is stored is damaged"]


@pytest.mark.parametrize("value", ["nan", "inf", "1e999"], ids=brief)
def test_a_stored_value_that_is_not_finite_is_refused(value, tmp_path):
    text = targets._REPRODUCED.decode().replace("0.75", value)
    with pytest.raises(DataError, match="its value is not a number"):
        claims.read_reproduced(written(tmp_path, "reproduced.csv", text.encode()))


@pytest.mark.parametrize(
    "change",
    [
        {"parts": 1},
        {"parts": {}},
        {"cohort": None},
        {"cohort": {}},
        {"started": "once"},
        {"seconds": "long"},
        {"seconds": float("nan")},
        {"profile": "\ud800"},
    ],
    ids=brief,
)
def test_a_record_that_no_run_writes_counts_as_none(change, tmp_path):
    record = targets._executed()["01_one.ipynb"]["metadata"]["pdlib"]

    def copy(name, record):
        notebook = {"metadata": {"pdlib": record}}
        own = {**record, "content": run.content_of(notebook)}
        return written(tmp_path, name, json.dumps({"metadata": {"pdlib": own}}).encode())

    assert run.read_record(copy("a", record)).items() >= record.items()
    assert run.read_record(copy("b", record | change)) == {}


@pytest.mark.parametrize("key", ["../../canary", "/srv/x", "a/b", ".."], ids=brief)
def test_a_key_that_is_a_path_is_refused_before_anything_is_written(key, tmp_path):
    pages = tmp_path / "pages" / "01"
    pages.mkdir(parents=True)
    written(tmp_path, "canary.json", b"{}")
    item = targets._executed()["pages/01/page.json"]["items"]["plan"]
    written(pages, "page.json", json.dumps({"items": {key: item}}).encode())
    notebook = nbformat.from_dict(targets._executed()["01_one.ipynb"])
    notebook.cells[3].outputs[0].metadata["scrapbook"]["name"] = key
    assert not [anchor for anchor in figure_index.link_cells(notebook, "01", "01_one") if key in anchor]
    figure_index.note_cells(pages, "01", {f"pd-01-{key}": "c1"})
    with pytest.raises(PublishError, match="is not what a page writes"):
        figure_index.shown_by(figure_index.Staged("01", "01_one", "One", notebook, {}), tmp_path)
    assert (tmp_path / "canary.json").read_bytes() == b"{}"


def test_a_file_whose_name_begins_like_a_formula_stays_a_text_in_the_workbook(tmp_path):
    targets._lay_own(b'[["=1+1.wav", "b.wav"]]\x1efile,age,sex\n=1+1.wav,60,M\nb.wav,61,F\n', tmp_path)
    own_recordings.refresh(tmp_path)
    sheet = openpyxl.load_workbook(tmp_path / "speakers.xlsx").active
    assert (sheet["A2"].value, sheet["A2"].data_type) == ("=1+1", "s")


def test_a_file_whose_name_no_table_can_hold_is_named_and_not_written(tmp_path):
    targets._lay_own(b'[["\\u001b[2J.wav", "b.wav"]]\x1efile,age,sex\nb.wav,61,F\n', tmp_path)
    _, findings = own_recordings._files(tmp_path)
    assert [finding.what for finding in findings] == ["has a name that no table can hold"]


@pytest.mark.parametrize(
    ("name", "content"),
    [("page.json", b"1"), ("page.json", b'{"items": 1}'), ("numbers.json", b'{"a": {"value": 1, "high": 2}}'),
     ("numbers.json", b'{"a": {"value": "x", "low": null, "high": null}}'), ("numbers.json", b"[1]")],
    ids=brief,
)  # fmt: skip
def test_an_account_that_no_page_writes_is_refused_by_the_audit(name, content, tmp_path):
    targets._lay_executed(f"pages/01/{name}\x1e".encode() + content, tmp_path)
    with pytest.raises(DataError, match="an account that no page writes"):
        claims.measured(tmp_path / "_build" / "run" / "small-synthetic")


@pytest.mark.parametrize("text", ["Figures 1–99999999999", "Figure " + "9" * 5000], ids=brief)
def test_a_span_of_figures_without_end_fills_no_memory(text):
    assert len(figure_index.numbers_in(text)) <= 1000
    assert figure_index.numbers_in("Figures 15, 16 and 22–25") == {15, 16, 22, 23, 24, 25}
