"""Where an image shows its background, and the level of it.

The background is in the corners, outside the circle that holds the particle; where images are cut to
a circle, in a ring inside it. Each image is brought to its own: the plane through it is taken away,
as ice is seldom flat, and the rest divided by its deviation, as RELION's ``relion_preprocess --norm``
does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..fourier import distances, raised_cosine
from ._outlying import NORMAL, SAMPLED

INNER = 0.9  # the background begins at this fraction of half the box, and is whole at 1
MEAN_LIMIT, LEVEL_LIMIT = 0.2, 0.25  # of backgrounds that count as normalised
STANDS_OUT = 4.5  # deviations of the background: one pixel of normal noise in 150,000
ROUNDS = 3  # of leaving out what stands out
FEWEST_PIXELS = 12  # of a background that a slope is measured on
CIRCLE_EDGE = 6  # pixels over which images that are cut to a circle fall to nothing
# of the power inside, that just inside the circle: cut images are noise there, a particle without
# noise fades
PLATEAU = 0.35
RING = 0.7  # of the radius inside which they are whole: from there on they are background
# power, in parts of that near the centre, below which pixels are blank: what was done to images that
# were has put something there again
BLANK = 0.1


@dataclass(frozen=True, slots=True)
class Background:
    """The planes through the backgrounds of n images, and how the rest varies.

    ``mean`` (n,) at the rotation centre; ``slope`` (n, 2) along x and y, in units per pixel;
    ``deviation`` (n,), 1 for a constant background, so that dividing by it is harmless.
    """

    mean: Tensor
    slope: Tensor
    deviation: Tensor

    def taken_from(self, images: Tensor) -> Tensor:
        """The images (n, d, d), their background at mean 0, without slope, at deviation 1."""
        d = images.shape[-1]
        axis = torch.arange(d, device=images.device, dtype=images.dtype) - d // 2
        x, y = (self.slope[:, i, None] * axis for i in (0, 1))
        result = images - (self.mean[:, None] + x)[:, None, :]
        return result.sub_(y[:, :, None]).div_(self.deviation[:, None, None])


def fitted_background(images: Tensor, circle: float = 0.0) -> Background:
    """The background of images (n, d, d) outside the inscribed circle.

    Of images that are cut to a ``circle`` of this radius in pixels: the level outside without a
    slope, and the deviation in a ring inside. Pixels that stand out, of carbon or crystals in a
    corner, do not count.
    """
    d, device = images.shape[-1], images.device
    if circle > 0.0:
        mean = images[:, _outside(d, circle, device)].mean(1)
        pixels = images[:, background_window(d, circle, device) > 0.5]
        return Background(mean, mean.new_zeros(len(mean), 2), _positive(pixels.std(1), pixels))
    outside = _outside(d, 0.0, device)
    basis = _planes(d, device)[:, outside].T.to(images.dtype)
    pixels = images.flatten(1).index_select(1, outside.flatten().nonzero().squeeze(1))
    level = pixels.mean(1, keepdim=True)
    if len(basis) < FEWEST_PIXELS:
        zero = pixels.new_zeros(len(pixels), 2)
        return Background(level[:, 0], zero, _positive(pixels.std(1), pixels))
    above = pixels - level  # large offsets cost digits
    plane = above @ torch.linalg.pinv(basis).T
    rest = above - plane @ basis.T
    deviation = (rest.square().sum(1) / (len(basis) - basis.shape[1])).sqrt()
    step = max(1, rest.shape[1] // SAMPLED)
    limit = STANDS_OUT * NORMAL * rest[:, ::step].abs().median(1).values
    rows = ((rest.abs().amax(1) > limit) & (limit > 0.0)).nonzero().squeeze(1)
    if len(rows):
        plane[rows], deviation[rows] = _robust(above[rows], basis, rest[rows])
    deviation = _positive(deviation, pixels)
    return Background(level[:, 0] + plane[:, 0], 2.0 / d * plane[:, 1:], deviation)


def plane_weights(d: int, device: torch.device | str | None = None) -> tuple[Tensor, Tensor]:
    """The plane through the background of whole images as sums over their pixels.

    Images ``e`` (3, d, d) and weights ``q`` (3, d, d), float64, so that the plane of an image x
    without outlying pixels is ``sum_j e_j (q_j . x)``.
    """
    outside = _outside(d, 0.0, device)
    planes = _planes(d, device)[: 3 if int(outside.sum()) >= FEWEST_PIXELS else 1]
    weights = torch.zeros_like(planes)
    weights[:, outside] = torch.linalg.pinv(planes[:, outside].T)
    return planes, weights


def _planes(d: int, device: torch.device | str | None) -> Tensor:
    """1, x and y of an image, 2 / d a pixel, zero at the rotation centre, (3, d, d) float64."""
    axis = 2.0 / d * (torch.arange(d, device=device, dtype=torch.float64) - d // 2)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([torch.ones_like(x), x, y])


def _robust(pixels: Tensor, basis: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
    """Planes (n, 3) and deviations (n,) without pixels that stand out; ``rest`` of a first fit."""
    products = (basis[:, :, None] * basis[:, None, :]).flatten(1)
    ridge = 1e-6 * len(basis) * torch.eye(3, device=basis.device, dtype=basis.dtype)
    plane, kept = pixels.new_zeros(len(pixels), 3), torch.ones_like(pixels)
    for _ in range(ROUNDS):
        limit = STANDS_OUT * NORMAL * rest.abs().median(1, keepdim=True).values
        kept = (rest.abs() <= limit).to(pixels.dtype)
        normal = (kept @ products).reshape(-1, 3, 3) + ridge
        plane = torch.linalg.solve(normal, (kept * pixels) @ basis)
        rest = pixels - plane @ basis.T
    squares = (kept * rest.square()).sum(1)
    return plane, (squares / (kept.sum(1) - 3.0).clamp_min(1.0)).sqrt()


def _positive(deviation: Tensor, pixels: Tensor) -> Tensor:
    """The deviation of backgrounds ``pixels`` (n, m), 1 where these are constant."""
    return torch.where(deviation > 1e-6 * pixels.abs().amax(1), deviation, 1.0)


def _outside(d: int, circle: float, device: torch.device | str | None) -> Tensor:
    """Pixels outside the inscribed circle, and outside that which images are cut to, (d, d) bool."""
    blank = circle + 0.5 * CIRCLE_EDGE + 1.0 if circle > 0.0 else 0.0
    radius = distances((d, d), device)
    return radius >= min(max(0.5 * d, blank), float(radius.max()))


def background_levels(images: Tensor, circle: float = 0.0) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each image's background (n,), as `fitted_background` has it."""
    found = fitted_background(images, circle)
    return found.mean, found.deviation


