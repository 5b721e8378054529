"""The reporting pages: every item of every checklist answered once, and every link and number where it leads."""

import ast
import csv
import re
from collections import Counter

import nbformat
import pytest

from pdlib import paths

PAGES = ("model_card", "data_card", "tripod_ai", "reforms", "probast_ai", "cite_and_object")
CHECKLISTS = ("tripod_ai", "reforms", "probast_ai")
# an answer that begins like this and gives a reason needs no link
HONEST = ("not done", "not known", "not reported", "not applicable", "not used")
SHORTEST_REASON = 40  # characters
PARTS = {
    3: "abc", 5: "ab", 6: "abc", 8: "abc", 9: "abc", 12: "abcdefg", 18: "abcdef", 20: "abc", 23: "ab", 27: "abc",
}  # fmt: skip
MODULES = {1: "abc", 2: "abcde", 3: "abcdefg", 4: "abc", 5: "abcdef", 6: "abc", 7: "abc", 8: "ab"}
QUESTIONS = {"D": (3, 4, 4, 5), "E": (3, 4, 4, 7)}  # per domain, in development and in evaluation
ANSWERS = {"yes", "probably yes", "probably no", "no", "no information", "not applicable"}
CONCERNS = {"low", "high", "unclear"}
ANCHOR = re.compile(r'href="\.\./notebooks/([\w-]+)\.html#pd-(\d\d)-([a-z0-9-]+)"')
PLAIN = re.compile(r"\]\(\.\./notebooks/([\w-]+)\.ipynb\)")
GLUED = re.compile(r"\{glue:text\}`\.\./notebooks/([\w-]+)\.ipynb::([^`:]+):[^`]*`")
CITED = re.compile(r"\{cite:[pt]\}`([^`]+)`")


def wanted_items(page):
    """The items a checklist has, as the page numbers them."""
    if page == "tripod_ai":
        return [f"{item}{part}" for item in range(1, 28) for part in PARTS.get(item, [""])]
    if page == "reforms":
        return [f"{module}{part}" for module, parts in MODULES.items() for part in parts]
    asked = [
        f"{part}{domain}.{question}"
        for part, domains in QUESTIONS.items()
        for domain, questions in enumerate(domains, 1)
        for question in range(1, questions + 1)
    ]
    return asked + [f"{part}A{domain}" for part in QUESTIONS for domain in (1, 2, 3)]


def text_of(page):
    return (paths.BOOK / f"{page}.md").read_text(encoding="utf-8")


def rows_of(page):
    """Cells of every row of the tables whose first column is `item`, without heads and rules."""
    rows, inside = [], False
    for line in text_of(page).splitlines():
        if not line.startswith("|"):
            inside = False
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if cells[0] == "item":
            inside, width = True, len(cells)
        elif inside and not set(cells[0]) <= {"-", ":"}:
            assert len(cells) == width, f"{page}: not as many cells as the head: {line[:60]}"
            rows.append(cells)
    return rows


def words_in(tree):
    """Constants of a syntax tree that could be a key or a part of one."""
    constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    words = {str(value).lower() for value in constants if isinstance(value, str | int)}
    return {word for word in words if re.fullmatch("[a-z0-9-]+", word)}


