from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tolerances

from cryosplat.errors import MrcError, OutputError
from cryosplat.io.mrc import StackFile, read_map, write_map, write_stack

_TYPES = {0: np.int8, 1: np.int16, 2: np.float32, 6: np.uint16, 12: np.float16}


def _volume(shape: tuple[int, int, int] = (4, 5, 6)) -> np.ndarray:
    return np.random.default_rng(1).normal(3, 20, shape).astype(np.float32)


@pytest.mark.parametrize("mode", list(_TYPES))
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_mode_is_read_as_mrcfile_reads_it(tmp_path: Path, mode: int, order: str) -> None:
    stored = np.abs(_volume()) if mode == 6 else _volume()
    stored = stored.astype(_TYPES[mode])
    with mrcfile.new(tmp_path / "a.mrcs") as file:
        file.set_data(stored.astype(stored.dtype.newbyteorder(order)))
        file.voxel_size = 1.7
    stack = StackFile(tmp_path / "a.mrcs")
    assert (stack.n_images, stack.shape) == (4, (5, 6))
    assert stack.pixel_size == pytest.approx(1.7, rel=1e-6)
    images = stack.read([0, 1, 2, 3])
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, stored.astype(np.float32))


def test_mode_0_is_signed(tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "a.mrcs") as file:
        file.set_data(np.full((1, 2, 2), -1, np.int8))
    assert StackFile(tmp_path / "a.mrcs").read([0]).max() == -1.0


@pytest.mark.parametrize("wanted", [[0, 1, 2], [3], [3, 1, 0], [1, 1, 2, 0, 3], []])
def test_images_come_in_the_order_asked_for(tmp_path: Path, wanted: list[int]) -> None:
    images = _volume()
    write_stack(tmp_path / "a.mrcs", images, 1.0)
    np.testing.assert_array_equal(StackFile(tmp_path / "a.mrcs").read(wanted), images[wanted])


def test_an_extended_header_is_skipped(tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(_volume())
        file.set_extended_header(np.zeros(17, "V1"))
    np.testing.assert_array_equal(read_map(tmp_path / "a.mrc").data, _volume())


@pytest.mark.parametrize("crs", [(1, 2, 3), (3, 2, 1), (2, 1, 3), (2, 3, 1), (3, 1, 2), (1, 3, 2)])
def test_axes_are_brought_into_the_order_zyx(tmp_path: Path, crs: tuple[int, int, int]) -> None:
    data = _volume()  # [z, y, x]
    # file axes, fastest last: sections, rows, columns run along crs[2], crs[1], crs[0]
    stored = np.ascontiguousarray(data.transpose([3 - crs[2], 3 - crs[1], 3 - crs[0]]))
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(stored)
        file.header.mapc, file.header.mapr, file.header.maps = crs
        file.header.mx, file.header.my, file.header.mz = 6, 5, 4
        file.header.cella = (6 * 1.5, 5 * 1.5, 4 * 1.5)
    read = read_map(tmp_path / "a.mrc")
    np.testing.assert_array_equal(read.data, data)
    assert read.pixel_size == pytest.approx(1.5)


@pytest.mark.parametrize("group", [0, 1, 401])
def test_volumes_of_any_space_group_and_their_origin(tmp_path: Path, group: int) -> None:
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(_volume())
        file.header.ispg = group
        file.header.origin = (1.0, -2.0, 3.5)
        file.header.cella = (6.0, 5.0, 4.0)
    assert read_map(tmp_path / "a.mrc").origin == (1.0, -2.0, 3.5)


def test_a_written_map_is_valid_and_complete(tmp_path: Path) -> None:
    write_map(tmp_path / "a.mrc", _volume(), 1.3, "half map 1")
    assert mrcfile.validate(str(tmp_path / "a.mrc"))
    with mrcfile.open(tmp_path / "a.mrc") as file:
        np.testing.assert_array_equal(file.data, _volume())
        assert file.voxel_size.x == pytest.approx(1.3, rel=1e-6)
        assert (int(file.header.ispg), int(file.header.mz)) == (1, 4)
        assert file.header.origin.tolist() == (0.0, 0.0, 0.0)
        assert file.header.nxstart == file.header.nystart == file.header.nzstart == 0
        assert b"half map 1" in file.header.label[0]
        np.testing.assert_allclose(file.header.rms, _volume().std(), **tolerances.HEADER_STATISTICS)
        np.testing.assert_allclose(
            file.header.dmean, _volume().mean(), **tolerances.HEADER_STATISTICS
        )
    again = read_map(tmp_path / "a.mrc")
    np.testing.assert_array_equal(again.data, _volume())
    assert again.pixel_size == pytest.approx(1.3, rel=1e-6)


def test_a_stack_is_written_from_blocks_as_a_stack(tmp_path: Path) -> None:
    images = _volume()
    assert write_stack(tmp_path / "a.mrcs", iter([images[:3], images[3]]), 1.3) == 4
    assert mrcfile.validate(str(tmp_path / "a.mrcs"))
    with mrcfile.open(tmp_path / "a.mrcs") as file:
        assert file.is_image_stack()
        np.testing.assert_array_equal(file.data, images)
        assert file.voxel_size.y == pytest.approx(1.3, rel=1e-6)
        np.testing.assert_allclose(file.header.rms, images.std(), **tolerances.HEADER_STATISTICS)


def test_a_stack_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    def images() -> Iterator:
        yield np.zeros((4, 4))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_stack(tmp_path / "a.mrcs", images(), 1.0)
    assert list(tmp_path.iterdir()) == []


def test_wrong_arrays_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MrcError, match=r"a map has 3 axes, the array given has shape \(4, 4\)"):
        write_map(tmp_path / "a.mrc", np.zeros((4, 4)), 1.0)
    with pytest.raises(
        MrcError, match=r"image 2 has shape \(5, 5\), the images before it \(4, 4\)"
    ):
        write_stack(tmp_path / "a.mrcs", [np.zeros((4, 4)), np.zeros((5, 5))], 1.0)
    with pytest.raises(MrcError, match="no images were given"):
        write_stack(tmp_path / "a.mrcs", [], 1.0)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="Remedy: choose a folder that exists"):
        write_map(tmp_path / "no" / "a.mrc", _volume(), 1.0)