def background_window(
    d: int, circle: float = 0.0, device: torch.device | str | None = None
) -> Tensor:
    """Where the background is, 0 to 1: the corners, or a ring inside a circle, (d, d) float32."""
    radius = distances((d, d), device)
    if circle <= 0.0:
        return _rising((radius / (0.5 * d) - INNER) / (1.0 - INNER)).float()
    outer = circle - 0.5 * CIRCLE_EDGE
    inner = min(RING * outer, outer - 4.0)
    edge = 0.5 * (outer - inner)
    return (_rising((radius - inner) / edge) * _rising((outer - radius) / edge)).float()


def _rising(x: Tensor) -> Tensor:
    """0 up to x = 0, 1 from x = 1."""
    return raised_cosine(1.0 - x)


def blank_corners(images: Tensor) -> Tensor:
    """Whether images (n, d, d) have one value in all four corners, (n,), beside what they vary."""
    corners = images[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    spread = images.std(dim=(1, 2))
    return (spread > 0.0) & (corners.amax(1) - corners.amin(1) <= 1e-3 * spread)


def find_circle(sample: Sequence[Tensor]) -> float:
    """The radius in pixels where images end, at half power; 0 where they do not.

    ``sample``: images (n, d, d) of one box size.
    """
    d = sample[0].shape[-1]
    rings = distances((d, d), sample[0].device).round().long().flatten()
    counts = torch.bincount(rings)
    total = torch.zeros(len(counts), dtype=torch.float64, device=rings.device)
    for images in sample:
        mean, _ = background_levels(images)
        power = (images - mean[:, None, None]).double().square().sum(0).flatten()
        total += torch.bincount(rings, power, len(counts))
    profile = total / counts
    reference = float(profile[: d // 4 + 1].min())
    shown = (profile > BLANK * reference).nonzero()
    last = int(shown[-1]) + 1 if len(shown) else 0
    if not 0 < last < len(profile) - 1:
        return 0.0
    whole = max(last - CIRCLE_EDGE - 2, 0)
    half = 0.5 * profile[whole]
    i = whole + int((profile[whole:] > half).long().cumprod(0).sum()) - 1
    circle = i + float((profile[i] - half) / (profile[i] - profile[i + 1]))
    inside = int(0.85 * circle)
    # a particle without noise ends as well
    return circle if profile[inside] > PLATEAU * profile[:inside].median() else 0.0
