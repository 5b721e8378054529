"""Files that somebody else may have written: read within bounds, and refused with a reason.

Whatever is in such a file, reading it ends soon, takes little memory, and either gives what was asked for or raises
`DataError`.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd

from pdlib.errors import DataError
from pdlib.paths import shown

LARGEST_TEXT = 16 * 2**20  # bytes; the largest table of the book has 2 MB
MOST_ROWS = 200_000
MOST_COLUMNS = 100
LONGEST_FIELD = 20_000  # characters


def read_text(path: Path | str, way_out: str, most: int = LARGEST_TEXT) -> str:
    """Text of a UTF-8 file of at most ``most`` bytes, without its byte order mark; line ends stay as they are.

    Raises
    ------
    DataError
        When the file cannot be opened, is too large, or is not UTF-8.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():  # a folder; or a pipe, which would be waited for
            raise DataError(f"cannot read {shown(path)}: it is no file", way_out)
        with path.open("rb") as file:
            content = file.read(most + 1)
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        said = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read {shown(path)}: {said}", way_out) from error
    if len(content) > most:
        raise DataError(f"{shown(path)} is too large: more than {most:,} bytes", way_out)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{shown(path)} is not UTF-8 text (byte {error.start})", way_out) from error


def table_rows(text: str, delimiter: str = ",") -> list[list[str]]:
    """Fields of each line of a CSV text that is not blank, the header first; all rows are as long as the header.

    Raises
    ------
    ValueError
        Naming the line.
    """
    rows: list[list[str]] = []
    if "\0" in text:
        raise ValueError(f"line {text[: text.index(chr(0))].count(chr(10)) + 1} holds a zero byte")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            if not row:
                continue
            if len(row) > MOST_COLUMNS:
                raise ValueError(f"line {reader.line_num} has {len(row)} fields, more than {MOST_COLUMNS}")
            if rows and len(row) != len(rows[0]):
                raise ValueError(f"line {reader.line_num} has {len(row)} fields in place of {len(rows[0])}")
            if max(map(len, row)) > LONGEST_FIELD:
                raise ValueError(
                    f"line {reader.line_num} has a field of more than {LONGEST_FIELD} characters"
                )
            if len(rows) > MOST_ROWS:
                raise ValueError(f"there are more than {MOST_ROWS} lines")
            rows.append(row)
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from error
    return rows


def read_table(path: Path | str, way_out: str) -> pd.DataFrame:
    """A CSV file as a table of texts, an empty field as an empty text.

    Raises
    ------
    DataError
        When it cannot be read, has no header, names a column twice, or a line is longer or shorter than the header.
    """
    try:
        rows = table_rows(read_text(path, way_out))
    except ValueError as error:
        raise DataError(f"{shown(path)} is no table: {error}", way_out) from error
    if not rows:
        raise DataError(f"{shown(path)} is no table: it is empty", way_out)
    if len(set(rows[0])) < len(rows[0]):
        raise DataError(f"{shown(path)} names a column twice", way_out)
    return pd.DataFrame(rows[1:], columns=rows[0], dtype=str)
