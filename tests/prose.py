"""What prose may not hold: a number that is neither glued from a run nor quoted as printed, and glue of nothing.

A number of the paper, or of another text, stands in quotation marks. A number that is only supposed, as in an exercise,
is set as mathematics (``$0.8$``). A duration or another setting is said in words or glued.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pdlib.claims import shown_in
from pdlib.params import Chapter

#: What is no claim of ours, by name; each is taken out of the text before numbers are looked for.
NOT_OURS = {
    "equation": r"\$\$.*?\$\$|\\begin\{(\w+\*?)\}.*?\\end\{\1\}",
    "inline mathematics": r"(?<![\\$])\$(?!\$)(?:\\.|[^$\\])+\$",
    "role, such as a glued number or a citation": r"\{[\w:-]+\}`[^`]*`",
    "inline code": r"(?<!`)(`{1,2})(?!`)(?:(?!\n\s*\n).)*?(?<!`)\1(?!`)",
    "address of a link": r"\]\([^)\s]*\)|<?https?://[^\s>)]+>?",
    "DOI": r"\b10\.\d{4,}/\S+",
    "tag": r"<[a-zA-Z/!][^>]*>",
    "target or option of a directive": r"^\([\w.-]+\)=[ \t]*$|^[ \t]*:[\w-]+:[^\n]*$",
    "quotation": r"“[^”]*”|‘[^’]*’|\"(?:(?!\n\s*\n)[^\"])*\"|(?<!\w)'[^'\n]{1,80}'(?!\w)",
    "number of a section, equation, figure, table, page or algorithm": (
        r"(?:\b(?:[Ss]ections?|[Ee]qs?\.|[Ee]quations?|[Ff]igures?|[Ff]igs?\.|[Tt]ables?|[Aa]lgorithms?|[Aa]lg\.|pp?\.)|§)"
        r"\s*\d+(?:\.\d+)*(?:(?:\s*[–-]\s*|,\s*|,?\s+and\s+|,?\s+or\s+)\d+(?:\.\d+)+)*"
    ),
    "number of three parts": r"\b\d+\.\d+\.\d+(?:\.\d+)*\b",
    "version": (
        r"\b(?:Python|TensorFlow|Keras|NumPy|SciPy|librosa|scikit-learn|CatBoost|papermill|tf-keras-vis|Jupyter Book|"
        r"MathJax|CC[ -]BY|version|MIT)[ -]+v?\d+(?:\.\d+)+"
    ),
    "level of an interval": r"\b95[\s\u00a0]%(?=[\s\u00a0]+(?:(?:bootstrap|confidence)[\s\u00a0]+)?intervals?\b)",
}  # fmt: skip
NUMBER = re.compile(r"(?<![\w.,/-])[−+-]?(?:\d+\.\d+(?:[\s\u00a0]?%)?|\d+[\s\u00a0]?%)(?![\w./]*\w)")
GLUE = re.compile(r"\{glue(:\w+)?\}`([^`]*)`")
_TAKEN_OUT = [re.compile(pattern, re.DOTALL | re.MULTILINE) for pattern in NOT_OURS.values()]


FENCE = re.compile(r"[ \t]*(`{3,}|~{3,}|:{3,})[ \t]*(.*)$")
CODE = re.compile(
    r"(?!\{)|\{(?:math|code-cell|code-block|code)\}"
)  # what follows the fence of a block without prose


def _without_blocks(text: str) -> str:
    """Markdown with the lines of code and equation blocks made empty; the text inside other directives stays."""
    lines, fences = [], []
    for line in text.splitlines():
        fence, inside_code = FENCE.match(line), bool(fences) and fences[-1][1]
        if fence and not fence[2] and fences and fence[1].startswith(fences[-1][0]):
            fences.pop()
            line = ""
        elif fence and not inside_code:
            fences.append((fence[1], CODE.match(fence[2]) is not None))
            line = fence[2].partition("}")[2]  # the title of an admonition
        lines.append("" if inside_code else line)
    return "\n".join(lines)


def bare_numbers(text: str) -> list[tuple[int, str]]:
    """Line and number of every decimal or percentage in Markdown that nothing in `NOT_OURS` accounts for."""
    text = _without_blocks(text)
    for pattern in _TAKEN_OUT:
        # the lines stay as many, and what stands on both sides is not joined
        text = pattern.sub(lambda match: "\n" * match[0].count("\n") + "·", text)
    lines = enumerate(text.splitlines(), 1)
    return [(number, match[0]) for number, line in lines for match in NUMBER.finditer(line)]


def glue_faults(text: str, chapters: Mapping[str, Chapter], own: str = "") -> list[str]:
    """Glue in Markdown that leads to nothing.

    Parameters
    ----------
    text : str
    chapters : mapping
        Chapters by number.
    own : str
        Number of the chapter the text stands in; empty for a page that is no chapter.
    """
    faults = []
    files = {f"../notebooks/{chapter.path.name}": chapter for chapter in chapters.values()}
    for role, target in GLUE.findall(text):
        file, apart, key = target.rpartition("::")
        chapter = files.get(file) if apart else chapters.get(own)
        if role != ":text":
            faults.append(f"{target}: write {{glue:text}}, for the plain role puts quotation marks around it")
        elif chapter is None:
            faults.append(f"{target}: no such chapter")
        elif apart and not key.endswith(":"):
            faults.append(f"{target}: the form that leads to another page ends in a colon")
        elif not shown_in(chapter).fullmatch(key.removesuffix(":") if apart else key):
            faults.append(f"{target}: chapter {chapter.number} defines no such number or words")
    return faults
