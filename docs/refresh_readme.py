"""Refresh the README's first screen: its number from the committed benchmark, its picture from a run.

python docs/refresh_readme.py                    # the number
python docs/refresh_readme.py cryosplat-demo     # the number, and the picture from that run
"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "spike.json"
START = "<!-- number: written by docs/refresh_readme.py from benchmarks/results/spike.json -->"
END = "<!-- end of number -->"
SHELL = 48
HEIGHT, FSC_SHARE, GAP = 680, 0.9, 24  # pixels, and a share of the height


def number(result: dict[str, Any]) -> str:
    """Three sentences of measured values: cryosplat unmasked against RELION under the truth's mask."""
    made, machine = result["set"], result["machine"]
    ours, relion = result["programs"]["cryosplat"], result["programs"]["relion"]
    angstrom = made["box_size"] * made["pixel_size"] / SHELL
    sentence = (
        f"**FSC with the truth at {angstrom:.1f} Å: {ours['fsc']['map']['unmasked'][SHELL]:.2f}**, "
        f"unmasked, on {made['n']:,} simulated particles of the SARS-CoV-2 spike "
        f"({made['box_size']} px, SNR {made['snr']:g}, pose errors of {made['angle_error']:g}° and "
        f"{made['shift_error']:g} Å). From the same particles and poses `relion_reconstruct` "
        f"reaches {relion['fsc']['map']['truth_masked'][SHELL]:.2f} under a mask made from the "
        f"truth. The complete run took {ours['wall_s']:.0f} s on {machine['cores']} cores; "
        f"`relion_reconstruct` took {relion['stages'][0]['wall_s']:.0f} s for a single map "
        f"([all results](benchmarks/README.md))."
    )
    return textwrap.fill(sentence, 98, break_long_words=False, break_on_hyphens=False)


def refresh_number(readme: Path, result: Path) -> None:
    """Put the sentences between the README's two marks."""
    text = readme.read_text("utf-8")
    head, rest = text.split(START, 1)
    tail = rest.split(END, 1)[1]
    sentence = number(json.loads(result.read_text("utf-8")))
    readme.write_text(f"{head}{START}\n{sentence}\n{END}{tail}", "utf-8")


def refresh_picture(run: Path, target: Path) -> None:
    """The three slices of each map, and beside them the FSC, on white: one wide picture."""
    slices, fsc = (Image.open(run / name).convert("RGB") for name in ("slices.png", "fsc.png"))
    slices = _scaled(slices.crop((0, 0, slices.width // 2, slices.height)), HEIGHT)
    fsc = _scaled(fsc, round(FSC_SHARE * HEIGHT))
    whole = Image.new("RGB", (slices.width + GAP + fsc.width, HEIGHT), "white")
    whole.paste(slices, (0, 0))
    whole.paste(fsc, (slices.width + GAP, (HEIGHT - fsc.height) // 2))
    target.parent.mkdir(parents=True, exist_ok=True)
    whole.save(target, optimize=True)


def _scaled(picture: Image.Image, height: int) -> Image.Image:
    width = round(picture.width * height / picture.height)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def main() -> None:
    """See the module's first lines."""
    if RESULT.exists():
        refresh_number(ROOT / "README.md", RESULT)
    else:
        print(
            f"{RESULT} does not exist: the number stays. Remedy: python -m benchmarks.run --sets spike"
        )
    if len(sys.argv) > 1:
        refresh_picture(Path(sys.argv[1]), ROOT / "docs" / "images" / "demo.png")


if __name__ == "__main__":
    main()
