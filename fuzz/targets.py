"""What is fuzzed: each reader on arbitrary bytes. Only errors of cryosplat's own may come out."""

from __future__ import annotations

import atexit
import io
import pickle
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np

from cryosplat.errors import CryosplatError
from cryosplat.io.checkpoint import CheckpointFile
from cryosplat.io.cs import read_cs, read_csg
from cryosplat.io.fsc import read_fsc_csv
from cryosplat.io.mrc import StackFile, read_map, write_stack
from cryosplat.io.pickles import load_pickle
from cryosplat.io.star import read_star
from cryosplat.mixture import GaussianMixture
from cryosplat.particles import read_particles
from cryosplat.run_folder import RunFolder
from cryosplat.run_folder.stored_states import StoredStates
from cryosplat.settings import ReconstructionSettings
from cryosplat.statistics import Statistics

IMAGES = 3
BOX_SIZE = 8


@cache
def folder() -> Path:
    """A folder in memory with a stack, ``poses.pkl`` and ``ctf.pkl`` for files to speak of."""
    base = Path("/dev/shm")
    scratch = Path(tempfile.mkdtemp("-fuzz", "cryosplat-", base if base.is_dir() else None))
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    images = np.random.default_rng(0).normal(size=(IMAGES, BOX_SIZE, BOX_SIZE))
    write_stack(scratch / "p.mrcs", images, 1.5)
    (scratch / "poses.pkl").write_bytes(pickle.dumps(poses()))
    (scratch / "ctf.pkl").write_bytes(pickle.dumps(ctf()))
    (scratch / "J1_particles.cs").write_bytes(cs_table())
    return scratch


def poses() -> tuple[np.ndarray, np.ndarray]:
    """Rotations and translations as cryoDRGN writes them."""
    return np.stack([np.eye(3, dtype=np.float32)] * IMAGES), np.zeros((IMAGES, 2), np.float32)


def ctf() -> np.ndarray:
    """CTF values as cryoDRGN writes them."""
    row = [BOX_SIZE, 1.5, 1.1e4, 1.0e4, 30.0, 300.0, 2.7, 0.1, 0.0]
    return np.array([row] * IMAGES, np.float32)


def cs_table(**more: np.ndarray) -> bytes:
    """A cryoSPARC table of the images in `folder`."""
    n = IMAGES
    fields = {
        "uid": np.arange(n, dtype="u8") + 7, "blob/path": np.array([b">p.mrcs"] * n),
        "blob/idx": np.arange(n, dtype="u4"), "blob/shape": np.full((n, 2), BOX_SIZE, "u4"),
        "blob/psize_A": np.full(n, 1.5, "f4"), "blob/sign": np.array([-1, 1, 1], "f4"),
        "ctf/accel_kv": np.full(n, 300, "f4"), "ctf/cs_mm": np.full(n, 2.7, "f4"),
        "ctf/amp_contrast": np.full(n, 0.1, "f4"), "ctf/df1_A": np.full(n, 1.1e4, "f4"),
        "ctf/df2_A": np.full(n, 1e4, "f4"), "ctf/df_angle_rad": np.full(n, 0.5, "f4"),
        **more,
    }  # fmt: skip
    rows = np.empty(n, [(name, v.dtype, v.shape[1:]) for name, v in fields.items()])
    for name, values in fields.items():
        rows[name] = values
    stream = io.BytesIO()
    np.save(stream, rows)
    return stream.getvalue()


def _file(name: str, content: bytes) -> Path:
    path = folder() / name
    path.write_bytes(content)
    return path


def star(content: bytes) -> None:
    """A star file: its tables, the particles they describe, and their images."""
    path = _file("fuzzed.star", content)
    tables = read_star(path).values()
    labels = ("rlnImageName", "rlnTomoTomogramsFile", "cisTEMPositionInStack")
    if any(label in table for table in tables for label in labels):
        next(read_particles(path).batches())


def cs(content: bytes) -> None:
    """A cryoSPARC table or group, the particles it describes, and their images; as poses and CTF
    of another table too."""
    if content[:1] == b"\x93":
        path = _file("fuzzed.cs", content)
        read_cs(path)
        with suppress(CryosplatError):
            main = folder() / "J1_particles.cs"
            next(read_particles(main, poses=path, ctf=path).batches())
        next(read_particles(path).batches())
    else:
        read_csg(_file("fuzzed.csg", content))


def pkl(content: bytes) -> None:
    """A pickle, also as the poses and as the CTF values of a stack."""
    path = _file("fuzzed.pkl", content)
    load_pickle(path)
    for given in ({"poses": path}, {"ctf": path}):
        try:
            read_particles(folder() / "p.mrcs", **given)
        except CryosplatError:
            continue


def mrc(content: bytes) -> None:
    """An MRC file as a stack and as a map."""
    path = _file("fuzzed.mrcs", content)
    stack = StackFile(path)
    stack.read([0, stack.n_images - 1])
    read_map(path)


def ply(content: bytes) -> None:
    """A mixture of Gaussians."""
    GaussianMixture.load(_file("fuzzed.ply", content)).whole().covariances()


def run(content: bytes) -> None:
    """The summary of a run."""
    RunFolder(_file("run.json", content).parent).read_summary()


def fsc(content: bytes) -> None:
    """A table of FSC curves."""
    read_fsc_csv(_file("fsc.csv", content))


def settings(content: bytes) -> None:
    """A file of settings, which can be written again."""
    ReconstructionSettings.from_toml(_file("settings.toml", content)).to_toml()


def checkpoint(content: bytes) -> None:
    """A checkpoint of a run."""
    CheckpointFile(_file("fuzzed.checkpoint", content)).read()


def statistics(content: bytes) -> None:
    """Statistics of particles."""
    repr(Statistics.load(_file("fuzzed.statistics", content)))


def states(content: bytes) -> None:
    """The mixtures of a run of ``classify`` or ``motion``."""
    folder = RunFolder(_file("states.safetensors", content).parent)
    for place in ([1.0], [0.3, 0.2]):
        with suppress(CryosplatError):
            StoredStates.open(folder).at(place)
    StoredStates.open(folder).at([0.3])


READERS: dict[str, Callable[[bytes], None]] = {
    "star": star, "cs": cs, "pkl": pkl, "mrc": mrc, "ply": ply, "run": run, "fsc": fsc,
    "settings": settings, "checkpoint": checkpoint, "statistics": statistics, "states": states,
}  # fmt: skip


def survives(reader: str, content: bytes) -> bool:
    """Whether ``reader`` accepts the bytes; False where it refuses them with an error of ours.

    Anything else that it raises is a finding and is let through.
    """
    try:
        READERS[reader](content)
    except CryosplatError as error:
        if not str(error).strip():
            raise AssertionError("an error without a message") from error
        return False
    return True
