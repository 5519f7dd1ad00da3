"""A short run of what ``fuzz/`` does for long: damaged files end in errors of cryosplat's own."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FUZZ = Path(__file__).resolve().parents[3] / "fuzz"
PARTICLES = ("star", "cs", "pkl", "mrc", "ply")
RUNS = ("run", "fsc", "settings", "checkpoint", "statistics", "states")
READERS = PARTICLES + RUNS


@pytest.fixture(scope="module")
def targets() -> ModuleType:
    """``fuzz/targets.py``, which is no package."""
    spec = importlib.util.spec_from_file_location("fuzz_targets", FUZZ / "targets.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_targets"] = module
    spec.loader.exec_module(module)
    return module


def _corpus(reader: str) -> list[bytes]:
    files = sorted((FUZZ / "corpus" / reader).iterdir())
    assert files
    return [file.read_bytes() for file in files]


_WORDS = [b"\n", b"\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"nan", b"1e400", b"9" * 30, b"@",
          b'"', b"_rlnOpticsGroup", b"loop_\n", b"data_\n", b"R.", b"(", b"t", b"\x94",
          b"[", b"{}", b"null", b"\xc3"]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A good file with some bytes replaced, removed, doubled or put in."""
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        end = min(len(content), at + draw(st.sampled_from((0, 1, 1, 4, 8, 100))))
        what = draw(st.sampled_from(("bytes", "word", "cut", "double", "end")))
        if what == "bytes":
            content[at:end] = draw(st.binary(min_size=end - at, max_size=max(1, end - at)))
        elif what == "word":
            content[at:end] = draw(st.sampled_from(_WORDS))
        elif what == "cut":
            del content[at:end]
        elif what == "double":
            content[at:at] = content[at:end]
        else:
            del content[at:]
    return bytes(content)


@pytest.mark.parametrize("reader", READERS)
def test_every_seed_is_read_or_refused(targets: ModuleType, reader: str) -> None:
    read = [content for content in _corpus(reader) if targets.survives(reader, content)]
    assert read


@pytest.mark.parametrize("reader", READERS)
def test_damaged_files_end_in_our_errors(targets: ModuleType, reader: str) -> None:
    number = 150 if reader in ("star", "cs", "pkl", *RUNS) else 400

    @settings(max_examples=number, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(damaged(_corpus(reader)))
    def check(content: bytes) -> None:
        targets.survives(reader, content)

    check()


@pytest.mark.parametrize("reader", READERS)
def test_arbitrary_bytes_end_in_our_errors(targets: ModuleType, reader: str) -> None:
    @settings(max_examples=50, deadline=None, derandomize=True, database=None)
    @given(st.binary(max_size=2000))
    def check(content: bytes) -> None:
        targets.survives(reader, content)

    check()
