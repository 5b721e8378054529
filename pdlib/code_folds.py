"""A Sphinx extension: every code cell can be folded; one that is not tagged hide-input begins open.

myst-nb folds the cells that are tagged. The others get the same fold, open, which works without a script and from
the keyboard.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

SHOW, HIDE = "Show the code", "Hide the code"


class OpenCode(nodes.Element):
    """Code that can be folded and is open."""


def _visit(translator: Any, _: OpenCode) -> None:
    translator.body.append(
        '<details class="admonition hide above-input pd-open" open>\n<summary>\n'
        f'<p class="collapsed admonition-title">{SHOW}</p>\n<p class="expanded admonition-title">{HIDE}</p>\n'
        "</summary>\n"
    )


def _depart(translator: Any, _: OpenCode) -> None:
    translator.body.append("</details>\n")


class FoldOpenCode(SphinxPostTransform):
    """Puts the code of each cell that nothing hides into a fold."""

    default_priority = 200  # right after myst-nb's own folds
    formats = ("html",)

    def run(self, **_: Any) -> None:
        """Change the page's tree."""
        for cell in list(self.document.findall(nodes.container)):
            if cell.get("nb_element") != "cell_code" or cell.get("hide_mode") or not cell.children:
                continue
            code = cell.children[0]
            if code.get("nb_element") == "cell_code_source":
                cell.replace(code, OpenCode("", code))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the node and the transform."""
    app.add_node(OpenCode, html=(_visit, _depart))
    app.add_post_transform(FoldOpenCode)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
