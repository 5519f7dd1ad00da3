from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryosplat.errors import CsError
from cryosplat.io.cs import read_cs, read_csg


def _save(path: Path, uid: list[int], **fields: list[float]) -> Path:
    columns = {name.replace("__", "/"): values for name, values in fields.items()}
    rows = np.zeros(len(uid), [("uid", "u8"), *((name, "f4") for name in columns)])
    rows["uid"] = uid
    for name, values in columns.items():
        rows[name] = values
    with open(path, "wb") as stream:
        np.save(stream, rows)
    return path


def test_passthroughs_are_joined_by_uid_and_fill_only_what_is_missing(tmp_path: Path) -> None:
    main = _save(tmp_path / "particles.cs", [3, 1, 2], a__x=[30, 10, 20])
    _save(tmp_path / "J1_passthrough_particles.cs", [1, 2, 3, 4], a__x=[0, 0, 0, 0],
          b__y=[1, 2, 3, 4])  # fmt: skip
    rows, _ = read_cs(main)
    assert rows.dtype.names == ("uid", "a/x", "b/y")
    assert rows["a/x"].tolist() == [30, 10, 20]
    assert rows["b/y"].tolist() == [3, 1, 2]


def test_a_passthrough_of_other_particles_is_not_used_by_itself(tmp_path: Path) -> None:
    main = _save(tmp_path / "particles.cs", [3, 1, 2], a__x=[30, 10, 20])
    other = _save(tmp_path / "J1_passthrough_class_0.cs", [1, 2], b__y=[1, 2])
    assert "b/y" not in (read_cs(main)[0].dtype.names or ())
    with pytest.raises(CsError, match=r"no particle with uid 3 \(1 of the 3 particles"):
        read_cs(main, {other: ()})


def test_fields_asked_for_by_name_replace_the_tables_own(tmp_path: Path) -> None:
    main = _save(tmp_path / "J2_particles.cs", [1, 2], ctf__u=[1, 2], ctf__old=[1, 2], a__x=[1, 2])
    other = _save(tmp_path / "J3.cs", [2, 1], ctf__u=[20, 10], a__x=[20, 10], b__y=[20, 10])
    rows, notes = read_cs(main, {other: ("ctf/",)})
    assert rows.dtype.names == ("uid", "a/x", "ctf/u", "b/y")  # nothing of the old CTF is left
    assert [rows[n].tolist() for n in ("ctf/u", "a/x", "b/y")] == [[10, 20], [1, 2], [10, 20]]
    assert [note.code for note in notes] == ["fields-replaced"]
    assert read_cs(main, {other: ("alignments3D/",)})[0]["ctf/u"].tolist() == [1, 2]
    # nor does a passthrough bring it back
    _save(tmp_path / "J2_passthrough.cs", [1, 2], ctf__old=[1, 2], c__z=[1, 2])
    assert read_cs(main, {other: ("ctf/",)})[0].dtype.names == ("uid", "a/x", "ctf/u", "b/y", "c/z")


def test_passthroughs_of_the_same_job_come_first(tmp_path: Path) -> None:
    main = _save(tmp_path / "P3_J42_001_particles.cs", [1, 2], a__x=[1, 2])
    _save(tmp_path / "J10_passthrough_particles.cs", [1, 2], b__y=[7, 8], c__z=[7, 8])
    own = _save(tmp_path / "P3_J42_passthrough_particles.cs", [1, 2], b__y=[3, 4])
    rows, notes = read_cs(main)
    assert rows.dtype.names == ("uid", "a/x", "b/y")
    assert rows["b/y"].tolist() == [3, 4] and notes == []
    own.unlink()
    rows, notes = read_cs(main)
    assert rows["b/y"].tolist() == [7, 8]
    assert [note.code for note in notes] == ["fields-of-another-job"]


