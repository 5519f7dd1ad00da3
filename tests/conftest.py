"""Fixtures for all tests: the shared data where it exists, and small data sets made on the spot."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
from data_sets import DataSet, make_data_set


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    """A command that sets the number of threads sets it for itself: sums are rounded alike after it."""
    before = numba.get_num_threads(), torch.get_num_threads()
    yield
    if (numba.get_num_threads(), torch.get_num_threads()) != before:
        numba.set_num_threads(before[0])
        torch.set_num_threads(before[1])


@pytest.fixture
def generator(request: pytest.FixtureRequest) -> torch.Generator:
    """Random numbers, of the seed that the test's module says: its ``SEED``, or 0."""
    return torch.Generator().manual_seed(getattr(request.module, "SEED", 0))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data: ``$CRYOSPLAT_SHARED``, or ``shared`` beside the repository."""
    beside = Path(__file__).resolve().parents[1].parent / "shared"
    folder = Path(os.environ.get("CRYOSPLAT_SHARED", beside))
    if not (folder / "data").is_dir():
        pytest.skip(f"no shared data in {folder} (set CRYOSPLAT_SHARED)")
    return folder


@pytest.fixture
def data_set(tmp_path: Path) -> DataSet:
    """Twelve 8-pixel images in ``tmp_path``."""
    return make_data_set(tmp_path)


@pytest.fixture
def star(data_set: DataSet) -> Callable[..., Path]:
    """Writes ``particles.star``; keywords replace or drop columns as in `DataSet.star_rows`."""

    def write(**replaced: object) -> Path:
        path = data_set.folder / "particles.star"
        path.write_text(data_set.star_rows(**replaced))
        return path

    return write


@pytest.fixture
def pickles(data_set: DataSet) -> tuple[Path, Path]:
    """``poses.pkl`` and ``ctf.pkl`` of the data set, as cryoDRGN writes them."""
    side = data_set.box_size * data_set.pixel_size
    n = data_set.n
    ctf = np.column_stack(
        [np.full(n, data_set.box_size), np.full(n, data_set.pixel_size), data_set.defocus,
         np.full(n, 300.0), np.full(n, 2.7), np.full(n, 0.1), np.zeros(n)]
    ).astype(np.float32)  # fmt: skip
    poses = data_set.folder / "poses.pkl"
    poses.write_bytes(pickle.dumps((data_set.rotations, data_set.origins / side)))
    path = data_set.folder / "ctf.pkl"
    path.write_bytes(pickle.dumps(ctf))
    return poses, path
