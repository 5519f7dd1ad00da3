"""What the user reads once states were looked for."""

from __future__ import annotations

from ..run_folder import RunFolder
from ._console import plain_console


def print_verdict(run: RunFolder, what: str) -> None:
    """Whether there are states, and what says so."""
    summary = run.read_summary()
    states = summary.states
    assert states is not None
    console = plain_console()
    console.print()
    title = what[0].upper() + what[1:] if states.found else "No states found"
    console.print(title, style="bold")
    (first, first_error), (second, second_error) = states.gains
    console.print(
        f"Gain over one map, on images of the other half-set: {first:.2f} ± {first_error:.2f} and "
        f"{second:.2f} ± {second_error:.2f} nats per image; agreement of the half-sets: "
        f"{states.agreement:.2f}."
    )
    for note in summary.notes or []:
        if note.severity != "note":
            told = f"{note.text} Remedy: {note.remedy}" if note.remedy else note.text
            console.print(f"! {told}", style="yellow")
