"""Every convention of Fourier space: transforms, frequencies, shells, cropping, edges, distances.

Transforms are unnormalised and have ``rfftn`` layout: of a real array of shape (..., d, d, d) the
half (..., d, d, d // 2 + 1) is stored. Arrays index ``[z, y, x]``; vectors are ``(x, y, z)``. The
rotation centre is voxel ``d // 2`` on every axis, for odd and even boxes.

- Shell ``i`` holds the Fourier voxels with ``i - 0.5 <= |k| < i + 0.5`` (RELION's rounding).
- At the Nyquist frequency ``d / 2`` of an even box an array does not tell ``k`` from ``-k``, so what
  lies there does not survive a change of the box: `crop` and `pad` leave out the Nyquist frequency
  of the smaller box. Neither rescales, so the sum of the array is kept.

Everything follows the device of its tensors. Where there is no tensor to follow, ``device`` says.
"""

from __future__ import annotations

import math
from itertools import product

import scipy.fft
import torch
from torch import Tensor

from .errors import SettingsError

Device = torch.device | str | None


def workers() -> int:
    """Threads for scipy's transforms: as many as torch uses. The one place that decides it."""
    return torch.get_num_threads()


def transform(array: Tensor, ndim: int) -> Tensor:
    """Half transform of the last ``ndim`` axes of a real array; differentiable."""
    return _forward(array, ndim, reuse=False)


def transform_(array: Tensor, ndim: int) -> Tensor:
    """`transform` that may use the memory of ``array``."""
    return _forward(array, ndim, reuse=True)


def inverse(spectrum: Tensor, box_size: int, ndim: int) -> Tensor:
    """The real array, with ``box_size`` voxels on its last ``ndim`` axes, of a half transform."""
    return _backward(spectrum, box_size, ndim, reuse=False)


def inverse_(spectrum: Tensor, box_size: int, ndim: int) -> Tensor:
    """`inverse` that may use the memory of ``spectrum``."""
    return _backward(spectrum, box_size, ndim, reuse=True)


def _forward(array: Tensor, ndim: int, reuse: bool) -> Tensor:
    axes = _axes(ndim)
    if _needs_torch(array):
        return torch.fft.rfftn(array, dim=axes)
    values = array.detach().numpy()
    spectrum = scipy.fft.rfftn(values, axes=axes, workers=workers(), overwrite_x=reuse)
    return torch.from_numpy(spectrum)


def _backward(spectrum: Tensor, box_size: int, ndim: int, reuse: bool) -> Tensor:
    size, axes = (box_size,) * ndim, _axes(ndim)
    if _needs_torch(spectrum):
        return torch.fft.irfftn(spectrum, s=size, dim=axes)
    values = spectrum.detach().resolve_conj().numpy()
    return torch.from_numpy(
        scipy.fft.irfftn(values, size, axes, workers=workers(), overwrite_x=reuse)
    )


def filter(array: Tensor, gain: Tensor, ndim: int) -> Tensor:
    """A real array whose transform is multiplied by a real ``gain``; differentiable."""
    return inverse(transform(array, ndim) * gain.to(array.dtype), array.shape[-1], ndim)


def fast_box_size(least: float) -> int:
    """The smallest even box size of at least ``least`` whose transform is fast."""
    return 2 * scipy.fft.next_fast_len(math.ceil(least / 2), real=True)


def _needs_torch(values: Tensor) -> bool:
    # on the CPU scipy is up to five times faster
    return values.device.type != "cpu" or (values.requires_grad and torch.is_grad_enabled())


def _axes(ndim: int) -> tuple[int, ...]:
    return tuple(range(-ndim, 0))


