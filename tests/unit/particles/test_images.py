from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch
from data_sets import DataSet, star_block
from noting import only, states

from cryosplat.errors import ImageError, MrcError, StackError, StarError
from cryosplat.io.mrc import write_stack
from cryosplat.particles import read_particles, write_particles
from cryosplat.particles._read_ahead import read_ahead

Star = Callable[..., Path]


def _names(order: list[int], stack: str = "particles.mrcs") -> list[str]:
    return [f"{i + 1:06d}@{stack}" for i in order]


def test_batches_come_in_file_order_with_their_own_poses(data_set: DataSet, star: Star) -> None:
    order = np.random.default_rng(0).permutation(data_set.n).tolist()
    particles = read_particles(star(rlnImageName=_names(order)))
    seen = []
    for batch in particles.batches(size=5):
        assert batch.images.dtype == torch.float32
        index = batch.index.numpy()
        seen += [order[i] for i in index]
        np.testing.assert_array_equal(batch.images, data_set.images[[order[i] for i in index]])
        np.testing.assert_array_equal(batch.poses.shifts, data_set.origins[index])
        np.testing.assert_array_equal(batch.optics.defocus_u, data_set.defocus[index, 0])
        assert (len(batch), batch.box_size) in {(5, 8), (2, 8)}
    assert seen == sorted(order)


def test_only_the_particles_asked_for_are_read(data_set: DataSet, star: Star) -> None:
    particles = read_particles(star())
    (batch,) = particles.batches(torch.tensor([7, 2, 9]))
    assert batch.index.tolist() == [2, 7, 9]
    np.testing.assert_array_equal(batch.images, data_set.images[[2, 7, 9]])
    mask = torch.arange(data_set.n) < 3
    assert [b.index.tolist() for b in particles.batches(mask)] == [[0, 1, 2]]
    assert list(particles.batches(torch.tensor([], dtype=torch.long))) == []


def test_a_batch_has_one_box_size_and_may_span_stacks(data_set: DataSet) -> None:
    rng = np.random.default_rng(1)
    stacks = {"a.mrcs": (3, 8), "b.mrcs": (4, 6), "c.mrcs": (2, 8)}
    images = {k: rng.normal(size=(n, d, d)).astype(np.float32) for k, (n, d) in stacks.items()}
    names, groups = [], []
    for name, block in images.items():
        write_stack(data_set.folder / name, block, 1.0)
        names += _names(list(range(len(block))), name)
        groups += [2 if block.shape[1] == 6 else 1] * len(block)
    n = len(names)
    columns = {"rlnImageName": names, "rlnOpticsGroup": groups, "rlnDefocusU": [1e4] * n}
    columns |= {f"rlnAngle{a}": [0.0] * n for a in ("Rot", "Tilt", "Psi")}
    optics = {"rlnOpticsGroup": [1, 2], "rlnVoltage": [300, 300], "rlnImageSize": [8, 6],
              "rlnSphericalAberration": [2.7, 2.7], "rlnAmplitudeContrast": [0.1, 0.1],
              "rlnImagePixelSize": [1.0, 2.0]}  # fmt: skip
    path = data_set.folder / "mixed.star"
    path.write_text(star_block("optics", optics) + star_block("particles", columns))
    particles = read_particles(path)
    batches = list(particles.batches(size=10))
    assert [(b.box_size, b.index.tolist()) for b in batches] == [
        (6, [3, 4, 5, 6]), (8, [0, 1, 2, 7, 8]),
    ]  # fmt: skip
    expected = np.concatenate([images["a.mrcs"], images["c.mrcs"]])
    np.testing.assert_array_equal(batches[1].images, expected)
    assert particles.box_size == 8 and particles.pixel_size == 1.0


def test_selected_particles_keep_their_images_and_row_numbers(
    data_set: DataSet, star: Star
) -> None:
    particles = read_particles(star())
    chosen = particles[torch.tensor([5, 1, 8])]
    (batch,) = chosen.batches()
    assert batch.index.tolist() == [1, 0, 2]
    np.testing.assert_array_equal(batch.images, data_set.images[[1, 5, 8]])
    assert chosen.names.tolist() == _names([5, 1, 8])
    assert chosen.images.row.tolist() == [6, 2, 9]
    assert len(chosen.table) == len(chosen) == 3
    np.testing.assert_array_equal(chosen.half_sets, data_set.half_sets[[5, 1, 8]])


def test_a_row_past_its_stack_is_found_before_anything_is_read(star: Star) -> None:
    with pytest.raises(StackError) as error:
        read_particles(star(rlnImageName=_names([*range(9), 12, 211, 11])))
    message = str(error.value)
    assert "data_particles row 10: image 13 of particles.mrcs was asked for" in message
    assert "that stack holds 12 images (2 rows of this file are affected)" in message
    with pytest.raises(StarError, match="row 1: rlnImageName is '000000@partic"):
        read_particles(star(rlnImageName=_names([-1, *range(11)])))


def test_a_missing_stack_says_where_it_was_looked_for(data_set: DataSet, star: Star) -> None:
    names = _names(list(range(6))) + _names(list(range(6)), "Extract/job012/m.mrcs")
    path = star(rlnImageName=names)
    with pytest.raises(StackError) as error:
        read_particles(path)
    message = str(error.value)
    assert "the stack Extract/job012/m.mrcs was not found (1 of 2 stacks, 6 rows" in message
    assert f"Looked in {data_set.folder} and the folders above it" in message
    assert "Remedy: --datadir FOLDER, where FOLDER/Extract/job012/m.mrcs exists" in message


