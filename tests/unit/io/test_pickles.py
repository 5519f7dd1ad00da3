from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from cryosplat.errors import PickleError
from cryosplat.io.pickles import load_pickle


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_and_plain_data_are_read_in_every_protocol(
    tmp_path: Path, protocol: int, order: str
) -> None:
    arrays = [
        np.asarray(np.random.default_rng(0).normal(size=(3, 4)), order=order),
        np.arange(5, dtype=np.float32),
        np.array([], dtype=np.int64),
        np.float64(2.5),
        np.array(["a", "bc"]),
    ]
    value = {"arrays": arrays, "set": {1, 2}, "complex": 1 + 2j, "dict": OrderedDict(a=1)}
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(value, protocol))
    loaded = load_pickle(path)
    for given, read in zip(arrays, loaded["arrays"], strict=True):
        np.testing.assert_array_equal(given, read)
        assert given.dtype == read.dtype
    assert loaded["set"] == {1, 2}
    assert loaded["complex"] == 1 + 2j
    assert loaded["dict"] == {"a": 1}


def test_names_of_old_and_new_numpy_are_known(tmp_path: Path) -> None:
    raw = pickle.dumps(np.arange(3.0), 2)
    new = raw.replace(b"numpy.core.multiarray", b"numpy._core.multiarray")
    old = raw.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert new != old
    for content in (old, new):
        (tmp_path / "a.pkl").write_bytes(content)
        np.testing.assert_array_equal(load_pickle(tmp_path / "a.pkl"), [0.0, 1.0, 2.0])


class _Exploit:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple:
        return os.system, (f"touch '{self.witness}'",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_runs_a_command_is_refused_and_runs_nothing(
    tmp_path: Path, protocol: int
) -> None:
    witness = tmp_path / "witness"
    payload = pickle.dumps((np.zeros(3), _Exploit(witness)), protocol)
    (tmp_path / "poses.pkl").write_bytes(payload)
    with pytest.raises(PickleError) as error:
        load_pickle(tmp_path / "poses.pkl")
    assert not witness.exists()
    assert "it asks to run" in str(error.value) and "system" in str(error.value)
    assert "Nothing was run" in str(error.value)
    pickle.loads(payload)  # the payload is a real one
    assert witness.exists()


@pytest.mark.parametrize(
    "payload",
    [
        b"cbuiltins\neval\n(S'1+1'\ntR.",
        b"cbuiltins\ngetattr\n.",
        b"cnumpy\nfromfile\n.",
        b"cnumpy\nload\n.",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
        b"ccopyreg\n_reconstructor\n.",
        b"cnumpy.core.multiarray\n_reconstruct\n(cbuiltins\nlist\nI0\nS'b'\ntR.",
    ],
)
def test_no_other_name_is_looked_up(tmp_path: Path, payload: bytes) -> None:
    (tmp_path / "a.pkl").write_bytes(payload)
    with pytest.raises(PickleError, match="refused, because it asks to run"):
        load_pickle(tmp_path / "a.pkl")


def test_the_array_type_cannot_be_called(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(b"cnumpy\nndarray\n(I2\ntR.")
    with pytest.raises(PickleError, match="not a pickle, or cut short"):
        load_pickle(tmp_path / "a.pkl")


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(np.array([{}], dtype=object)))
    with pytest.raises(PickleError, match="an array of type 'O8'"):
        load_pickle(tmp_path / "a.pkl")


def test_cut_and_missing_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    with pytest.raises(PickleError, match="no such file"):
        load_pickle(path)
    path.write_bytes(pickle.dumps(np.zeros(100))[:-50])
    with pytest.raises(PickleError, match="not a pickle, or cut short"):
        load_pickle(path)
    path.write_text("hello")
    with pytest.raises(PickleError, match="not a pickle, or cut short"):
        load_pickle(path)
