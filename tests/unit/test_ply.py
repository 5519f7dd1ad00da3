"""Mixture files: what is written is read, and what is broken is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tolerances
import torch

from cryosplat.errors import InputError, OutputError
from cryosplat.io.ply import COLUMNS, read_ply, write_ply
from cryosplat.mixture import GaussianMixture


def _mixture(k: int = 5) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(3)
    quaternions = rng.normal(size=(k, 4))
    quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
    arrays = rng.normal(size=(k, 3)), rng.uniform(1, 3, (k, 3)), quaternions, rng.normal(size=k)
    return tuple(values.astype(np.float32) for values in arrays)


@pytest.mark.parametrize("k", [0, 1, 5])
def test_round_trip_is_exact(tmp_path: Path, k: int) -> None:
    path, mixture = tmp_path / "m.ply", _mixture(k)
    write_ply(path, *mixture, comments=("box 128",))
    read = read_ply(path)
    given = read.means, read.scales, read.quaternions, read.amplitudes
    for ours, theirs in zip(mixture, given, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert read.comments[-1] == "box 128"
    assert any("Angstrom" in comment for comment in read.comments)
    assert [p.name for p in tmp_path.iterdir()] == ["m.ply"]


def test_extra_columns_follow_the_standard_ones_and_are_explained(tmp_path: Path) -> None:
    path, mixture = tmp_path / "m.ply", _mixture()
    extra = {"sigma_position": np.arange(5.0), "local_resolution": np.full(5, 3.5)}
    write_ply(path, *mixture, extra=extra)
    read = read_ply(path)
    np.testing.assert_array_equal(read.means, mixture[0])
    np.testing.assert_array_equal(read.amplitudes, mixture[3])
    assert list(read.extra) == list(extra)
    np.testing.assert_array_equal(read.sigma_position, np.arange(5))
    np.testing.assert_array_equal(read.extra["local_resolution"], 3.5)
    assert read.sigma_amplitude is None
    assert any(comment.startswith("sigma_position: standard dev") for comment in read.comments)


@pytest.mark.parametrize("name", ["scale_1", "two words", "", "1st", "größe"])
def test_extra_columns_need_names_of_their_own(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot name an extra column"):
        write_ply(tmp_path / "m.ply", *_mixture(), extra={name: np.zeros(5)})
    with pytest.raises(InputError, match=r"sigma has shape \(4,\), expected \(5,\)"):
        write_ply(tmp_path / "m.ply", *_mixture(), extra={"sigma": np.zeros(4)})


def test_bytes_are_what_the_header_says(tmp_path: Path) -> None:
    """Golden layout: another program reads 11 little-endian floats a row in this order."""
    path = tmp_path / "m.ply"
    write_ply(path, [[1, 2, 3]], [[4, 5, 6]], [[1, 0, 0, 0]], [7])
    header, body = path.read_bytes().split(b"end_header\n")
    assert header.startswith(b"ply\nformat binary_little_endian 1.0\ncomment ")
    properties = [line.split()[-1] for line in header.decode().splitlines() if "property" in line]
    assert tuple(properties) == COLUMNS
    assert np.frombuffer(body, "<f4").tolist() == [1, 2, 3, 4, 5, 6, 1, 0, 0, 0, 7]


def test_other_column_orders_types_and_extra_columns_are_read(tmp_path: Path) -> None:
    path = tmp_path / "m.ply"
    names = ("red", *reversed(COLUMNS))
    row = np.zeros(1, [("red", "u1"), *((name, ">f8") for name in names[1:])])
    for i, name in enumerate(COLUMNS):
        row[name] = i + 1
    lines = ["ply", "format binary_big_endian 1.0", "element vertex 1", "property uchar red"]
    lines += [f"property double {name}" for name in names[1:]]
    path.write_bytes("\n".join([*lines, "end_header", ""]).encode() + row.tobytes())
    read = read_ply(path)
    assert read.means.tolist() == [[1, 2, 3]]
    assert read.quaternions.tolist() == [[7, 8, 9, 10]]
    assert read.amplitudes.tolist() == [11]
    assert {name: values.tolist() for name, values in read.extra.items()} == {"red": [0]}


def _broken(path: Path, old: bytes, new: bytes) -> None:
    write_ply(path, *_mixture())
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"ply\n", b"pls\n", "not a PLY file"),
        (b"end_header", b"end_heads", "not a PLY file"),
        (b"binary_little_endian", b"ascii", "convert the file to binary"),
        (b"element vertex 5", b"element vertex 6", "promises 6 Gaussians"),
        (b"element vertex 5", b"element vertex 4", "promises 4 Gaussians"),
        (b"element vertex 5", b"element face 5", "'element face 5' cannot be used"),
        (b"element vertex 5", b"element vertex x", "'element vertex x' cannot be used"),
        (b"float amplitude", b"float opacity", "amplitude are missing.*3-D Gaussian splatting"),
        (b"float amplitude", b"list amplitude", "'property list amplitude' cannot be used"),
        (b"float scale_1", b"float scale_0", "scale_1 are missing"),
    ],
)
def test_a_broken_header_is_named(tmp_path: Path, old: bytes, new: bytes, message: str) -> None:
    path = tmp_path / "m.ply"
    _broken(path, old, new)
    with pytest.raises(InputError, match=message) as error:
        read_ply(path)
    assert str(error.value).startswith(str(path))


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.ply"
    write_ply(path, *_mixture())
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(InputError, match="cut short"):
        read_ply(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_ply(tmp_path / "m.ply")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, np.nan, "Gaussian 2 has a value that is NaN.*1 of 5"),
        (4, -1.2, "Gaussian 2 has a scale that is not positive.*not their logarithms"),
        (slice(6, 10), 0.0, "Gaussian 2 has a quaternion of length 0"),
    ],
)
def test_impossible_values_are_named(
    tmp_path: Path, column: int | slice, value: float, message: str
) -> None:
    path = tmp_path / "m.ply"
    write_ply(path, *_mixture())
    header, body = path.read_bytes().split(b"end_header\n")
    rows = np.frombuffer(body, "<f4").reshape(5, 11).copy()
    rows[2, column] = value
    path.write_bytes(header + b"end_header\n" + rows.tobytes())
    with pytest.raises(InputError, match=message):
        read_ply(path)


def test_nothing_wrong_is_written(tmp_path: Path) -> None:
    means, scales, quaternions, amplitudes = _mixture()
    path = tmp_path / "m.ply"
    with pytest.raises(InputError, match=r"scales has shape \(5, 2\), expected \(5, 3\)"):
        write_ply(path, means, scales[:, :2], quaternions, amplitudes)
    with pytest.raises(InputError, match="5 values of amplitudes are NaN or infinite"):
        write_ply(path, means, scales, quaternions, amplitudes * np.inf)
    with pytest.raises(OutputError, match="cannot be written"):
        write_ply(tmp_path / "absent" / "m.ply", means, scales, quaternions, amplitudes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("symmetry", ["D2", "T", "I3"])
def test_a_symmetric_mixture_is_stored_as_its_asymmetric_unit(
    tmp_path: Path, symmetry: str
) -> None:
    path, mixture = tmp_path / "m.ply", _mixture()
    write_ply(path, *mixture, extra={"sigma_position": np.arange(5.0)}, symmetry=symmetry)
    read = read_ply(path)
    assert read.symmetry == symmetry and len(read.means) == 5
    assert f"cryosplat symmetry {symmetry}" in read.comments
    ours = read.whole()
    torch_like = GaussianMixture(*map(torch.from_numpy, mixture), symmetry=symmetry).whole()
    assert ours.symmetry == "C1" and len(ours.means) == len(torch_like) > 5
    for name in ("means", "scales", "amplitudes"):
        theirs = getattr(torch_like, name).numpy()
        np.testing.assert_allclose(getattr(ours, name), theirs, **tolerances.COVARIANCE_FLOAT32)
    both = ours.quaternions, torch_like.quaternions.numpy()  # each known but for its sign
    np.testing.assert_allclose(np.abs(np.sum(both[0] * both[1], 1)), 1.0, atol=1e-5)
    np.testing.assert_array_equal(ours.extra["sigma_position"][5:10], np.arange(5))


def test_without_symmetry_the_header_is_silent_and_whole_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "m.ply"
    write_ply(path, *_mixture())
    read = read_ply(path)
    assert b"symmetry" not in path.read_bytes()
    assert read.symmetry == "C1" and read.whole() is read


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        ("cryosplat symmetry Q9", "the header's symmetry is 'Q9', expected C1 to C99"),
        ("cryosplat symmetry", "the header's symmetry is ''"),
        ("cryosplat symmetry D7 D8", "the header's symmetry is 'D7 D8'"),
        ("cryosplat symmetry C2\ncomment cryosplat symmetry C3", "names a symmetry 2 times"),
    ],
)
def test_a_symmetry_that_there_is_not_is_refused(
    tmp_path: Path, comment: str, message: str
) -> None:
    path = tmp_path / "m.ply"
    write_ply(path, *_mixture())
    content = path.read_bytes().replace(b"element", f"comment {comment}\nelement".encode(), 1)
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_ply(path)
