"""Checkpoints: floats come back bit for bit, and nothing else is taken for one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryosplat.errors import InputError, OutputError
from cryosplat.io.checkpoint import CheckpointFile


def test_arrays_and_values_come_back(tmp_path: Path) -> None:
    path = tmp_path / "a.checkpoint"
    arrays = {"a.b": np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32),
              "step": np.array(7.0, np.float32)}  # fmt: skip
    values = {"sum": 0.1 + 0.2, "list": [1, 2], "text": "Å"}
    CheckpointFile(path).write(arrays, values)
    found, again = CheckpointFile(path).read()
    assert again == values
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        assert np.array_equal(found[name], array)


def test_an_older_checkpoint_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.checkpoint"
    CheckpointFile(path).write({"a": np.zeros(2)}, {"n": 1})
    with pytest.raises(TypeError):
        CheckpointFile(path).write({"a": np.zeros(2)}, {"n": object()})
    assert CheckpointFile(path).read()[1] == {"n": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.checkpoint"]


def test_a_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        CheckpointFile(tmp_path / "none" / "a.checkpoint").write({"a": np.zeros(2)}, {})


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.checkpoint"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a checkpoint file written by cryosplat"):
        CheckpointFile(path).read()


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.checkpoint"
    CheckpointFile(path).write({"a": np.zeros(100)}, {"n": 1})
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError, match="not a checkpoint"):
        CheckpointFile(path).read()


def test_a_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        CheckpointFile(tmp_path / "none.checkpoint").read()
