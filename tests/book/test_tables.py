"""Columns that sort and rows that stack: ``book/_static/tables.js`` on a small page of its own."""

import pytest

from pdlib import paths
from tests.browser import DESK, PHONE, window

pytestmark = pytest.mark.browser

VALUES = {
    "model": ["b", "a", "Figure 10", "Figure 9", "c"],
    "change": ["−0.2", "0.1", "−1.5", "–", "3"],
    "AUC": ["0.57 [0.44, 0.70]", "0.9", "0.08 [0.01, 0.2]", "", "0.57 [0.1, 0.2]"],
    "share": ["9.5 %", "100.0 %", "11 %", "not defined", "< 1 %"],
    "p": ["2.1e-05", "0.5", "1", "1e-06", "0.01"],
    "n": ["1,200", "90", "1,000", "800", "81"],
    "page": ["3.3.2", "3.10", "3.3.1", "24", "5–6"],
}
LONG = "A reason that takes more room than a column of a table on a telephone can ever give to one text."


def table(columns, name, kind="pd-frame"):
    heads = "".join(f'<th scope="col">{head}</th>' for head in columns)
    rows = zip(*columns.values(), strict=True)
    lines = [
        "".join([f'<th scope="row">{first}</th>', *(f"<td>{c}</td>" for c in rest)]) for first, *rest in rows
    ]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<div class="pd-scroll"><table class="{kind}" id="{name}"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    merged = table(VALUES, "merged").replace("<td>", '<td colspan="1" rowspan="2">', 1)
    wordy = table({"claim": ["x", "y", "z"], "ours": ["", "1", "2"], "why": [LONG] * 3}, "wordy")
    short = table({"claim": ["x", "y"], "ours": ["2", "1"]}, "short")
    plain = table(VALUES, "plain", kind="docutils")
    page = "".join([table(VALUES, "values"), merged, wordy, short, plain])
    (folder / "page.html").write_text(
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><link rel="stylesheet" href="book.css">'
        f'<link rel="icon" href="data:,"><script src="tables.js"></script></head><body>{page}</body></html>',
        encoding="utf-8",
    )
    for name in ("book.css", "tables.js"):
        (folder / name).write_bytes((paths.BOOK / "_static" / name).read_bytes())
    with window(folder) as browser:
        yield browser


@pytest.fixture
def page(opened):
    page = opened.open("page", DESK)
    yield page
    page.close()


def column(page, name):
    number = list(VALUES).index(name) + 1
    return page.locator(f"#values tbody tr > :nth-child({number})").all_inner_texts()


def head(page, name):
    return page.locator("#values thead th").nth(list(VALUES).index(name))


@pytest.mark.parametrize(
    ("name", "up"),
    [
        ("change", ["−1.5", "−0.2", "0.1", "3", "–"]),
        ("AUC", ["0.08 [0.01, 0.2]", "0.57 [0.44, 0.70]", "0.57 [0.1, 0.2]", "0.9", ""]),
        ("share", ["< 1 %", "9.5 %", "11 %", "100.0 %", "not defined"]),
        ("p", ["1e-06", "2.1e-05", "0.01", "0.5", "1"]),
        ("n", ["81", "90", "800", "1,000", "1,200"]),
        ("model", ["a", "b", "c", "Figure 9", "Figure 10"]),
        ("page", ["3.3.1", "3.3.2", "3.10", "5–6", "24"]),
    ],
)
def test_a_column_sorts_by_its_values_and_not_by_their_letters(page, name, up):
    head(page, name).get_by_role("button").click()
    assert column(page, name) == up


def test_the_second_click_turns_the_order_round_with_empty_cells_last_and_the_third_restores_it(page):
    button = head(page, "change").get_by_role("button")
    seen = []
    for _ in range(3):
        button.click()
        seen.append((head(page, "change").get_attribute("aria-sort"), column(page, "change")))
    assert seen[1] == ("descending", ["3", "0.1", "−0.2", "−1.5", "–"])
    assert seen[2] == (None, VALUES["change"])


def test_rows_of_equal_value_keep_their_order_both_ways(page):
    button = head(page, "AUC").get_by_role("button")
    for _ in range(2):
        button.click()
        equal = [text for text in column(page, "AUC") if text.startswith("0.57")]
        assert equal == ["0.57 [0.44, 0.70]", "0.57 [0.1, 0.2]"]


def test_a_column_sorts_by_keyboard_and_only_one_column_says_that_it_is_sorted(page):
    head(page, "n").get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert head(page, "n").get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert [th.get_attribute("aria-sort") for th in page.locator("#values th[aria-sort]").all()] == [
        "ascending"
    ]
    assert head(page, "page").get_attribute("aria-sort") == "ascending"


def test_a_row_moves_as_a_whole(page):
    head(page, "n").get_by_role("button").click()
    rows = [tuple(row.locator("th, td").all_inner_texts()) for row in page.locator("#values tbody tr").all()]
    assert set(rows) == set(zip(*VALUES.values(), strict=True))


def test_tables_with_merged_cells_of_two_rows_or_of_another_kind_are_left_as_they_are(page):
    buttons = {
        name: page.locator(f"#{name} button").count() for name in ("values", "merged", "short", "plain")
    }
    assert buttons == {"values": len(VALUES), "merged": 0, "short": 0, "plain": 0}


def test_without_scripts_a_table_is_all_there(opened):
    page = opened.browser.new_context(java_script_enabled=False).new_page()
    page.goto(f"{opened.here}page.html")
    assert page.locator("#values button").count() == 0
    assert page.locator("#values tbody tr").count() == 5
    page.close()


def test_on_a_phone_long_texts_stand_below_each_other_under_their_columns_names(opened):
    page = opened.open("page", PHONE)
    cells = page.locator("#wordy tbody tr").first.locator("th, td")
    tops = [cell.bounding_box()["y"] for cell in cells.all() if cell.is_visible()]
    assert len(tops) == 2 and tops == sorted(set(tops)), "an empty cell takes no line, the others one each"
    said = page.locator("#wordy tbody td").last.evaluate("e => getComputedStyle(e, '::before').content")
    assert said == '"why: "'
    page.locator("#wordy thead button", has_text="ours").click()
    assert page.locator("#wordy tbody th").all_inner_texts() == ["y", "z", "x"]
    page.close()


def test_on_a_phone_the_names_of_the_rows_stay_in_view_while_the_values_scroll(opened):
    page = opened.open("page", PHONE)
    frame = page.locator(".pd-scroll").first
    before = page.locator("#values tbody th").first.bounding_box()["x"]
    frame.evaluate("e => (e.scrollLeft = 60)")
    assert frame.evaluate("e => e.scrollLeft") == 60
    assert page.locator("#values tbody th").first.bounding_box()["x"] == pytest.approx(before, abs=2)
    page.close()
