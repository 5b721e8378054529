"""Ways to the running notebook: buttons lead to the source, and only once there is an address to lead to."""

import pytest
import yaml

from pdlib import launch, paths
from pdlib.errors import PublishError
from pdlib.params import Project, read_chapters
from tests.tinybook import write_notebook

CONFIG = {"title": "t", "repository": {"url": "https://github.com/owner/book.git", "branch": "main"}}
PATH = "notebooks/01_one.ipynb"


@pytest.fixture(autouse=True)
def without_variable(monkeypatch):
    monkeypatch.delenv(launch.VARIABLE, raising=False)


@pytest.fixture
def chapter(tmp_path):
    write_notebook(Project(tmp_path), "01_one", "print(seed)")
    return read_chapters(Project(tmp_path))["01"]


def test_the_books_own_configuration_documents_the_key_and_is_read():
    text = (paths.ROOT / "_config.yml").read_text(encoding="utf-8")
    assert set(yaml.safe_load(text)["repository"]) == {"url", "branch"} and launch.VARIABLE in text
    launch.read_repository(yaml.safe_load(text))


def test_links_lead_to_the_source_on_the_branch():
    found = launch.read_repository(CONFIG)
    assert found.colab(PATH) == f"https://colab.research.google.com/github/owner/book/blob/main/{PATH}"
    assert found.binder(PATH) == f"https://mybinder.org/v2/gh/owner/book/main?urlpath=lab/tree/{PATH}"


def test_colab_is_offered_for_github_alone(chapter):
    found = launch.read_repository({"repository": {"url": "https://gitlab.com/owner/book"}})
    assert found.colab(PATH) == "" and "gl/owner%2Fbook/main" in found.binder(PATH)
    assert "colab" not in str(launch.with_buttons(CONFIG, found)).lower()
    assert "Colab" not in launch.how_to_run(chapter, "quick", found)


def test_the_environment_wins_over_the_configuration(monkeypatch):
    monkeypatch.setenv(launch.VARIABLE, "https://github.com/another/fork#edition-2")
    assert launch.read_repository(CONFIG) == launch.Repository("github", "another", "fork", "edition-2")


@pytest.mark.parametrize("config", [{}, {"repository": None}, {"repository": {"url": "", "branch": "main"}}])
def test_without_an_address_there_is_no_button_and_no_key_the_builder_could_stumble_over(config, chapter):
    assert launch.read_repository(config) is None
    assert launch.with_buttons({"title": "t"} | config, None) == {"title": "t"}
    said = launch.how_to_run(chapter, "quick", None)
    assert "Binder" not in said and "_static/notebooks/01_one.ipynb" in said and "--only 01" in said


@pytest.mark.parametrize(
    "url", ["https://example.org/owner/book", "github.com/owner/book", "https://github.com/owner"]
)
def test_an_address_that_nothing_opens_is_refused(url):
    with pytest.raises(PublishError, match="not an address that Binder and Colab open"):
        launch.read_repository({"repository": {"url": url}})
