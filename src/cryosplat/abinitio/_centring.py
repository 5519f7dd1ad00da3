"""Where particles lie in their images, before anything is known of their shape."""

from __future__ import annotations

import torch
from torch import Tensor

from ._assignment import phases
from ._images import SmallImages

LIMIT = 6.0  # steps of frequency: coarse enough for the shape not to matter
REACH, STEPS = 2.5, 21  # of a prior's deviation on either side; shifts along an axis
ROUNDS = 4


def centred(images: SmallImages, deviation: float) -> Tensor:
    """Centres (n, 2) in box sides: where each image looks most like the average of all.

    Each image is moved against the rotational average of all images, moved so, a few times over.
    ``deviation`` of the centres along each axis, in box sides: a normal prior about 0.
    """
    m = images.columns(LIMIT)
    points = images.points[:m]
    values, shells = images.values[:, :m], images.radii[:m].round().long()
    reach, device = REACH * deviation, images.device
    axis = torch.linspace(-reach, reach, STEPS, device=device)
    shifts = torch.cartesian_prod(axis, axis)
    prior = -0.5 * shifts.square().sum(1) / deviation**2
    moves = phases(shifts, points)
    centres = torch.zeros(len(images), 2, device=device)
    for _ in range(ROUNDS):
        profile = blob_of(images, centres, LIMIT)[shells]
        expected = moves * profile  # Re[values exp(2 pi i k.c)] profile
        template = torch.cat([2.0 * expected.real, -2.0 * expected.imag], 1)
        score = torch.cat([values.real, values.imag], 1) @ template.T + prior
        weights = torch.softmax(score, 1)
        centres = weights @ shifts
    return centres


def blob_of(images: SmallImages, centres: Tensor, limit: float) -> Tensor:
    """The transform of the round blob that explains all images best, by shell below ``limit``.

    Least squares: the sum over images of ``conj(H) y / s^2``, moved to the ``centres`` (n, 2), over
    that of ``|H|^2 / s^2``.
    """
    m = images.columns(limit)
    shells = images.radii[:m].round().long()
    moved = (images.values[:, :m] * phases(centres, images.points[:m])).real.sum(0)
    sums = moved.new_zeros(2, int(shells.max()) + 1)
    sums.index_add_(1, shells, torch.stack([moved, images.precisions[:, :m].sum(0)]))
    return sums[0] / sums[1].clamp_min(1e-12)
