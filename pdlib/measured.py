"""What the bench and the harnesses measured, as the pages of the book show it.

``data/bench.json`` and ``data/robustness.json`` hold one section per part or harness; a page names the sections it
wants, and they are written into it when the pages are laid out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DIGITS = 3  # that a time or a ratio is worth


def short(value: Any) -> str:
    """A value as a table shows it: a number with three digits that count, whole ones whole; nothing as a dash."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) or (
        isinstance(value, float) and value.is_integer() and abs(value) >= 10**DIGITS
    ):
        return f"{int(value):,}".replace(",", "\u202f") if abs(value) >= 10_000 else str(int(value))
    if isinstance(value, float):
        if value == 0:
            return "0"
        if abs(value) >= 10 ** (DIGITS - 1):
            return short(round(value))
        text = f"{value:.{DIGITS}g}"
        return (
            f"{float(text):.{DIGITS}f}".rstrip("0").rstrip(".")
            if "e" in text and abs(value) >= 1e-3
            else text
        )
    return str(value)


def ratio(row: Mapping[str, Any]) -> str:
    """How many times as fast as the reference a way is: median of the rounds, and in brackets their range."""
    if row.get("ratio") is None:
        return "–"
    if row["ratio"] == row.get("ratio_low") == row.get("ratio_high") == 1:
        return "1, the reference"
    return f"{short(row['ratio'])} ({short(row['ratio_low'])} to {short(row['ratio_high'])})"
