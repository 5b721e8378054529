"""Which cell made what: anchors, links to the code, clean notebooks, and the index of the paper's figures."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from pdlib import figure_index
from pdlib.claims import read_claims
from pdlib.errors import PublishError
from pdlib.execute import INJECTED
from pdlib.figure_index import (
    PAPER_FIGURES,
    Staged,
    clean,
    index_page,
    link_cells,
    note_cells,
    place_figures,
    shown_by,
)
from pdlib.markup import CELL_LINKS, CELL_NAME, with_cell

SVG = (
    b'<?xml version="1.0"?>\n<svg xmlns:xlink="http://www.w3.org/1999/xlink" width="400pt" height="200pt" '
    b'viewBox="0 0 400 200" xmlns="http://www.w3.org/2000/svg" version="1.1"></svg>'
)


def matplotlib_svg():
    """What `markup.encode` makes of a figure."""
    from pdlib import figures
    from pdlib.markup import encode

    fig, ax = figures.subplots(1, 1, width=6.0, height=2.0)
    ax.plot([0, 1])
    return encode(fig, "svg", "line", watermark=False)


def png(width=1200, height=600):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)).save(
        buffer, "png"
    )
    return buffer.getvalue()


def figure(key, kind="svg+xml", data=SVG, number="05"):
    code = base64.b64encode(data).decode()
    html = (
        f'<figure class="pd-figure" id="pd-{number}-{key}"><img alt="a" src="data:image/{kind};base64,{code}">'
        f'<div class="pd-foot">{CELL_LINKS}<dl><dt>cell</dt><dd>{CELL_NAME}</dd></dl></div></figure>'
    )
    return new_output("display_data", data={"text/html": html, "text/plain": "a"})


def glued(key, text):
    mime = "application/papermill.record/text/plain"
    metadata = {"scrapbook": {"name": key, "mime_prefix": "application/papermill.record/"}}
    return new_output("display_data", data={mime: repr(text)}, metadata=metadata)


def cell(name, *outputs, source="1 + 1", **metadata):
    return new_code_cell(source, id=name, outputs=list(outputs), execution_count=1, metadata=metadata)


@pytest.fixture
def notebook():
    return new_notebook(
        cells=[
            new_markdown_cell("# 5. Spectra", id="ch05-01"),
            cell("ch05-02", source="seed: int = 0  # folds", tags=["parameters"]),
            cell("injected-parameters", source="seed = 3", tags=[INJECTED]),
            cell("ch05-03", figure("slopes"), glued("level", "−3.2\u00a0dB")),
            cell("ch05-04", glued("auc", "0.57 [0.44, 0.70]"), glued("says", "a < b & c\n\nsecond")),
            cell("ch05-05", figure("wide", "png", png())),
        ],
        metadata={
            "pdlib": {"needs": ["04"], "key": "k", "parts": {}},
            "kernelspec": {"name": "python3", "display_name": "Python 3"},
        },
    )


class Page(HTMLParser):
    """Ids, links and pictures of a piece of HTML; fails on tags that are not balanced."""

    def __init__(self, html):
        super().__init__()
        self.open, self.ids, self.links, self.pictures = [], [], [], []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if tag == "a" else []
        self.pictures += [given] if tag == "img" else []
        if tag not in ("img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


# ── cells ──────────────────────────────────────────────────────────────────────────────────────────────
def test_every_figure_number_and_sentence_gets_the_cell_that_made_it(notebook):
    made = link_cells(notebook, "05", "05_spectra")
    assert made == {
        "pd-05-slopes": "ch05-03", "pd-05-level": "ch05-03", "pd-05-auc": "ch05-04", "pd-05-says": "ch05-04",
        "pd-05-wide": "ch05-05",
    }  # fmt: skip
    nbformat.validate(notebook)
    ids = [c.id for c in notebook.cells]
    assert ids[2:] == [
        "injected-parameters", "at-ch05-03", "ch05-03", "at-ch05-04", "ch05-04", "at-ch05-05", "ch05-05",
    ]  # fmt: skip


def test_a_number_has_a_line_above_its_cell_that_holds_it_as_text(notebook):
    link_cells(notebook, "05", "05_spectra")
    above = next(c.source for c in notebook.cells if c.id == "at-ch05-04")
    assert Page(above).ids == ["cell-ch05-04", "pd-05-auc", "pd-05-says"]
    assert "<code>auc</code>: 0.57 [0.44, 0.70] <small>" in above
    assert "a &lt; b &amp; c" in above and "\n" not in above, "a blank line would end the block of HTML"


def test_a_figure_links_its_cell_and_the_clean_notebook_and_its_stamp_names_the_cell(notebook):
    link_cells(notebook, "05", "05_spectra")
    html = next(c for c in notebook.cells if c.id == "ch05-03").outputs[0].data["text/html"]
    assert Page(html).links == ["#cell-ch05-03", "../_static/notebooks/05_spectra.ipynb"]
    assert '<dd><span data-pd-cell="name">ch05-03</span></dd>' in html


def test_the_places_left_open_by_a_page_are_those_that_are_filled(tmp_path):
    from pdlib.figures import Page as Book
    from tests.test_figures import ALT, cohort, plot

    page = Book.open("05", cohort("real"), profile="smoke", seed=0, out=tmp_path)
    fig, data = plot()
    shown = page.figure(fig, "slopes", caption="Mean slope.", alt=ALT, data=data)
    filled = with_cell(shown.html, "ch05-09", "../_static/notebooks/05_x.ipynb")
    assert Page(filled).links == [
        "../_static/pages/05/slopes.csv", "#cell-ch05-09", "../_static/notebooks/05_x.ipynb",
    ]  # fmt: skip
    assert filled.count("ch05-09") == 3
    table = page.table(data, "numbers", caption="Numbers.")
    assert with_cell(table.html, "ch05-10", "n").count("ch05-10") == 3


def test_a_key_glued_again_in_a_later_cell_stands_once_with_the_later_value(notebook):
    notebook.cells.append(cell("ch05-06", glued("auc", "0.60")))
    made = link_cells(notebook, "05", "05_spectra")
    assert made["pd-05-auc"] == "ch05-06"
    text = "".join(c.source for c in notebook.cells if c.id.startswith("at-"))
    assert text.count('id="pd-05-auc"') == 1 and "0.60" in text and "0.57" not in text


def test_the_clean_notebook_is_the_source_again(notebook):
    source = clean(notebook)
    assert [c.id for c in source.cells] == ["ch05-01", "ch05-02", "ch05-03", "ch05-04", "ch05-05"]
    assert all(not c.get("outputs") and c.get("execution_count") is None for c in source.cells)
    assert dict(source.metadata.pdlib) == {"needs": ["04"]}
    nbformat.validate(source)
    assert notebook.cells[3].outputs and notebook.metadata.pdlib.key == "k", (
        "the executed copy is left as it was"
    )


def test_accounts_beside_the_page_name_the_cell(tmp_path, notebook):
    (tmp_path / "slopes.json").write_text(
        json.dumps({"chapter": "05", "key": "slopes", "stamp": {"seed": 0}})
    )
    (tmp_path / "numbers.json").write_text(json.dumps({"auc": {"value": 0.57}}))
    note_cells(tmp_path, "05", link_cells(notebook, "05", "05_spectra"))
    account = json.loads((tmp_path / "slopes.json").read_text())
    assert account == {"chapter": "05", "cell": "ch05-03", "key": "slopes", "stamp": {"seed": 0}}
    assert json.loads((tmp_path / "numbers.json").read_text()) == {"auc": {"value": 0.57, "cell": "ch05-04"}}


# ── the index ──────────────────────────────────────────────────────────────────────────────────────────
CLAIMS = """id,section,page,kind,printed,unit,chapter,key,tolerance,verdict,note
fig-3,3.2,13,figure,"log-mel, <harmonic>",,05,slopes,,differs,Ours lies lower.
fig-4,3.2,14,figure,harmonic part,,05,auc,,cannot be computed,No setting is printed.
fig-28,5.2,38,figure,Table 3 as bars,,15,figure-28,,not of this study,Drawn from numbers of others.
"""


def side_files(static):
    folder = static / "pages" / "05"
    folder.mkdir(parents=True)
    shown = {
        "slopes": ("figure", "Figures 3 and 5–6", "Mean slope. More words.", True),
        "wide": ("figure", None, "Eq. 3 drawn. A second sentence.", False),
        "table-2": ("table", "Table 2", "Two rows.", False),
        "auc": ("number", None, "number", False),
    }
    items = {}
    for key, (what, number, caption, synthetic) in shown.items():
        files = [] if what == "number" else [f"{key}.csv", f"{key}.json"]
        items[key] = {
            "what": what,
            "number": number,
            "caption": caption,
            "synthetic": synthetic,
            "files": files,
        }
        if files:
            (folder / f"{key}.json").write_text(json.dumps({"alt": f"The finding of {key}."}))
    (folder / "page.json").write_text(json.dumps({"items": items}))
    return folder


@pytest.fixture
def chapter(notebook):
    made = link_cells(notebook, "05", "05_spectra")
    return Staged("05", "05_spectra", "5. Spectra", notebook, made)


@pytest.fixture
def claims(tmp_path):
    (tmp_path / "claims.csv").write_text(CLAIMS, encoding="utf-8")
    return read_claims(tmp_path / "claims.csv")


@pytest.fixture
def page(tmp_path, chapter, claims):
    side_files(tmp_path / "static")
    return index_page(
        [chapter], {chapter.number: shown_by(chapter, tmp_path / "static")}, claims, "All figures"
    )


def row(page, number):
    return re.search(rf'<tr id="figure-{number}">.*?</tr>', page)[0]


def test_all_thirty_figures_stand_in_their_order(page):
    assert page.startswith("# All figures\n")
    assert (
        [int(n) for n in re.findall(r'<tr id="figure-(\d+)"', page)]
        == list(PAPER_FIGURES)
        == list(range(1, 31))
    )
    for block in page.split("\n\n"):
        if block.startswith("<"):
            Page(block)


def test_a_row_holds_page_words_picture_numbers_code_and_verdict(page):
    third = row(page, 3)
    assert "p.&nbsp;13" in third and "log-mel, &lt;harmonic&gt;" in third and "Ours lies lower." in third
    assert '<span class="pd-verdict" data-verdict="differs">differs</span>' in third
    parsed = Page(third)
    assert parsed.links == [
        "../notebooks/05_spectra.html#pd-05-slopes", "../notebooks/05_spectra.html#pd-05-slopes",
        "../_static/pages/05/slopes.csv", "../notebooks/05_spectra.html#cell-ch05-03",
        "../_static/notebooks/05_spectra.ipynb",
    ]  # fmt: skip
    assert parsed.pictures[0]["alt"] == "The finding of slopes." and parsed.pictures[0]["loading"] == "lazy"
    assert "SYNTHETIC" in third and "Mean slope." in third and "More words" not in third


def test_a_figure_that_answers_several_stands_in_each_of_their_rows(page):
    assert [n for n in PAPER_FIGURES if "pd-05-slopes" in row(page, n)] == [3, 5, 6]


def test_a_figure_without_ours_says_so_and_why_and_links_the_number_its_verdict_rests_on(page):
    assert "No figure of ours." in row(page, 28) and "Drawn from numbers of others." in row(page, 28)
    assert "No figure of ours." in row(page, 4)
    assert Page(row(page, 4)).links == ["../notebooks/05_spectra.html#pd-05-auc"]


def test_further_figures_stand_below_by_chapter_and_tables_do_not(page):
    below = page.partition("## Further figures")[2]
    assert "### 5. Spectra" in below and "pd-05-wide" in below
    assert "pd-05-slopes" not in below and "table-2" not in page
    assert "Eq. 3 drawn." in below and "second sentence" not in below


def test_small_pictures_are_files_not_data_and_small(tmp_path, page):
    assert "data:image" not in page
    folder = tmp_path / "static" / "pages" / "05"
    assert (folder / "slopes.svg").read_bytes() == SVG
    small = Image.open(folder / "wide-small.png")
    assert small.size == (figure_index.SMALL, figure_index.SMALL // 2)
    sizes = {picture["src"]: (picture["width"], picture["height"]) for picture in Page(page).pictures}
    assert set(sizes.values()) == {("480", "240")}, "the frame of a picture is kept free before it is loaded"


def test_a_picture_with_a_colour_that_stands_for_nothing_is_made_small_too(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(np.full((300, 600, 3), 200, np.uint8)).save(buffer, "png", transparency=(1, 2, 3))
    name, size = figure_index._small("png", buffer.getvalue(), tmp_path / "map")
    with Image.open(tmp_path / name) as small:
        assert small.size == size


def test_the_size_of_a_drawn_figure_is_read_from_its_own_svg(tmp_path, notebook):
    data = matplotlib_svg()
    notebook.cells[3].outputs[0] = figure("slopes", data=data)
    side_files(tmp_path)
    made = link_cells(notebook, "05", "05_spectra")
    (item, *_) = shown_by(Staged("05", "05_spectra", "5. Spectra", notebook, made), tmp_path)
    width, height = (
        float(re.search(rb"<svg[^>]*\b" + side + rb'="([\d.]+)pt"', data)[1])
        for side in (b"width", b"height")
    )
    assert width > 2 * height and item.size == (480, round(480 * height / width))


def test_without_a_ledger_or_side_files_the_page_still_stands_and_says_so(tmp_path, chapter):
    shown = {chapter.number: shown_by(chapter, tmp_path / "static")}
    page = index_page([chapter], shown, None, "All figures")
    assert "no ledger of claims" in page
    assert all("No figure of ours." in row(page, number) for number in PAPER_FIGURES)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("Figure 3", {3}),
        ("Figures 11 and 12", {11, 12}),
        ("Figures 15, 16 and 22–25", {15, 16, 22, 23, 24, 25}),
    ],
)
def test_numbers_of_figures_are_read_with_their_ranges(text, numbers):
    assert figure_index.numbers_in(text) == numbers


def test_a_page_gets_the_figure_it_names_and_a_name_that_is_not_shown_is_refused(tmp_path, chapter):
    side_files(tmp_path / "static")
    shown = {"05": shown_by(chapter, tmp_path / "static")}
    item = next(i for i in shown["05"] if i.picture)
    placed = place_figures(f"# Page\n\n<!-- figure 05 {item.key} -->\n\nText.", shown)
    assert f'src="../_static/{item.picture}"' in placed and f'href="{item.place}"' in placed
    assert placed.startswith("# Page") and placed.endswith("Text.")
    with pytest.raises(PublishError, match="'nothing' of chapter 05"):
        place_figures("<!-- figure 05 nothing -->", shown)
