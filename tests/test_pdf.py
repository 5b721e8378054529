"""The PDF of the book: pages in order with their numbers, links that stay inside, equations set before printing."""

import io
import re
import shutil

import pytest
from pypdf import PdfReader
from rich.console import Console

from pdlib import __main__ as cli
from pdlib import paths
from pdlib import pdf as printing
from pdlib.errors import PublishError
from pdlib.params import Project
from tests.browser import chromium_or_skip
from tests.tinysite import write_site

LATER = """<script>
let set;
window.MathJax = {startup: {promise: new Promise(done => set = done)}};
addEventListener("load", () => setTimeout(() => {
  document.querySelector(".math").innerHTML = "<mjx-container>E = mc²</mjx-container>";
  set();
}, 700));
</script>"""
NEVER = "<script>window.MathJax = {startup: {promise: Promise.resolve()}};</script>"
EQUATION = '<article><h1>2. The second</h1><p><span class="math">\\(E = mc^2\\)</span></p></article>'


@pytest.fixture(scope="module")
def browser():
    chromium_or_skip()


def printed(project):
    console = Console(file=io.StringIO())
    return PdfReader(printing.book_pdf(project, console=console))


@pytest.fixture(scope="module")
def book(browser, tmp_path_factory):
    return printed(write_site(tmp_path_factory.mktemp("print") / "book"))


def texts(reader):
    return [" ".join(one.extract_text().split()) for one in reader.pages]


def links(reader):
    """Per page what its links lead to: numbers of pages, or addresses."""
    at = {one.indirect_reference.idnum: number for number, one in enumerate(reader.pages)}
    found = []
    for one in reader.pages:
        notes = [note.get_object() for note in one.get("/Annots", ())]
        found.append([at[n["/Dest"][0].idnum] if "/Dest" in n else n["/A"]["/URI"] for n in notes])
    return found


@pytest.mark.browser
def test_every_page_stands_in_the_order_of_the_contents_and_on_a4(book):
    text = texts(book)
    places = [
        next(i for i, one in enumerate(text) if what in one) for what in ("Hello.", "The goal.", "The end.")
    ]
    assert places == sorted(places) and places[0] == 2, "a cover and the contents come first"
    for one in book.pages:
        assert (one.mediabox.width, one.mediabox.height) == pytest.approx((595.3, 841.9), abs=1)


@pytest.mark.browser
def test_the_foot_of_every_page_says_synthetic_and_numbers_run_through(book):
    feet = texts(book)[2:]
    assert all("SYNTHETIC DATA. Profile: smoke." in foot and "A tiny book" in foot for foot in feet)
    for number, foot in enumerate(feet, 1):
        assert re.match(rf"{number}(?!\d)", foot)
    assert book.page_labels[:3] == ["i", "ii", "1"]
    assert "SYNTHETIC DATA" in texts(book)[0]


@pytest.mark.browser
def test_bookmarks_name_parts_pages_and_sections(book):
    (intro, part, pages) = book.outline
    assert (intro.title, part.title) == ("Intro", "Chapters")
    assert [one.title for one in pages if not isinstance(one, list)] == ["1. The first", "2. The second"]
    assert [one.title for one in pages[1]] == ["Far down"]
    assert book.get_destination_page_number(intro) == 2


@pytest.mark.browser
def test_links_lead_to_places_in_the_file_and_none_to_the_server_that_is_gone(book):
    text, every = texts(book), links(book)
    flat = [target for one in every for target in one]
    assert [target for target in flat if isinstance(target, str)] == ["https://a.example/"]
    end = next(i for i, one in enumerate(text) if "The end." in one)
    two = next(i for i, one in enumerate(text) if "2. The second Short." in one)
    goal = next(i for i, one in enumerate(text) if "The goal." in one)
    assert end > two, "the anchor lies on a later page than the start of its chapter"
    (foot,) = [one for one in every if "https://a.example/" in one]
    assert [target for target in foot if not isinstance(target, str)] == [end, two, goal]
    assert every[1] == [2, next(i for i, one in enumerate(text) if "1. The first" in one and i > 1), two]


@pytest.mark.browser
def test_the_file_tells_its_title_and_what_run_it_shows(book):
    assert book.metadata.title == "A tiny book"
    assert book.metadata["/Subject"] == "SYNTHETIC DATA. Profile: smoke."


@pytest.mark.browser
def test_printing_waits_until_equations_are_set(browser, tmp_path):
    assert any("E = mc²" in text for text in texts(printed(write_site(tmp_path, EQUATION, LATER))))


@pytest.mark.browser
@pytest.mark.parametrize(
    ("two", "said"),
    [
        (EQUATION, "1 equations are not set"),
        ('<article><h1>2</h1><img src="../_static/none.png" alt=""></article>', "a picture is not shown"),
    ],
)
def test_a_page_with_an_unset_equation_or_a_missing_picture_is_refused_by_name(browser, tmp_path, two, said):
    project = write_site(tmp_path, two, NEVER)
    with pytest.raises(PublishError, match=f"notebooks/02_two.html cannot be printed: {said}"):
        printed(project)
    assert list(project.build.glob("*.pdf")) == []


@pytest.mark.browser
def test_the_books_own_mathjax_sets_an_equation_before_it_is_printed(browser, tmp_path):
    script = '<script defer src="../_static/mathjax/tex-svg-full.js"></script>'
    project = write_site(tmp_path, EQUATION, script)
    shutil.copytree(paths.BOOK / "_static" / "mathjax", project.html / "_static" / "mathjax")
    assert not any("E = mc^2" in text for text in texts(printed(project)))


@pytest.mark.browser
def test_a_picture_far_down_that_loads_late_is_printed(browser, tmp_path):
    late = '<p style="margin-top: 9000px">x</p><img loading="lazy" src="../_static/a.svg" alt="">'
    project = write_site(tmp_path, f"<article><h1>2</h1>{late}</article>")
    square = '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="9"><text y="9">LATE</text></svg>'
    (project.html / "_static" / "a.svg").write_text(square)
    assert any("LATE" in text for text in texts(printed(project)))


def test_without_chromium_it_says_how_to_get_it_and_leaves_with_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli, "PROJECT", write_site(tmp_path))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit) as left:
        cli.main(["pdf"])
    said = capsys.readouterr().err
    assert left.value.code == 1 and "apt install chromium" in said and "Traceback" not in said


def test_without_a_site_or_with_a_page_missing_from_it_nothing_is_printed(tmp_path):
    with pytest.raises(PublishError, match="there is no built site"):
        printing.book_pdf(Project(tmp_path))
    project = write_site(tmp_path)
    (project.html / "notebooks" / "02_two.html").unlink()
    with pytest.raises(PublishError, match="notebooks/02_two.html is not in the built site"):
        printing.book_pdf(project)


def test_a_chromium_too_old_to_number_pages_is_refused():
    with pytest.raises(PublishError, match="install Chromium 131 or newer"):
        printing._check_version("120.0.1")


def test_a_quote_in_the_title_cannot_end_the_foot_of_the_page_early():
    style = printing._style({"title": 'The "book"', "banner": ""}, 1)
    assert 'content: "The \\"book\\"";' in style
