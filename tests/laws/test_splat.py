"""Laws of splatting: the kernel equals the definition, whose gradient is its derivative."""

from __future__ import annotations

import math

import pytest
import tolerances
import torch
from torch import Tensor

from cryosplat.splatting._splat_cpu import shares_of
from cryosplat.splatting._splat_reference import splat_dense, splat_dense_adjoint

SEED = 4

NAMES = ("centres", "precisions", "weights")
KINDS = {  # smaller scale from, to, and how much larger the other is at most
    "narrow": (0.4, 0.8, 1.5),
    "usual": (0.7, 2.0, 2.0),
    "wide": (3.0, 6.0, 1.0),
    "needles": (0.4, 0.6, 10.0),
}


def _in_pixels(
    kind: str, n: int, k: int, side: int, spread: float, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Centres, precisions and weights, float64 numbers that single precision holds."""

    def uniform(low: float, high: float, *more: int) -> Tensor:
        draw = torch.rand(n, k, *more, generator=generator, dtype=torch.float64)
        return low + (high - low) * draw

    low, high, ratio = KINDS[kind]
    small = uniform(low, high)
    large = small * (ratio if kind == "needles" else uniform(1.0, ratio))
    angle = uniform(0.0, math.pi)
    c, s = angle.cos(), angle.sin()
    p, q = small**-2, large**-2
    precisions = torch.stack([p * c * c + q * s * s, (p - q) * c * s, p * s * s + q * c * c], -1)
    centres = side / 2 + uniform(-spread / 2, spread / 2, 2)
    return centres.float().double(), precisions.float().double(), uniform(0.2, 1.2).float().double()


def _relative(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b).norm() / b.norm())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("n", "k", "side"), [(3, 30, 31), (1, 40, 64), (2, 30, 100), (1, 12, 256), (2, 9, 7)]
)
def test_the_kernel_is_the_definition(
    kind: str, n: int, k: int, side: int, generator: torch.Generator
) -> None:
    """Centres all over the image and 10 pixels beyond its edges."""
    exact = _in_pixels(kind, n, k, side, side + 20.0, generator)
    single = tuple(t.float().requires_grad_() for t in exact)
    gradient = torch.randn(n, side, side, generator=generator)
    images = torch.ops.cryosplat.splat(*single, side)
    images.backward(gradient)
    assert _relative(images.detach(), splat_dense(*exact, side)) < tolerances.SPLAT_FORWARD
    expected = splat_dense_adjoint(*exact, gradient.double())
    for name, given, wanted in zip(NAMES, single, expected, strict=True):
        assert given.grad is not None
        assert _relative(given.grad, wanted) < tolerances.SPLAT_BACKWARD, name


def test_a_smooth_gradient_hides_no_cut_off(generator: torch.Generator) -> None:
    exact = _in_pixels("usual", 2, 60, 48, 40.0, generator)
    gradient = splat_dense(*exact, 48)
    given = torch.ops.cryosplat.splat_adjoint(*(t.float() for t in (*exact, gradient)))
    for name, a, b in zip(NAMES, given, splat_dense_adjoint(*exact, gradient), strict=True):
        assert _relative(a, b) < tolerances.SPLAT_BACKWARD, name


@pytest.mark.parametrize("far", [(-40.0, 8.0), (8.0, 70.0), (1e8, 8.0)])
def test_a_gaussian_far_outside_leaves_the_image_and_gets_no_gradient(far: tuple) -> None:
    parts = (torch.tensor([[far]]), torch.tensor([[[1.0, 0.2, 1.0]]]), torch.ones(1, 1))
    inputs = [t.requires_grad_() for t in parts]
    image = torch.ops.cryosplat.splat(*inputs, 16)
    image.sum().backward()
    assert float(image.detach().abs().max()) == 0.0
    for value in inputs:
        assert value.grad is not None and float(value.grad.abs().max()) == 0.0


@pytest.mark.parametrize(("n", "k"), [(0, 5), (3, 0), (0, 0)])
def test_empty_batches(n: int, k: int) -> None:
    inputs = [torch.zeros(n, k, 2), torch.zeros(n, k, 3), torch.zeros(n, k)]
    inputs = [t.requires_grad_() for t in inputs]
    images = torch.ops.cryosplat.splat(*inputs, 20)
    assert images.shape == (n, 20, 20) and not images.detach().any()
    images.sum().backward()
    for value in inputs:
        assert value.grad is not None and value.grad.shape == value.shape


def test_inputs_need_not_be_contiguous(generator: torch.Generator) -> None:
    exact = _in_pixels("usual", 2, 11, 24, 20.0, generator)
    gradient = torch.randn(2, 24, 24, generator=generator)
    single = [t.float() for t in exact]
    strided = [t.transpose(0, 1).contiguous().transpose(0, 1) for t in single]
    turned = gradient.transpose(1, 2).contiguous().transpose(1, 2)
    splat, adjoint = torch.ops.cryosplat.splat, torch.ops.cryosplat.splat_adjoint
    assert torch.equal(splat(*strided, 24), splat(*single, 24))
    for a, b in zip(adjoint(*strided, turned), adjoint(*single, gradient), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("part", "value"), [(0, [math.nan, 8.0]), (0, [math.inf, 8.0]), (1, [1.0, 2.0, 1.0])]
)
def test_what_is_no_gaussian_makes_its_own_image_nan(part: int, value: list[float]) -> None:
    inputs = [torch.full((2, 3, 2), 8.0), torch.tensor([1.0, 0.0, 1.0]).repeat(2, 3, 1),
              torch.ones(2, 3)]  # fmt: skip
    inputs[part][1, 2] = torch.tensor(value)
    images = torch.ops.cryosplat.splat(*inputs, 16)
    assert images[1].isnan().all() and images[0].isfinite().all()
    for gradient in torch.ops.cryosplat.splat_adjoint(*inputs, torch.ones(2, 16, 16)):
        assert gradient[1, 2].isnan().all() and gradient[0].isfinite().all()
        assert gradient[1, :2].isfinite().all()


def test_a_nan_in_the_gradient_is_not_lost(generator: torch.Generator) -> None:
    single = [t.float() for t in _in_pixels("usual", 1, 4, 20, 4.0, generator)]
    gradient = torch.zeros(1, 20, 20)
    gradient[0, 10, 10] = math.nan
    for value in torch.ops.cryosplat.splat_adjoint(*single, gradient):
        assert value.isnan().all()


def test_an_image_is_shared_out_when_threads_would_wait() -> None:
    assert [shares_of(n, 2) for n in (0, 1, 2, 3, 16, 64)] == [1, 2, 1, 2, 1, 1]
    assert shares_of(1, 16) in (14, 15, 16)
    for n in range(1, 40):
        tasks = n * shares_of(n, 8)
        assert -(-tasks // 8) * 8 <= 1.15 * tasks


def test_the_operator_is_what_torch_expects(generator: torch.Generator) -> None:
    single = [t.float().requires_grad_() for t in _in_pixels("usual", 2, 3, 16, 8.0, generator)]
    torch.library.opcheck(torch.ops.cryosplat.splat.default, (*single, 16))


def test_the_gradient_of_the_definition_is_its_derivative(generator: torch.Generator) -> None:
    inputs = [t.requires_grad_() for t in _in_pixels("usual", 2, 3, 6, 6.0, generator)]
    assert torch.autograd.gradcheck(lambda *t: torch.ops.cryosplat.splat(*t, 6), inputs)


def test_sampling_is_the_adjoint_of_splatting(generator: torch.Generator) -> None:
    c, p, w = (t.float() for t in _in_pixels("usual", 3, 50, 40, 40.0, generator))
    gradient = torch.randn(3, 40, 40, generator=generator)
    across = torch.ops.cryosplat.splat(c, p, w, 40).double() * gradient
    back = torch.ops.cryosplat.splat_adjoint(c, p, w, gradient)[2].double() * w
    assert abs(float(across.sum() - back.sum())) < tolerances.ADJOINT * float(across.abs().sum())
