"""What a reader meets on every page of the book, on a phone and on a desk, in the light and in the dark.

The pages are those of the smoke profile; ``PDLIB_SITE=_build/html`` looks at a site that is already built.
"""

import os
import re
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

from pdlib import paths, publish
from pdlib.errors import ParameterError
from pdlib.markup import check_alt
from pdlib.params import Project
from tests.browser import DESK, PHONE, look_at, window

pytestmark = [pytest.mark.slow, pytest.mark.browser]

# pages the builder adds to those of _toc.yml
ADDED = ["genindex", "search"]
# pictures that tell a reader nothing, by file, each with the reason; they need an empty alternative text
DECORATIVE: dict[str, str] = {}


@pytest.fixture(scope="module")
def pages():
    return publish.toc_files(Project(paths.ROOT))


@pytest.fixture(scope="module")
def looked_at(request):
    """The site to look at."""
    built = os.environ.get("PDLIB_SITE")
    return Path(built).resolve() if built else request.getfixturevalue("site")


@pytest.fixture(scope="module")
def sights(looked_at, pages):
    """Every page at both widths, opened once for all tests."""
    return look_at(looked_at, [*pages, *ADDED], (PHONE, DESK), axe=True)


@pytest.fixture(scope="module")
def opened(looked_at):
    """A browser for tests that do something on a page."""
    with window(looked_at) as browser:
        yield browser


def at(sights, width):
    return [sight for sight in sights if sight.width == width]


def every(sights, faults):
    """Each fault on a line of its own, with its page."""
    return [f"{sight.name}: {fault}" for sight in sights for fault in faults(sight)]


# ── every page ─────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_or_critical(sights, theme):
    assert every(sights, lambda sight: sight.axe[theme]) == []


def test_no_page_scrolls_sideways(sights):
    assert every(sights, lambda sight: sight.wide) == []


def test_no_page_makes_the_console_complain(sights):
    assert every(sights, lambda sight: sight.errors) == []


def test_no_page_asks_another_host_for_anything(sights):
    assert every(sights, lambda sight: sight.elsewhere) == []


def test_every_equation_is_set(sights):
    assert every(sights, lambda sight: sight.facts["bad_equations"]) == []
    assert sum(sight.facts["equations"] for sight in sights) > 100


def test_every_link_into_the_book_leads_to_a_page_and_a_place_on_it(sights, looked_at):
    places = {sight.page: set(sight.facts["ids"]) for sight in sights}

    def broken(sight):
        for link in dict.fromkeys(sight.facts["links"]):
            address, fragment = urldefrag(link)
            parts = urlsplit(address)
            if parts.hostname != "127.0.0.1":
                continue
            target = unquote(parts.path).strip("/")
            if not (looked_at / target).is_file():
                yield f"{target} is not there"
            elif fragment and unquote(fragment) not in places.get(target.removesuffix(".html"), {fragment}):
                yield f"{target} has no #{fragment}"

    assert every(at(sights, DESK), broken) == []


def test_no_id_stands_twice_on_a_page(sights):
    def twice(sight):
        ids = sight.facts["ids"]
        return sorted({one for one in ids if ids.count(one) > 1})

    assert every(at(sights, DESK), twice) == []


def test_previous_and_next_follow_the_table_of_contents(sights, pages):
    shown = {sight.page: sight.facts for sight in at(sights, DESK)}
    wrong = []
    for before, page, after in zip(["", *pages], pages, [*pages[1:], ""], strict=False):
        for word, expected in (("previous", before), ("next", after)):
            link = urlsplit(shown[page][word]).path.strip("/").removesuffix(".html")
            if link != expected:
                wrong.append(f"{page}: {word} is {link or 'missing'}, not {expected or 'missing'}")
    assert wrong == []


def test_every_page_has_one_title_and_no_level_of_heading_is_skipped(sights):
    def crooked(sight):
        outline = sight.facts["outline"]
        if sight.facts["titles"] != 1:
            yield f"has {sight.facts['titles']} titles"
        for (upper, _), (level, words) in zip([(0, ""), *outline], outline, strict=False):
            if level > upper + 1:
                yield f"level {level} after level {upper}: {words}"

    assert every(sights, crooked) == []


def test_every_picture_tells_in_words_what_it_shows(sights):
    def silent(sight):
        for picture in sight.facts["images"]:
            where = picture["file"] or picture["at"]
            if picture["loaded"] is False:
                yield f"{where} is not shown"
            if picture["file"] in DECORATIVE:
                if picture["alt"] != "":
                    yield f"{where} is decoration and says {picture['alt']!r}"
                continue
            try:
                check_alt((picture["alt"] or "").removeprefix("SYNTHETIC data. "), where, picture["caption"])
            except ParameterError as error:
                yield str(error)

    assert every(at(sights, DESK), silent) == []
    assert sum(len(sight.facts["images"]) for sight in at(sights, DESK)) > 100


