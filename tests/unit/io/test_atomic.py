"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cryosplat.errors import OutputError
from cryosplat.io import staging
from cryosplat.io.atomic import replacing

KILLED = """
import os, signal, sys
from pathlib import Path
from cryosplat.io.atomic import replacing
with replacing(Path(sys.argv[1])) as stream:
    stream.write(b"half")
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as stream:
        stream.write(content)


@pytest.mark.parametrize("length", [1, 200, 255])
def test_names_up_to_the_limit_of_the_file_system(tmp_path: Path, length: int) -> None:
    _write(tmp_path / ("x" * length), b"whole")
    assert (tmp_path / ("x" * length)).read_bytes() == b"whole"
    assert len(os.listdir(tmp_path)) == 1


def test_a_name_over_the_limit_is_an_error_with_that_name(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"x{256}: cannot be written \(File name too long\)"):
        _write(tmp_path / ("x" * 256), b"")
    assert os.listdir(tmp_path) == []


def test_the_first_error_is_the_one_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*arguments: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "replace", failing)
    monkeypatch.setattr(Path, "unlink", failing)
    with pytest.raises(OutputError, match=r"a\.star: cannot be written \(Read-only file system\)"):
        _write(tmp_path / "a.star", b"")


def test_an_error_inside_leaves_the_older_file(tmp_path: Path) -> None:
    _write(tmp_path / "a", b"old")
    with pytest.raises(RuntimeError), replacing(tmp_path / "a") as stream:
        stream.write(b"half")
        raise RuntimeError
    assert (tmp_path / "a").read_bytes() == b"old" and os.listdir(tmp_path) == ["a"]


def test_the_mode_of_a_replaced_file_stays(tmp_path: Path) -> None:
    _write(tmp_path / "a", b"old")
    (tmp_path / "a").chmod(0o640)
    _write(tmp_path / "a", b"new")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_what_a_killed_program_left_is_cleared_and_that_of_others_kept(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "a")], check=False)
    (left,) = os.listdir(tmp_path)
    assert left.endswith(".partial")
    other = tmp_path / ".cryosplat-00000000-1-0.partial"
    mine = tmp_path / f".cryosplat-{staging.Owner.this().machine}-{os.getpid()}-999.partial"
    other.write_bytes(b"")
    mine.write_bytes(b"")
    _write(tmp_path / "a", b"whole")
    assert sorted(os.listdir(tmp_path)) == sorted([other.name, mine.name, "a"])
