from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryosplat.errors import OutputError, StarError
from cryosplat.io.star import read_star, write_star

_TWO = "data_a\nloop_\n_rlnA\n_rlnB\n"


def _read(tmp_path: Path, text: str) -> dict[str, pd.DataFrame]:
    path = tmp_path / "a.star"
    path.write_text(text)
    return read_star(path)


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.star"
    path.write_bytes(b"\xef\xbb\xbfdata_optics\nloop_\n_a #1\n1\n\ndata_b\nloop_\n_c\n2\n")
    assert list(read_star(path)) == ["optics", "b"]


def test_blocks_come_in_file_order_without_prefixes(tmp_path: Path) -> None:
    blocks = _read(tmp_path, "data_optics\nloop_\n_rlnA #1\n1\n\ndata_\nloop_\n_rlnB\n2.5\n3")
    assert list(blocks) == ["optics", ""]
    assert blocks["optics"]["rlnA"].tolist() == [1]
    assert blocks[""]["rlnB"].tolist() == [2.5, 3.0]


def test_junk_before_the_first_block_tabs_and_blank_rows_are_skipped(tmp_path: Path) -> None:
    header = "co1\tco2\n\t\t\ndata_images\t\t\n\t\nloop_ \t\t\n_rlnA #1\t\t\n_rlnB #2 \t\n"
    text = header + "1\t2\t\t\n\t\t\n3\t4\t\n"
    table = _read(tmp_path, text)["images"]
    assert table.to_dict("list") == {"rlnA": [1, 3], "rlnB": [2, 4]}


def test_comments_end_a_line_but_a_hash_inside_a_name_stays(tmp_path: Path) -> None:
    text = (
        "# v\ndata_a # b\n# c\nloop_ # d\n# e\n_rlnXName #1\n_rlnB #2\nm#1.mrc 2 # f #g\n# h\nn 3\n"
    )
    table = _read(tmp_path, text)["a"]
    assert table["rlnXName"].tolist() == ["m#1.mrc", "n"]
    assert table["rlnB"].tolist() == [2, 3]


def test_quoted_values_keep_their_spaces_and_may_be_empty(tmp_path: Path) -> None:
    header = "data_a\nloop_\n_rlnXName\n_rlnB\n_rlnMtfFileName\n"
    text = header + '\'my #1 stack.mrc\' 2 "" # c\n"b c" 3 x\n'
    table = _read(tmp_path, text)["a"]
    assert table["rlnXName"].tolist() == ["my #1 stack.mrc", "b c"]
    assert table["rlnB"].tolist() == [2, 3]
    assert table["rlnMtfFileName"].tolist() == ["", "x"]


def test_names_that_look_like_numbers_stay_text(tmp_path: Path) -> None:
    table = _read(tmp_path, "data_a\nloop_\n_rlnMicrographName\n_rlnB\n0003 1e5\n1e5 2\n")["a"]
    assert table["rlnMicrographName"].tolist() == ["0003", "1e5"]
    assert table["rlnB"].tolist() == [1e5, 2.0]


def test_windows_line_ends_and_lists_in_brackets(tmp_path: Path) -> None:
    path = tmp_path / "a.star"
    path.write_bytes(b"data_a\r\nloop_\r\n_rlnOddZernike #1\r\n_rlnB #2\r\n[1,2] 4\r\n")
    table = read_star(path)["a"]
    assert table["rlnOddZernike"].tolist() == ["[1,2]"]
    assert table["rlnB"].tolist() == [4]


def test_single_values_become_a_table_of_one_row(tmp_path: Path) -> None:
    table = _read(tmp_path, "data_general\n\n_rlnTomoSubTomosAre2DStacks   1 # c\n_rlnX abc\n")
    assert table["general"].to_dict("list") == {
        "rlnTomoSubTomosAre2DStacks": [1],
        "rlnX": ["abc"],
    }


def test_a_row_may_begin_with_an_underscore(tmp_path: Path) -> None:
    table = _read(tmp_path, "data_a\nloop_\n_rlnXName\n_rlnB\n_x.mrc 2\n")["a"]
    assert table["rlnXName"].tolist() == ["_x.mrc"]


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("hello\nworld\n", "so this is not a STAR file (it begins with 'hello')"),
        ("", "no line begins with 'data_'"),
        (_TWO + "1 2\n3\n5 6\n", "data_a row 2: 1 values were given for 2 columns (1 rows of"),
        (_TWO + "1 2 3\n4 5 6\n", "data_a row 1: 3 values were given for 2 columns (2 rows of"),
        (_TWO + "1 2\n3 4 5\n", "data_a row 2: 3 values were given for 2 columns"),
        (_TWO + "1 'x y'\n3 4 5\n", "data_a row 2: 3 values were given for 2 columns"),
        ("data_a\nloop_\n_rlnA\n_rlnA\n1 2\n", "the column rlnA occurs 2 times"),
        (_TWO + "1 2\n\n" + _TWO + "1 2\n", "the block data_a occurs twice"),
        (_TWO + "1 2\nloop_\n_rlnA\n1\n", "'loop_' follows the rows of a table"),
        ("data_a\nnonsense here\n", "expected 'loop_' or '_label value', found 'nonsense here'"),
    ],
)  # fmt: skip
def test_malformed_files_are_refused(tmp_path: Path, text: str, fragment: str) -> None:
    with pytest.raises(StarError) as error:
        _read(tmp_path, text)
    assert fragment in str(error.value)