def test_everything_folded_opens_and_closes(sights):
    assert every(sights, lambda sight: sight.toggles) == []
    with_code = [sight.page for sight in at(sights, DESK) if sight.facts["folded"]]
    assert len(with_code) > 10


def test_every_page_of_a_synthetic_run_says_so_on_top(sights):
    if os.environ.get("PDLIB_SITE"):
        pytest.skip("PDLIB_SITE names a site whose data are not known to this test")
    assert [sight.name for sight in sights if "SYNTHETIC DATA" not in sight.facts["announced"]] == []


# ── what a reader does ─────────────────────────────────────────────────────────────────────────────────
def test_folded_code_opens_and_closes_by_keyboard(opened, pages):
    for name in [page for page in pages if page.startswith("notebooks/")][:3]:
        page = opened.open(name, PHONE)
        # what teaches is open, what only draws is folded; both turn with a key
        for kind, begins in ((".pd-open", True), (":not(.pd-open)", False)):
            fold = page.locator(f"details.hide{kind}").first
            code = fold.locator("pre").first
            assert code.is_visible() == begins, f"{name}: code of details{kind} is not as it should begin"
            fold.locator("> summary").focus()
            for key, visible in (("Enter", not begins), ("Space", begins)):
                page.keyboard.press(key)
                assert code.is_visible() == visible, f"{name}: {key} leaves the code of details{kind} as it is"
        page.close()


def test_the_search_finds_a_word_and_leads_to_a_page_that_has_it(opened):
    page = opened.open("book/intro")
    page.locator(".search-button__button:visible").first.click()
    page.locator("#pst-search-dialog input[name=q]").fill("percussive")
    page.keyboard.press("Enter")
    page.get_by_text("Search finished").wait_for()
    found = page.locator("#search-results li a")
    names = [urlsplit(link.get_attribute("href")).path for link in found.all()]
    assert any("05_l_mhp_spectrograms" in name for name in names), names
    found.first.click()
    page.wait_for_load_state()
    assert "search.html" not in page.url
    assert "percussive" in page.locator("main").inner_text().lower()
    page.close()


def test_the_theme_switch_turns_the_page_dark_and_the_next_page_stays_dark(opened):
    page = opened.open("book/how_to_read")

    def ground():
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3

    assert ground() > 200
    for _ in range(3):  # light, dark, as the machine is: where it starts is the theme's own affair
        page.locator(".theme-switch-button:visible").first.click()
        if page.evaluate("document.documentElement.dataset.mode") == "dark":
            break
    assert ground() < 60
    page.locator(".prev-next-area a.right-next").click()
    page.wait_for_load_state()
    assert ground() < 60
    assert page.evaluate("document.documentElement.dataset.mode") == "dark"
    page.close()


def test_a_page_is_dark_where_the_machine_is(opened):
    page = opened.open("book/intro", color_scheme="dark")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.close()


@pytest.mark.parametrize("name", ["notebooks/10_results", "notebooks/18_audit"])
def test_on_paper_nothing_of_a_chapter_is_cut_off_and_nothing_is_left_to_press(opened, name):
    page = opened.open(name, 680)  # the text width of A4, in pixels of CSS
    page.emulate_media(media="print")
    cut = page.evaluate(
        """() => [...document.querySelectorAll(".bd-article :is(table, img, pre, mjx-container)")]
            .filter((e) => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + 1)
            .map((e) => e.closest("[id]").id)"""
    )
    assert cut == []
    left = page.evaluate(
        """() => [...document.querySelectorAll("button:not(.pd-sort), nav, input, .headerlink")]
            .filter((e) => e.checkVisibility()).map((e) => e.outerHTML.slice(0, 100))"""
    )
    assert left == []
    assert page.locator("article h1").is_visible()
    page.close()


def test_a_dark_page_is_printed_as_a_light_one(opened):
    page = opened.open("book/intro", color_scheme="dark")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.close()


def test_long_rows_are_stacked_on_a_phone_and_need_no_scrolling(opened):
    page = opened.open("notebooks/18_audit", PHONE)
    page.evaluate("document.querySelectorAll('details').forEach((fold) => (fold.open = true))")
    table = page.locator("table.pd-frame.pd-wordy").first
    widths = table.evaluate("e => [e.scrollWidth, e.closest('.pd-scroll').clientWidth]")
    assert widths[0] <= widths[1]
    page.close()
