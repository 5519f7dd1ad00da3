"""Splatting on a CUDA device: images a second, errors, and how far from the device's bounds.

``python benchmarks/gpu.py`` writes ``benchmarks/results/gpu.json``. On a machine without a CUDA
device the file says that nothing was measured, and why. ``--sweep`` also times other launch
parameters of the kernels, to choose those in `cryosplat.splatting._splat_cuda` by.

Every row tells three loops: ``kernels``, the splat and its adjoint alone; ``projection``, from the
parameters of a mixture through images, their transforms and back to gradients of the parameters;
``training``, the image-space solver's step: projection, CTF, loss, gradient, update, for images
already on the device.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import machine
import torch
from run import write_json
from torch import Tensor

from cryosplat.fitting import Encoding, Schedule
from cryosplat.fitting._parameters import Learner
from cryosplat.fitting.images.data import Observed
from cryosplat.fitting.images.term import ImageLikelihood, equal_precision
from cryosplat.grid import Grid
from cryosplat.mixture import GaussianMixture
from cryosplat.optics import Optics, OpticsGroup
from cryosplat.poses import Poses, random_poses
from cryosplat.splatting import project
from cryosplat.splatting._operator import splat_adjoint_op, splat_op
from cryosplat.splatting._project import view
from cryosplat.splatting._splat_reference import splat_dense, splat_dense_adjoint

LOG = logging.getLogger("benchmark")
HERE = Path(__file__).resolve().parent
GAUSSIANS, BATCHES, BOX = (2048, 8000, 30000), (16, 64), 256
GOAL = {"images_per_second": 10_000, "gaussians": 30_000, "box": 256}
# floating-point operations of one evaluation in the kernels, a multiply-add being two, exp2 one
FORWARD_OPERATIONS, BACKWARD_OPERATIONS = 12, 33
# bytes a Gaussian: parameters, gradients and boxes; and an entry of a tile's list: made, sorted
# in four passes, read with its parameters
GAUSSIAN_BYTES, ENTRY_BYTES, PIXEL_BYTES = 140, 150, 8
SWEEP = {
    "TILE_GAUSSIANS": (4, 8), "TILE_WARPS": (1, 2, 4),
    "GAUSSIANS": (4, 8, 16), "PIXELS": (8, 16), "GATHER_WARPS": (1, 2),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Float32 operations and bytes a second that the device reaches: matrix product and copy."""

    operations: float
    memory: float


def seconds(call: Callable[[], object], device: torch.device, repeats: int = 20) -> float:
    """Seconds of one call: the fastest of three runs of some calls, ended by one synchronisation."""
    found = []
    for run in range(4):
        begun = time.perf_counter()
        for _ in range(repeats if run else 3):
            call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append((time.perf_counter() - begun) / repeats)
    return min(found[1:])


def ceilings(device: torch.device, side: int = 8192) -> Ceilings:
    """The device's ceilings, the matrix product without TF32."""
    a, b = torch.rand(side, side, device=device), torch.rand(side, side, device=device)
    source = torch.ones(4 * side**2, device=device)
    target = torch.empty_like(source)
    product = seconds(lambda: a @ b, device, 5)
    copied = seconds(lambda: target.copy_(source), device, 5)
    return Ceilings(2.0 * side**3 / product, 8.0 * source.numel() / copied)


def mixture_of(k: int, box: int, device: torch.device) -> GaussianMixture:
    """Gaussians in a ball of 0.3 box, scales from 0.7 to 2 pixels of 1 Å: what fits end with."""
    generator = torch.Generator().manual_seed(4)
    direction = torch.nn.functional.normalize(torch.randn(k, 3, generator=generator), dim=1)
    radius = 0.3 * box * torch.rand(k, 1, generator=generator) ** (1 / 3)
    scales = 0.7 * (2.0 / 0.7) ** torch.rand(k, 3, generator=generator)
    quaternions = torch.nn.functional.normalize(torch.randn(k, 4, generator=generator), dim=1)
    parts = (direction * radius, scales, quaternions, torch.ones(k))
    return GaussianMixture(*(part.to(device) for part in parts))


def poses_of(n: int, device: torch.device) -> Poses:
    """Random orientations, no shifts."""
    poses = random_poses(n, torch.Generator().manual_seed(5))
    return Poses(poses.rotations.to(device), poses.shifts.to(device))


