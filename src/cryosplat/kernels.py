"""How operators get their kernels: one for each kind of device, in single precision.

Elsewhere, and in double precision, an operator is its definition. PyTorch chooses by the device of
the tensors; there is nothing to set.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch

from .errors import SettingsError


def triton_module(name: str) -> Any:
    """A module of Triton kernels, loaded when first used; raises `SettingsError` without Triton.

    CPU builds of PyTorch come without Triton.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"A CUDA device needs the package {error.name}, which is not installed. "
            "Remedy: pip install 'cryosplat[gpu]', or run on the CPU."
        ) from error


def register_kernels(
    operator: Any, definition: Callable[..., Any], cpu: Callable[..., Any], cuda: tuple[str, str]
) -> None:
    """Let a ``torch.library`` operator run ``cpu`` and ``cuda`` for single-precision tensors.

    ``cuda`` is the module of Triton kernels and the function in it. The precision is that of the
    operator's first argument.
    """

    def on_cpu(*inputs: Any) -> Any:
        return (cpu if _single(inputs[0]) else definition)(*inputs)

    def on_cuda(*inputs: Any) -> Any:
        if not _single(inputs[0]):
            return definition(*inputs)
        module, name = cuda
        return getattr(triton_module(module), name)(*inputs)

    operator.register_kernel("cpu")(on_cpu)
    operator.register_kernel("cuda")(on_cuda)


def _single(tensor: torch.Tensor) -> bool:
    return tensor.dtype in (torch.float32, torch.complex64)
