"""All that runs on a CUDA device: errors, rates, distance from the device's bounds, whole runs.

``python -m benchmarks.gpu`` writes ``benchmarks/results/gpu.json``. On a
machine without a CUDA device the file says that nothing was measured, and why. ``--sweep`` also
times other launch parameters of the kernels, to choose those in `cryosplat.splatting._splat_cuda`
by. Kernels of the statistics solver are in `gpu_cases`, whole runs in `gpu_runs`.

Every row of splatting tells three loops: ``kernels``, the splat and its adjoint alone;
``projection``, from the parameters of a mixture through images, their transforms and back to
gradients of the parameters; ``training``, the image-space solver's step: projection, CTF, loss,
gradient, update, for images already on the device.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import math
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cryosplat.devices import device_of
from cryosplat.errors import SettingsError
from cryosplat.fitting import Encoding, Schedule
from cryosplat.fitting._parameters import Learner
from cryosplat.fitting.images.data import Observed
from cryosplat.fitting.images.term import ImageLikelihood, equal_precision
from cryosplat.grid import Grid
from cryosplat.mixture import GaussianMixture
from cryosplat.splatting import project
from cryosplat.splatting._operator import splat_adjoint_op, splat_op
from cryosplat.splatting._project import view
from cryosplat.splatting._splat_reference import splat_dense, splat_dense_adjoint

from . import gpu_cases, gpu_runs, machine
from .gpu_cases import Ceilings, batch_of, mixture_of, poses_of, seconds
from .run import write_json

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


def ceilings(device: torch.device, side: int = 8192) -> Ceilings:
    """The device's ceilings, the matrix product without TF32."""
    a, b = torch.rand(side, side, device=device), torch.rand(side, side, device=device)
    source = torch.ones(4 * side**2, device=device)
    target = torch.empty_like(source)
    product = seconds(lambda: a @ b, device, 5)
    copied = seconds(lambda: target.copy_(source), device, 5)
    return Ceilings(2.0 * side**3 / product, 8.0 * source.numel() / copied)


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
    means, scales, quaternions, amplitudes = parts
    mixture = GaussianMixture(means, scales, quaternions, amplitudes)
    poses, grid = poses_of(n, device), Grid(box, 1.0)

    def step() -> None:
        images = project(mixture, poses, grid)
        spectra = torch.fft.rfft2(images.detach())
        images.backward(torch.fft.irfft2(spectra, s=(box, box)))
        for part in parts:
            part.grad = None

    return {"images_per_second": n / seconds(step, device)}


def training(k: int, n: int, box: int, device: torch.device) -> dict[str, Any]:
    """The image-space solver's step for images on the device."""
    grid, poses, batch = Grid(box, 1.0), poses_of(n, device), batch_of(n, box).to(device)
    observed = Observed(batch.index, torch.fft.rfft2(batch.images), poses, batch.optics)
    encoding = Encoding(grid.side, float(k), 0.4 / box)
    parameters = [encoding.encode(mixture_of(k, box, device))]
    learner = Learner(parameters, ["C1"], encoding, Schedule(rates=(1e-6, 1e-6, 1e-6, 1e-6)), 0)
    likelihood = ImageLikelihood(grid, equal_precision(1.0, 1))

    def step() -> None:
        images = project(learner.mixtures()[0], poses, grid)
        likelihood(images, observed).backward()
        learner.update()

    return {"images_per_second": n / seconds(step, device)}


def errors(device: torch.device, k: int = 500, box: int = 256) -> dict[str, float]:
    """Relative errors on the device, float32 kernels against the definition in float64."""
    a, b, c = view(mixture_of(k, box, device), poses_of(2, device), Grid(box, 1.0))
    gradient = torch.randn(2, box, box, device=device)
    found = (splat_op(a, b, c, box), *splat_adjoint_op(a, b, c, gradient))
    a, b, c = a.double(), b.double(), c.double()
    wanted = (splat_dense(a, b, c, box), *splat_dense_adjoint(a, b, c, gradient.double()))
    names = ("images", "by centres", "by precisions", "by weights")
    return {
        name: float((ours.double() - exact).norm() / exact.norm())
        for name, ours, exact in zip(names, found, wanted, strict=True)
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


def splatting(
    device: torch.device, sizes: list[tuple[int, int]], limits: Ceilings, box: int = BOX
) -> list[dict[str, Any]]:
    """Three loops for each of ``sizes``, Gaussians and images a batch."""
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
    return rows


def main() -> None:
    """Measure what can be measured here and write the results."""
    parser = argparse.ArgumentParser(description="Splatting on a CUDA device.")
    parser.add_argument("--results", type=Path, default=HERE / "results", metavar="FOLDER")
    data = Path(tempfile.gettempdir()) / "cryosplat-gpu"
    parser.add_argument("--data", type=Path, default=data, metavar="FOLDER", help="for whole runs")
    parser.add_argument("--devices", nargs="+", default=["cuda", "cpu"], help="of whole runs")
    parser.add_argument("--parts", nargs="+", metavar="PART", help="only these measurements")
    parser.add_argument("--sweep", action="store_true", help="time other launch parameters too")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    content: dict[str, Any] = {"machine": machine.describe(), "goal": GOAL}
    try:
        device = device_of("cuda")
    except SettingsError as error:
        content |= {"measured": False, "why": str(error)}
        LOG.info("not measured: %s", error)
    else:
        measure(device, given, content)
    write(given.results, content)


def write(folder: Path, content: dict[str, Any]) -> None:
    """What was measured so far."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "gpu.json", content)


def measure(device: torch.device, given: argparse.Namespace, content: dict[str, Any]) -> None:
    """Add all measurements, each written once it is made; what fails is told in its place."""
    properties = torch.cuda.get_device_properties(device)
    limits = ceilings(device)
    sizes = [(k, n) for k in GAUSSIANS for n in BATCHES]
    parts: dict[str, Callable[[], Any]] = {
        "relative_errors": lambda: {
            "splatting": errors(device), "statistics": gpu_cases.check(device)
        },
        "statistics": lambda: [
            *gpu_cases.gridding(device, limits, 128, 1024),
            *gpu_cases.gridding(device, limits, 256, 256),
            *gpu_cases.accumulation(device, limits, 128, 1024),
            *gpu_cases.accumulation(device, limits, 256, 256),
            *gpu_cases.descent(device, limits, 96, 8000),
            *gpu_cases.descent(device, limits, 160, 30000),
        ],
        "alignment": lambda: gpu_cases.alignment(device, limits, 128, 1024),
        "splatting": lambda: splatting(device, sizes, limits),
        "runs": lambda: gpu_runs.runs(gpu_runs.PROBLEMS, given.devices, given.data),
    }  # fmt: skip
    if given.sweep:
        parts["sweep"] = lambda: sweep(device, max(GAUSSIANS), max(BATCHES), BOX)
    content |= {
        "measured": True, "device": properties.name,
        "multiprocessors": properties.multi_processor_count,
        "device_memory_gb": math.floor(properties.total_memory / 1e9),
        "ceilings": {"operations": limits.operations, "memory": limits.memory},
    }  # fmt: skip
    for name in given.parts or parts:
        part = parts[name]
        begun = time.perf_counter()
        try:
            content[name] = part()
        except Exception as error:
            content[name] = {"failed": repr(error), "trace": traceback.format_exc()[-3000:]}
        LOG.info("%s, %.1f s: %s", name, time.perf_counter() - begun, content[name])
        write(given.results, content)


if __name__ == "__main__":
    main()
