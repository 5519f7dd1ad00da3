"""The public names: all there, nothing else, and cheap."""

from __future__ import annotations

import subprocess
import sys

import pytest

import cryosplat


def test_every_public_name_can_be_had() -> None:
    for name in cryosplat.__all__:
        assert getattr(cryosplat, name) is not None
    assert sorted(cryosplat.__all__) == sorted(cryosplat._HOME)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'cryosplat' has no attribute 'gaussian'"):
        _ = cryosplat.gaussian


@pytest.mark.parametrize("code", ["import cryosplat", "import cryosplat.cli._app"])
def test_import_loads_no_torch_and_no_numba(code: str) -> None:
    check = f"{code}; import sys; print(sorted({{'torch', 'numba', 'numpy'}} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert loaded.stdout.strip() == "[]", loaded.stderr
