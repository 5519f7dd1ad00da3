"""Which point group a map has, and about which axes: found by turning one half-map against the other.

Axes are where the turned half-map agrees best. Whether they are axes of symmetry is another question
(`_turned`): half-maps say how well a symmetry must agree, and what is round about an axis proves none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.ndimage
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from .. import fourier
from ..symmetry import order_of, rotations_of, symmetry_name
from ._turned import FIRST_SHELL, Proof, Turned
from .views import half_sphere

Array = NDArray[Any]
FOLDS = tuple(range(2, 13))
POLYHEDRAL = ("T", "O", "I2")
BOX = 32  # voxels of the maps that are compared
COARSE_SHELL = 6
FEWEST_SHELLS = 4  # that tell a symmetry
ROUND = 0.8  # of the agreement, that remains under any rotation of what is nearly round
HINT = 0.25  # of a symmetry, on the average over a group, by which it is worth trying
NEARLY = 0.5  # of an agreement: less is not looked at more closely
AXES, FRAMES, TURNS = 800, 3000, 60
OPERATORS = 5  # of a group, by which its axes are refined
BEST = 3  # of a coarse search for axes, refined
STEP, SMALLEST = math.radians(6.0), math.radians(0.3)


@dataclass(frozen=True, slots=True)
class PointGroup:
    """A point group ``name``, and where it is in a map: voxel offsets r (x, y, z) from the rotation
    centre go to ``rotation @ (r - centre)``, in which the axes are RELION's.

    ``agreement``: of the half-maps when one is turned by the group, 1 where it is that when it is not,
    0 where it is that after any turn about the same axis; of the rotation that agrees least.
    ``tried`` holds it for the best of each group that was looked at.
    """

    name: str
    rotation: Array
    centre: Array
    agreement: float
    tried: dict[str, float]


def find_point_group(half1: Tensor, half2: Tensor, name: str | None = None) -> PointGroup:
    """The largest point group that two half-maps (d, d, d) show; C1 where they show none.

    With a ``name``: the best axes for that group, however well it fits.
    """
    return point_groups(half1, half2, name)[0]


def point_groups(half1: Tensor, half2: Tensor, name: str | None = None) -> list[PointGroup]:
    """All point groups that two half-maps show, the largest first, C1 last.

    A group is shown if every one of its rotations leaves as much of the agreement as a symmetry must
    (`Proof`). Groups that a molecule nearly has are told from those that it has as far as the
    half-maps agree. With a ``name``: that group, however well it fits.
    """
    turned = _turned(half1, half2)
    scale = len(half1) / turned.box
    fits = _all_fits(turned) if name is None else [_fit_of(turned, symmetry_name(name))]
    tried = {fit.name: round(fit.proof.share, 3) for fit in fits}
    shown = [fit for fit in fits if fit.proof.holds or name is not None]
    shown.sort(key=lambda fit: (order_of(fit.name), fit.proof.share), reverse=True)
    none = PointGroup("C1", np.eye(3), np.zeros(3), 1.0, tried)
    return [
        PointGroup(fit.name, fit.frame, fit.centre * scale, fit.proof.share, tried)
        for fit in shown if fit.name != "C1"
    ] + [none]  # fmt: skip


def is_nearly_round(half1: Tensor, half2: Tensor) -> bool:
    """Whether most of what two half-maps agree in remains under any rotation."""
    return _turned(half1, half2).roundness > ROUND


def hinted_group(half1: Tensor, half2: Tensor) -> PointGroup | None:
    """The largest polyhedral group that two half-maps come near to, without showing it."""
    turned = _turned(half1, half2)
    if not _tells(turned):
        return None
    near = [fit for name in POLYHEDRAL if (fit := _polyhedral(turned, name)).mean > HINT]
    if not near:
        return None
    fit = max(near, key=lambda fit: order_of(fit.name))
    centre = fit.centre * len(half1) / turned.box
    return PointGroup(fit.name, fit.frame, centre, fit.proof.share, {fit.name: fit.proof.share})


def _turned(half1: Tensor, half2: Tensor) -> Turned:
    box = min(len(half1), BOX)
    return Turned.of(*(fourier.resample(half, box, 3) for half in (half1, half2)))


def _tells(turned: Turned) -> bool:
    return turned.last >= FIRST_SHELL + FEWEST_SHELLS - 1


def _all_fits(turned: Turned) -> list[_Fit]:
    """The best axes of all groups that the map may have."""
    if not _tells(turned):
        return []
    cyclic = [fit for fold in FOLDS if (fit := _cyclic(turned, f"C{fold}", NEARLY)) is not None]
    good = [fit for fit in cyclic if fit.proof.share >= NEARLY]
    fits = [*cyclic, *(_dihedral(turned, fit) for fit in good)]
    return fits + ([_polyhedral(turned, name) for name in POLYHEDRAL] if good else [])


def _fit_of(turned: Turned, name: str) -> _Fit:
    """The best axes of the group ``name``."""
    if name[0] not in "CD" or name in ("C1", "D1"):
        return _polyhedral(turned, name)
    cyclic = _cyclic(turned, f"C{name[1:]}", -math.inf)
    assert cyclic is not None
    return cyclic if name[0] == "C" else _dihedral(turned, cyclic)


@dataclass(frozen=True, slots=True)
class _Fit:
    """A group with its ``frame`` Q, which turns the map's axes to the group's, its ``centre``, how well
    the half-maps agree, the ``proof`` of its worst rotation, and the ``mean`` share of all."""

    name: str
    frame: Array
    centre: Array
    agreement: float
    proof: Proof
    mean: float


def _generators(name: str) -> Array:
    """Few rotations of a group that make all others."""
    group = rotations_of(name)
    if len(group) < 3 or name[0] == "C":
        return group[-1:] if len(group) < 3 else group[1:2]
    apart = np.abs(np.einsum("sii->s", group))
    return group[[1, int(np.argmin(np.where(np.arange(len(group)) > 1, apart, np.inf)))]]


def _operators(name: str) -> Array:
    """Rotations of a group, the identity left out, few enough to try again and again."""
    group = rotations_of(name)[1:]
    if not len(group):
        return rotations_of(name)
    some = np.unique(np.linspace(0, len(group) - 1, OPERATORS).round().astype(int))
    return group[some]


def _cyclic(turned: Turned, name: str, nearly: float) -> _Fit | None:
    """The best axis of a cyclic group; None where a coarse search shows less than ``nearly``."""
    frames = [_frame_to(axis) for axis in half_sphere(AXES).numpy()]
    return _best(turned, name, frames, nearly)


def _dihedral(turned: Turned, cyclic: _Fit) -> _Fit:
    """The best two-fold axes across that of a cyclic group."""
    name = "D" + cyclic.name[1:]
    angles = np.arange(TURNS) * math.pi / TURNS
    frames = [Rotation.from_rotvec([0.0, 0.0, a]).as_matrix() @ cyclic.frame for a in angles]
    return _best(turned, name, frames, -math.inf, cyclic.centre, 1) or cyclic


def _polyhedral(turned: Turned, name: str) -> _Fit:
    frames = list(Rotation.random(FRAMES, random_state=0).as_matrix())
    fit = _best(turned, name, frames, -math.inf)
    assert fit is not None
    return fit


def _best(
    turned: Turned, name: str, frames: Sequence[Array], nearly: float, centre: Array | None = None,
    best: int = BEST,
) -> _Fit | None:  # fmt: skip
    """The best of ``frames`` for a group: coarsely by its generators, then ``best`` of them refined."""
    centre = turned.middle if centre is None else centre
    coarse = min(COARSE_SHELL, turned.last)
    generators = _generators(name)
    scores = [
        turned.of_group(generators, frame, centre, coarse, enough=0.3 * NEARLY) for frame in frames
    ]
    order = np.argsort(scores)[::-1][:best]
    if scores[order[0]] < nearly:
        return None
    return max((_refined(turned, name, frames[i], centre) for i in order), key=_by_agreement)


def _by_agreement(fit: _Fit) -> float:
    return fit.agreement


def _refined(turned: Turned, name: str, frame: Array, centre: Array) -> _Fit:
    """Frame and centre moved, one axis after the other, as long as the agreement rises."""
    operators = _operators(name)
    step, last = STEP, min(COARSE_SHELL, turned.last)
    while step > SMALLEST:
        value = turned.of_group(operators, frame, centre, last)
        moved = False
        for new_frame, new_centre in _moves(frame, centre, step, turned.box):
            new = turned.of_group(operators, new_frame, new_centre, last)
            if new > value + 1e-6:
                value, frame, centre, moved = new, new_frame, new_centre, True
        if not moved:
            step, last = 0.5 * step, turned.last
    proofs = [turned.proof(frame.T @ each @ frame, centre) for each in rotations_of(name)[1:]]
    proofs = proofs or [Proof(1.0, 0.0)]
    worst = min(proofs, key=lambda proof: proof.share)
    mean = sum(proof.share for proof in proofs) / len(proofs)
    return _Fit(name, frame, centre, value, worst, mean)


def _moves(frame: Array, centre: Array, step: float, box: int) -> Iterator[tuple[Array, Array]]:
    """Small turns of the frame about its axes, and small shifts along them."""
    for sign in (1.0, -1.0):
        for axis in np.eye(3):
            yield Rotation.from_rotvec(sign * step * axis).as_matrix() @ frame, centre
            yield frame, centre + sign * step * 0.15 * box * (frame.T @ axis)


def _frame_to(axis: Array) -> Array:
    """A rotation that takes ``axis`` to z."""
    x = np.cross(axis, np.eye(3)[int(np.argmin(np.abs(axis)))])
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(axis, x), axis])


def symmetrised(volume: Tensor, group: PointGroup) -> Tensor:
    """A map turned so that its axes are RELION's, and averaged over the group."""
    d = len(volume)
    axis = np.arange(d) - d // 2
    r = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)[:, ::-1]
    spline = scipy.ndimage.spline_filter(volume.double().numpy(), order=3)
    total = np.zeros(d**3)
    operators = rotations_of(group.name)
    for operator in operators:
        # the value at r is that of the map at Q^T S r + centre
        at = r @ (operator.T @ group.rotation) + group.centre + d // 2
        total += scipy.ndimage.map_coordinates(spline, at[:, ::-1].T, order=3, prefilter=False)
    return torch.from_numpy((total / len(operators)).reshape(d, d, d)).to(volume.dtype)
