"""Where a refinement stands between two rounds, and what follows from how poses are judged."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ...alignment import Prior, changes
from ...fitting import Journal
from ...notes import Note
from ...particles import Particles
from ...poses import Poses
from ...settings import RefinementSettings
from ...validation.findings import FEW_PARTICLES
from ._judging import Judgement, mean_of
from ._moving import Moved, widest
from .values import OpticsChanges, Refinement, Round, Verdict

CERTAIN = 3.0  # standard errors by which unseen images must be likelier
WORTH = 0.001  # of the likelihood: what another round must have gained
UNKNOWN = Prior()
FSC_LOSS = 0.002  # of the mean cross-FSC, that likelier poses may cost
FSC_GAIN = 0.002  # of it, for which another round is worth its time


@dataclass(frozen=True, slots=True)
class State:
    """``poses`` are to be judged next, ``kept`` are the best judged so far, of round ``best``.

    ``columns`` (n, 3) of ``poses`` and ``kept_columns``: likelihood, and `significance`; ``start``
    (m,): log-likelihoods of the sampled images with the given poses, ``top`` with the best; ``weights``
    and ``scales`` (n,) that the next maps are made with; ``optics`` belong to ``poses``,
    ``kept_optics`` to ``kept``; ``prior``: the errors that the given poses are thought to have;
    ``sign`` of the images, ``side`` of the fitted cube.
    """

    poses: Poses
    kept: Poses
    columns: Tensor
    kept_columns: Tensor
    start: Tensor
    top: Tensor
    weights: Tensor
    scales: Tensor
    optics: OpticsChanges
    kept_optics: OpticsChanges
    prior: Prior = UNKNOWN
    rounds: tuple[Round, ...] = ()
    best: int = 0
    shells: int = 0
    change: float = 0.0
    side: int = 0
    sign: float = 1.0
    verdict: Verdict = "kept"
    done: bool = False

    @staticmethod
    def of(journal: Journal, particles: Particles, how: RefinementSettings) -> State:
        """What the journal holds, or the beginning."""
        held, given = journal.load(), particles.poses
        if held is None:
            poses = Poses(given.rotations.double(), given.shifts.double())
            none = torch.zeros(0, dtype=torch.float64)
            unknown = torch.full((len(given), 3), math.nan, dtype=torch.float64)
            prior = UNKNOWN if how.prior == "given" else widest(how)
            ones = torch.ones(len(given), dtype=torch.float64)
            same = OpticsChanges.none(particles.optics)
            return State(
                poses, poses, unknown, unknown, none, none, ones, ones, same, same, prior
            )  # fmt: skip
        names = {name: held[name] for name in _PLAIN}
        names |= {name: held[name].clone() for name in _TENSORS}
        return State(
            poses=_poses(held["poses"]), kept=_poses(held["kept"]), prior=Prior(*held["prior"]),
            optics=_optics(held["optics"]), kept_optics=_optics(held["kept_optics"]),
            rounds=tuple(Round(**each) for each in held["rounds"]), **names,
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """What a journal keeps."""
        plain = {name: getattr(self, name) for name in _PLAIN + _TENSORS}
        pairs: dict[str, Any] = {
            name: [poses.rotations, poses.shifts]
            for name, poses in (("poses", self.poses), ("kept", self.kept))
        }
        rounds = [each.to_dict() for each in self.rounds]
        pairs |= {name: getattr(self, name).to_dict() for name in ("optics", "kept_optics")}
        return {**plain, **pairs, "prior": [self.prior.angle, self.prior.shift], "rounds": rounds}

    def moved(self, to: Moved, columns: Tensor, optics: OpticsChanges) -> State:
        """With new poses and optics, to be judged."""
        angles = changes(to.poses, self.poses)[0].norm(dim=1)
        return replace(
            self, poses=to.poses, columns=columns, prior=to.prior, optics=optics,
            change=math.degrees(float(angles.median())),
        )  # fmt: skip

    def stays(self, given: Poses) -> bool:
        """Whether the poses are the given ones."""
        return bool((self.poses.rotations == given.rotations).all())

    def judged(self, judgement: Judgement, how: RefinementSettings, stays: bool) -> State:
        """The state once its poses are judged: kept if better, and done if not much so."""
        now, number = judgement.likelihoods, len(self.rounds)
        start = now if number == 0 else self.start
        gain, error = mean_of(now - start)
        step, step_error = mean_of(now - (now if number == 0 else self.top))
        template = judgement.templates[0]
        known = self.prior if how.prior == "given" else UNKNOWN
        if number and stays:
            known = Prior(0.0, 0.0)
        told = Round(
            1.0 / template.limit, float(now.mean()), gain, error, math.degrees(known.angle),
            known.shift, self.change, judgement.cross_fsc.tolist(), self.optics.width,
        )  # fmt: skip
        state = replace(self, rounds=(*self.rounds, told), start=start)
        if number == 0:
            if not judgement.has_structure:
                return replace(state, verdict="no structure", done=True)
            return replace(state, top=now, shells=judgement.last)
        rise = self._fsc(told) - self._fsc(self.rounds[self.best])
        better, settled = step > CERTAIN * step_error, step < WORTH * abs(float(now.mean()))
        # what single images gain is integrated out: better maps show it
        least = 0.0 if how.prior == "none" else FSC_GAIN
        better = better or (step > -CERTAIN * step_error and rise > least)
        settled = settled and rise < FSC_GAIN
        allowed = self._fsc(self.rounds[0]) - FSC_LOSS
        if not better or not gain > CERTAIN * error or self._fsc(told) < allowed:
            return replace(state, done=True)
        done = settled or number >= how.rounds
        return replace(
            state, kept=self.poses, kept_columns=self.columns, kept_optics=self.optics,
            best=number, top=now, verdict="refined", done=done,
        )  # fmt: skip

    def _fsc(self, of: Round) -> float:
        """Mean cross-FSC over the shells that the given poses resolved."""
        curve = of.cross_fsc[1 : self.shells + 1]
        return sum(curve) / max(len(curve), 1)

    def told(self) -> str:
        """The last round in words."""
        last, number = self.rounds[-1], len(self.rounds) - 1
        if self.verdict == "no structure":
            return "The given poses show no structure that images could be aligned to."
        text = (
            f"Round {number}: an unseen image is {last.likelihood:.2f} nats likelier than noise, to "
            f"{last.limit:.1f} Å"
        )
        if number:
            text += f"; {last.gain:+.2f} ± {last.gain_deviation:.2f} by refining"
            if last.angle == 0.0:
                text += ". The given poses stay"
            elif math.isfinite(last.angle):
                text += (
                    f". The given poses seem to be off by {last.angle:.2f}° and {last.shift:.2f} Å "
                    f"along each axis"
                )
        return text + "."

    def result(
        self,
        particles: Particles,
        drew_half_sets: bool,
        settings: RefinementSettings,
        seconds: float,
    ) -> Refinement:
        """What the refinement has come to."""
        likelihood, peak, samples = self.kept_columns.unbind(1)
        note = self._note(few=len(particles) < 2 * FEW_PARTICLES)
        used = particles
        if self.best > 0:
            table = particles.table.assign(
                rlnLogLikeliContribution=likelihood.numpy().round(4),
                rlnMaxValueProbDistribution=peak.numpy().round(6),
                rlnNrOfSignificantSamples=samples.long().numpy(),
            )
            optics = self.kept_optics.applied(particles.optics)
            used = replace(particles, poses=self.kept, optics=optics, table=table)
        return Refinement(
            particles=replace(used, notes=(*used.notes, note)), given=particles.poses,
            optics=self.kept_optics,
            drew_half_sets=drew_half_sets, verdict=self.verdict, rounds=self.rounds, best=self.best,
            likelihood=likelihood, peak=peak, samples=samples, settings=settings, seconds=seconds,
        )  # fmt: skip

    def _note(self, few: bool) -> Note:
        if self.verdict == "no structure":
            return Note(
                "refinement-no-structure", "warning" if few else "alarm",
                "The given poses show no structure that images could be aligned to: the maps of the "
                "half-sets do not agree, or images fit them no better in their own orientations than "
                "in those of other images. The given poses are kept.",
                "Check poses and contrast with cryosplat check, and that the rows of poses are those "
                "of the images; --abinit finds poses from nothing.",
            )  # fmt: skip
        if self.verdict == "kept":
            tried = self.optics.gains.get("poses")
            gain, error = tried or (self.rounds[-1].gain, self.rounds[-1].gain_deviation)
            return Note(
                "refinement-gained-nothing", "note",
                f"Refining the poses gained nothing: the log-likelihood of images under the map of the "
                f"other half-set changed by {gain:+.2f} ± {error:.2f} nats each. "
                f"The given poses are kept.",
            )  # fmt: skip
        best, first = self.rounds[self.best], self.rounds[0]
        return Note(
            "refinement-gained", "note",
            f"Refined poses raise the log-likelihood of images under the map of the other half-set by "
            f"{best.gain:.2f} ± {best.gain_deviation:.2f} nats each (from {first.likelihood:.1f}), and "
            f"the cross-FSC from {self._fsc(first):.3f} to {self._fsc(best):.3f}.",
        )  # fmt: skip


_PLAIN = ("best", "shells", "change", "side", "sign", "verdict", "done")
_TENSORS = ("columns", "kept_columns", "start", "top", "weights", "scales")


def _optics(held: dict[str, Any]) -> OpticsChanges:
    tensors = {name: held[name].clone() for name in ("defocus", "lenses", "errors")}
    gains = {name: (gain, error) for name, (gain, error) in held["gains"].items()}
    return OpticsChanges(width=held["width"], gains=gains, **tensors)


def _poses(held: list[Tensor]) -> Poses:
    """In torch's own memory, as they were before: its sums depend on where numbers lie."""
    return Poses(*(part.clone() for part in held))
