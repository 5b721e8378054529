"""Words of the glossary become links where they first stand in running text, and nowhere else."""

import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from pdlib import glossary, paths

GLOSSARY = """\
# Words

A fold and the AUC here stay as they are.

```{glossary}
fold
  One part of the speakers. Held back.

AUC
  Area under the curve.

stratum
strata
  A group. See [page](page.md).

confusion matrix
  Four counts.

confusion
  What it says.

Brier score
  Squared.

Holm's step
  For many.
```
"""
PAGE = """\
# A fold in a heading

| fold | x |
|---|---|
| **fold** | `fold` |

**Fold.** The unfolded twofold re-fold of `fold` and $fold$, [a fold](other.md), <a href="other.html">a fold</a>,
<code>fold</code>, then Folds, folds and a fold; an auc, the AUCs and the AUC; strata before a stratum. A
confusion
matrix and its confusion; the brier score is not the Brier score; Holm's step. {cite:p}`fold` and {glue:text}`none`.

```{figure} x.png
:alt: fold
Legend's AUC fold.
```

$$ fold $$

```python
fold = 1
```
"""


def notebook():
    """A glued word and outputs that hold terms, before a term in running text."""
    glued = {"application/papermill.record/text/plain": "'A fold, glued.'"}
    record = {"scrapbook": {"name": "said", "mime_prefix": "application/papermill.record/"}}
    outputs = [
        new_output("display_data", data=glued, metadata=record),
        new_output("stream", text="a fold is printed"),
        new_output("display_data", data={"text/html": "<p>a fold in HTML</p>", "text/plain": "a fold"}),
    ]
    cells = [
        new_markdown_cell("# Cells"),
        new_code_cell("fold = 1", outputs=outputs, execution_count=1),
        new_markdown_cell("First {glue:text}`said` Then a fold."),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    language = {"name": "python", "pygments_lexer": "ipython3"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": language})


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Pages of a tiny strict build in the book's way: Markdown, one glossary, one page that is told to stay plain."""
    root = tmp_path_factory.mktemp("words")
    (root / "conf.py").write_text(
        'extensions = ["myst_nb", "pdlib.glossary"]\nnb_execution_mode = "off"\nexclude_patterns = ["_out"]\n'
        'myst_enable_extensions = ["dollarmath", "colon_fence"]\nglossary_unlinked = ["plain*"]\n'
    )
    (root / "index.md").write_text(
        "# Book\n\n```{toctree}\nwords\npage\ncells\nother\nplain/one\n```\n\nThe fold.\n"
    )
    (root / "words.md").write_text(GLOSSARY)
    nbformat.write(notebook(), root / "cells.ipynb")
    (root / "page.md").write_text(PAGE.replace("{cite:p}`fold` and {glue:text}`none`.", ""))
    (root / "other.md").write_text("# Other\n\nNothing of that kind.\n")
    (root / "plain").mkdir()
    (root / "plain" / "one.md").write_text("# Plain\n\nA fold.\n")
    shutil.copyfile(paths.BOOK / "_static" / "favicon.svg", root / "x.png")
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "-n", "-q", str(root), str(root / "_out")]
    done = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return root / "_out"


def linked(page):
    """Target and words of every link to the glossary on a page."""
    body = re.search(
        r'<div class="body" role="main">(.*)<div class="sphinxsidebar"', page.read_text(), re.DOTALL
    )[1]
    found = re.findall(r'<a class="pd-term[^"]*" href="([^"]+)"[^>]*>(?:<span[^>]*>)?([^<]+)', body)
    return [(target, " ".join(words.split())) for target, words in found]


def test_each_term_is_linked_at_its_first_use_in_running_text_and_only_there(site):
    assert linked(site / "page.html") == [
        ("words.html#term-fold", "Folds"),
        ("words.html#term-AUC", "AUCs"),
        ("words.html#term-strata", "strata"),
        ("words.html#term-confusion-matrix", "confusion matrix"),
        ("words.html#term-confusion", "confusion"),
        ("words.html#term-Brier-score", "Brier score"),
        ("words.html#term-Holm-s-step", "Holm’s step"),
    ]


def test_the_text_of_a_page_stays_the_same_word_for_word(site):
    text = re.sub(r"<[^>]+>", "", (site / "page.html").read_text())
    assert "then Folds, folds and a fold; an auc, the AUCs and the AUC; strata before a stratum. A" in text


def test_outputs_and_glued_words_stay_as_they_are(site):
    assert linked(site / "cells.html") == [("words.html#term-fold", "fold")]
    page = (site / "cells.html").read_text()
    assert "A fold, glued." in page and "a fold is printed" in page and "<p>a fold in HTML</p>" in page


def test_no_link_stands_inside_a_link_that_is_written_in_html(site):
    page = (site / "page.html").read_text()
    assert '<a href="other.html">a fold</a>' in page and "<code>fold</code>" in page


def test_the_glossary_itself_and_pages_told_to_stay_plain_have_no_links(site):
    assert linked(site / "words.html") == linked(site / "plain" / "one.html") == []
    assert linked(site / "index.html") == [("words.html#term-fold", "fold")]


def test_a_link_says_the_first_sentence_and_its_anchor_is_there(site):
    page, words = (site / "page.html").read_text(), (site / "words.html").read_text()
    assert 'title="One part of the speakers."' in page
    for target, _ in linked(site / "page.html"):
        assert f'id="{target.partition("#")[2]}"' in words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a Speaker spoke", ["Speaker"]), ("speakers'", ["speakers"]), ("loudspeaker speaker-wise", []),
        ("ROC curves and roc curve", ["ROC curves"]), ("log-mel\nspectrogram", ["log-mel\nspectrogram"]),
        ("SPEAKER", []), ("Log-mel spectrogram", ["Log-mel spectrogram"]), ("speaker_id", []),
    ],
)  # fmt: skip
def test_whole_words_are_found_in_the_case_a_term_asks_for(text, found):
    wanted = glossary.pattern(["speaker", "ROC curve", "log-mel spectrogram", "spectrogram"])
    assert [match[0] for match in wanted.finditer(text)] == found


def test_without_terms_there_is_nothing_to_look_for():
    assert glossary.pattern([]) is None


def test_the_books_glossary_is_in_order_and_every_entry_leads_to_a_chapter_or_page():
    text = (paths.BOOK / "glossary.md").read_text(encoding="utf-8")
    entries = re.findall(r"((?:^\S.*\n)+)((?:^  .*\n)+)", text.partition("```{glossary}\n")[2], re.MULTILINE)
    first = [terms.splitlines()[0].lower() for terms, _ in entries]
    assert len(entries) >= 45
    assert first == sorted(first)
    for terms, definition in entries:
        targets = re.findall(r"\]\(([^)]+)\)", definition)
        assert targets, f"{terms.strip()} leads nowhere"
        assert [one for one in targets if not (paths.BOOK / one).is_file()] == []
