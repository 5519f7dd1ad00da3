from __future__ import annotations

import os
import pickle
import time
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from cryosplat.errors import PickleError
from cryosplat.io.pickles import load_pickle, save_pickle


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


class _Persistent(pickle.Pickler):
    def persistent_id(self, obj: object) -> str | None:
        return "outside" if isinstance(obj, Path) else None


class _WithState:
    def __setstate__(self, state: object) -> None:
        raise AssertionError("a state was set")


_WITNESS = b"touch /tmp/cryosplat-pickle-witness"


@pytest.mark.parametrize(
    ("payload", "asks"),
    [
        (b"cos\nsystem\n(S'%b'\ntR." % _WITNESS, "os.system"),  # GLOBAL, REDUCE
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "os.system"),  # STACK_GLOBAL
        (b"(S'%b'\nios\nsystem\n." % _WITNESS, "os.system"),  # INST
        (b"(cos\nsystem\nS'%b'\no." % _WITNESS, "os.system"),  # OBJ
        (b"\x80\x02(cnumpy\nndarray\nI3\no.", "a class"),  # OBJ of a known name
        (b"\x80\x02cnumpy\nndarray\n)\x81.", "a class"),  # NEWOBJ
        (b"\x80\x04cnumpy\nndarray\n)}\x92.", "a class"),  # NEWOBJ_EX
        (b"ccopyreg\n__newobj__\n(cbuiltins\nset\ntR.", "copyreg.__newobj__"),
        (b"ccopy_reg\n_reconstructor\n.", "copy_reg._reconstructor"),
        (b"\x80\x02\x82\x01.", "an extension of pickle"),  # EXT1
        (b"\x80\x02\x83\x01\x02.", "an extension of pickle"),  # EXT2
        (b"\x80\x02\x84\x01\x02\x03\x04.", "an extension of pickle"),  # EXT4
        (b"Poutside\n.", "an object outside the file"),  # PERSID
        (b"\x80\x02K\x01Q.", "an object outside the file"),  # BINPERSID
        (b"\x80\x05\x97.", "a buffer outside the file"),  # NEXT_BUFFER
        (b"}}S'__class__'\nN\x86b.", "the state of dict"),  # BUILD
        (b"]}b.", "the state of list"),
        (b"cbuiltins\ncomplex\n(K\x01K\x02tR}b.", "the state of complex"),
        (b"cnumpy\nndarray\n}S'x'\nK\x01sb.", "the state of Name"),
        (b"cbuiltins\n__import__\n(S'os'\ntR.", "builtins.__import__"),
        (b"cbuiltins\nset.__init__\n.", "builtins.set.__init__"),
        (b"\x80\x04\x8c\x05numpy\x8c\x15ndarray.__reduce_ex__\x93.", "numpy.ndarray.__red"),
        (b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\n(I0\ntS'b'\ntR.", "another type"),
        (b"c_codecs\nencode\n(S'a'\nS'unicode_escape'\ntR.", "of another encoding"),
        (pickle.dumps(np.zeros(2, [("a", "f4")])), "a structured type"),
    ],
)  # fmt: skip
def test_every_way_to_run_code_is_refused_by_name(
    tmp_path: Path, payload: bytes, asks: str
) -> None:
    path = tmp_path / "poses.pkl"
    path.write_bytes(payload)
    with pytest.raises(PickleError) as error:
        load_pickle(path)
    assert "refused, because it asks to run" in str(error.value) and asks in str(error.value)
    assert not Path("/tmp/cryosplat-pickle-witness").exists()


def test_states_and_persistent_objects_of_real_picklers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    with open(path, "wb") as stream:
        _Persistent(stream).dump(tmp_path)
    with pytest.raises(PickleError, match="an object outside the file"):
        load_pickle(path)
    path.write_bytes(pickle.dumps(_WithState()))
    with pytest.raises(PickleError, match="_WithState"):
        load_pickle(path)


_BOMB = b"\x80\x02)q\x000" + b"h\x00h\x00\x86q\x000" * 60 + b"}h\x00Ns."


@pytest.mark.parametrize(
    "payload",
    [
        b"]r\xff\xff\xff\xff.",  # a memo of 2^32 places would take 32 GB
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # 2^63 bytes
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.",  # a frame of 2^63 bytes
        b"I" + b"9" * 10**5 + b"\n.",  # a long decimal number
        b"\x8b\xff\xff\x00\x00" + bytes(65535) + b".",  # a long binary one
        _BOMB,  # a key whose hash is a sum of 2^60 parts
        b"(" * 20000 + b"t" * 20000 + b".",  # nested tuples
        b"]q\x00h\x00a" * 10**4 + b".",
        b"X" + (10**5).to_bytes(4, "little") + b"a" * 10**5 + b"q\x00"
        + b"c_codecs\nencode\n(h\x00tR" * 1000 + b".",  # 100 MB out of 100 kB
    ],
    ids=["memo", "bytes", "frame", "decimal", "binary", "hash", "nested", "lists", "copies"],
)  # fmt: skip
def test_small_files_that_ask_for_much_are_refused_at_once(tmp_path: Path, payload: bytes) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(payload)
    begin = time.perf_counter()
    if payload.startswith(b"]r"):
        assert load_pickle(path) == []
    else:
        with pytest.raises(PickleError, match="not a pickle, or cut short"):
            load_pickle(path)
    assert time.perf_counter() - begin < 10.0


def test_what_is_written_is_read(tmp_path: Path) -> None:
    value = (np.arange(6.0).reshape(2, 3), np.zeros((2, 2), np.float32), [1, "a"])
    save_pickle(tmp_path / "a.pkl", value)
    first, second, third = load_pickle(tmp_path / "a.pkl")
    np.testing.assert_array_equal(first, value[0])
    assert (second.dtype, second.shape, third) == (np.float32, (2, 2), [1, "a"])
    assert pickle.loads((tmp_path / "a.pkl").read_bytes())[2] == [1, "a"]


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
