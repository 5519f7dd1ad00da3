"""Kernels are compiled and kept wherever there is a place for them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from cryosplat import _kernel_cache as cache


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Neither the package nor a home can be written to; TMPDIR is the folder returned."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(cache, "_is_writable", lambda folder: False)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    return tmp_path


def test_a_folder_of_the_user_takes_the_place_and_is_used_again(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.choose_kernel_cache()
    folder = Path(os.environ["NUMBA_CACHE_DIR"])
    assert folder.parent == nowhere and stat.S_IMODE(folder.stat().st_mode) == 0o700
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    cache.choose_kernel_cache()
    assert Path(os.environ["NUMBA_CACHE_DIR"]) == folder


@pytest.mark.parametrize("trap", ["others may write", "link"])
def test_a_folder_that_others_could_fill_is_not_trusted(nowhere: Path, trap: str) -> None:
    folder = nowhere / f"cryosplat-kernels-{os.getuid()}"
    if trap == "link":
        (nowhere / "elsewhere").mkdir()
        folder.symlink_to(nowhere / "elsewhere")
    else:
        folder.mkdir()
        folder.chmod(0o777)
    cache.choose_kernel_cache()
    assert Path(os.environ["NUMBA_CACHE_DIR"]) != folder


def test_the_users_own_choice_stays(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/somewhere")
    cache.choose_kernel_cache()
    assert os.environ["NUMBA_CACHE_DIR"] == "/somewhere"


def test_an_ordinary_installation_is_left_to_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    cache.choose_kernel_cache()
    assert "NUMBA_CACHE_DIR" not in os.environ


def test_a_folder_is_writable_where_its_first_parent_is(tmp_path: Path) -> None:
    assert cache._is_writable(str(tmp_path / "a" / "b"))
    (tmp_path / "file").write_text("")
    assert not cache._is_writable(str(tmp_path / "file" / "b"))