def evaluations(centres: Tensor, precisions: Tensor, side: int) -> tuple[int, int, int]:
    """Entries of the tiles' lists, pixels evaluated forward, and backward, as the kernels do."""
    from cryosplat.splatting._splat_cuda import CUTOFF, TILE

    xx, xy, yy = precisions.unbind(-1)
    determinant = xx * yy - xy * xy
    reach = CUTOFF * torch.stack([yy, xx], -1).div(determinant[..., None]).sqrt()
    low = (centres - reach).clamp_min(0.0).ceil()
    high = (centres + reach).clamp_max(side - 1.0).floor()
    meets = (low <= high).all(-1)
    tiles = ((high / TILE).floor() - (low / TILE).floor() + 1.0).prod(-1)
    entries = int((tiles * meets).sum(dtype=torch.float64))
    length = (2.0 * CUTOFF / xx.sqrt()).floor() + 1.0
    rows = (high - low)[..., 1] + 1.0
    gathered = int((rows * length.clamp_max(side) * meets).sum(dtype=torch.float64))
    return entries, entries * TILE**2, gathered


def kernels(k: int, n: int, box: int, device: torch.device, limits: Ceilings) -> dict[str, Any]:
    """The splat and its adjoint, and their bounds."""
    inputs = view(mixture_of(k, box, device), poses_of(n, device), Grid(box, 1.0))
    inputs = tuple(t.contiguous() for t in inputs)
    gradient = torch.randn(n, box, box, device=device)
    forward = seconds(lambda: splat_op(*inputs, box), device)
    backward = seconds(lambda: splat_adjoint_op(*inputs, gradient), device)
    entries, first, second = evaluations(inputs[0], inputs[1], box)
    operations = FORWARD_OPERATIONS * first + BACKWARD_OPERATIONS * second
    moved = GAUSSIAN_BYTES * n * k + ENTRY_BYTES * entries + PIXEL_BYTES * n * box**2
    taken = forward + backward
    return {
        "forward_s": forward,
        "backward_s": backward,
        "images_per_second": n / taken,
        "operations": operations,
        "bytes": moved,
        "arithmetic_bound_reached": operations / limits.operations / taken,
        "bandwidth_bound_reached": moved / limits.memory / taken,
    }


def projection(k: int, n: int, box: int, device: torch.device) -> dict[str, Any]:
    """From parameters to images, their transforms, and back to gradients of the parameters."""
    given = mixture_of(k, box, device)
    parts = [given.means, given.scales, given.quaternions, given.amplitudes]
    parts = [part.requires_grad_() for part in parts]
    mixture, poses, grid = GaussianMixture(*parts), poses_of(n, device), Grid(box, 1.0)

    def step() -> None:
        images = project(mixture, poses, grid)
        spectra = torch.fft.rfft2(images.detach())
        images.backward(torch.fft.irfft2(spectra, s=(box, box)))
        for part in parts:
            part.grad = None

    return {"images_per_second": n / seconds(step, device)}


def training(k: int, n: int, box: int, device: torch.device) -> dict[str, Any]:
    """The image-space solver's step for images on the device."""
    grid, poses = Grid(box, 1.0), poses_of(n, device)
    zero = torch.zeros(n, dtype=torch.float64, device=device)
    optics = Optics(
        (OpticsGroup("one", 1.0, box, 300e3, 2.7e7, 0.1),), zero.long(), zero + 15e3, zero + 14e3,
        zero, zero, zero, zero + 1.0,
    )  # fmt: skip
    transforms = torch.fft.rfft2(torch.randn(n, box, box, device=device))
    observed = Observed(torch.arange(n), transforms, poses, optics)
    encoding = Encoding(grid.side, float(k), 0.4 / box)
    parameters = [encoding.encode(mixture_of(k, box, device))]
    learner = Learner(parameters, ["C1"], encoding, Schedule(rates=(1e-6,) * 4), 0)
    likelihood = ImageLikelihood(grid, equal_precision(1.0, 1))

    def step() -> None:
        images = project(learner.mixtures()[0], poses, grid)
        likelihood(images, observed).backward()
        learner.update()

    return {"images_per_second": n / seconds(step, device)}


