"""API pages: every public name stands on exactly one page, with a signature and words that a page can show."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

from pdlib import api, paths, publish
from pdlib.errors import PublishError
from pdlib.params import Project

MODULE = '''"""Made up: `Clip` and `cut`.

More words on `Clip.length` and ``x``s.
"""

from pdlib.errors import RecordingError
from pdlib.cohort import Cohort
from pdlib.figures import Confusion
from dataclasses import dataclass, field

RATE, SHORT = 8000, "s"  # Hz, and a word
# p. 9
LIMITS = (1, 2)
_HIDDEN = 1
Sizes = dict[str, int]


@dataclass
class Clip:
    """One clip.

    Attributes
    ----------
    length : int
        Samples.
    """

    length: int
    notes: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.length / RATE

    def _own(self): ...


def cut(clip: Clip, cohort: Cohort, *, matrix: Confusion | None = None, at: Sizes = (*LIMITS, 3)) -> "list[Clip]":
    """Cut a clip; see `Clip.seconds` and `numpy.split`.

    Parameters
    ----------
    clip : Clip
        What is cut.

    Raises
    ------
    RecordingError, ValueError
        When it is empty.
    """
    raise RecordingError("no")


def _hidden():
    """Not for readers."""
'''


@pytest.fixture
def module(tmp_path):
    (tmp_path / "made.py").write_text(MODULE, encoding="utf-8")
    return api.read_module(tmp_path / "made.py")


@pytest.fixture
def text(module):
    known = {f"pdlib.made.{one.name}": one.kind for one in module.names} | {
        "pdlib.errors.RecordingError": "exception",
        "pdlib.cohort.Cohort": "class",
        "pdlib.metrics.Confusion": "class",
    }
    return api.module_text(module, known)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """The book's own pages, filled in a copy."""
    book = tmp_path_factory.mktemp("staged") / "book"
    book.mkdir()
    for page in paths.BOOK.glob("*.md"):
        (book / page.name).write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
    api.fill(book, publish.toc_files(Project()))
    return book


# ── one made-up module ─────────────────────────────────────────────────────────────────────────────────
def test_public_names_come_in_their_order_and_hidden_ones_not_at_all(module):
    assert [(one.name, one.kind) for one in module.names] == [
        ("RATE", "data"), ("SHORT", "data"), ("LIMITS", "data"), ("Sizes", "type"), ("Clip", "class"),
        ("Clip.seconds", "property"), ("cut", "function"),
    ]  # fmt: skip
    assert module.summary == "Made up: `Clip` and `cut`."


def test_a_signature_keeps_its_defaults_and_names_the_books_types_in_full(text):
    assert (
        ".. py:function:: cut(clip: pdlib.made.Clip, cohort: pdlib.cohort.Cohort, *, "
        "matrix: pdlib.metrics.Confusion | None=None, at: Sizes=...) -> 'list[Clip]'" in text
    )
    assert ".. py:class:: Clip(length: int, notes: list[str] = ...)" in text


def test_a_constant_shows_its_own_value_and_the_comment_beside_or_above_it(text):
    assert ".. py:data:: RATE\n   :value: 8000\n\n   Hz, and a word" in text
    assert ".. py:data:: SHORT\n   :value: 's'" in text
    assert ".. py:data:: LIMITS\n   :value: (1, 2)\n\n   p\\. 9" in text


def test_names_in_backticks_become_links_where_there_is_an_entry_and_code_elsewhere(text):
    assert ":py:obj:`Clip.seconds <pdlib.made.Clip.seconds>`" in text
    assert "``numpy.split``" in text and "``x``\\ s" in text


def test_each_error_has_its_own_field_and_the_books_own_lead_to_their_entry(text):
    assert ":raises ~pdlib.errors.RecordingError: When it is empty." in text
    assert ":raises ValueError: When it is empty." in text


