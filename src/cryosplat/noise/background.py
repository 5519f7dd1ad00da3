"""Where an image shows its background, and the level of it.

The background is in the corners, outside the circle that holds the particle; where images are cut to
a circle, in a ring inside it. Images whose background is not at zero mean and unit deviation are
normalised, each by its own background, as RELION's ``relion_preprocess --norm`` does.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..fourier import distances, raised_cosine

INNER = 0.9  # the background begins at this fraction of half the box, and is whole at 1
MEAN_LIMIT, SPREAD_LIMIT, LEVEL_LIMIT = 0.2, 0.15, 0.25
CIRCLE_EDGE = 6  # pixels over which images that are cut to a circle fall to nothing
# of the power inside, that just inside the circle: cut images are noise there, a particle without
# noise fades
PLATEAU = 0.35
RING = 0.7  # of the radius inside which they are whole: from there on they are background
# power, in parts of that near the centre, below which pixels are blank: what was done to images that
# were has put something there again
BLANK = 0.1


def background_levels(images: Tensor, circle: float = 0.0) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each image (n, d, d) outside the inscribed circle, (n,).

    Of images that are cut to a ``circle`` of this radius in pixels: the level outside, and the
    deviation in a ring inside. A constant background has deviation 1 here, so that dividing by it is
    harmless.
    """
    d = images.shape[-1]
    blank = circle + 0.5 * CIRCLE_EDGE + 1.0 if circle > 0.0 else 0.0
    radius = distances((d, d), images.device)
    pixels = images[:, radius >= min(max(0.5 * d, blank), float(radius.max()))]
    deviation, mean = torch.std_mean(pixels, dim=1)
    if circle > 0.0:
        pixels = images[:, background_window(d, circle, images.device) > 0.5]
        deviation = pixels.std(dim=1)
    return mean, torch.where(deviation > 1e-6 * pixels.abs().amax(1), deviation, 1.0)


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
