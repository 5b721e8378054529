"""Pages of measurements: every number from the recorded files, nothing typed, nothing hidden, nothing left over."""

import json
import re

import pytest

from pdlib import measured, paths
from pdlib.errors import PublishError
from pdlib.markup import check_alt
from tests.bench.__main__ import content, parts
from tests.bench.record import record
from tests.bench.timing import Part, Row

PAGES = ("bench", "robustness")
GROWN = [
    {"recordings": 100, "seconds": 2.0, "peak MiB": 300},
    {"recordings": 1000, "seconds": 20.5, "peak MiB": 310.0},
    {"recordings": 10000, "seconds": 210.0, "peak MiB": 312.5},
]


@pytest.fixture
def data(tmp_path):
    """A folder with one recorded part of the bench, a curve, and one harness."""
    rows = [
        Row("L-mHP", "plain loop", "ms per recording", 50.0, 48.0, 61.0, 50.0, 1.0, 1.0, 1.0),
        Row(
            "L-mHP",
            "ours <fast>",
            "ms per recording",
            8.123,
            8.0,
            9.0,
            15.5,
            6.155,
            5.91,
            7.0,
            "equal to 1e-10",
        ),
        Row("Praat", "ours", "ms per recording", 1234.5, 1200, 1300, 1234.5),
    ]
    part = Part("Features", rows, {"largest rate": 0.00012, "rounds": 7}, ["Captum, for it is not installed"])
    record("bench.json", "features", content(part), tmp_path)
    grown = {
        "title": "Growth",
        "rows": [],
        "facts": {"days for a million": 0.25},
        "tables": {"Cohorts": GROWN},
    }
    record("bench.json", "growth", grown, tmp_path)
    tried = {"title": "Faults", "rows": [{"fault": "SIGKILL", "tried": 50, "lost": 0}], "facts": {"lost": 0}}
    record("robustness.json", "faults", tried, tmp_path)
    return tmp_path


def page(text, data):
    return measured.filled(text, measured.read(data), data / "pictures")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "–"), ("", "–"), (True, "yes"), (False, "no"), (0, "0"), (0.0, "0"), (7, "7"), (1234, "1234"),
        (12345, "12\u202f345"), (8.123, "8.12"), (8.0, "8"), (100.4, "100"), (99.96, "100"), (1234.5, "1234"),
        (0.00012, "1.2e-04"), (0.0123, "0.0123"), (0.5, "0.5"), (-3.14159, "-3.14"), ("words", "words"),
        ([1, 2.5], "1, 2.5"), (1e6, "1\u202f000\u202f000"),
    ],
)  # fmt: skip
def test_numbers_show_three_digits_that_count(value, said):
    assert measured.short(value) == said


def test_a_ratio_has_its_range_and_the_reference_is_called_so():
    assert measured.ratio({"ratio": 6.155, "ratio_low": 5.91, "ratio_high": 7.0}) == "6.16 (5.91 to 7)"
    assert measured.ratio({"ratio": 1.0, "ratio_low": 1.0, "ratio_high": 1.0}) == "1, the reference"
    assert measured.ratio({"ratio": 1.0, "ratio_low": 0.9, "ratio_high": 1.1}) == "1 (0.9 to 1.1)"
    assert measured.ratio({"ratio": None}) == "–"