def test_passthroughs_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    main = _save(tmp_path / "particles.cs", [1, 2], a__x=[1, 2])
    _save(tmp_path / "J1_passthrough.cs", [1, 2], b__y=[1, np.nan])
    other = _save(tmp_path / "J2_passthrough.cs", [2, 1], b__y=[np.nan, 1], c__z=[6, 5])
    assert read_cs(main)[0]["c/z"].tolist() == [5, 6]
    _save(other, [2, 1], b__y=[3, 1])
    with pytest.raises(CsError, match=r"J1_passthrough.cs and J2_passthrough.cs .* both have b/y"):
        read_cs(main)
    assert read_cs(main, {other: ()})[0]["b/y"].tolist() == [1, 3]


def test_what_an_incomplete_passthrough_alone_has_is_told(tmp_path: Path) -> None:
    main = _save(tmp_path / "J1_particles.cs", [1, 2, 3], a__x=[1, 2, 3])
    _save(tmp_path / "J1_passthrough.cs", [1, 2], ctf__tilt=[1, 2], b__y=[1, 2])
    _save(tmp_path / "J1_passthrough_all.cs", [1, 2, 3], b__y=[1, 2, 3])
    rows, notes = read_cs(main)
    assert rows.dtype.names == ("uid", "a/x", "b/y")
    assert [(note.code, note.severity) for note in notes] == [("passthrough-incomplete", "warning")]


@pytest.mark.parametrize("own", ["alignments3D_multi__pose", "alignments_class_1__pose"])
def test_poses_of_an_earlier_job_do_not_take_the_place_of_the_jobs_own(
    tmp_path: Path, own: str
) -> None:
    main = _save(tmp_path / "J5_particles.cs", [1, 2], **{own: [1, 2]})
    early = _save(tmp_path / "J5_passthrough.cs", [1, 2], alignments3D__pose=[8, 9], b__y=[1, 2],
                  alignments2D__pose=[1, 2])  # fmt: skip
    rows, notes = read_cs(main)
    assert rows.dtype.names == ("uid", own.replace("__", "/"), "b/y", "alignments2D/pose")
    assert [note.code for note in notes] == ["earlier-poses-unused"]
    kinds = ("alignments3D/", "alignments3D_multi/", "alignments_class_")
    assert read_cs(main, {early: kinds})[0]["alignments3D/pose"].tolist() == [8, 9]


def test_what_is_not_a_cs_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.cs"
    with pytest.raises(CsError, match="no such file"):
        read_cs(path)
    path.write_text("hello")
    with pytest.raises(CsError, match=r"not a cryoSPARC .cs table, or cut short"):
        read_cs(path)
    with open(path, "wb") as stream:
        np.save(stream, np.zeros(3))
    with pytest.raises(CsError, match=r"not a .cs table; its rows have no field uid"):
        read_cs(path)
    whole = _save(path, list(range(50)), a=[0.0] * 50).read_bytes()
    path.write_bytes(whole[:-40])
    with pytest.raises(CsError, match="cut short"):
        read_cs(path)


def test_objects_inside_a_table_are_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "a.cs"
    with open(path, "wb") as stream:
        np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(CsError, match="unreadable header, ValueError"):
        read_cs(path)
    with open(path, "wb") as stream:
        np.save(stream, np.zeros(1, [("uid", "u8"), ("a", "O")]), allow_pickle=True)
    with pytest.raises(CsError, match="unreadable header, ValueError"):
        read_cs(path)


def _file(path: Path, header: str, rows: bytes = b"") -> Path:
    raw = header.encode()
    path.write_bytes(b"\x93NUMPY\x02\0" + len(raw).to_bytes(4, "little") + raw + rows)
    return path