def test_a_cut_stack_says_what_it_holds(tmp_path: Path) -> None:
    write_stack(tmp_path / "a.mrcs", _volume(), 1.0)
    whole = (tmp_path / "a.mrcs").read_bytes()
    (tmp_path / "a.mrcs").write_bytes(whole[:-100])
    with pytest.raises(MrcError) as error:
        StackFile(tmp_path / "a.mrcs")
    assert "claims 4 sections of 6 x 5 pixels, 1504 bytes, but the file has 1404" in str(
        error.value
    )
    assert "holds 3 whole sections" in str(error.value)
    (tmp_path / "a.mrcs").write_bytes(whole[:500])
    with pytest.raises(MrcError, match="500 bytes, but an MRC header alone has 1024"):
        StackFile(tmp_path / "a.mrcs")


def test_files_that_are_not_maps_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    with pytest.raises(MrcError, match="no such file"):
        read_map(path)
    path.write_bytes(b"\x1f\x8b" + bytes(range(1, 256)) * 8)
    with pytest.raises(MrcError, match="compressed by gzip"):
        read_map(path)
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(np.zeros((2, 2, 2), np.complex64))
    with pytest.raises(MrcError, match=r"data mode 4, complex .*: a Fourier transform; expected"):
        read_map(path)
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(_volume())
        file.header.cella = (6.0, 5.0, 8.0)
    with pytest.raises(MrcError, match=r"1\.0000 x 1\.0000 x 2\.0000 Angstrom, expected cubes"):
        read_map(path)


def test_images_outside_the_stack_are_refused(tmp_path: Path) -> None:
    write_stack(tmp_path / "a.mrcs", _volume(), 1.0)
    with pytest.raises(MrcError, match=r"image 5 was asked for, but the stack holds images 1 to 4"):
        StackFile(tmp_path / "a.mrcs").read([0, 4])


@pytest.mark.parametrize("nx", [6, 7])
def test_four_bit_pixels_are_two_to_a_byte_and_rows_end_with_one(tmp_path: Path, nx: int) -> None:
    pixels = np.random.default_rng(2).integers(0, 16, (3, 5, nx))
    path = tmp_path / "a.mrcs"
    write_stack(path, np.zeros((3, 5, nx), np.float32), 1.5)
    header = bytearray(path.read_bytes()[:1024])
    header[12] = 101
    padded = np.pad(pixels, ((0, 0), (0, 0), (0, nx % 2)))
    packed = (padded[..., ::2] | padded[..., 1::2] << 4).astype(np.uint8)
    path.write_bytes(bytes(header) + packed.tobytes())
    np.testing.assert_array_equal(StackFile(path).read([2, 0]), pixels[[2, 0]])
    np.testing.assert_array_equal(read_map(path).data, pixels)
    path.write_bytes(bytes(header) + packed.tobytes()[:-1])
    with pytest.raises(MrcError, match="holds 2 whole sections"):
        StackFile(path)


@pytest.mark.parametrize(
    ("at", "value", "fragment"),
    [
        (12, np.int32(3), "data mode 3, complex 16-bit integers: a Fourier transform"),
        (64, np.array([1, 1, 3], "<i4"), "rows and sections are the axes [1, 1, 3]"),
        (40, np.full(3, np.nan, "<f4"), "which is no size"),
        (40, np.full(3, -4, "<f4"), "which is no size"),
        (0, np.array([2**23] * 3, "<i4"), "holds 0 whole sections"),
        (92, np.int32(2**31 - 1), "holds 0 whole sections"),
        (92, np.int32(-1), "the extended header claims -1 bytes"),
    ],
    ids=range(7),
)
def test_headers_are_believed_only_as_far_as_they_make_sense(
    tmp_path: Path, at: int, value: np.ndarray, fragment: str
) -> None:
    path = tmp_path / "a.mrc"
    write_map(path, np.zeros((4, 4, 4)), 1.0)
    raw = bytearray(path.read_bytes())
    raw[at : at + value.nbytes] = value.tobytes()
    path.write_bytes(raw)
    with pytest.raises(MrcError) as error:
        read_map(path)
    assert fragment in str(error.value)