def cells(html):
    return [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", html)]


def test_a_part_shows_every_row_note_fact_and_what_was_left_out(data):
    said = page("<!-- bench features -->", data)
    shown = cells(said)
    for words in ("plain loop", "ours &lt;fast&gt;", "8.12 ms per recording", "8 to 9", "15.5", "6.16 (5.91 to 7)",
                  "1, the reference", "equal to 1e-10", "1.2e-04"):  # fmt: skip
        assert words in shown, words
    assert "Left out:\n\n- Captum, for it is not installed" in said
    assert re.search(r"Recorded on \d{4}-\d\d-\d\d\.", said)
    assert "<fast>" not in said and "None" not in said


def test_rows_that_are_no_times_are_shown_as_they_are(data):
    assert cells(page("<!-- robustness faults -->", data))[:6] == [
        "fault",
        "tried",
        "lost",
        "SIGKILL",
        "50",
        "0",
    ]


def test_what_is_not_recorded_yet_says_so_with_the_command_that_records_it(tmp_path):
    said = page("a\n\n<!-- bench features -->\n\nb <!-- bench features: rounds --> c", tmp_path)
    assert said == (
        "a\n\n*Not recorded yet:* `python -m pdlib bench features --record` measures it.\n\nb (not recorded yet) c"
    )
    assert "python -m tests.fuzz --record" in page("<!-- robustness fuzz -->", tmp_path)
    assert page("<!-- bench machine -->", tmp_path) == "*Nothing is recorded yet.*"


def test_a_fact_stands_in_a_sentence_and_a_wrong_name_is_refused_with_those_there_are(data):
    assert page("It took <!-- bench growth: days for a million --> days.", data) == "It took 0.25 days."
    with pytest.raises(PublishError, match="which has days for a million"):
        page("<!-- bench growth: hours -->", data)


def test_others_are_the_sections_no_line_names(data):
    said = page("<!-- bench features -->\n\n<!-- bench others -->", data)
    assert said.count("## Growth") == 1 and "## Features" not in said
    assert page("<!-- robustness faults -->\n\n<!-- robustness others -->", data).endswith("\n\n")


def test_growth_is_drawn_told_in_words_and_tabled_and_drawn_the_same_again(data):
    said = page("<!-- bench growth -->", data)
    (alt,) = re.findall(r'alt="([^"]+)"', said)
    check_alt(alt, "growth", "Cohorts", ["recordings", "seconds", "peak MiB", "measured", "in proportion"])
    assert "seconds go from 2 to 210, 105 times; peak MiB from 300 to 312" in alt
    assert "From 100 to 10\u202f000 recordings, 100 times as many" in alt
    (name,) = re.findall(r'src="\.\./_static/measured/([^"]+\.svg)"', said)
    drawn = (data / "pictures" / name).read_bytes()
    assert drawn.lstrip().startswith(b"<?xml") and len(drawn) < 100_000
    assert all(text in cells(said) for text in ("210", "312", "10\u202f000"))
    page("<!-- bench growth -->", data)
    assert (data / "pictures" / name).read_bytes() == drawn


def test_processor_seconds_are_drawn_before_those_of_the_clock(data):
    known = measured.read(data)
    known["bench"]["growth"]["tables"] = {
        "Cohorts": [row | {"processor seconds": row["recordings"] / 50} for row in GROWN]
    }
    said = measured.filled("<!-- bench growth -->", known, data / "pictures")
    assert "processor seconds go from 2 to 200, 100 times" in said


def test_tables_without_recordings_or_with_two_points_are_not_drawn(data):
    for curve in (GROWN[:2], [{"fault": 1, "seconds": 2}] * 4, [{"recordings": 0, "seconds": 1}] * 4):
        known = measured.read(data)
        known["bench"]["growth"]["tables"] = {"Cohorts": curve}
        assert "<img" not in measured.filled("<!-- bench growth -->", known, data / "pictures")


def test_a_fact_in_which_machines_differ_names_the_sections_of_each_value(data):
    assert "(features" not in page("<!-- bench machine -->", data)
    file = data / "bench.json"
    known = json.loads(file.read_text())
    cores = known["features"]["machine"]["cores"]
    known["growth"]["machine"]["cores"] = 64
    file.write_text(json.dumps(known))
    assert f"{cores} (features); 64 (growth)" in cells(page("<!-- bench machine -->", data))


def test_a_long_table_is_folded_under_its_caption_and_keeps_every_row(data):
    rows = [{"fault": f"number {number}", "tried": number} for number in range(13)]
    shown, folded = measured.table(rows[:12], "Faults"), measured.table(rows, "Faults", folded=True)
    assert "<details" not in shown and "<caption" in shown
    assert folded.startswith('<details class="pd-fold"><summary') and "Faults, 13 rows</summary>" in folded
    assert cells(folded)[2::2] == [row["fault"] for row in rows]
    record("robustness.json", "faults", {"title": "Faults", "rows": rows}, data)
    assert folded in page("<!-- robustness faults -->", data)


def test_the_books_code_stands_beside_its_reference_before_the_table_of_all_ways(data):
    file = data / "bench.json"
    known = json.loads(file.read_text())
    known["features"]["rows"][1]["name"] = "pdlib, 2 threads"
    file.write_text(json.dumps(known))
    shown = cells(page("<!-- bench features -->", data))
    assert shown[:6] == [
        "what", "takes", "times as fast as",
        "L-mHP, 2 threads", "8.12 ms per recording", "6.16 (5.91 to 7) plain loop",
    ]  # fmt: skip
    assert shown.count("L-mHP") == 2


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"a": {}}', '{"a": {"title": "t", "rows": [1], "date": "", "machine": {}}}']
)
def test_a_damaged_file_is_refused_by_name(tmp_path, text):
    (tmp_path / "bench.json").write_text(text)
    with pytest.raises(PublishError, match="bench.json"):
        measured.read(tmp_path)


def test_fill_writes_only_pages_that_ask(data, tmp_path):
    book = tmp_path / "book"
    book.mkdir()
    (book / "a.md").write_text("<!-- robustness faults: lost --> lost")
    (book / "b.md").write_text("<!-- modules: data -->")
    before = (book / "b.md").stat().st_mtime_ns
    measured.fill(book, data)
    assert (book / "a.md").read_text() == "0 lost"
    assert (book / "b.md").stat().st_mtime_ns == before


@pytest.mark.parametrize("name", PAGES)
def test_the_books_pages_leave_no_comment_and_hold_every_recorded_section(name, tmp_path):
    text = (paths.BOOK / f"{name}.md").read_text(encoding="utf-8")
    found = measured.read(paths.DATA)
    filled = measured.filled(text, found, tmp_path)
    assert f"<!-- {name} others -->" in text and "<!--" not in filled
    for known in found[name].values():
        assert str(known["date"]) in filled


def test_every_part_of_the_bench_has_its_place_on_the_page():
    text = (paths.BOOK / "bench.md").read_text(encoding="utf-8")
    assert [part for part in parts() if f"\n<!-- bench {part} -->\n" not in text] == []


@pytest.mark.parametrize("name", PAGES)
def test_no_measured_number_is_typed_into_the_pages(name):
    text = (paths.BOOK / f"{name}.md").read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```|<!--.*?-->", "", text, flags=re.DOTALL)
    assert re.findall(r"\d+\.\d+|\d+ ?(?:%|ms|s\b|MiB|GiB|times)", prose) == []


@pytest.mark.parametrize("page", PAGES)
def test_what_is_recorded_stands_where_its_page_tells_of_it(page):
    recorded = json.loads((paths.DATA / f"{page}.json").read_text(encoding="utf-8"))
    text = (paths.BOOK / f"{page}.md").read_text(encoding="utf-8")
    assert set(recorded) <= set(re.findall(rf"^<!-- {page} ([\w-]+) -->$", text, re.MULTILINE))
