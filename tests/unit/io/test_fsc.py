"""FSC curves as files."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cryosplat.errors import InputError, OutputError
from cryosplat.io.fsc import read_fsc_csv, write_fsc_csv, write_fsc_xml


def test_a_table_comes_back_with_its_gaps(tmp_path: Path) -> None:
    path = tmp_path / "fsc.csv"
    write_fsc_csv(path, [0.0, 0.25], {"a, b": [1.0, math.nan], "c": [1.0, -0.5]})
    assert path.read_text() == (
        'shell,frequency (1/A),resolution (A),"a, b",c\n'
        "0,0.00000000,,1.000000,1.000000\n"
        "1,0.25000000,4.0000,,-0.500000\n"
    )
    frequencies, curves = read_fsc_csv(path)
    assert frequencies == [0.0, 0.25]
    assert math.isnan(curves["a, b"][1]) and curves["c"] == [1.0, -0.5]


@pytest.mark.parametrize(
    "text", ["", "shell,x\n0,1\n", "shell,frequency (1/A),resolution (A),a\n0,0.0,,1,2\n"]
)
def test_another_table_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=r"other.csv: not a table of FSC curves.*\n  Remedy: cryo"):
        read_fsc_csv(path)


def test_a_missing_table_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no.csv: cannot be read \(No such file"):
        read_fsc_csv(tmp_path / "no.csv")


def test_the_xml_is_one_title_two_axes_and_pairs_of_numbers(tmp_path: Path) -> None:
    path = write_fsc_xml(tmp_path / "fsc.xml", [0.0, 0.1, 0.2], [1, math.nan, 0.5], 'a <"b">')
    root = ElementTree.parse(path).getroot()
    assert root.tag == "fsc" and set(root.attrib) == {"title", "xaxis", "yaxis"}
    assert root.attrib["title"] == 'a <"b">'
    assert [c.tag for c in root] == ["coordinate"] * 2
    assert [[(e.tag, float(e.text or "")) for e in c] for c in root] == [
        [("x", 0.0), ("y", 1.0)],
        [("x", 0.2), ("y", 0.5)],
    ]


def test_nothing_is_left_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"fsc.xml: cannot be written"):
        write_fsc_xml(tmp_path / "no" / "fsc.xml", [0.0], [1.0], "a")