def test_units_and_shapes_of_a_docstring_stand_in_the_text(text):
    assert "**length** (*int*) -- Samples." in text and "**clip** (*Clip*) -- What is cut." in text


def test_a_module_without_a_docstring_is_refused(tmp_path):
    (tmp_path / "bare.py").write_text("x = 1\n")
    with pytest.raises(PublishError, match="bare.py has no docstring"):
        api.read_module(tmp_path / "bare.py")


def test_the_code_page_has_an_anchor_for_every_line_and_escapes_what_it_shows(module):
    page = api.code_page(module)
    anchors = re.findall(r'id="L-(\d+)"', page)
    assert anchors == [str(number) for number in range(1, len(MODULE.splitlines()) + 1)]
    assert "->" not in re.sub(r"<!--.*?-->|<script>.*?</script>", "", page, flags=re.DOTALL)


# ── the pages of the book ──────────────────────────────────────────────────────────────────────────────
def entries(book):
    found = []
    for page in sorted(book.glob("api*.md")):
        section = ""
        for line in page.read_text(encoding="utf-8").splitlines():
            section = line.removeprefix(".. py:module:: ") if line.startswith(".. py:module:: ") else section
            name = re.match(r"\.\. py:(?!module)\w+:: ([\w.]+)", line)
            found += [f"{section}.{name[1]}"] if name else []
    return found


def test_every_public_name_of_every_module_stands_on_exactly_one_page(filled):
    listed = entries(filled)
    assert len(listed) == len(set(listed))
    expected = set()
    for name in sorted(path.stem for path in (paths.ROOT / "pdlib").glob("*.py") if path.stem != "__init__"):
        module = importlib.import_module(f"pdlib.{name}")
        assert inspect.getdoc(module), f"pdlib.{name} has no docstring"
        for public, value in vars(module).items():
            if public.startswith("_") or getattr(value, "__module__", None) != module.__name__:
                continue
            if inspect.isfunction(inspect.unwrap(value)) or inspect.isclass(value):
                expected.add(f"pdlib.{name}.{public}")
        for node in ast.parse(Path(module.__file__).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                if not node.targets[0].id.startswith("_"):
                    expected.add(f"pdlib.{name}.{node.targets[0].id}")
    assert len(expected) > 500
    assert sorted(expected - set(listed)) == []


def test_every_public_function_and_class_says_what_it_is_for():
    bare = [
        f"{module.name}.{one.name}"
        for module in api.read_modules().values()
        for one in module.names
        if one.kind not in ("data", "type") and not one.doc
    ]
    assert bare == []


def test_the_overview_names_every_module_with_its_first_line(filled):
    text = (filled / "api.md").read_text(encoding="utf-8")
    modules = api.read_modules()
    assert api.OVERVIEW not in text
    assert sorted(re.findall(r"^- :py:mod:`(\w+) <pdlib\.\1>` — .{20}", text, re.MULTILINE)) == sorted(
        modules
    )


def test_a_page_that_names_a_module_twice_or_one_that_is_not_there_is_refused(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "a.md").write_text("# A\n\n<!-- modules: data data nosuch -->\n")
    with pytest.raises(PublishError, match="data, nosuch"):
        api.pages(tmp_path / "book", ["book/a"], ["data", "paths"])


def test_a_module_that_no_page_names_stands_with_the_others(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "a.md").write_text("# A\n\n<!-- modules: data -->\n")
    (tmp_path / "book" / "b.md").write_text("# B\n\n<!-- modules: others -->\n")
    placed = api.pages(tmp_path / "book", ["book/a", "book/b"], ["data", "paths"])
    assert {page.name: names for page, names in placed.items()} == {"a.md": ["data"], "b.md": ["paths"]}


def test_a_book_without_api_pages_is_left_as_it_is(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "a.md").write_text("# A\n")
    api.fill(tmp_path / "book", ["book/a"])
    assert [path.name for path in (tmp_path / "book").iterdir()] == ["a.md"]