class Shown:
    """The keys that a chapter's source shows, and which of them it shows only if something holds.

    A key made by an f-string is a pattern whose gaps are filled by the notebook's own words; one held in a
    variable is any word of its cell.
    """

    def __init__(self, name, kinds):
        self.exact, self.patterns, self.branches = set(), [], Counter()
        notebook = nbformat.read(paths.NOTEBOOKS / f"{name}.ipynb", as_version=4)
        trees = [ast.parse(cell.source) for cell in notebook.cells if cell.cell_type == "code"]
        words = set().union(*map(words_in, trees))
        self.gap = f"(?:{'|'.join(map(re.escape, sorted(words)))})"
        for tree in trees:
            self._look(tree, kinds, words_in(tree), branched=False)

    def _look(self, node, kinds, words, branched):
        for child in ast.iter_child_nodes(node):
            self._look(child, kinds, words, branched or isinstance(node, ast.If))
        called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if not (called and node.func.attr in kinds and getattr(node.func.value, "id", "") == "page"):
            return
        place = 1 if node.func.attr in ("figure", "table") else 0
        named = [keyword.value for keyword in node.keywords if keyword.arg == "key"]
        key = node.args[place] if len(node.args) > place else named[0]
        if isinstance(key, ast.Constant):
            self.exact.add(key.value)
            self.branches[key.value] += branched
        elif isinstance(key, ast.JoinedStr):
            parts = (re.escape(p.value) if isinstance(p, ast.Constant) else self.gap for p in key.values)
            self.patterns.append("".join(parts))
        else:
            self.exact |= words

    def always(self, key):
        """Whether a key is shown whatever holds: outside every branch, or in more than one."""
        return key in self and self.branches[key] != 1

    def __contains__(self, key):
        return key in self.exact or any(re.fullmatch(pattern, key) for pattern in self.patterns)


@pytest.fixture(scope="module")
def shown():
    """`Shown` of a chapter for some kinds of things, read once."""
    read = {}

    def of(name, *kinds):
        if (name, kinds) not in read:
            read[name, kinds] = Shown(name, kinds)
        return read[name, kinds]

    return of


def test_the_expected_items_are_as_many_as_the_guidelines_say():
    assert len(wanted_items("tripod_ai")) == 52
    assert len(wanted_items("reforms")) == 32
    assert len(wanted_items("probast_ai")) == 16 + 18 + 3 + 3


@pytest.mark.parametrize("page", CHECKLISTS)
def test_every_item_of_a_checklist_stands_there_once_and_in_order(page):
    assert [row[0] for row in rows_of(page)] == wanted_items(page)


@pytest.mark.parametrize("page", CHECKLISTS)
def test_every_item_has_an_answer_and_leads_into_the_book_or_says_why_not(page):
    empty, idle = [], []
    for item, asked, *answer in rows_of(page):
        said = " ".join(answer)
        if not asked or not all(answer):
            empty.append(item)
        leads = ANCHOR.search(said) or PLAIN.search(said)
        reasoned = said.lower().startswith(HONEST) and len(said) >= SHORTEST_REASON
        if not (leads or reasoned):
            idle.append(item)
    assert (empty, idle) == ([], [])


def test_every_question_of_probast_is_answered_with_a_word_of_the_tool():
    wrong = {}
    for item, _, answer, *_ in rows_of("probast_ai"):
        if answer not in (CONCERNS if item[1] == "A" else ANSWERS):
            wrong[item] = answer
    assert wrong == {}


def test_every_question_about_the_paper_names_a_page_or_says_that_nothing_is_reported():
    said = re.compile(r"\(pp?\. \d+|as D\d\.\d|not reported|is reported")
    assert [row[0] for row in rows_of("probast_ai") if row[0][1] != "A" and not said.search(row[3])] == []


def test_a_domain_with_a_plain_no_is_not_rated_low_nor_left_unrated():
    answers = {row[0]: row[2] for row in rows_of("probast_ai")}
    text = text_of("probast_ai")
    names = ("participants and data sources", "predictors", "outcome", "analysis")
    for domain, name in enumerate(names, 1):
        rated = re.search(rf"^\| {name} \| (\w+) \| (\w+) \|", text, re.MULTILINE).groups()
        for part, rating in zip("DE", rated, strict=True):
            given = {answers[item] for item in answers if item.startswith(f"{part}{domain}.")}
            assert rating == ("high" if given & {"no", "probably no"} else "unclear"), (part, name)


@pytest.mark.parametrize("page", PAGES)
def test_every_chapter_that_a_page_leads_to_exists(page):
    text = text_of(page)
    named = {match[0] for match in ANCHOR.findall(text)} | set(PLAIN.findall(text))
    named |= {match[0] for match in GLUED.findall(text)}
    assert sorted(name for name in named if not (paths.NOTEBOOKS / f"{name}.ipynb").is_file()) == []