@pytest.mark.parametrize(
    ("header", "fragment"),
    [
        (
            "{'descr': [('uid', '<u8')], 'shape': (1000000000000000,)}",
            "8000000000000000 bytes, but",
        ),
        ("{'descr': [('uid', '<u8')], 'shape': (-1,)}", "header, ValueError"),
        ("{'descr': [('uid', '<u8')], 'shape': (1, 1)}", "claims (1, 1), 8 bytes"),
        ("{'descr': [('uid', '<u8'), ('uid', '<u8')], 'shape': (1,)}", "header, ValueError"),
        ("{'descr': [('uid', '<u8'), ('a', [('b', 'f4')])], 'shape': (1,)}", "header, TypeError"),
        ("[" * 10**5, "unreadable header"),
        ("__import__('os').system('true')", "unreadable header"),
        (
            "{'descr': [('uid', 'S0')], 'shape': (1000000000000,)}",
            "header, ValueError",
        ),
        ("{'descr': [('uid', '<u8')], 'shape': (0,)}", "claims (0,), 0 bytes, but it holds 3"),
    ],
    ids=range(9),
)
def test_headers_are_believed_only_as_far_as_the_file_goes(
    tmp_path: Path, header: str, fragment: str
) -> None:
    with pytest.raises(CsError) as error:
        read_cs(_file(tmp_path / "a.cs", header, b"abc"))
    assert fragment in str(error.value)


def test_the_stream_format_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.cs").write_bytes(b"\x94CSDAT" + bytes(100))
    with pytest.raises(CsError, match="cryoSPARC's stream format, which is not read"):
        read_cs(tmp_path / "a.cs")


_GROUP = """\
created: 2026-01-02 03:04:05
group:
  description: All particles
  name: particles
  type: particle
results:
  alignments3D:
    metafile: '>J44/J44_particles.cs'
    num_items: 3
    type: particle.alignments3D
  blob:
    metafile: '>J44/J44_passthrough_particles.cs'
    num_items: 3
version: v4.5.1
"""


def test_a_group_takes_each_field_from_the_file_it_names(tmp_path: Path) -> None:
    folder = tmp_path / "J44"
    folder.mkdir()
    _save(folder / "J44_particles.cs", [3, 1, 2], alignments3D__alpha=[30, 10, 20],
          blob__idx=[7, 7, 7])  # fmt: skip
    _save(folder / "J44_passthrough_particles.cs", [1, 2, 3, 4], alignments3D__alpha=[0] * 4,
          blob__idx=[1, 2, 3, 4], ctf__scale=[9] * 4)  # fmt: skip
    group = tmp_path / "J44" / "particles.csg"
    group.write_text(_GROUP)
    rows, _ = read_csg(group)
    assert rows.dtype.names == ("uid", "alignments3D/alpha", "blob/idx")
    assert rows["uid"].tolist() == [3, 1, 2]
    assert rows["alignments3D/alpha"].tolist() == [30, 10, 20]
    assert rows["blob/idx"].tolist() == [3, 1, 2]


def test_a_group_leaves_out_the_poses_of_an_earlier_job(tmp_path: Path) -> None:
    (tmp_path / "J44").mkdir()
    _save(tmp_path / "J44/J44_particles.cs", [3, 1], alignments3D_multi__pose=[3, 1])
    _save(tmp_path / "J44/J44_passthrough_particles.cs", [1, 3], alignments3D__alpha=[1, 3],
          blob__idx=[1, 3])  # fmt: skip
    group = tmp_path / "J44" / "particles.csg"
    earlier = _GROUP.replace("J44_particles.cs", "J44_passthrough_particles.cs")
    multi = "  alignments3D_multi:\n    metafile: '>J44/J44_particles.cs'\nversion"
    group.write_text(earlier.replace("version", multi))
    rows, notes = read_csg(group)
    assert rows.dtype.names == ("uid", "alignments3D_multi/pose", "blob/idx")
    assert [note.code for note in notes] == ["earlier-poses-unused"]


def test_a_group_that_names_no_files_or_missing_ones(tmp_path: Path) -> None:
    group = tmp_path / "particles.csg"
    with pytest.raises(CsError, match="no such file"):
        read_csg(group)
    group.write_text("hello: [1, 2]\n")
    with pytest.raises(CsError, match=r"names no \.cs files"):
        read_csg(group)
    group.write_text(_GROUP)
    with pytest.raises(CsError, match=r"names J44/J44_particles\.cs, which is neither beside it"):
        read_csg(group)
