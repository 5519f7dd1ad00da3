"""``cryosplat check``: what is wrong with a particle set, and a corrected file of it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.table import Table
from rich.text import Text

from ..checking import (
    CheckResult,
    Report,
    check_particles,
    check_target,
    unreadable_report,
    write_fixed,
)
from ..commands import pasted
from ..errors import InputError, OutputError, SettingsError
from ..io.atomic import check_no_input, write_text
from ..particles import Particles, StackFaults
from ._console import console_progress, duration, plain_console
from ._outcome import ALARM, USER
from ._particle_files import ParticleFiles
from ._threads import use_threads

STYLES = {"ok": "green", "note": "cyan", "warning": "yellow", "alarm": "bold red"}


@dataclass(frozen=True, slots=True)
class Outputs:
    """What to write in addition to the report on the terminal."""

    fix: Path | None = None
    drop_missing: bool = False
    json: Path | None = None
    overwrite: bool = False


def run_check(files: ParticleFiles, outputs: Outputs, trial: bool, threads: int | None) -> None:
    """Check ``files``, print and write the report; exits with 1 if there is an alarm."""
    use_threads(threads)
    _check_outputs(files, outputs)
    try:
        particles, checked = _checked(files, outputs, trial)
    except InputError as error:
        if not files.particles.exists():
            raise
        _report(unreadable_report(files.particles, error), outputs.json)
        raise typer.Exit(USER) from None
    _report(checked.report, outputs.json)
    if outputs.fix is not None:
        _fix(particles, checked, outputs.fix, outputs.drop_missing)
    if checked.report.has_alarm:
        raise typer.Exit(ALARM)


def _checked(files: ParticleFiles, outputs: Outputs, trial: bool) -> tuple[Particles, CheckResult]:
    def read(faults: StackFaults) -> Particles:
        particles = files.read(faults)
        _check_inputs(outputs, [stack.path for stack in particles.images.stacks])
        return particles

    with console_progress(Path(os.devnull)) as progress:
        return check_particles(read, progress, all_images=outputs.drop_missing, trial=trial)


def _fix(particles: Particles, checked: CheckResult, out: Path, drop_missing: bool) -> None:
    n, changes = write_fixed(particles, out, checked, drop_missing)
    console = plain_console()
    console.print(f"\n{n:,} of {len(particles):,} particles in {out}")
    for text in [change.text for change in changes] or ["no corrections were needed"]:
        console.print(f"  · {text}")


def _check_outputs(files: ParticleFiles, outputs: Outputs) -> None:
    if outputs.drop_missing and outputs.fix is None:
        raise SettingsError("--drop-missing: say with --fix OUT.star where the file is to go.")
    if outputs.fix is not None:
        check_target(outputs.fix, files.particles, outputs.overwrite)
    if outputs.json is not None:
        _check_json(outputs.json, outputs.fix, outputs.overwrite)
    _check_inputs(outputs, files.inputs())


def _check_json(path: Path, fix: Path | None, overwrite: bool) -> None:
    """Raise `OutputError` where ``path`` is no place for what was found."""
    folder = path.absolute().parent
    if path.suffix.lower() != ".json":
        raise OutputError(
            f"--json {path}: expected a name that ends in .json.\n  Remedy: --json {path}.json"
        )
    if not folder.is_dir():
        raise OutputError(
            f"--json {path}: there is no folder {folder}.\n  Remedy: {pasted('mkdir', '-p', folder)}"
        )
    if path.is_dir():
        raise OutputError(f"--json {path}: is a folder.\n  Remedy: choose another name.")
    if fix is not None and path.resolve() == fix.resolve():
        raise OutputError(f"--json {path}: is the file of --fix.\n  Remedy: choose another name.")
    if os.path.lexists(path) and not overwrite:
        raise OutputError(f"--json {path}: exists.\n  Remedy: another name or --overwrite.")


def _check_inputs(outputs: Outputs, inputs: Sequence[Path]) -> None:
    for option, out in (("--fix", outputs.fix), ("--json", outputs.json)):
        if out is not None:
            check_no_input(option, out, inputs)


def _report(report: Report, path: Path | None) -> None:
    _print(report)
    if path is not None:
        write_text(path, json.dumps(report.to_dict(), indent=1))


def _print(report: Report) -> None:
    console = plain_console(soft_wrap=False)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for item in report.items:
        table.add_row(Text(item.status, STYLES[item.status]), item.title, Text(item.text))
        for finding in item.findings:
            text = Text(finding.text, STYLES[finding.severity])
            if finding.remedy:
                text.append(f"\n→ {finding.remedy}", "dim")
            table.add_row("", "", text)
    console.print(Text(f"\n{report.source}: {report.n_particles:,} particles\n"))
    console.print(table)
    console.print(_summary(report))


def _summary(report: Report) -> Text:
    counts = {kind: sum(f.severity == kind for f in report.findings())
              for kind in ("alarm", "warning", "note")}  # fmt: skip
    parts = [f"{n} {kind}{'s' if n > 1 else ''}" for kind, n in counts.items() if n]
    style = STYLES["alarm" if counts["alarm"] else "warning" if counts["warning"] else "ok"]
    text = ", ".join(parts) or "no problems found"
    return Text(f"\n{text}; {duration(report.seconds)}", style)
