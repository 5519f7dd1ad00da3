"""A second device that is not there: what follows the device of its tensors can be told on any CPU.

Tensors on it say that they are on "meta" and hold their numbers on the CPU, where everything is
computed. As on a CUDA device, operands on two devices are an error, and so is ``numpy()``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import optimizer
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_map

from cryosplat.abinitio import recipe as search
from cryosplat.alignment import _cpu as _likelihoods
from cryosplat.alignment import _device
from cryosplat.alignment._lines import SUMS
from cryosplat.alignment.template import _cube
from cryosplat.fitting.images import data
from cryosplat.gridding import _cpu, _sums
from cryosplat.reconstruction import _checkpoint, recipe
from cryosplat.reconstruction.refinement import _halves

THERE = torch.device("meta")
# move or copy between devices, or index with tensors on the CPU
MIXED = ("_to_copy", "copy_", "index", "index_put", "index_put_", "_index_put_impl_")

LAZY = {"_conj": torch.conj_physical, "_neg_view": torch.neg}


class Pretended(torch.Tensor):
    """A tensor on the pretended device."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> Pretended:
        return torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, device=THERE,
        )  # fmt: skip

    def __init__(self, held: torch.Tensor) -> None:
        self.held = held

    def tolist(self) -> Any:
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


def run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """An operator on tensors of either device."""
    tensors: list[torch.Tensor] = []
    tree_map(lambda x: tensors.append(x) if isinstance(x, torch.Tensor) else None, (args, kwargs))
    there = [isinstance(tensor, Pretended) for tensor in tensors]
    name = func.overloadpacket.__name__
    if any(there) and not all(there) and name not in MIXED:
        lost = [t for t, is_there in zip(tensors, there, strict=True) if not is_there and t.dim()]
        if lost:
            raise RuntimeError(
                f"{name}: expected all tensors on one device; {lost[0].shape} is not"
            )
    wanted = kwargs.get("device")
    result_there = any(there) if wanted is None else torch.device(wanted).type == "meta"
    if name in ("copy_", "index", "index_put", "index_put_"):
        result_there = there[0]

    def held(x: Any) -> Any:
        return x.held if isinstance(x, Pretended) else x

    plain = {key: held_tree(value) for key, value in kwargs.items()}
    if wanted is not None:
        plain["device"] = torch.device("cpu")
    call = LAZY.get(name, func)  # what is only marked would not be done
    out = call(*tree_map(held, args), **plain)
    if name == "_to_copy":
        out = out.clone() if any(out is held(t) for t in tensors) else out
    if not result_there:
        return out
    wrapped = tree_map(lambda x: Pretended(x) if isinstance(x, torch.Tensor) else x, out)
    return wrapped if name in LAZY else return_and_correct_aliasing(func, args, kwargs, wrapped)


def held_tree(value: Any) -> Any:
    return tree_map(lambda x: x.held if isinstance(x, Pretended) else x, value)


class Pretending(TorchDispatchMode):
    """Where tensors can be made on, and moved to, the pretended device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


class Making(TorchFunctionMode):
    """`torch.tensor` makes its tensors behind the back of operators: here on the CPU, then moved."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            device = kwargs.pop("device")
            return func(*args, **kwargs).to(device)
        return func(*args, **kwargs)


class Grids:
    """Sums of half planes on the pretended device."""

    def __init__(self, period: int, device: torch.device) -> None:
        assert device.type == "meta"
        self._tiles = _cpu.Tiles(period)

    def add(self, values: torch.Tensor, steps: torch.Tensor, radii: torch.Tensor) -> None:
        self._tiles.add(*(tensor.held for tensor in (values, steps, radii)))  # type: ignore[attr-defined]

    def grids(self) -> tuple[torch.Tensor, ...]:
        return tuple(grid.to(THERE) for grid in self._tiles.grids())


def evaluated(*given: Any) -> torch.Tensor:
    """The likelihoods of poses on the pretended device."""
    grid, *parts = (tensor.held.contiguous().numpy() for tensor in given)
    cells, shape = _cube(grid, grid.shape[0] // 2 - 4)
    out = np.zeros((len(parts[3]), SUMS))
    _likelihoods.evaluated(cells, shape, *parts, out)  # type: ignore[call-arg]
    return torch.from_numpy(out).to(THERE)


class AtOnce(Executor):
    """A pool of no threads: what is submitted is done before `submit` returns."""

    def __init__(self, *args: Any) -> None: ...

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@contextmanager
def pretended_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """The device, which "cuda" means to a reconstruction inside."""
    monkeypatch.setattr(_sums, "triton_module", lambda name: SimpleNamespace(Grids=Grids))
    monkeypatch.setattr(_device, "triton_module", lambda name: SimpleNamespace(evaluated=evaluated))
    for module in (recipe, _checkpoint, _halves, search):
        monkeypatch.setattr(module, "device_of", {"cuda": THERE, "cpu": torch.device("cpu")}.get)
    for module in (recipe, search):
        monkeypatch.setattr(module, "device_title", str)
    monkeypatch.setattr(data, "ThreadPoolExecutor", AtOnce)  # modes are of one thread
    monkeypatch.setattr(optimizer, "_get_fused_kernels_supported_devices", lambda: ["meta", "cpu"])
    with Pretending(), Making():
        yield THERE
