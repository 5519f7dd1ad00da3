"""Progress on a terminal, and the same words in a log file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from ..errors import OutputError
from ..notes import Note
from ..progress import REPORTING, duration
from ..signals import half_done

if TYPE_CHECKING:
    from ..estimate import Cost, Forecast


def plain_console(stderr: bool = False, soft_wrap: bool = True) -> Console:
    """Where results are printed, as they are: no markup, no colours of numbers, no line breaks."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=soft_wrap)


class _Amount(ProgressColumn):
    """Done and to do, the rate, and the time left."""

    def render(self, task: Task) -> Text:
        unit = task.fields["unit"]
        parts = [f"{int(task.completed):,}" + ("" if task.total is None else f"/{task.total:,.0f}")]
        parts[0] += f" {unit}"
        elapsed = task.elapsed or 0.0
        if task.completed and elapsed > 0.5:
            parts.append(f"{rate(task.completed / elapsed)} {unit}/s")
        if task.finished:
            parts.append("finishing")
        elif task.time_remaining is not None and task.completed:
            parts.append(f"{duration(task.time_remaining)} left")
        else:
            parts.append(duration(elapsed))
        return Text("  ".join(parts), style="dim")


@dataclass(slots=True)
class _Stage:
    display: Progress
    task: TaskID
    on_share: Callable[[float], None]
    total: int | None
    done: int = 0
    shares: tuple[float, ...] = (0.05, 0.2, 0.5)
    """Of the work, after which somebody is told."""

    def advance(self, n: int = 1) -> None:
        """``n`` more units are done."""
        self.done += n
        self.display.advance(self.task, n)
        share = self.done / self.total if self.total else 0.0
        if self.shares and self.shares[0] <= share < 1.0:
            self.shares = tuple(later for later in self.shares if later > share)
            self.on_share(share)


@dataclass(slots=True)
class ConsoleProgress:
    """Shows each stage as a bar and leaves a line when it ends.

    A warning is shown before the next stage; those after the last but the report are left to who
    shows the results (`unsaid`), so that each stands where it is read, and once.
    """

    display: Progress
    log: TextIO
    forecast: Forecast | None = None
    held: list[Note] = field(default_factory=list)
    said: set[str] = field(default_factory=set)

    @contextmanager
    def stage(self, title: str, total: int | None, unit: str) -> Iterator[_Stage]:
        """A bar until the stage ends, then one line with its time and rate."""
        if title != REPORTING:
            self.say_held()
        begin = time.perf_counter()
        task = self.display.add_task(title, total=total, unit=unit)

        def tell(share: float) -> None:
            taken = time.perf_counter() - begin
            new = self.forecast and self.forecast.corrected(title, taken, share)
            if new:
                total, left = map(duration, new)
                self.say(f"Now expected: about {total} in all, {left} to go.")

        stage = _Stage(self.display, task, tell, total)
        try:
            yield stage
        finally:
            self.display.remove_task(task)
        elapsed = time.perf_counter() - begin
        amount = f"{stage.done:,} {unit}, {duration(elapsed)}" if stage.done else duration(elapsed)
        if stage.done and elapsed > 0.5:
            amount += f", {rate(stage.done / elapsed)} {unit}/s"
        self._show(("✓ ", "green"), title, (f"  {amount}", "dim"))
        self._note(f"{title}: {amount}")
        tell(1.0)

    def expect(self, cost: Cost) -> None:
        """Say how long the stages of ``cost`` will take, and correct it as they come."""
        from ..estimate import Forecast

        self.forecast = Forecast(cost)
        self.say(f"Expected: about {duration(cost.seconds)}.")

    def say(self, text: str) -> None:
        """A line of information."""
        self._show(("· ", "dim"), text)
        self._note(text)

    def warn(self, note: Note) -> None:
        """A line that stands out, later; in the log, now."""
        self.held.append(note)
        self._note(f"WARNING: {note.advice}")

    def say_held(self) -> None:
        """The warnings that have not been shown."""
        for note in self.held:
            self._show(("! ", "bold yellow"), (note.advice, "yellow"))
            self.said.add(note.text)
        self.held.clear()

    def unsaid(self, notes: Sequence[Note]) -> list[Note]:
        """The warnings among ``notes``, and those held back, that were not shown; now they will be."""
        found = {note.text: note for note in [*notes, *self.held] if note.severity != "note"}
        self.held.clear()
        return [note for text, note in found.items() if text not in self.said]

    def _show(self, *parts: str | tuple[str, str]) -> None:
        self.display.console.print(Text.assemble(*parts), soft_wrap=True)

    def _note(self, text: str) -> None:
        self.log.write(f"{time.strftime('%H:%M:%S')} {text}\n")
        self.log.flush()


@contextmanager
def console_progress(log: Path, forecast: Forecast | None = None) -> Iterator[ConsoleProgress]:
    """Progress on stderr, and in the file ``log``."""
    half_done()  # the cursor is hidden
    display = Progress(
        TextColumn("  {task.description}"), BarColumn(bar_width=28), _Amount(),
        console=Console(stderr=True, highlight=False), transient=True, refresh_per_second=8,
    )  # fmt: skip
    try:
        stream = log.open("a", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{log}: cannot be written ({error.strerror}).") from error
    shown = display if display.console.is_terminal else nullcontext()
    with stream, shown:
        progress = ConsoleProgress(display, stream, forecast)
        try:
            yield progress
        finally:
            progress.say_held()


def rate(per_second: float) -> str:
    """Three figures, whole numbers from ten on."""
    return f"{per_second:,.0f}" if per_second >= 10 else f"{per_second:.2g}"


def gigabytes(n_bytes: float) -> str:
    """Bytes for people."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"
