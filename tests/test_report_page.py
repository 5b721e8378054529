"""The page of one recording: whole, readable by everyone, silent about this machine; and the command that makes it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import soundfile

from pdlib import __main__ as cli
from pdlib import report, report_page
from pdlib.errors import WriteError
from pdlib.recordings import RATE
from tests import reports, sounds

REPORTS = {"own": reports.of_own_file, "member": reports.of_member, "refused": reports.of_speech}


@pytest.fixture(scope="module")
def pages():
    return {name: report_page.page(made()) for name, made in REPORTS.items()}


class Outline(HTMLParser):
    """Ids, headings, attributes and visible text of a page; a tag closed out of turn is an error."""

    VOID = {"meta", "link", "img", "br", "line", "circle", "rect", "path"}

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open, self.tags, self.text, self.wrong = [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, text):
        if "style" not in self.open:
            self.text.append(text)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


# ── the page ───────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("name", REPORTS)
def test_the_page_is_whole_and_asks_for_nothing(pages, name):
    outline = Outline(pages[name])
    assert outline.wrong == [] and outline.open == []
    assert outline.all("script") == [] and "@import" not in pages[name]
    asked = [a.get("src") or a.get("href") for _, a in outline.tags if a.get("src") or a.get("href")]
    assert all(address.startswith("data:") for address in asked)
    assert "url(" not in pages[name] and "http" not in pages[name]
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [a["aria-labelledby"] for _, a in outline.tags if "aria-labelledby" in a]
    assert set(named) <= set(ids) and outline.all("html")[0]["lang"] == "en"


@pytest.mark.parametrize("name", REPORTS)
def test_the_page_of_a_file_holds_its_name_and_no_path_of_this_machine(pages, name):
    folders = {str(Path(reports.FOLDER.name)), str(Path.home()), str(report_page.paths.ROOT), "/tmp/"}
    assert [folder for folder in folders if folder in pages[name]] == []
    assert re.search(r"(?<![\w.-])/(?:home|tmp|root|Users|work|private)/", pages[name]) is None
    if name == "own":
        assert "my voice.wav" in pages[name]
        assert reports.of_own_file().sha256 in pages[name]


def test_the_sections_stand_in_the_order_of_caution(pages):
    ids = {name: [a["id"] for a in Outline(html).all("section")] for name, html in pages.items()}
    assert ids["own"] == ids["member"] == [
        "statement", "quality", "markers", "models", "explanations", "limits", "stamp"
    ]  # fmt: skip
    assert ids["refused"] == ["statement", "quality", "markers", "models", "limits", "stamp"]


@pytest.mark.parametrize("name", REPORTS)
def test_the_page_says_first_that_it_is_no_diagnosis(pages, name):
    words = Outline(pages[name]).words
    assert "not a diagnosis" in words and "talk to a doctor" in words
    assert words.index("talk to a doctor") < words.index("Is the recording fit to be judged?")


@pytest.mark.parametrize("name", REPORTS)
def test_everything_made_from_artificial_voices_says_synthetic(pages, name):
    html = pages[name]
    assert html.index("SYNTHETIC") < html.index("<h1>")
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", html)[1:]
    captions = re.findall(r"<(?:caption|figcaption)>(.*?)</(?:caption|figcaption)>", html)
    assert len(headings) >= 5 and captions
    assert [text for text in headings + captions if "SYNTHETIC" not in text] == []


def test_pictures_and_drawings_tell_their_finding_in_words(pages):
    outline = Outline(pages["own"])
    alts = [attributes["alt"] for attributes in outline.all("img")]
    assert len(alts) == 8 and len(set(alts)) == 8
    assert all(re.search(r"\d+ %|zero everywhere", alt) and len(alt) > 60 for alt in alts)
    strips = [a["aria-label"] for a in outline.all("svg") if a.get("role") == "img"]
    assert len(strips) == len(report.MARKERS) + len(reports.of_own_file().answers)
    assert all(re.search(r"\d", text) for text in strips)


def test_a_refused_page_says_why_and_shows_no_score(pages):
    words = Outline(pages["refused"]).words
    assert "Why no model was asked" in words and "not one sustained vowel" in words
    assert "P(PD)" not in words and "AUC" not in words


def test_models_stand_beside_age_alone_intervals_and_one_in_a_hundred(pages):
    words = Outline(pages["own"]).words
    for said in ("age alone, no voice", "knows only the age has an AUC of", "One in a hundred", "CustNetGC"):
        assert said in words
    assert "needs --age" not in words


def test_without_an_age_the_age_models_keep_their_auc_and_say_what_they_need(pages):
    from dataclasses import replace

    made = reports.of_own_file()
    answers = tuple(
        replace(a, votes=None, like=None, at_one_in_a_hundred=None) if a.kind == "person table" else a
        for a in made.answers
    )
    words = Outline(report_page.page(replace(made, answers=answers))).words
    assert "needs --age" in words and "for want of the speaker's age" in words
    assert "knows only the age has an AUC of" in words


def test_a_name_with_signs_of_html_is_shown_and_not_obeyed():
    from dataclasses import replace

    made = replace(reports.of_speech(), name="<b>&.wav", file="<b>&.wav")
    html = report_page.page(made)
    assert "<b>" not in html and "&lt;b&gt;&amp;.wav" in html


def test_a_page_is_written_whole_under_the_name_of_the_file_or_not_at_all(tmp_path, pages):
    path = report_page.write(reports.of_speech(), tmp_path / "new", "talk")
    assert path == tmp_path / "new" / "talk-report.html"
    assert path.read_text(encoding="utf-8") == pages["refused"]
    assert [each.name for each in path.parent.iterdir()] == ["talk-report.html"]
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError):
        report_page.write(reports.of_speech(), tmp_path / "file", "talk")


@pytest.mark.browser
def test_axe_finds_nothing_and_nothing_runs_over_the_edge_of_a_phone(pages):
    import shutil

    executable = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if not executable:
        pytest.skip("no chromium on this machine: the page was not looked at in a browser")
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    found = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        for name, html in pages.items():
            for width in (360, 1280):
                for scheme in ("light", "dark"):
                    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
                    tab.on("console", lambda line: found.append(line.text) if line.type == "error" else None)
                    tab.on("request", lambda r: None if r.url.startswith("data:") else found.append(r.url))
                    tab.set_content(html)
                    here = (name, width, scheme)
                    if tab.evaluate("document.documentElement.scrollWidth - innerWidth") > 0:
                        found.append((*here, "runs over the edge"))
                    found.extend((*here, each["id"]) for each in Axe().run(tab).response["violations"])
                    tab.close()
        browser.close()
    assert found == []


# ── the command ────────────────────────────────────────────────────────────────────────────────────────
def call(capsys, *arguments):
    with pytest.raises(SystemExit) as left, reports.tiny():
        cli.main(["report", *arguments])
    said = capsys.readouterr()
    return left.value.code, said.out + said.err


def test_the_command_writes_the_page_and_says_where_it_is(capsys, tmp_path):
    reports.of_own_file()
    code, said = call(capsys, reports.own_file(), "--profile", "smoke", "-o", str(tmp_path))
    assert code == 0
    assert str(tmp_path / "my voice-report.html") in said and "SYNTHETIC DATA" in said
    assert "my voice.wav" in (tmp_path / "my voice-report.html").read_text(encoding="utf-8")


def test_the_command_leaves_with_one_for_a_refused_recording_and_still_writes_the_page(capsys, tmp_path):
    code, said = call(
        capsys, reports.own_file(sounds.sine(), "tone.wav"), "--profile", "smoke", "-o", str(tmp_path)
    )
    assert code == 1
    assert "refused:" in said and "a tone or a computed sound" in said
    assert "Why no model was asked" in (tmp_path / "tone-report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["gone.wav"], 2, "there is no file gone.wav"),
        (["."], 2, "is a folder"),
        (["text.wav"], 1, "cannot be read as audio"),
        (["own.wav", "-o", "page.html"], 2, "names a file"),
        (["own.wav", "--age", "300"], 2, "--age 300 is no age"),
        (["own.wav", "--sex", "q"], 2, "--sex 'q' is not known"),
        (["own.wav", "--profile", "quik"], 2, "did you mean quick"),
        (["own.wav", "--cohort", "nowhere"], 2, "neither auto, real, synthetic nor a folder"),
        ([], 2, "Missing argument"),
    ],
)
def test_a_wrong_call_ends_in_one_sentence_without_a_traceback(
    capsys, tmp_path, monkeypatch, arguments, code, words
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.wav").write_text("no sound")
    soundfile.write(tmp_path / "own.wav", sounds.vowel(), RATE)
    if "--profile" not in arguments and arguments:
        arguments = [*arguments, "--profile", "smoke"]
    left, said = call(capsys, *arguments)
    assert left == code and words in said and "Traceback" not in said
    assert not list(tmp_path.glob("**/*-report.html"))
