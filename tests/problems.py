"""Small reconstruction problems as values, and an independent forward model made of NUFFTs."""

from __future__ import annotations

import math

import finufft
import numpy as np
import tolerances
import torch
from numpy.typing import NDArray
from torch import Tensor

from cryosplat.batch import Batch
from cryosplat.formation import VolumeProjector, form_images
from cryosplat.grid import Grid
from cryosplat.mixture import GaussianMixture
from cryosplat.noise import NoiseModel
from cryosplat.optics import Optics, OpticsGroup, ctf
from cryosplat.poses import random_poses
from cryosplat.statistics import Accumulator, Statistics

GROUP = OpticsGroup("g", 2.0, 24, 300e3, 2.7e7, 0.1)
ABERRATIONS = {
    "odd": (3.0, -2.0, 150.0, 60.0, -80.0, 120.0),
    "even": (0.1, 20.0, 0.2, -15.0, 700.0, -300.0, 200.0, 250.0, -600.0),
    "magnification": (1.02, 0.015, -0.005, 0.97),
}  # several radian at 4 Angstrom


def blobs(k: int, radius: float, generator: torch.Generator, width: float = 3.0) -> GaussianMixture:
    """``k`` anisotropic float64 Gaussians inside a ball of ``radius`` Angstrom, off its centre."""
    direction = torch.randn(k, 3, generator=generator, dtype=torch.float64)
    share = torch.rand(k, 1, generator=generator, dtype=torch.float64) ** (1 / 3)
    means = radius * share * torch.nn.functional.normalize(direction, dim=1)
    stretch = torch.rand(k, 3, generator=generator, dtype=torch.float64)
    quaternions = torch.randn(k, 4, generator=generator, dtype=torch.float64)
    return GaussianMixture(
        means + 0.1 * radius,
        width * (0.7 + 0.8 * stretch),
        torch.nn.functional.normalize(quaternions, dim=1),
        0.5 + torch.rand(k, generator=generator, dtype=torch.float64),
    )


def random_optics(
    n: int, groups: tuple[OpticsGroup, ...], generator: torch.Generator, group: int = 0
) -> Optics:
    """n particles of one group, with everything that a CTF can have."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=generator, dtype=torch.float64)

    defocus = uniform(4e3, 2e4)
    return Optics(
        groups=groups,
        group=torch.full((n,), group),
        defocus_u=defocus,
        defocus_v=defocus - uniform(-2e3, 2e3),
        defocus_angle=uniform(-math.pi, math.pi),
        phase_shift=uniform(0.0, math.pi / 2),
        b_factor=uniform(-20.0, 80.0),
        scale=uniform(0.7, 1.3),
        dose=uniform(-20.0, 40.0).clamp_min(0.0) if groups[group].odd else torch.zeros(0),
    )


def odd_polynomials(x: NDArray[np.float64], y: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """RELION's first six odd Zernike polynomials, written out."""
    r = x * x + y * y
    return [
        y, x, 3 * x * x * y - y**3, (3 * r - 2) * y, (3 * r - 2) * x, x**3 - 3 * x * y * y,
    ]  # fmt: skip