def errors(device: torch.device, k: int = 500, box: int = 256) -> dict[str, float]:
    """Relative errors on the device, float32 kernels against the definition in float64."""
    inputs = view(mixture_of(k, box, device), poses_of(2, device), Grid(box, 1.0))
    exact = tuple(t.double() for t in inputs)
    gradient = torch.randn(2, box, box, device=device)
    found = (splat_op(*inputs, box), *splat_adjoint_op(*inputs, gradient))
    wanted = (splat_dense(*exact, box), *splat_dense_adjoint(*exact, gradient.double()))
    names = ("images", "by centres", "by precisions", "by weights")
    return {
        name: float((a.double() - b).norm() / b.norm())
        for name, a, b in zip(names, found, wanted, strict=True)
    }


def sweep(device: torch.device, k: int, n: int, box: int) -> list[dict[str, Any]]:
    """Milliseconds of the kernels with other launch parameters."""
    from cryosplat.splatting import _splat_cuda

    inputs = view(mixture_of(k, box, device), poses_of(n, device), Grid(box, 1.0))
    inputs = tuple(t.contiguous() for t in inputs)
    gradient = torch.randn(n, box, box, device=device)
    calls = {
        ("TILE_GAUSSIANS", "TILE_WARPS"): lambda: splat_op(*inputs, box),
        ("GAUSSIANS", "PIXELS", "GATHER_WARPS"): lambda: splat_adjoint_op(*inputs, gradient),
    }
    rows = []
    for names, call in calls.items():
        usual = {name: getattr(_splat_cuda, name) for name in names}
        for values in itertools.product(*(SWEEP[name] for name in names)):
            chosen = dict(zip(names, values, strict=True))
            for name, value in chosen.items():
                setattr(_splat_cuda, name, value)
            rows.append({**chosen, "ms": 1e3 * seconds(call, device)})
        for name, value in usual.items():
            setattr(_splat_cuda, name, value)
    return rows


def measure(
    device: torch.device, sizes: list[tuple[int, int]], box: int = BOX, side: int = 8192
) -> dict[str, Any]:
    """All measurements: ``sizes`` are Gaussians and images a batch, ``side`` that of the ceilings."""
    limits = ceilings(device, side)
    rows = []
    for k, n in sizes:
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        row: dict[str, Any] = {"gaussians": k, "batch": n, "box": box}
        row["kernels"] = kernels(k, n, box, device, limits)
        row["projection"] = projection(k, n, box, device)
        row["training"] = training(k, n, box, device)
        if device.type == "cuda":
            row["peak_memory_mb"] = torch.cuda.max_memory_allocated(device) / 1e6
        rows.append(row)
        LOG.info("%s", row)
    return {
        "ceilings": {"operations": limits.operations, "memory": limits.memory},
        "relative_errors": errors(device, min(500, sizes[0][0]), box),
        "rows": rows,
    }


def why_not() -> str:
    """What keeps this machine from measuring, or nothing."""
    if not torch.cuda.is_available():
        return f"no CUDA device is at hand (PyTorch {torch.__version__})"
    if importlib.util.find_spec("triton") is None:
        return "the package triton is not installed (pip install 'cryosplat[gpu]')"
    return ""


def main() -> None:
    """Measure what can be measured here and write the results."""
    parser = argparse.ArgumentParser(description="Splatting on a CUDA device.")
    parser.add_argument("--results", type=Path, default=HERE / "results", metavar="FOLDER")
    parser.add_argument("--sweep", action="store_true", help="time other launch parameters too")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    content: dict[str, Any] = {"machine": machine.describe(), "goal": GOAL}
    reason = why_not()
    if reason:
        content |= {"measured": False, "why": reason}
        LOG.info("not measured: %s", reason)
    else:
        device = torch.device("cuda")
        found = torch.cuda.get_device_properties(device)
        sizes = [(k, n) for k in GAUSSIANS for n in BATCHES]
        content |= {
            "measured": True, "device": found.name, "multiprocessors": found.multi_processor_count,
            "device_memory_gb": math.floor(found.total_memory / 1e9), **measure(device, sizes),
        }  # fmt: skip
        if given.sweep:
            content["sweep"] = sweep(device, max(GAUSSIANS), max(BATCHES), BOX)
    given.results.mkdir(parents=True, exist_ok=True)
    write_json(given.results / "gpu.json", content)


if __name__ == "__main__":
    main()
