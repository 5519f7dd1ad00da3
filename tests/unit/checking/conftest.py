"""Simulated sets to plant faults in: made once, with one thread, for they are small."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numba
import pytest
import torch
from planted import PlantedSet, planted, simulate_clean


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    yield
    torch.set_num_threads(before[0])
    numba.set_num_threads(before[1])


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The star file of a set with these settings, simulated when it is first asked for."""
    made: dict[str, Path] = {}

    def get(**settings: object) -> Path:
        key = repr(sorted(settings.items()))
        if key not in made:
            made[key] = simulate_clean(tmp_path_factory.mktemp("set") / "set", **settings)
        return made[key]

    return get


@pytest.fixture
def clean(simulated: Callable[..., Path], tmp_path: Path) -> PlantedSet:
    """The clean set, in tables of this test's own."""
    return planted(simulated(), tmp_path)