def even_polynomials(x: NDArray[np.float64], y: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """RELION's first nine even Zernike polynomials, written out."""
    r = x * x + y * y
    return [
        1 + 0 * x, 2 * x * y, 2 * r - 1, x * x - y * y, 4 * (x**3 * y - x * y**3),
        (4 * r - 3) * 2 * x * y, 6 * r * r - 6 * r + 1, (4 * r - 3) * (x * x - y * y),
        x**4 - 6 * x * x * y * y + y**4,
    ]  # fmt: skip


def no_optics(n: int, group: OpticsGroup) -> Optics:
    """Optics whose CTF is 1 at every frequency: only amplitude contrast."""
    zero = torch.zeros(n, dtype=torch.float64)
    plain = OpticsGroup(group.name, group.pixel_size, group.box_size, 300e3, 0.0, 1.0)
    return Optics((plain,), torch.zeros(n, dtype=torch.int64), zero, zero, zero, zero, zero,
                  torch.ones(n, dtype=torch.float64))  # fmt: skip


def random_batch(
    n: int,
    groups: tuple[OpticsGroup, ...],
    generator: torch.Generator,
    group: int = 0,
    first: int = 0,
) -> Batch:
    """n images of white noise with random poses, shifts and optics of one group."""
    box = groups[group].box_size
    return Batch(
        torch.arange(first, first + n),
        torch.randn(n, box, box, generator=generator),
        random_poses(n, generator, 4.0),
        random_optics(n, groups, generator, group),
    )


def noise_model(groups: tuple[OpticsGroup, ...]) -> NoiseModel:
    """Coloured noise: its variance doubles from Nyquist to the origin, and differs by group."""
    variance = []
    for number, group in enumerate(groups):
        shells = torch.linspace(2.0, 1.0, group.box_size // 2 + 1, dtype=torch.float64)
        variance.append(shells * group.box_size**2 * (1.0 + 0.5 * number))
    return NoiseModel(tuple(variance), normalise=False)


def statistics_of(batches: list[Batch], grid: Grid, noise: NoiseModel) -> Statistics:
    """The statistics of all images of some batches."""
    accumulator = Accumulator(grid, noise)
    for batch in batches:
        accumulator.add(batch)
    return accumulator.result()


def simulated_batch(
    volume: Tensor, grid: Grid, n: int, noise: float, generator: torch.Generator
) -> Batch:
    """n images of a map by the forward model, with white noise of deviation ``noise``."""
    group = OpticsGroup("g", grid.pixel_size, grid.box_size, 300e3, 2.7e7, 0.1)
    poses = random_poses(n, generator, 1.5 * grid.pixel_size)
    optics = random_optics(n, (group,), generator)
    images = form_images(VolumeProjector(volume.float(), grid), poses, optics, grid.box_size)
    images = images + noise * torch.randn(images.shape, generator=generator)
    return Batch(torch.arange(n), images, poses, optics)


def white(grid: Grid, deviation: float = 1.0) -> NoiseModel:
    """White noise in images of the grid's box."""
    variance = torch.full((grid.box_size // 2 + 1,), (deviation * grid.box_size) ** 2)
    return NoiseModel((variance.double(),), normalise=False)


class Plane:
    """The frequencies of one image, as the direct sum sees them: all of them, float64.

    ``k`` (m, 2): integer (x, y), ``data`` their transform about pixel ``box // 2``, ``points``
    (m, 3) where they lie in the map's transform, in radian per voxel; ``contrast`` the CTF, with the
    phases of odd aberrations, and ``ramp`` those that move a particle from the rotation centre to
    its place.
    """

    def __init__(self, batch: Batch, i: int, grid: Grid) -> None:
        box = batch.box_size
        pixel = float(batch.optics.of_group("pixel_size")[i])
        axis = np.arange(box) - box // 2
        ky, kx = np.meshgrid(axis, axis, indexing="ij")
        group = batch.optics.groups[int(batch.optics.group[i])]
        stretch = np.array(group.magnification).reshape(2, 2)
        largest = max(float(np.linalg.norm(stretch, 2)), 1.0)
        limit = min(box / 2, grid.box_size / 2 * (pixel * box) / grid.side / largest)
        inside = kx**2 + ky**2 < limit**2
        image = np.fft.ifftshift(batch.images[i].double().numpy())
        self.data = np.fft.fftshift(np.fft.fft2(image))[inside]
        self.k = np.stack([kx[inside], ky[inside]], -1)
        frequencies = self.k / (box * pixel)  # 1/Angstrom
        rotation = batch.poses.rotations[i].double().numpy()
        stretched = frequencies @ stretch.T
        self.points = 2 * np.pi * grid.pixel_size * stretched @ rotation[:2]
        one = batch.optics.select(torch.tensor([i]))
        odd = sum(
            coefficient * polynomial
            for coefficient, polynomial in zip(
                group.odd, odd_polynomials(*stretched.T), strict=False
            )
        )
        contrast = ctf(one, torch.from_numpy(frequencies))[0].numpy()
        self.contrast = contrast * np.exp(1j * odd)
        shift = batch.poses.shifts[i].double().numpy()
        self.ramp = np.exp(2j * np.pi * frequencies @ shift)  # the particle lies at -shift
        self.shell = np.floor(np.hypot(kx, ky) + 0.5).astype(int)[inside]

    def precision(self, variance: Tensor) -> NDArray[np.float64]:
        """1 / variance at every frequency."""
        return 1.0 / variance.numpy()[np.minimum(self.shell, len(variance) - 1)]


def nufft_slices(volume: Tensor, points: NDArray[np.float64]) -> NDArray[np.complex128]:
    """``sum_r V(r) exp(-i q.r)`` at ``points`` q (m, 3), (x, y, z) in radian per voxel."""
    x, y, z = (np.ascontiguousarray(points[:, j]) for j in range(3))
    values = volume.double().numpy().astype(np.complex128)
    return finufft.nufft3d2(z, y, x, values, eps=1e-13, isign=-1)


def nufft_sums(
    values: NDArray[np.complex128], points: NDArray[np.float64], side: int
) -> NDArray[np.complex128]:
    """``sum_q v(q) exp(i q.r)`` on a cube of ``side`` voxels [z, y, x]: type 1."""
    x, y, z = (np.ascontiguousarray(points[:, j]) for j in range(3))
    return finufft.nufft3d1(z, y, x, values, (side,) * 3, eps=1e-13, isign=1)


def direct_sums(
    batch: Batch, volume: Tensor, grid: Grid, noise: NoiseModel, weights: Tensor | None = None
) -> tuple[float, float, float]:
    """Half the weighted sum of squared residuals, ``<V, K*V>`` and ``<b, V>``, term by term."""
    likelihood = quadratic = linear = 0.0
    for i in range(len(batch)):
        plane = Plane(batch, i, grid)
        precision = plane.precision(noise.variance[int(batch.optics.group[i])])
        precision = precision * (1.0 if weights is None else float(weights[i]))
        model = plane.contrast * plane.ramp * nufft_slices(volume, plane.points)
        likelihood += 0.5 * np.sum(precision * np.abs(plane.data - model) ** 2)
        quadratic += np.sum(precision * np.abs(model) ** 2)
        linear += np.sum(precision * (plane.data * model.conj()).real)
    return likelihood, quadratic, linear


def assert_same_sums(a: Statistics, b: Statistics) -> None:
    """Statistics of the same sum, but for the order of its terms."""
    for name in ("backprojection", "transfer"):
        expected = getattr(b, name)
        limit = tolerances.SUM_FLOAT32 * float(expected.abs().max())
        torch.testing.assert_close(getattr(a, name), expected, rtol=0.0, atol=limit)
    for name in ("energy", "n_frequencies", "weight"):
        found, expected = getattr(a, name), getattr(b, name)
        assert math.isclose(found, expected, rel_tol=tolerances.SUM_FLOAT64), name
    assert a.grid == b.grid