@pytest.mark.parametrize("page", PAGES)
def test_every_anchor_is_a_figure_or_table_its_chapter_always_shows(page, shown):
    missing = []
    for name, number, key in ANCHOR.findall(text_of(page)):
        if name[:2] != number:
            missing.append(f"{name} is not chapter {number}")
        elif not (paths.NOTEBOOKS / f"{name}.ipynb").is_file():
            missing.append(f"{name} does not exist")
        else:
            # a figure shown only if something holds would leave a dead link where it does not
            if not shown(name, "figure", "table").always(key):
                missing.append(f"{name}: {key}")
    assert sorted(set(missing)) == []


@pytest.mark.parametrize("page", PAGES)
def test_every_glued_value_is_one_that_its_chapter_gives(page, shown):
    asked = GLUED.findall(text_of(page))
    assert text_of(page).count("{glue:") == len(asked), "a glue that is not written `path.ipynb::key:`"
    assert [(n, key) for n, key in asked if not shown(n, "number", "words").always(key)] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_citation_and_every_other_page_is_there(page):
    text = text_of(page)
    bibliography = (paths.BOOK / "references.bib").read_text(encoding="utf-8")
    entries = set(re.findall(r"^@\w+\{([^,]+),", bibliography, re.MULTILINE))
    cited = {key.strip() for keys in CITED.findall(text) for key in keys.split(",")}
    assert cited - entries == set()
    others = set(re.findall(r"\]\((?!\.\./)([\w-]+\.md)\)", text))
    assert sorted(name for name in others if not (paths.BOOK / name).is_file()) == []


@pytest.mark.parametrize("page", PAGES)
def test_no_decimal_number_is_typed_unless_quoted_as_printed(page):
    text = re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)
    # code and glue, link targets, tags, quotations
    text = re.sub(r"`[^`]*`|\]\([^()\s]*\)|<[^>]*>|“[^”]*”", "", text)
    text = text.replace("CC BY 4.0", "").replace("doi:10.6084/m9.figshare.23849127", "")
    text = re.sub(r"\b[DE]\d\.\d\b", "", text)
    assert re.findall(r"(?<![\w.])\d+[.,]\d+", text) == []


def test_the_objection_page_names_commands_the_way_the_readme_does_and_keeps_a_place_for_replies():
    text = text_of("cite_and_object")
    for command in ("run --only NN", "audit --claim ID", "run --recheck N"):
        assert f"python -m pdlib {command}" in text
    assert "**Replies:**" in text
    assert "CHANGELOG.md" in text
    assert "`eq-25`" in text


def test_the_worked_objection_is_about_a_claim_as_the_ledger_has_it():
    with (paths.DATA / "claims.csv").open(encoding="utf-8", newline="") as file:
        claims = {row["id"]: row for row in csv.DictReader(file)}
    claim = claims["eq-25"]
    text = text_of("cite_and_object")
    assert f"*{claim['verdict']}*, is too hard" in text
    assert f"#pd-{claim['chapter']}-{claim['key']}" in text
    assert f"p. {claim['page']}, the formula numbered 25" in text
    examples = re.search(r"the claim's id \| (.*) \|", text)[1]
    assert [name for name in re.findall(r"`([^`]+)`", examples) if name not in claims] == []


def test_the_cards_say_what_the_models_are_not_for():
    card = text_of("model_card")
    assert "Not a diagnosis" in card
    for model in (
        "custnetgc", "custnet_overlay", "custnet_plain", "resnet50_head", "mobilenet_v2_head", "mobilenet_base",
        "mobilenet_025", "mobilenet_finetuned", "plain_cnn", "acoustic", "age", "age_sex", "shortcuts",
    ):  # fmt: skip
        assert f"`{model}`" in card, model