def test_binary_and_missing_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.star"
    with pytest.raises(StarError, match="no such file"):
        read_star(path)
    path.write_bytes(bytes(2048))
    with pytest.raises(StarError, match=r"not a STAR file but binary data \(2048 bytes\)"):
        read_star(path)


def test_an_empty_table_keeps_its_columns(tmp_path: Path) -> None:
    table = _read(tmp_path, "data_a\nloop_\n_rlnA #1\n_rlnB #2\n\n")["a"]
    assert list(table.columns) == ["rlnA", "rlnB"]
    assert len(table) == 0


def test_what_is_written_is_read_back_exactly(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "rlnImageName": ["1@a b.mrcs", "", "#3@c"],
            "rlnX": np.array([1 / 3, -2.5e-7, 1e20]),
            "rlnN": [1, 2, 3],
        }
    )
    write_star(tmp_path / "b.star", {"optics": table[["rlnN"]], "particles": table})
    blocks = read_star(tmp_path / "b.star")
    assert list(blocks) == ["optics", "particles"]
    assert blocks["particles"].to_dict("list") == table.to_dict("list")


def test_a_failed_write_leaves_nothing_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "kept.star").write_text("old")
    broken = {"a": pd.DataFrame({"x": [1]}), "b": None}
    with pytest.raises(AttributeError):
        write_star(tmp_path / "kept.star", broken)  # type: ignore[arg-type]
    assert (tmp_path / "kept.star").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["kept.star"]
    with pytest.raises(OutputError, match="cannot be written"):
        write_star(tmp_path / "no" / "such.star", {"a": pd.DataFrame({"x": [1]})})


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("data_x\n" + "# a " * 5000 + "\nx\n", "expected 'loop_' or '_label value'"),
        ("data_x\nloop_\n_a\n" + "# a " * 5000 + "\nb c\n", "2 values were given for 1 columns"),
        ("data_x\nloop_\n" + "_a\n" * 10_001, "10001 columns, expected at most 10000"),
        ("data_x\nloop_\n" + "".join(f"_a{i}\n" for i in range(9000)) + "1\n" * 20_000,
         "1 values were given for 9000 columns (20000 rows"),
        ("".join(f"data_{i}\n" for i in range(10_002)), "more than 10000 tables"),
        ("data_x\nloop_\n_a\n" + "\" " * 20_001 + "\n", "values were given for 1 columns"),
    ],
    ids=["comment", "comment among labels", "columns", "short rows", "tables", "quotes"],
)  # fmt: skip
def test_small_files_that_ask_for_much_are_refused_at_once(
    tmp_path: Path, text: str, fragment: str
) -> None:
    begin = time.perf_counter()
    with pytest.raises(StarError) as error:
        _read(tmp_path, text)
    assert fragment in str(error.value)
    assert time.perf_counter() - begin < 10.0


_NUMBERS = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))
_TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=12).filter(
    lambda text: "'" not in text or '"' not in text
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data(), st.integers(1, 4), st.integers(1, 3))
def test_whatever_is_written_is_read_back(data: st.DataObject, n: int, columns: int) -> None:
    table = pd.DataFrame(
        {
            **{f"rlnN{i}": data.draw(st.lists(_NUMBERS, min_size=n, max_size=n))
               for i in range(columns)},
            **{f"rlnT{i}Name": data.draw(st.lists(_TEXTS, min_size=n, max_size=n))
               for i in range(columns)},
        }
    )  # fmt: skip
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.star"
        write_star(path, {"particles": table})
        assert read_star(path)["particles"].to_dict("list") == table.to_dict("list")


@pytest.mark.parametrize("text", ["a 'b' \"c\" d", "two\nlines", "a\tb"])
def test_text_that_no_quotes_can_hold_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(StarError, match=r"column rlnName, row 1: .* cannot be written to a STAR"):
        write_star(tmp_path / "a.star", {"a": pd.DataFrame({"rlnName": [text]})})
    assert not list(tmp_path.iterdir())