def signed_indices(size: int, device: Device = None) -> Tensor:
    """Signed index of each entry of a transformed axis, (size,) int64: 0, 1, ..., -2, -1.

    In an even box the Nyquist frequency is ``-size / 2``.
    """
    index = torch.arange(size, device=device)
    return torch.where(index < (size + 1) // 2, index, index - size)


def _half_axes(shape: tuple[int, ...], device: Device) -> list[Tensor]:
    """Signed index along each axis of the half transform of an array of ``shape``."""
    full = [signed_indices(size, device) for size in shape[:-1]]
    return [*full, torch.arange(shape[-1] // 2 + 1, device=device)]


def frequencies(shape: tuple[int, ...], pixel_size: float = 1.0, device: Device = None) -> Tensor:
    """Spatial frequency of each Fourier voxel, (..., ndim) float64, as (x, y) or (x, y, z).

    In 1/Angstrom for a ``pixel_size`` in Angstrom, by default in cycles per pixel.
    """
    axes = [
        k.double() / (size * pixel_size)
        for k, size in zip(_half_axes(shape, device), shape, strict=True)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)


def squared_radii(shape: tuple[int, ...], device: Device = None) -> Tensor:
    """``|k|^2`` in Fourier voxels on the half transform of an array of ``shape``; float64, exact."""
    squared = torch.zeros((), dtype=torch.float64, device=device)
    for k in _half_axes(shape, device):
        squared = squared[..., None] + k.double().square()
    return squared


def shells(shape: tuple[int, ...], device: Device = None) -> Tensor:
    """Shell of each voxel of the half transform of an array of ``shape``, int64.

    Corners have numbers beyond the last whole shell, ``d // 2``.
    """
    return torch.floor(squared_radii(shape, device).sqrt() + 0.5).long()


def at_radii(of_shells: Tensor, radii: Tensor) -> Tensor:
    """Values per shell (n,) at ``radii`` in Fourier voxels, by straight lines; the last one beyond.

    In the type and on the device of ``radii``.
    """
    last = len(of_shells) - 1
    values = of_shells.to(radii)
    below = radii.clamp_max(last).floor().long().clamp_max(max(last - 1, 0))
    share = (radii.clamp_max(last) - below).clamp(0.0, 1.0)
    return torch.lerp(values[below], values[(below + 1).clamp_max(last)], share)


def friedel_counts(box_size: int, device: Device = None) -> Tensor:
    """How many voxels of the full transform each column of the half stands for: 1 or 2, float64.

    Shape (box_size // 2 + 1,), to be multiplied with the last axis. The columns ``kx = 0`` and, in
    an even box, ``kx = box_size / 2`` hold their own Friedel mates; all others stand for theirs.
    """
    counts = torch.full((box_size // 2 + 1,), 2.0, dtype=torch.float64, device=device)
    counts[0] = 1.0
    if box_size % 2 == 0:
        counts[-1] = 1.0
    return counts


def below_nyquist(shape: tuple[int, ...], device: Device = None) -> Tensor:
    """Where all components of a frequency are below Nyquist, bool; everywhere in an odd box."""
    inside = torch.ones((), dtype=torch.bool, device=device)
    for k, size in zip(_half_axes(shape, device), shape, strict=True):
        inside = inside[..., None] & (2 * k.abs() < size)
    return inside


def shell_sums(values: Tensor, ndim: int | None = None) -> Tensor:
    """Sums of real ``values`` on a half transform over each shell, float64 (..., d // 2 + 1).

    ``ndim``: of the array that was transformed, by default the dimension of ``values``; axes before
    it stay. The stored half is summed as it is, as RELION does; for the whole transform multiply
    ``values`` by `friedel_counts`.
    """
    ndim = values.dim() if ndim is None else ndim
    box_size = _box_size(values, ndim)
    number = shells((box_size,) * ndim, values.device).flatten()
    n_shells = box_size // 2 + 1
    rows = values.double().reshape(-1, number.numel())
    sums = [torch.bincount(number, row, n_shells)[:n_shells] for row in rows]
    return torch.stack(sums).reshape(*values.shape[: values.dim() - ndim], n_shells)


def shell_means(values: Tensor, ndim: int | None = None, weights: Tensor | None = None) -> Tensor:
    """Means of real ``values`` over each shell as `shell_sums`, weighted by ``weights``.

    ``weights`` broadcast over ``values``: `friedel_counts` make the mean that of the whole
    transform. A shell without weight has mean 0.
    """
    ndim = values.dim() if ndim is None else ndim
    weights = torch.ones((), device=values.device) if weights is None else weights
    spread = weights.expand(values.shape[-ndim:])
    counts = shell_sums(spread)
    return shell_sums(values * weights, ndim) / torch.where(counts > 0, counts, 1.0)


def crop(spectrum: Tensor, box_size: int, ndim: int) -> Tensor:
    """The half transform (..., d, d, d // 2 + 1) on ``box_size`` larger voxels in the same box.

    Voxel 0 stays voxel 0, and the values are kept: the array's sum is too. The Nyquist frequency of
    an even ``box_size`` is left out, unless nothing is cropped.

    Raises
    ------
    SettingsError
        ``box_size`` is larger than d.
    """
    d = _box_size(spectrum, ndim)
    if box_size > d:
        raise SettingsError(f"crop: box_size is {box_size}, expected at most {d}.")
    return _in_box(spectrum, box_size, ndim)


def pad(spectrum: Tensor, box_size: int, ndim: int) -> Tensor:
    """The half transform (..., d, d, d // 2 + 1) on ``box_size`` smaller voxels in the same box.

    The adjoint of `crop`, to which it is the inverse but for the Nyquist frequency of an even d.

    Raises
    ------
    SettingsError
        ``box_size`` is smaller than d.
    """
    d = _box_size(spectrum, ndim)
    if box_size < d:
        raise SettingsError(f"pad: box_size is {box_size}, expected at least {d}.")
    return _in_box(spectrum, box_size, ndim)


def _in_box(spectrum: Tensor, box_size: int, ndim: int) -> Tensor:
    """The frequencies below Nyquist that both boxes hold, zeros elsewhere."""
    d = _box_size(spectrum, ndim)
    if d == box_size:
        return spectrum
    size = (box_size,) * (ndim - 1) + (box_size // 2 + 1,)
    result = spectrum.new_zeros(*spectrum.shape[:-ndim], *size)
    last = (min(d, box_size) - 1) // 2
    for negative in product((False, True), repeat=ndim - 1):
        source, target = (
            (..., *(slice(n - last, n) if low else slice(last + 1) for low in negative),
             slice(last + 1))
            for n in (d, box_size)
        )  # fmt: skip
        result[target] = spectrum[source]
    return result


def low_frequencies(array: Tensor, box_size: int, ndim: int) -> Tensor:
    """`crop` of the `transform` of a real array; of one volume plane by plane.

    The whole transform of a volume, as large as the volume itself, then never exists.
    """
    d = array.shape[-1]
    if array.dim() != 3 or ndim != 3 or box_size >= d:
        return crop(transform(array, ndim), box_size, ndim)
    planes = torch.stack([crop(transform(plane, 2), box_size, 2) for plane in array])
    columns = torch.fft.fft(planes, dim=0)
    last = (box_size - 1) // 2
    result = torch.zeros_like(columns[:box_size])
    result[: last + 1], result[-last:] = columns[: last + 1], columns[-last:]
    return result


def resample(array: Tensor, box_size: int, ndim: int) -> Tensor:
    """A real array (..., d, d, d) with ``box_size`` voxels on ``ndim`` axes, in the same box.

    By `crop` or `pad`: its sum is kept, and the rotation centre moves from voxel ``d // 2`` to
    ``box_size // 2``. Differentiable.
    """
    d = array.shape[-1]
    if box_size == d:
        return array
    if box_size < d:
        spectrum = low_frequencies(array, box_size, ndim)
    else:
        spectrum = pad(transform(array, ndim), box_size, ndim)
    turns = (d // 2) / d - (box_size // 2) / box_size
    if turns != 0.0:  # of two even boxes the centres coincide
        for axis, k in zip(_axes(ndim), _half_axes((box_size,) * ndim, array.device), strict=True):
            phases = 2.0 * math.pi * turns * k.double()
            factor = torch.polar(torch.ones_like(phases), phases).to(spectrum.dtype)
            spectrum = spectrum * factor.reshape(-1, *(1,) * (-1 - axis))
    return inverse(spectrum, box_size, ndim)


def distances(shape: tuple[int, ...], device: Device = None) -> Tensor:
    """Distance of every voxel of ``shape`` from the rotation centre in pixels, float64."""
    squared = torch.zeros((), dtype=torch.float64, device=device)
    for size in shape:
        position = torch.arange(size, dtype=torch.float64, device=device) - size // 2
        squared = squared[..., None] + position.square()
    return squared.sqrt()


def raised_cosine(distance: Tensor, width: float = 1.0) -> Tensor:
    """A soft edge: 1 where ``distance <= 0``, a half cosine, 0 from ``width`` on.

    A ``width`` of 0 or less makes a hard edge.
    """
    if width <= 0.0:
        return (distance <= 0.0).to(distance.dtype)
    return 0.5 + 0.5 * torch.cos(math.pi * (distance / width).clamp(0.0, 1.0))


def _box_size(spectrum: Tensor, ndim: int) -> int:
    """Side d of the array of a half transform; raises `SettingsError` for any other layout."""
    d = spectrum.shape[-2]
    expected = (d,) * (ndim - 1) + (d // 2 + 1,)
    if ndim < 2 or tuple(spectrum.shape[-ndim:]) != expected:
        raise SettingsError(
            f"a half transform has shape {tuple(spectrum.shape)}, expected (..., "
            f"{', '.join(map(str, expected))}): rfftn layout of {ndim} equal axes."
        )
    return d
