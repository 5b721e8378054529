"""Publishing: what must not become a page is refused by name, and a strict offline build really runs."""

import io
import json
import re
import shutil
from dataclasses import replace

import nbformat
import pytest
import yaml
from rich.console import Console

from pdlib import archive, chromium, paths, publish, run
from pdlib.claims import COLUMNS
from pdlib.errors import DataError, PrivacyError, PublishError
from pdlib.params import Project, read_chapters
from tests.browser import chromium_or_skip, look_at
from tests.test_figure_index import figure, glued
from tests.tinybook import REAL, SYNTHETIC, write_notebook, write_profile

SIDE_FILE = (
    "import os, pathlib\npathlib.Path(os.environ['PDLIB_PAGE_DIR'], 'fig.csv').write_text('a,b\\n1,2\\n')"
)
LINK = "from IPython.display import HTML\nHTML('<a href=\"../_static/pages/01/fig.csv\">numbers</a>')"


def make_project(root):
    """Two chapters, two pages, and the real book's configuration and static files."""
    project = Project(root)
    write_notebook(
        project,
        "01_one",
        SIDE_FILE,
        LINK,
        "md:$$a^2 + b^2 = c^2$$\n\n$\\text{a\\_name}$",
        title="1. The first",
    )
    write_notebook(project, "02_two", "print(seed)", "md:See [one](01_one.ipynb).", title="2. The second")
    write_profile(project)
    write_profile(project, "full")
    shutil.copyfile(paths.ROOT / "_config.yml", root / "_config.yml")
    shutil.copytree(paths.BOOK / "_static", project.book / "_static")
    shutil.copyfile(paths.BOOK / "references.bib", project.book / "references.bib")
    (project.book / "intro.md").write_text("# Intro\n\nSee {cite:t}`iyer2023voice`.\n", encoding="utf-8")
    (project.book / "references.md").write_text(
        (paths.BOOK / "references.md").read_text(encoding="utf-8"), encoding="utf-8"
    )
    (project.book / "figure_index.md").write_text("# All figures\n\nFilled later.\n", encoding="utf-8")
    toc = {
        "format": "jb-book",
        "root": "book/intro",
        "parts": [
            {"caption": "Chapters", "chapters": [{"file": "notebooks/01_one"}, {"file": "notebooks/02_two"}]},
            {"caption": "Back", "chapters": [{"file": "book/figure_index"}, {"file": "book/references"}]},
        ],
    }
    (root / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    return project


def execute_all(project, profile="smoke", info=SYNTHETIC, assignments=()):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PDLIB_RUNS", raising=False)
        patch.setattr(run, "resolve_cohort", lambda *_, **__: info)
        console = Console(file=io.StringIO())
        report = run.run(profile, project=project, console=console, assignments=assignments)
    assert report.ok
    return report.folder


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A project executed once on synthetic data; tests copy it."""
    project = make_project(tmp_path_factory.mktemp("book"))
    execute_all(project)
    execute_all(project, "full", REAL)
    return project


@pytest.fixture
def project(executed, tmp_path):
    shutil.copytree(executed.root, tmp_path / "book")
    return Project(tmp_path / "book")


@pytest.fixture
def folder(project):
    return project.build / "run" / "smoke-synthetic"


def refused(project, folder):
    with pytest.raises(PublishError) as caught:
        publish.publish_run(project, folder, Console(file=io.StringIO()))
    return str(caught.value)


def change(copy, edit):
    notebook = nbformat.read(copy, as_version=4)
    edit(notebook)
    copy.write_text(run.sealed(notebook), encoding="utf-8")


# ── before the build ───────────────────────────────────────────────────────────────────────────────────
def test_an_error_output_or_an_unrun_cell_is_refused_with_its_number(project, folder):
    error = nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[])
    change(folder / "01_one.ipynb", lambda nb: nb.cells[2].outputs.append(error))
    change(folder / "02_two.ipynb", lambda nb: nb.cells[-2].update(execution_count=None))
    said = refused(project, folder)
    assert "01_one.ipynb, cell 3 ended in an error: ValueError: no" in said
    assert "02_two.ipynb, cell 4 was not run" in said


def test_a_missing_or_stale_chapter_or_a_changed_side_file_is_refused(project, folder):
    (folder / "pages" / "01" / "fig.csv").write_text("other")
    assert "01_one.ipynb: its side files in pages/01" in refused(project, folder)
    (folder / "01_one.ipynb").unlink()
    assert "01_one.ipynb has not been executed into _build/run/smoke-synthetic" in refused(project, folder)


def test_a_chapter_whose_source_changed_after_the_run_is_refused(project, folder):
    write_notebook(project, "02_two", "print(2)")
    assert "02_two.ipynb changed after it was executed" in refused(project, folder)


def test_chapters_of_different_cohorts_or_profiles_are_not_published_together(project, folder):
    change(folder / "02_two.ipynb", lambda nb: nb.metadata["pdlib"].update(profile="quick"))
    assert "of different profiles or cohorts" in refused(project, folder)
    real = project.build / "run" / "full-real"
    change(real / "02_two.ipynb", lambda nb: nb.metadata["pdlib"]["cohort"].update(fingerprint="2" * 64))
    assert "full real 111111111111; full real 222222222222" in refused(project, real)


def test_a_chapter_without_recordings_goes_with_any_cohort(project):
    real = project.build / "run" / "full-real"
    change(real / "02_two.ipynb", lambda nb: nb.metadata["pdlib"]["cohort"].update(fingerprint=None))
    assert set(publish.check_copies(project, real, read_chapters(project))) == {"01", "02"}


def test_the_table_of_contents_and_the_notebooks_must_agree(project, folder):
    write_notebook(project, "03_new", "print(3)")
    (project.book / "references.md").unlink()
    said = refused(project, folder)
    assert "notebooks/03_new.ipynb is not in _toc.yml" in said
    assert "_toc.yml lists book/references, which does not exist" in said
    (project.notebooks / "02_two.ipynb").unlink()
    assert "_toc.yml lists notebooks/02_two, which does not exist" in refused(project, folder)
    (project.root / "_toc.yml").unlink()
    assert "_toc.yml cannot be read" in refused(project, folder)


# ── the edition ────────────────────────────────────────────────────────────────────────────────────────
def test_without_an_edition_html_says_how_to_get_one(project):
    with pytest.raises(PublishError, match="make edition"):
        publish.publish_edition(project, Console(file=io.StringIO()))


def test_an_edition_of_synthetic_voices_or_of_single_real_speakers_is_refused(project, folder):
    with pytest.raises(PrivacyError, match="kind 'synthetic'"):
        publish.keep_edition(project, folder)
    real = project.build / "run" / "full-real"
    change(
        real / "02_two.ipynb",
        lambda nb: nb.metadata["pdlib"]["parts"]["parameters"].update(individuals="real"),
    )
    with pytest.raises(PrivacyError, match="02_two.ipynb was run with individuals = 'real'"):
        publish.keep_edition(project, real)
    assert not project.edition.exists()


def test_an_edition_with_changed_parameters_is_refused(project):
    real = execute_all(project, "full", REAL, ["seed=3"])
    with pytest.raises(PublishError, match="seed"):
        publish.keep_edition(project, real)


def test_an_edition_is_kept_whole_and_replaces_the_one_before(project):
    real = project.build / "run" / "full-real"
    (project.edition / "pages" / "09").mkdir(parents=True)
    publish.keep_edition(project, real)
    names = sorted(
        p.relative_to(project.edition).as_posix() for p in project.edition.rglob("*") if p.is_file()
    )
    assert names == ["01_one.ipynb", "02_two.ipynb", "pages/01/fig.csv"]
    assert [p.name for p in project.book.glob(".edition*")] == []


def test_too_large_a_file_keeps_the_edition_as_it_was(project, monkeypatch):
    monkeypatch.setattr(publish, "LARGEST_FILE", 10)
    with pytest.raises(PublishError, match="MB"):
        publish.keep_edition(project, project.build / "run" / "full-real")
    assert not project.edition.exists()


@pytest.fixture
def kept(project, monkeypatch):
    """The project with an edition that is up to date, and the recordings it was made from."""
    publish.keep_edition(project, project.build / "run" / "full-real")
    monkeypatch.setattr(run, "resolve_cohort", lambda *_, **__: REAL)
    return project


def test_an_edition_that_is_up_to_date_passes_the_check(kept):
    assert [(row.name, row.state) for row in publish.check_edition(kept)] == [
        ("01_one", "up to date"),
        ("02_two", "up to date"),
    ]


def test_without_the_recordings_all_else_of_an_edition_is_checked_and_that_is_said(kept, monkeypatch):
    def missing(*_, **__):
        raise DataError("the recordings are not here", "fetch them")

    monkeypatch.setattr(run, "resolve_cohort", missing)
    assert {row.state for row in publish.check_edition(kept)} == {run.FRESH + run.UNSEEN}
    write_notebook(kept, "02_two", "print(seed + 1)", title="2. The second")
    with pytest.raises(PublishError, match="02_two is out of date"):
        publish.check_edition(kept)


@pytest.mark.parametrize("what", ["source", "profile", "recordings", "side file", "chapter", "output"])
def test_an_edition_that_a_run_would_make_otherwise_is_refused_by_its_chapter(kept, monkeypatch, what):
    if what == "source":
        write_notebook(kept, "02_two", "print(seed + 1)", title="2. The second")
    elif what == "profile":
        write_profile(kept, "full", all={"seed": 5})
    elif what == "recordings":
        monkeypatch.setattr(run, "resolve_cohort", lambda *_, **__: replace(REAL, fingerprint="0" * 64))
    elif what == "side file":
        (kept.edition / "pages" / "01" / "fig.csv").write_text("a,b\n1,3\n")
    elif what == "chapter":
        (kept.edition / "02_two.ipynb").unlink()
    else:
        copy = kept.edition / "02_two.ipynb"
        copy.write_text(copy.read_text().replace("stdout", "stderr"))
    with pytest.raises(PublishError) as caught:
        publish.check_edition(kept)
    assert "01_one" in str(caught.value) or "02_two" in str(caught.value)


def test_no_edition_is_said_and_how_to_make_one(project):
    with pytest.raises(PublishError, match="make edition"):
        publish.check_edition(project)


def test_an_edition_too_large_for_a_repository_is_refused(kept, monkeypatch):
    monkeypatch.setattr(publish, "LARGEST_EDITION", 1000)
    with pytest.raises(PublishError, match="the edition has"):
        publish.check_edition(kept)


# ── looking through built pages ────────────────────────────────────────────────────────────────────────
def site(tmp_path, body, head=""):
    (tmp_path / "index.html").write_text(
        f"<html><head>{head}</head><body>{body}</body></html>", encoding="utf-8"
    )
    return publish.check_site(tmp_path, ["index"])


@pytest.mark.parametrize(
    "tag",
    [
        '<script src="https://a.example/x.js"></script>',
        '<script src="//a.example/x.js"></script>',
        '<link rel="stylesheet" href="http://a.example/x.css">',
        '<link rel="preconnect" href="https://a.example">',
        '<link rel="shortcut icon" href="https://a.example/i.ico">',
        '<img src="https://a.example/x.png">',
        '<img srcset="https://a.example/x.png 2x">',
        '<iframe src="https://a.example/"></iframe>',
        '<video poster="https://a.example/x.png"></video>',
        '<svg><image xlink:href="https://a.example/x.png"/></svg>',
        '<p style="background: url(https://a.example/x.png)">a</p>',
        "<style>@import 'https://a.example/x.css';</style>",
        "<style>@font-face { src: url(//a.example/x.woff2) }</style>",
    ],
)
def test_whatever_a_page_would_load_from_elsewhere_is_named(tmp_path, tag):
    (problem,) = site(tmp_path, tag)
    assert "index.html loads" in problem and "a.example" in problem


def test_plain_links_elsewhere_and_embedded_pictures_are_fine(tmp_path):
    assert (
        site(
            tmp_path, '<a href="https://a.example">a</a><img src="data:image/png;base64,AA"><a href="#">b</a>'
        )
        == []
    )


def test_links_and_anchors_that_lead_nowhere_are_named(tmp_path):
    (tmp_path / "b.html").write_text('<p id="here">b</p>', encoding="utf-8")
    good = '<a href="b.html#here">b</a><a href="b.html?x=1">b</a><a href="mailto:a@b.example">c</a>'
    assert site(tmp_path, good) == []
    bad = (
        '<a href="b.html#there">b</a><a href="c.html">c</a><img src="no.png"><a href="../outside.html">d</a>'
    )
    assert len(site(tmp_path, bad)) == 4


def test_a_player_of_anything_but_a_synthetic_voice_is_named(tmp_path):
    player = '<audio controls{} src="data:audio/wav;base64,UklGRg=="></audio>'
    assert site(tmp_path, player.format(' data-cohort="synthetic"')) == []
    for mark in ("", ' data-cohort="real"'):
        (problem,) = site(tmp_path, player.format(f'{mark} aria-label="PD-01"'))
        assert "index.html plays PD-01" in problem


def test_a_missing_page_or_a_page_that_does_not_say_synthetic_is_named(tmp_path):
    (tmp_path / "index.html").write_text("<p>real</p>", encoding="utf-8")
    assert publish.check_site(tmp_path, ["index", "b"], "SYNTHETIC") == [
        "index.html does not say SYNTHETIC",
        "b.html was not built",
    ]


def test_a_stylesheet_that_loads_a_font_from_elsewhere_is_named(tmp_path):
    (tmp_path / "x.css").write_text("@font-face { src: url('https://a.example/f.woff2') }", encoding="utf-8")
    assert site(tmp_path, "") == ["x.css loads https://a.example/f.woff2 from elsewhere"]


# ── what a site says of itself ─────────────────────────────────────────────────────────────────────────
def test_a_site_that_is_not_there_or_does_not_say_what_it_is_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(PublishError, match="there is no built site.*\\n.*make book"):
        publish.read_about(tmp_path)
    (tmp_path / "index.html").write_text("x")
    with pytest.raises(PublishError, match="does not say which book"):
        publish.read_about(tmp_path)


# ── staging ────────────────────────────────────────────────────────────────────────────────────────────
def show_something(project, folder):
    """Let chapter 01 show a figure and glue a number, as `figures.Page` does."""
    shown = {"cell-0": figure("line", number="01"), "cell-1": glued("auc", "0.57 [0.44, 0.70]")}

    def add(notebook):
        for cell in notebook.cells:
            if cell.id in shown:
                cell.outputs.append(shown[cell.id])

    change(folder / "01_one.ipynb", add)
    item = {
        "what": "figure",
        "number": "Figure 3",
        "caption": "A line.",
        "synthetic": True,
        "files": ["fig.csv"],
    }
    pages = folder / "pages" / "01"
    (pages / "page.json").write_text(json.dumps({"items": {"line": item}}))
    (pages / "line.json").write_text(json.dumps({"chapter": "01", "alt": "It climbs."}))
    sides = run.side_files(pages)
    change(folder / "01_one.ipynb", lambda nb: nb.metadata["pdlib"].update(pages=sides))


def staged(project, folder):
    chapters = read_chapters(project)
    return publish.stage(project, folder, chapters, publish.check_copies(project, folder, chapters), "")


def test_what_is_staged_links_figures_to_cells_and_to_the_notebook_without_outputs(project, folder):
    show_something(project, folder)
    target = staged(project, folder)
    sources = {}
    for cell in nbformat.read(target / "notebooks" / "01_one.ipynb", as_version=4).cells:
        sources[cell.id] = cell.source
    assert 'id="cell-cell-0"' in sources["at-cell-0"] and 'id="pd-01-auc"' in sources["at-cell-1"]
    taken = nbformat.read(target / "book" / "_static" / "notebooks" / "01_one.ipynb", as_version=4)
    source = nbformat.read(project.notebooks / "01_one.ipynb", as_version=4)
    assert taken.cells == source.cells
    account = json.loads((target / "book" / "_static" / "pages" / "01" / "line.json").read_text())
    assert account["cell"] == "cell-0"


def test_the_fold_over_a_solution_is_staged_with_its_own_words_and_no_other_cell_is_changed(project, folder):
    def tag(notebook):
        for cell in notebook.cells[-2:]:
            cell.metadata["tags"] = ["solution", "hide-cell"]

    change(folder / "02_two.ipynb", tag)
    cells = nbformat.read(staged(project, folder) / "notebooks" / "02_two.ipynb", as_version=4).cells
    labels = {cell.id: cell.metadata["mystnb"] for cell in cells if "mystnb" in cell.metadata}
    said = {"code_prompt_show": "Show the solution's code", "code_prompt_hide": "Hide the solution's code"}
    assert labels == {"cell-0": said}


def test_the_index_of_figures_is_written_when_staged_and_only_where_the_book_has_the_page(project, folder):
    show_something(project, folder)
    (project.root / "data").mkdir(exist_ok=True)
    ledger = [
        COLUMNS,
        ("fig-3", "3.2", "13", "figure", "log-mel", "", "01", "line", "", "holds", "As it says."),
    ]
    (project.root / "data" / "claims.csv").write_text("\n".join(map(",".join, ledger)) + "\n")
    page = staged(project, folder) / "book" / "figure_index.md"
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# All figures\n") and "Filled later" not in text
    assert "01_one.html#pd-01-line" in text and "log-mel" in text and 'data-verdict="holds"' in text
    (project.book / "figure_index.md").unlink()
    staged(project, folder)
    assert not page.exists()


def test_a_docstring_that_names_the_marks_of_measured_values_is_shown_as_it_is(project, folder):
    (project.root / "data").mkdir(exist_ok=True)
    growth = {"title": "Growth", "date": "2026-01-01", "machine": {}, "rows": [], "facts": {"exponent": 0.9}}
    (project.root / "data" / "bench.json").write_text(json.dumps({"growth": growth}), encoding="utf-8")
    (project.book / "names.md").write_text("# Names\n\n<!-- modules: others -->\n", encoding="utf-8")
    toc = yaml.safe_load((project.root / "_toc.yml").read_text(encoding="utf-8"))
    toc["parts"][1]["chapters"].append({"file": "book/names"})
    (project.root / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    page = staged(project, folder) / "book" / "names.md"
    assert "<!-- bench growth: seconds -->" in page.read_text(encoding="utf-8")


# ── real builds ────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def built(executed, tmp_path_factory):
    """The executed project, built for real."""
    root = tmp_path_factory.mktemp("built") / "book"
    shutil.copytree(executed.root, root)
    project = Project(root)
    show_something(project, project.build / "run" / "smoke-synthetic")
    publish.publish_run(project, project.build / "run" / "smoke-synthetic", Console(file=io.StringIO()))
    return project


@pytest.mark.slow
def test_a_strict_build_gives_every_page_with_its_side_files_and_says_synthetic(built):
    for page in ("book/intro", "notebooks/01_one", "notebooks/02_two", "book/references"):
        text = (built.html / f"{page}.html").read_text(encoding="utf-8")
        assert "SYNTHETIC DATA" in text
    assert (built.html / "_static" / "pages" / "01" / "fig.csv").read_text() == "a,b\n1,2\n"
    assert (built.html / "index.html").is_file()
    assert [p.name for p in built.build.glob(".*")] == [".lock"]
    assert "thebe" not in (built.html / "notebooks" / "01_one.html").read_text(encoding="utf-8").lower()


@pytest.mark.slow
def test_buttons_lead_to_the_source_notebook_and_load_nothing_from_elsewhere(built, monkeypatch):
    monkeypatch.setenv("PDLIB_REPOSITORY", "https://github.com/owner/book#main")
    site = publish.publish_run(built, built.build / "run" / "smoke-synthetic", Console(file=io.StringIO())).parent
    page = (site / "notebooks" / "01_one.html").read_text(encoding="utf-8")
    links = set(re.findall(r'href="(https://(?:colab|mybinder)[^"]+)"', page))
    assert links == {
        "https://colab.research.google.com/github/owner/book/blob/main/notebooks/01_one.ipynb",
        "https://mybinder.org/v2/gh/owner/book/main?urlpath=lab/tree/notebooks/01_one.ipynb",
    }
    assert page.count("mybinder.org/v2") == 2, "once behind the theme's button, once in words"
    assert "github.com/owner/book/main" not in page
    monkeypatch.delenv("PDLIB_REPOSITORY")
    site = publish.publish_run(built, built.build / "run" / "smoke-synthetic", Console(file=io.StringIO())).parent
    page = (site / "notebooks" / "01_one.html").read_text(encoding="utf-8")
    assert "mybinder" not in page and "Run this chapter yourself" in page


@pytest.mark.slow
def test_the_download_button_gives_the_notebook_without_outputs(built):
    site = built.html
    page = (site / "notebooks" / "01_one.html").read_text(encoding="utf-8")
    assert "_sources/notebooks/01_one.ipynb" in page
    given = nbformat.read(site / "_sources" / "notebooks" / "01_one.ipynb", as_version=4)
    source = nbformat.read(built.notebooks / "01_one.ipynb", as_version=4)
    assert given.cells == source.cells and "key" not in given.metadata.get("pdlib", {})


@pytest.mark.slow
def test_a_warning_of_the_builder_fails_and_the_earlier_site_stays(built):
    before = (built.html / "book" / "intro.html").read_bytes()
    intro = built.book / "intro.md"
    words = intro.read_text(encoding="utf-8")
    try:
        intro.write_text(f"{words}\nSee [nothing](nowhere.md).\n", encoding="utf-8")
        said = refused(built, built.build / "run" / "smoke-synthetic")
    finally:
        intro.write_text(words, encoding="utf-8")
    assert "nowhere.md" in said and "intro.md" in said
    assert (built.html / "book" / "intro.html").read_bytes() == before


@pytest.mark.slow
def test_a_built_site_says_which_book_version_profile_and_cohort_it_shows(built):
    about = publish.read_about(built.html)
    assert about["title"] == "CustNetGC, rebuilt and audited"
    assert (about["profile"], about["cohort"]) == ("smoke", "synthetic")
    assert about["banner"].startswith("SYNTHETIC DATA. Every figure")


@pytest.mark.slow
@pytest.mark.browser
def test_a_browser_sees_no_request_elsewhere_no_console_error_and_set_equations(built):
    seen = look_at(built.html, publish.toc_files(built))
    assert [(one.elsewhere, one.errors, one.facts["bad_equations"]) for one in seen] == [([], [], [])] * len(
        seen
    )
    assert all("SYNTHETIC DATA" in one.facts["announced"] for one in seen)
    assert sum(one.facts["equations"] for one in seen) == 2


@pytest.mark.slow
@pytest.mark.browser
def test_a_link_to_a_number_leads_to_its_cell_and_shows_it_and_otherwise_leaves_no_gap(built):
    chromium_or_skip()
    address = (built.html / "notebooks" / "01_one.html").as_uri()
    with chromium.browser() as browser:
        page = browser.new_page(viewport={"width": 1000, "height": 300})
        page.goto(address)
        assert page.locator("#cell-cell-1").evaluate("e => e.getBoundingClientRect().height") == 0
        assert not page.locator("#pd-01-auc").is_visible()
        page.goto(f"{address}#pd-01-auc")
        page.reload()
        assert page.locator("#pd-01-auc").is_visible()
        assert 0 <= page.locator("#pd-01-auc").evaluate("e => e.getBoundingClientRect().top") < 300


@pytest.mark.slow
@pytest.mark.browser
def test_the_unpacked_archive_opens_from_the_disk_without_a_network_and_finds_a_word(built, tmp_path):
    chromium_or_skip()
    shutil.unpack_archive(archive.archive(built, tmp_path), tmp_path)
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    wrong = []
    with chromium.browser() as browser:
        page = browser.new_context(offline=True).new_page()
        page.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        # a request is given up when the next page is opened before it is done, and when it becomes a download
        page.on(
            "requestfailed",
            lambda request: wrong.append(request.url) if request.failure != "net::ERR_ABORTED" else None,
        )
        page.goto((folder / "index.html").as_uri())
        page.wait_for_url("**/book/intro.html")
        page.goto((folder / "notebooks" / "01_one.html").as_uri())
        page.wait_for_selector("mjx-container")
        assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        with page.expect_download() as download:
            page.locator('a[href$="fig.csv"]').first.evaluate("link => link.click()")
        assert download.value.suggested_filename == "fig.csv"
        page.goto((folder / "search.html").as_uri() + "?q=second")
        page.wait_for_selector("#search-results li")
        assert "2. The second" in page.locator("#search-results").inner_text()
    assert wrong == []


def test_a_page_run_with_other_values_than_the_profiles_says_so(project):
    folder = execute_all(project, assignments=["seed=7"])
    chapters = read_chapters(project)
    records = publish.check_copies(project, folder, chapters)
    staged = publish.stage(project, folder, chapters, records, "")
    text = json.loads((staged / "notebooks" / "02_two.ipynb").read_text(encoding="utf-8"))
    assert any("`seed = 7`" in "".join(cell["source"]) for cell in text["cells"])
    assert not (staged / "book" / "edition").exists()
