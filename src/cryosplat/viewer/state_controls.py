"""The controls of states: which one is shown, and which particles are chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import viser
from viser import uplot

from .states import ShownStates

ALL, CHOSEN, SHOWN = "#c4c8cc", "#4878a8", "#d98c3f"


class StateControls:
    """Sliders of the coordinates, which move the Gaussians; what chooses particles, and writes them.

    ``places``: the sliders of the state that is shown; ``picks``: a checkbox per class, or a range
    per coordinate.
    """

    def __init__(self, gui: viser.GuiApi, states: ShownStates) -> None:
        self.states = states
        low, high = states.limits
        step = 1.0 if states.stored.classes else 0.01
        self.places = [
            gui.add_slider(name, low, high, step, round(at, 2))
            for name, at in zip(states.axes, states.middle(), strict=True)
        ]
        counts = states.histogram()[1]
        self.bars = gui.add_uplot(
            states.bars(np.arange(0), states.middle()[0]),
            (
                uplot.Series(label=states.axes[0]),
                uplot.Series(label="particles", fill=ALL, width=0.0),
                uplot.Series(label="chosen", fill=CHOSEN, width=0.0),
                uplot.Series(label="shown", stroke=SHOWN, width=2.0),
            ),
            scales={
                "x": uplot.Scale(time=False, range=states.ends),
                "y": uplot.Scale(range=(0.0, 1.1 * float(counts.max()))),
            },
            axes=(uplot.Axis(incrs=(1,)) if states.stored.classes else uplot.Axis(), uplot.Axis()),
            legend=uplot.Legend(live=False), aspect=1.8,
        )  # fmt: skip
        self.picks: list[Any]
        if states.stored.classes:
            self.picks = [
                gui.add_checkbox(f"Choose class {j + 1}", False) for j in range(len(counts))
            ]
        else:
            self.picks = [
                gui.add_multi_slider(f"Choose: {name.lower()}", low, high, step, (low, high))
                for name in states.axes
            ]
        self.scattered = None
        if len(states.axes) > 1:
            self.scattered = gui.add_uplot(
                states.scatter(self.ranges),
                (
                    uplot.Series(label=states.axes[0]),
                    _dots("particles", ALL), _dots("chosen", CHOSEN),
                ),
                scales={
                    "x": uplot.Scale(time=False, range=(low - 0.05, high + 0.05)),
                    "y": uplot.Scale(range=(low - 0.05, high + 0.05)),
                },
                axes=tuple(uplot.Axis(label=name) for name in states.axes[:2]),
                legend=uplot.Legend(show=False), aspect=1.1,
            )  # fmt: skip
        self.chosen = gui.add_markdown("")
        gui.add_button("Write chosen particles").on_click(lambda _: self.write())
        self.written = gui.add_markdown("")

    @property
    def at(self) -> list[float]:
        """The state that is shown."""
        return [own.value for own in self.places]

    @property
    def ranges(self) -> list[tuple[float, ...]]:
        """What is chosen: the ranges of the coordinates, or of each class from it to itself."""
        if self.states.stored.classes:
            return [(j, j) for j, own in enumerate(self.picks, 1) if own.value]
        return [own.value for own in self.picks]

    def draw(self) -> None:
        """Show what is chosen, and where the state that is shown lies."""
        states, ranges = self.states, self.ranges
        rows = states.chosen(ranges)
        self.bars.data = states.bars(rows, self.at[0])
        if self.scattered is not None:
            self.scattered.data = states.scatter(ranges)
        told = f"{len(rows):,} of {len(states.coordinates):,} particles"
        self.chosen.content = ", ".join([told, *_told(states, ranges)]) + "."

    def write(self) -> None:
        """Write the chosen particles, and say where they are."""
        if not len(self.states.chosen(self.ranges)):
            self.written.content = "No particles are chosen: nothing is written."
            return
        before = self.states.written()
        path, n = self.states.write_chosen(self.ranges)
        if path in before:
            self.written.content = f"These {n:,} particles are in `{path.name}` already."
        else:
            self.written.content = f"{n:,} particles are in `{path.name}` of the run."


def _told(states: ShownStates, ranges: list[tuple[float, ...]]) -> list[str]:
    if states.stored.classes:
        numbers = [f"{low:.0f}" for low, _ in ranges]
        return [f"class{'es'[: 2 * (len(numbers) - 1)]} {', '.join(numbers)}"] if numbers else []
    names = ["coordinate"] if len(ranges) == 1 else [name.lower() for name in states.axes]
    return [
        f"{name} from {low:.2f} to {high:.2f}"
        for name, (low, high) in zip(names, ranges, strict=True)
    ]  # fmt: skip


def _dots(label: str, colour: str) -> uplot.Series:
    """A series of points without lines."""
    points = uplot.Series_Points(show=True, size=3.0, space=0.0, width=0.0, fill=colour)
    return uplot.Series(label=label, width=0.0, stroke=colour, points=points)
