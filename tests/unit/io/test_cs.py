from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryosplat.errors import CsError
from cryosplat.io.cs import read_cs


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
    rows = read_cs(main)
    assert rows.dtype.names == ("uid", "a/x", "b/y")
    assert rows["a/x"].tolist() == [30, 10, 20]
    assert rows["b/y"].tolist() == [3, 1, 2]


def test_a_passthrough_of_other_particles_is_not_used_by_itself(tmp_path: Path) -> None:
    main = _save(tmp_path / "particles.cs", [3, 1, 2], a__x=[30, 10, 20])
    other = _save(tmp_path / "J1_passthrough_class_0.cs", [1, 2], b__y=[1, 2])
    assert "b/y" not in (read_cs(main).dtype.names or ())
    with pytest.raises(CsError, match=r"no particle with uid 3 \(1 of the 3 particles"):
        read_cs(main, [other])


def test_what_is_not_a_cs_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.cs"
    with pytest.raises(CsError, match="no such file"):
        read_cs(path)
    path.write_text("hello")
    with pytest.raises(CsError, match=r"not a cryoSPARC .cs table, or cut short"):
        read_cs(path)
    with open(path, "wb") as stream:
        np.save(stream, np.zeros(3))
    with pytest.raises(CsError, match=r"a .cs table has named fields, among them uid"):
        read_cs(path)
    whole = _save(path, list(range(50)), a=[0.0] * 50).read_bytes()
    path.write_bytes(whole[:-40])
    with pytest.raises(CsError, match="cut short"):
        read_cs(path)


def test_objects_inside_a_table_are_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "a.cs"
    with open(path, "wb") as stream:
        np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(CsError, match=r"not a cryoSPARC .cs table"):
        read_cs(path)
