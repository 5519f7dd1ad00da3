"""Weights and scales: sums over bands, and a posterior that finds what was planted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from problems import blobs, random_optics
from torch import Tensor

from cryosplat import fourier
from cryosplat.batch import Batch
from cryosplat.formation import VolumeProjector, form_images
from cryosplat.grid import Grid
from cryosplat.noise import NoiseModel
from cryosplat.optics import OpticsGroup, processed
from cryosplat.poses import random_poses
from cryosplat.splatting import voxelize
from cryosplat.weighting import Evidence, gather, judge

SEED = 3

BOX, PIXEL = 24, 3.0
GROUP = OpticsGroup("g", PIXEL, BOX, 300e3, 2.7e7, 0.1)
BANDS, COUNTS = 10, 60.0


@pytest.mark.parametrize("processing", ["none", "phase-flipped"])
def test_bands_are_sums_over_coefficients(processing: str, generator: torch.Generator) -> None:
    """Of an image that is its projection times two: ``|y|^2 = 2 <y, x> = 4 |x|^2`` in every band."""
    grid, n = Grid(BOX, PIXEL), 6
    volume = voxelize(blobs(12, 12.0, generator), grid).float()
    group = replace(GROUP, processing="none")
    optics = random_optics(n, (group,), generator)
    poses = random_poses(n, generator)
    images = 2.0 * form_images(VolumeProjector(volume, grid), poses, optics, BOX)
    if processing != "none":
        optics = replace(optics, groups=(replace(group, processing=processing),))
        images = fourier.inverse(processed(fourier.transform(images, 2), optics), BOX, 2)
    noise = NoiseModel((torch.full((BOX // 2 + 1,), 7.0).double(),), False)
    batch = Batch(torch.arange(n), images, poses, optics)
    found = gather([batch], torch.tensor([0, 0, 1, 1, 2, 2]), [volume, volume], grid, noise)
    assert found.index.tolist() == [0, 1, 2, 3]
    scale = float(found.images.max())
    torch.testing.assert_close(found.images, 2.0 * found.products, rtol=1e-3, atol=1e-4 * scale)
    torch.testing.assert_close(
        found.products, 2.0 * found.projections, rtol=1e-3, atol=1e-4 * scale
    )
    power = fourier.transform(images[:4], 2).abs().square() * fourier.friedel_counts(BOX) / 7.0
    power[:, 0, 0] = 0.0
    torch.testing.assert_close(found.images.sum(1), power.sum((1, 2)).float(), rtol=1e-3, atol=0.0)
    inside = fourier.squared_radii((BOX, BOX)) < (BOX / 2) ** 2
    total = float((fourier.friedel_counts(BOX) * inside).sum()) - 1.0
    assert float(found.counts[0].sum()) == total


def _planted(
    n: int, junk: Tensor, scale: Tensor, generator: torch.Generator, strength: float = 12.0
) -> Evidence:
    """Sums of images as the model has them: particles, noise (``junk`` 1), something else (2)."""
    m = int(COUNTS)
    falling = torch.linspace(1.5, 0.2, BANDS)
    falling = falling * strength / float(falling.square().sum() * m) ** 0.5
    x = torch.randn(n, BANDS, m, generator=generator) * falling[:, None]
    other = torch.randn(n, BANDS, m, generator=generator) * 1.3 * falling[:, None]
    noise = torch.randn(n, BANDS, m, generator=generator)
    signal = torch.where((junk == 0)[:, None, None], scale[:, None, None] * x, 0.0)
    y = noise + signal + torch.where((junk == 2)[:, None, None], other, 0.0)
    passed = torch.full((n, BANDS), 0.5 * m)
    return Evidence(
        torch.arange(n), y.square().sum(2), (x * y).sum(2), x.square().sum(2), passed,
        torch.full((n, BANDS), float(m)),
    )  # fmt: skip


def _judged(evidence: Evidence, groups: Tensor | None = None):
    return judge(evidence, torch.ones(BANDS), torch.zeros(BANDS), groups)


def _area(good: Tensor, odds: Tensor) -> float:
    """Area under the curve of hits against false alarms."""
    rank = odds.argsort().argsort().double()
    n, m = int(good.sum()), int((~good).sum())
    return (float(rank[good].sum()) - n * (n - 1) / 2) / (n * m)


def test_junk_of_both_kinds_is_found(generator: torch.Generator) -> None:
    n = 1500
    junk = torch.randint(0, 10, (n,), generator=generator)
    junk = torch.where(junk < 6, 0, torch.where(junk < 8, 1, 2))
    found = _judged(_planted(n, junk, torch.ones(n), generator, 8.0))
    assert _area(junk == 0, found.odds) > 0.99
    assert found.share == pytest.approx(0.6, abs=0.04)
    assert float(found.weights[junk == 0].mean()) > 0.97
    assert float(found.weights[junk > 0].mean()) < 0.06
    assert found.spread < 0.1


def test_clean_sets_weigh_one(generator: torch.Generator) -> None:
    n = 1000
    found = _judged(_planted(n, torch.zeros(n), torch.ones(n), generator))
    assert float(found.weights.min()) > 0.98 and found.share > 0.995
    assert found.spread < 0.05 and float((found.scales - 1.0).abs().max()) < 0.1


def test_a_noise_level_taken_wrong_does_not_make_junk(generator: torch.Generator) -> None:
    """Of every tenth particle the noise is 8 % stronger than its background told."""
    n = 1000
    evidence = _planted(n, torch.zeros(n), torch.ones(n), generator, 8.0)
    factor = torch.where(torch.arange(n) % 10 == 0, 1.08, 1.0)[:, None]
    louder = replace(
        evidence, images=evidence.images * factor**2, products=evidence.products * factor
    )
    found = _judged(louder)
    assert float(found.weights.min()) > 0.9 and found.share > 0.99


def test_particles_in_reverse_are_told_from_junk(generator: torch.Generator) -> None:
    n = 900
    kind = torch.arange(n) % 9
    junk = torch.where(kind < 2, kind + 1, 0)
    scale = torch.where(kind == 2, -1.0, 1.0)
    found = _judged(_planted(n, junk, scale, generator, 8.0))
    assert float(found.inverted[kind == 2].double().mean()) > 0.95
    assert not bool(found.inverted[kind > 2].any())
    assert float(found.inverted[kind < 2].double().mean()) < 0.05
    assert float(found.weights[kind == 2].max()) < 0.1


def test_images_of_a_strong_signal_are_kept(generator: torch.Generator) -> None:
    n = 800
    true = torch.where(torch.arange(n) % 40 == 0, 4.0, 1.0)
    evidence = _planted(n, torch.zeros(n), true, generator, 8.0)
    found = _judged(evidence)
    assert float(found.weights[true > 1.0].min()) > 0.9
    ratio = float(found.scales[true > 1.0].mean() / found.scales[true == 1.0].mean())
    assert ratio == pytest.approx(4.0, rel=0.15)


def test_scales_are_found_and_shrunk_by_their_errors(generator: torch.Generator) -> None:
    n = 1000
    true = (0.4 * torch.randn(n, generator=generator)).exp()
    true /= true.mean()
    found = _judged(_planted(n, torch.zeros(n), true, generator))
    assert found.spread == pytest.approx(float(true.std()), rel=0.15)
    error = float((found.scales - true).square().mean())
    assert error < 1.3 / (1.0 / true.var() + 12.0**2)
    assert float(found.scales.mean()) == pytest.approx(1.0, abs=0.02)


def test_what_a_micrograph_shares_helps_its_particles(generator: torch.Generator) -> None:
    n = 1000
    groups = torch.arange(n) // 50
    true = (1.0 + 0.4 * torch.randn(20, generator=generator)).clamp_min(0.2)[groups]
    true = true / true.mean()
    evidence = _planted(n, torch.zeros(n), true, generator, 4.0)
    alone, together = _judged(evidence), _judged(evidence, groups)
    errors = [float((found.scales - true).square().mean()) for found in (alone, together)]
    assert errors[1] < 0.5 * errors[0]


def test_an_image_s_share_of_the_map_is_taken_off(generator: torch.Generator) -> None:
    """Noise that agrees with the map because it is in it is not taken for particles."""
    n = 800
    junk = (torch.arange(n) % 2).long()
    evidence = _planted(n, junk, torch.ones(n), generator, 6.0)
    own = torch.linspace(1.0, 6.0, BANDS)
    biased = replace(evidence, products=evidence.products + own)
    plain = judge(evidence, torch.ones(BANDS), torch.zeros(BANDS))
    found = judge(biased, torch.ones(BANDS), own.double())
    torch.testing.assert_close(found.weights, plain.weights, rtol=0.0, atol=1e-3)