def test_another_suffix_of_the_same_name_is_taken_and_said(star: Star) -> None:
    particles = read_particles(star(rlnImageName=_names(list(range(12)), "particles.mrc")))
    assert particles.images.stacks[0].path.name == "particles.mrcs"
    assert states(only(particles.notes, "stacks-respelled"), "particles.mrc", 1)


def test_a_cut_stack_names_table_and_remedy(data_set: DataSet, star: Star) -> None:
    stack = data_set.folder / "particles.mrcs"
    stack.write_bytes(stack.read_bytes()[:-100])
    with pytest.raises(StackError) as error:
        read_particles(star())
    message = str(error.value)
    assert "particles.star, data_particles, 12 rows" in message
    assert "holds 11 whole sections" in message and "Remedy: copy it again" in message


def test_micrographs_given_as_particles_are_refused(data_set: DataSet, star: Star) -> None:
    write_stack(data_set.folder / "particles.mrcs", np.ones((12, 6, 8), np.float32), 1.0)
    with pytest.raises(StackError, match="measure 8 x 6 pixels, expected squares"):
        read_particles(star())


@pytest.mark.parametrize(
    ("value", "fragment"),
    [
        (np.nan, "has 1 pixels that are NaN or infinite"),
        (np.inf, "has 1 pixels that are NaN or infinite"),
        (None, "has the same value 2 everywhere"),
    ],
)
def test_unusable_pixels_name_row_stack_and_image(
    data_set: DataSet, star: Star, value: float | None, fragment: str
) -> None:
    images = data_set.images.copy()
    if value is None:
        images[[4, 6]] = 2.0
    else:
        images[[4, 6], 3, 2] = value
    write_stack(data_set.folder / "particles.mrcs", images, 1.5)
    order = [*range(6, 12), *range(6)]
    particles = read_particles(star(rlnImageName=_names(order)))
    with pytest.raises(ImageError) as error:
        list(particles.batches(size=10))
    message = str(error.value)
    assert f"data_particles row 11: image 5 of {data_set.folder / 'particles.mrcs'}" in message
    assert fragment in message
    assert "2 of the 10 images read with it are affected" in message
    healthy = torch.tensor([i for i, image in enumerate(order) if image not in (4, 6)])
    assert sum(len(b) for b in particles.batches(healthy)) == 10


def test_integer_stacks_become_float(data_set: DataSet, star: Star) -> None:
    stored = np.round(data_set.images * 100).astype(np.int16)
    with mrcfile.new(data_set.folder / "particles.mrcs", overwrite=True) as file:
        file.set_data(stored)
    (batch,) = read_particles(star()).batches()
    np.testing.assert_array_equal(batch.images, stored.astype(np.float32))


def test_leaving_the_loop_early_stops_the_reading_thread(star: Star) -> None:
    before = threading.active_count()
    batches = read_particles(star()).batches(size=1)
    next(batches)
    batches.close()
    deadline = time.monotonic() + 5.0
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_reading_ahead_keeps_order_and_passes_errors_on() -> None:
    assert list(read_ahead(range(20), depth=3)) == list(range(20))

    def broken() -> Iterator:
        yield 1
        raise ImageError("row 3")

    items = read_ahead(broken())
    assert next(items) == 1
    with pytest.raises(ImageError, match="row 3"):
        next(items)


def test_items_are_made_while_the_consumer_works() -> None:
    made: list[int] = []

    def slow() -> Iterator:
        for i in range(4):
            made.append(i)
            yield i

    items = read_ahead(slow(), depth=2)
    assert next(items) == 0
    deadline = time.monotonic() + 5.0
    while len(made) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(made) >= 3
    items.close()


@pytest.mark.parametrize(
    ("value", "shown"), [(1e25, r"1e\+25"), (-1e30, r"-1e\+30"), (2e9, r"2e\+09")]
)
def test_a_damaged_pixel_is_told_with_its_row(
    data_set: DataSet, star: Star, value: float, shown: str
) -> None:
    images = data_set.images.copy()
    images[4, 3, 3] = value
    write_stack(data_set.folder / "particles.mrcs", images, 1.0)
    particles = read_particles(star())
    with pytest.raises(ImageError, match=rf"row 5: image 5 of .* has a pixel of {shown}, beyond"):
        list(particles.batches())


@pytest.mark.parametrize("change", ["replaced", "written to", "cut", "deleted"])
def test_a_stack_that_changes_while_it_is_in_use_is_named(
    data_set: DataSet, star: Star, change: str
) -> None:
    particles = read_particles(star())
    assert len(list(particles.batches())) == 1
    stack = data_set.folder / "particles.mrcs"
    content = stack.read_bytes()
    if change == "replaced":
        stack.rename(data_set.folder / "older.mrcs")
        stack.write_bytes(content)
    elif change == "written to":
        time.sleep(0.02)
        stack.write_bytes(content)
    elif change == "cut":
        stack.write_bytes(content[:-100])
    else:
        stack.unlink()
    expected = "was deleted or moved" if change == "deleted" else "was replaced or written to"
    with pytest.raises(MrcError, match=rf"particles\.mrcs: {expected} while it was in use"):
        list(particles.batches())


def test_a_stack_whose_name_is_no_utf8_is_found(data_set: DataSet, star: Star) -> None:
    name = os.fsdecode(b"m\xfc.mrcs")
    (data_set.folder / "particles.mrcs").rename(data_set.folder / name)
    path = star()
    path.write_bytes(path.read_bytes().replace(b"@particles.mrcs", b"@m\xfc.mrcs"))
    particles = read_particles(path)
    np.testing.assert_array_equal(next(particles.batches()).images, data_set.images)
    written = write_particles(particles, data_set.folder / "out.star")
    assert b"@m\xfc.mrcs" in written.read_bytes()
