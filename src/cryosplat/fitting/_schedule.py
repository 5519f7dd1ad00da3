"""How a mixture is fitted: steps, step sizes and their decay, as a value."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from ..errors import SettingsError


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a mixture is fitted, by Adam.

    ``rates``: step sizes for means, scales, quaternions and amplitudes, in the units that they are
    learned in (`Encoding`), which fall to ``decay`` of themselves over ``steps``: smoothly, or by
    equal factors at the steps named in ``stairs``. ``stop``: ends after so many steps on that way.
    ``betas``: Adam's. ``floor``: no scale falls below it, in pixels of the map. ``check_every``:
    steps between two looks at the gains.
    """

    steps: int = 60
    rates: tuple[float, float, float, float] = (0.2, 0.1, 0.1, 0.1)
    decay: float = 0.1
    stairs: tuple[int, ...] = ()
    stop: int | None = None
    betas: tuple[float, float] = (0.9, 0.99)
    floor: float = 0.4
    check_every: int = 5

    def __post_init__(self) -> None:
        checks = (
            ("steps", self.steps >= 1, "1 or more"),
            ("rates", len(self.rates) == 4 and min(self.rates) >= 0.0, "four numbers, 0 or more"),
            ("decay", 0.0 < self.decay <= 1.0, "above 0 and at most 1"),
            ("stop", self.stop is None or self.stop >= 0, "0 or more"),
            ("floor", self.floor >= 0.0, "0 or more pixels"),
            ("check_every", self.check_every >= 1, "1 or more steps"),
        )
        for name, valid, expected in checks:
            if not valid:
                raise SettingsError(
                    f"Schedule: {name} is {getattr(self, name)!r}, expected {expected}."
                )

    @property
    def last(self) -> int:
        """The step that the descent ends at."""
        return self.steps if self.stop is None else min(self.stop, self.steps)

    def rates_at(self, step: int) -> tuple[float, ...]:
        """Step sizes for means, scales, quaternions and amplitudes at a step, counted from 0."""
        done = step / self.steps
        if self.stairs:
            done = bisect_right(self.stairs, step) / len(self.stairs)
        return tuple(rate * self.decay**done for rate in self.rates)
