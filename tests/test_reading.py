"""Files that somebody else may have written: what would hang, fill the memory or end in an exception of a library."""

import os

import pytest

from pdlib.errors import LONGEST, DataError, ParameterError, PdlibError
from pdlib.paths import as_folder, named, shown
from pdlib.reading import MOST_COLUMNS, read_table, read_text


def table(tmp_path, content: bytes):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    return read_table(path, "mend it")


def test_a_table_is_read_as_texts_without_its_byte_order_mark_and_blank_lines(tmp_path):
    frame = table(tmp_path, '\ufeffa,b\n\n1,"x,\ny"\n,nan\n'.encode())
    assert frame.to_dict("list") == {"a": ["1", ""], "b": ["x,\ny", "nan"]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"a,b\n1\n", "line 2 has 1 fields in place of 2"),
        (b"a,b\n1,2,3\n", "line 2 has 3 fields in place of 2"),
        (b"a,a\n1,2\n", "names a column twice"),
        (b"a,b\n1,\0\n", "line 2 holds a zero byte"),
        (b'a,b\n1,"x\n', "line 2: unexpected end"),
        (b"a,b\n1," + b"x" * 140_000, "line 2"),
        (b"a" + b"," * MOST_COLUMNS, f"line 1 has {MOST_COLUMNS + 1} fields"),
        ("a,b".encode("utf-16"), "is not UTF-8"),
    ],
)
def test_a_table_that_is_none_is_refused_with_its_line(content, said, tmp_path):
    with pytest.raises(DataError, match=said):
        table(tmp_path, content)


def test_a_text_that_is_too_large_is_refused_before_it_is_read_whole(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    assert read_text(path, "", most=5) == "12345"
    with pytest.raises(DataError, match="more than 4 bytes"):
        read_text(path, "", most=4)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="it is no file"):
        read_text(tmp_path / "pipe", "")


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "~nobody-of-this-name/x"])
def test_a_name_that_no_file_can_have_is_refused(name):
    assert as_folder(name) is None
    assert shown(name) is not None
    with pytest.raises(ParameterError, match="cannot be the name of a file"):
        named(name)


def test_a_name_of_a_file_that_is_not_there_yet_is_taken(tmp_path):
    assert named(str(tmp_path / "none" / "x")) == tmp_path / "none" / "x"
    assert as_folder(tmp_path) == tmp_path


def test_an_error_can_be_printed_whatever_the_file_was_called():
    said = str(PdlibError("a\udcff\x1b[2J\nb", "é"))
    assert said.encode("utf-8").decode() == "a\\udcff\\x1b[2J\nb\n  → é"


def test_an_error_stays_short_whatever_the_file_says():
    assert len(PdlibError("x" * 10**6).problem) < LONGEST + 10
