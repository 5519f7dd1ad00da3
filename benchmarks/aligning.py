"""FSC with the truth of a map in no known frame: rotation, origin and hand are sought first.

numpy and scipy alone: shares no code with cryosplat, which it judges.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

Array = NDArray[Any]
PADDING, BOX = 2, 32
TRIED, FOLLOWED = 1500, 12  # rotations, of each hand; those that are refined
COARSE, MIDDLE, FINE = 3, 5, 8  # shells that rotations are judged by


def aligned(volume: Array, truth: Array, seed: int = 0) -> tuple[Array, int]:
    """FSC of a map with the truth at shells 0 to 16 of both, and the hand, -1 for the mirror image.

    Both maps show the same box side; they are compared in boxes of 32.
    """
    truth, volume = _cropped(truth), _cropped(volume)
    best = max(
        (_rotated(side, truth, seed) for side in (_Side(volume, 1), _Side(volume, -1))),
        key=lambda found: found[0],
    )
    return best[1], best[2]


def _rotated(side: _Side, truth: Array, seed: int) -> tuple[float, Array, int]:
    """The best mean FSC of one hand, its curve, and the hand."""
    unmoved = _Truth(truth)
    rng = np.random.default_rng(seed)
    tried = Rotation.random(TRIED, random_state=seed).as_matrix()
    coarse = [unmoved.mean(side, turn, COARSE) for turn in tried]
    found = []
    for turn in tried[np.argsort(coarse)[-FOLLOWED:]]:
        compared = unmoved.moved(side, turn, MIDDLE)
        found.append(_climbed(lambda r, c=compared: c.mean(side, r, MIDDLE), turn, 15.0, 0.7, rng))
    mean, turn = max(found, key=lambda pair: pair[0])
    compared = unmoved
    for step in (6.0, 2.0):
        compared = unmoved.moved(side, turn, FINE)
        mean, turn = _climbed(
            lambda r, c=compared: c.mean(side, r, FINE), turn, step, 0.2, rng
        )  # fmt: skip
    return mean, compared.curve(side, turn, BOX // 2), side.hand


def _climbed(
    score: Any, turn: Array, step: float, least: float, rng: np.random.Generator
) -> tuple[float, Array]:
    """The best rotation about ``turn``, by steps in degrees."""
    best = score(turn)
    while step > least:
        axes = np.concatenate([np.eye(3), -np.eye(3), rng.normal(size=(4, 3)) / 1.7])
        turns = [Rotation.from_rotvec(np.deg2rad(step) * a).as_matrix() @ turn for a in axes]
        scores = [score(each) for each in turns]
        if max(scores) > best:
            best, turn = max(scores), turns[int(np.argmax(scores))]
        else:
            step *= 0.6
    return best, turn


class _Side:
    """The padded transform of a map or of its mirror image, sampled at rotated frequencies."""

    def __init__(self, volume: Array, hand: int) -> None:
        self.hand = hand
        d = len(volume)
        mirrored = volume if hand > 0 else np.roll(volume[::-1], 1, 0)
        window = np.sinc((np.arange(d) - d // 2) / (PADDING * d)) ** 2
        mirrored = mirrored / (window[:, None, None] * window[:, None] * window)
        whole = np.zeros((PADDING * d,) * 3)
        low = PADDING * d // 2 - d // 2
        whole[low : low + d, low : low + d, low : low + d] = mirrored
        self.values = _transform(whole)

    def at(self, points: Array) -> Array:
        """The transform at frequencies (m, 3) as (x, y, z), in steps of the box."""
        cells = (PADDING * points[:, ::-1] + len(self.values) // 2).T
        return map_coordinates(np.real(self.values), cells, order=1) + 1j * map_coordinates(
            np.imag(self.values), cells, order=1
        )


class _Truth:
    """The transform of the truth, one of each Friedel pair, by shell."""

    def __init__(self, truth: Array, values: Array | None = None) -> None:
        d = len(truth)
        k = np.arange(d) - d // 2
        z, y, x = np.meshgrid(k, k, k, indexing="ij")
        points = np.stack([x, y, z], -1).reshape(-1, 3)
        self.shells = np.rint(np.sqrt((points**2).sum(1))).astype(int)
        self.kept = (self.shells <= d // 2) & (points[:, 2] >= 0)
        self.points, self.shells = points[self.kept], self.shells[self.kept]
        self.truth = truth
        self.values = _transform(truth).ravel()[self.kept] if values is None else values

    def curve(self, side: _Side, turn: Array, last: int) -> Array:
        """FSC at shells 0 to ``last`` with the map turned by ``turn``."""
        some = self.shells <= last
        return self._curve(side.at(self.points[some] @ turn), some, last)

    def mean(self, side: _Side, turn: Array, last: int) -> float:
        """Of the curve, without shell 0."""
        return float(self.curve(side, turn, last)[1:].mean())

    def _curve(self, map_: Array, some: Array, last: int) -> Array:
        true, shells = self.values[some], self.shells[some]

        def per_shell(values: Array) -> Array:
            return np.bincount(shells, values, last + 1)

        norm = per_shell(np.abs(map_) ** 2) * per_shell(np.abs(true) ** 2)
        return per_shell(np.real(map_ * true.conj())) / np.sqrt(norm + 1e-30)

    def moved(self, side: _Side, turn: Array, last: int) -> _Truth:
        """The same with the truth moved to where the turned map agrees best, up to shell ``last``."""
        some = self.shells <= last
        map_ = side.at(self.points[some] @ turn)
        rows, points = some.nonzero()[0], self.points[some]

        def score(move: Array) -> float:
            shifted = map_ * np.exp(2j * np.pi * (points @ move) / len(self.truth))
            return float(self._curve(shifted, some, last)[1:].mean())

        cross = np.zeros(len(self.points), complex)
        cross[rows] = map_ * self.values[some].conj()
        steps = np.arange(-4, 5)
        grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
        agreement = [
            (cross[rows] * np.exp(2j * np.pi * (points @ g) / len(self.truth))).sum().real
            for g in grid
        ]
        move, step = grid[int(np.argmax(agreement))].astype(float), 0.5
        best = score(move)
        while step > 0.02:
            moves = [move + step * axis for axis in np.concatenate([np.eye(3), -np.eye(3)])]
            scores = [score(each) for each in moves]
            if max(scores) > best:
                best, move = max(scores), moves[int(np.argmax(scores))]
            else:
                step /= 2.0
        phase = np.exp(-2j * np.pi * (self.points @ move) / len(self.truth))
        return _Truth(self.truth, self.values * phase)


def _transform(volume: Array) -> Array:
    return np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(volume)))


def _cropped(volume: Array) -> Array:
    """The same box side in `BOX` voxels, with the centre of what is dense at the rotation centre."""
    low = len(volume) // 2 - BOX // 2
    part = slice(low, low + BOX)
    kept = _transform(volume.astype(float))[part, part, part]
    dense = _inverse(kept)
    dense = np.where(dense > 0.2 * dense.max(), dense, 0.0)
    x = np.arange(BOX) - BOX // 2
    z, y, x = np.meshgrid(x, x, x, indexing="ij")
    centre = [float((axis * dense).sum() / dense.sum()) for axis in (z, y, x)]
    turns = centre[0] * z + centre[1] * y + centre[2] * x  # of frequencies, in the same layout
    return _inverse(kept * np.exp(2j * np.pi * turns / BOX))


def _inverse(transform: Array) -> Array:
    return np.real(np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(transform))))
