"""cryoDRGN's coordinate of the particles that `states` looks at, and its maps (Zhong et al. 2021)."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cryosplat.io.mrc import read_map

HERE = Path(__file__).resolve().parent
BOX, LAYER = 32, "256"  # pixels; width of the networks' layers


@dataclass(frozen=True, slots=True)
class Latent:
    """``z`` (n,) of each particle, a map of each of the values asked for, and what it ``cost``."""

    z: NDArray[np.float64]
    maps: list[torch.Tensor]
    cost: dict[str, Any]


def cryodrgn(
    program: Path, star: Path, box: int, pixel_size: float, epochs: int, label: NDArray[np.int64]
) -> Latent:
    """`train_vae` with one coordinate, on images cropped to `BOX` pixels and one thread.

    Maps are those at the mean coordinate of the particles of each state 0, 1, ... of ``label`` (n,), -1
    for none. In the folder ``cryodrgn`` beside ``star``; what was trained as long is used again.
    """
    out = star.parent / "cryodrgn"
    out.mkdir(exist_ok=True)
    cost, trained = out / f"cost.{epochs}.json", out / "vae" / f"weights.{epochs}.pkl"

    def run(*arguments: object) -> dict[str, Any]:
        command = [sys.executable, HERE / "measure.py", out / "log.txt", program, *arguments]
        done = subprocess.run([*map(str, command)], check=True, capture_output=True, text=True)
        found = json.loads(done.stdout)
        if found["exit_code"]:
            raise SystemExit(f"cryodrgn {arguments[0]}: {(out / 'log.txt').read_text()[-2000:]}")
        return found

    if not trained.exists():
        size = "-D", box, "--Apix", pixel_size
        run("parse_pose_star", star, "-o", out / "poses.pkl", *size)
        run("parse_ctf_star", star, "-o", out / "ctf.pkl", *size, "--ps", 0)
        stack = out / "particles.mrcs"
        run("downsample", star.with_suffix(".mrcs"), "-D", BOX, "-o", stack)
        found = run(
            "train_vae", stack, "--poses", out / "poses.pkl", "--ctf", out / "ctf.pkl", "--zdim", 1,
            "-n", epochs, "--enc-dim", LAYER, "--dec-dim", LAYER, "--no-amp", "--no-analysis",
            "--checkpoint", 5, "--max-threads", 1, "-o", out / "vae",
        )  # fmt: skip
        cost.write_text(json.dumps(found))
    with (out / "vae" / f"z.{epochs}.pkl").open("rb") as stream:
        z = np.asarray(pickle.load(stream), float)[:, 0]  # written by the program that just ran
    wanted = [float(z[label == j].mean()) for j in range(int(label.max()) + 1)]
    np.savetxt(out / "wanted.txt", wanted)
    config = out / "vae" / "config.yaml"
    run("eval_vol", trained, "-c", config, "--zfile", out / "wanted.txt", "-o", out / "maps")
    paths = sorted((out / "maps").glob("vol_*.mrc"))
    maps = [torch.from_numpy(read_map(path).data.copy()) for path in paths]
    return Latent(z, maps, json.loads(cost.read_text()) | {"box": BOX, "epochs": epochs})
