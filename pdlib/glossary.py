"""A Sphinx extension: the first use of each glossary term on a page becomes a link to the glossary.

Terms are those of the ``{glossary}`` directive, so a new term needs no markup anywhere. A term without capitals is
found with or without a capital first letter; one with capitals ("AUC", "Brier score") only as it is written. Both may
have a plural "s". Only running text is searched: no heading, caption, code, equation, table head, link, output of a
cell or number glued into the prose.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

LONGEST_HINT = 220  # characters of a definition shown while a mouse rests on a term
_NOT_RUNNING_TEXT = (
    nodes.title, nodes.subtitle, nodes.rubric, nodes.strong, nodes.caption, nodes.legend, nodes.term, nodes.thead,
    nodes.field_name, nodes.literal, nodes.literal_block, nodes.math, nodes.math_block, nodes.raw, nodes.comment,
    nodes.image, nodes.reference, nodes.target, nodes.footnote_reference, nodes.citation_reference, nodes.label,
    nodes.citation, nodes.system_message, nodes.problematic, nodes.substitution_definition, nodes.topic,
    addnodes.pending_xref, addnodes.toctree, addnodes.compact_paragraph, addnodes.glossary, addnodes.desc_signature,
)  # fmt: skip
_NOT_CLASSES = {
    "pasted-text",
    "cell",
    "pd-term",
}  # glued words, cells with their outputs, what is linked already
# HTML written into the prose is kept as it is, tag by tag, with the text between them
_HTML = re.compile(
    r"<(/?)(a|button|code|pre|kbd|script|style|summary|svg|th|caption|figcaption|h[1-6])\b", re.IGNORECASE
)


def pattern(terms: list[str]) -> re.Pattern[str] | None:
    """What finds any of the terms in running text, the longest first; None without terms."""
    written = [_written(term) for term in sorted(terms, key=lambda term: (-len(term), term))]
    return re.compile(rf"(?<![\w-])({'|'.join(written)})s?(?![\w-])") if written else None


def _written(term: str) -> str:
    # Sphinx has bent the apostrophes of running text by then
    words = r"\s+".join(map(re.escape, term.split())).replace("'", "['’]")
    if term != term.lower() or not term[:1].isalpha():
        return words
    return f"[{term[0]}{term[0].upper()}]{words[1:]}"


def _key(found: str, terms: Mapping[str, Any]) -> str:
    """The term that was found, as the glossary writes it."""
    text = " ".join(found.split()).replace("’", "'")
    return text if text in terms else text[0].lower() + text[1:]


class LinkTerms(SphinxPostTransform):
    """Links the first use of each term, once all pages are read."""

    default_priority = 900  # after references, citations and glued outputs are in place
    formats = ("html",)

    def run(self, **_: Any) -> None:
        """Change the page's tree."""
        terms = _terms(self.env, self.app)
        here = self.env.docname
        if any(fnmatch(here, page) for page in self.config.glossary_unlinked):
            return
        terms = {term: place for term, place in terms.items() if place[0] != here}
        wanted = pattern(list(terms))
        done: set[str] = set()
        for text in list(_running_text(self.document)) if wanted else ():
            parts = self._linked(text.astext(), wanted, terms, done)
            if len(parts) > 1:
                text.parent.replace(text, parts)

    def _linked(
        self,
        text: str,
        wanted: re.Pattern[str],
        terms: Mapping[str, tuple[str, str, str, str]],
        done: set[str],
    ) -> list[nodes.Node]:
        parts: list[nodes.Node] = []
        end = 0
        for found in wanted.finditer(text):
            page, anchor, entry, hint = terms[_key(found[1], terms)]
            if entry in done:  # several words can stand for one entry
                continue
            done.add(entry)
            uri = self.app.builder.get_relative_uri(self.env.docname, page)
            link = nodes.reference(
                "", "", nodes.Text(found[0]), internal=True, refuri=f"{uri}#{anchor}", classes=["pd-term"]
            )
            if hint:
                link["reftitle"] = hint
            parts += [nodes.Text(text[end : found.start()]), link]
            end = found.end()
        return [*parts, nodes.Text(text[end:])]


def _running_text(document: nodes.Element) -> Iterator[nodes.Text]:
    """Text nodes in the order of the page, without those that are no running text."""

    def walk(node: nodes.Element, inside: int) -> Iterator[nodes.Text]:
        _join(node)
        for child in node.children:
            if isinstance(child, nodes.Text):
                if not inside:
                    yield child
            elif isinstance(child, nodes.raw):
                for closing, _ in _HTML.findall(child.astext()):
                    inside = max(0, inside - 1) if closing else inside + 1
            elif not isinstance(child, _NOT_RUNNING_TEXT) and not _NOT_CLASSES & set(
                child.get("classes", ())
            ):
                yield from walk(child, inside)

    yield from walk(document, 0)


def _join(node: nodes.Element) -> None:
    """Make one of texts that stand side by side: each line of a paragraph is a text of its own."""
    for index in range(len(node.children) - 1, 0, -1):
        before, after = node.children[index - 1 : index + 1]
        if isinstance(before, nodes.Text) and isinstance(after, nodes.Text):
            node[index - 1 : index + 1] = [nodes.Text(before + after)]


def _terms(env: Any, app: Sphinx) -> dict[str, tuple[str, str, str, str]]:
    """Page, anchor, entry and the beginning of the definition of each term; looked up once per build."""
    if not hasattr(app, "_pd_glossary_terms"):
        found = {
            term: place for (kind, term), place in env.get_domain("std").objects.items() if kind == "term"
        }
        entries = {}
        for page in {page for page, _ in found.values()}:
            entries |= {(page, anchor): entry for anchor, entry in _entries(env.get_doctree(page))}
        app._pd_glossary_terms = {term: (*place, *entries[place]) for term, place in found.items()}
    return app._pd_glossary_terms


def _entries(tree: nodes.document) -> Iterator[tuple[str, tuple[str, str]]]:
    """Anchor of each term, with the first term of its entry and the first sentence of its definition."""
    for glossary in tree.findall(addnodes.glossary):
        for item in glossary.findall(nodes.definition_list_item):
            terms, definition = list(item.findall(nodes.term)), next(item.findall(nodes.definition))
            text = " ".join(definition.astext().split())
            first = re.split(r"(?<=[^.\s]{2}[.?!])\s(?=[A-Z“])", text, maxsplit=1)[0]
            for anchor in (anchor for term in terms for anchor in term["ids"]):
                yield anchor, (terms[0].astext(), first if len(first) <= LONGEST_HINT else "")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the transform; ``glossary_unlinked`` names pages (with ``*``) whose text stays as it is."""
    app.add_config_value("glossary_unlinked", [], "env")
    app.add_post_transform(LinkTerms)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
