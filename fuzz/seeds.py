"""Writes the corpus: small good files of every dialect, and some hostile ones.

``python fuzz/seeds.py gather`` adds what fuzzing found: one file for each different answer.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import sys
from pathlib import Path

import numpy as np
import targets

from cryosplat import Grid, ReconstructionSettings, Statistics
from cryosplat.errors import CryosplatError
from cryosplat.io.arrays import write_arrays
from cryosplat.io.mrc import write_map, write_stack
from cryosplat.io.ply import write_ply

CORPUS = Path(__file__).resolve().parent / "corpus"
MOST_BYTES = 2048

STAR_31 = b"""
# version 30001

data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
_rlnVoltage #3
_rlnSphericalAberration #4
_rlnAmplitudeContrast #5
_rlnImagePixelSize #6
_rlnImageSize #7
_rlnImageDimensionality #8
_rlnBeamTiltX #9
_rlnOddZernike #10
_rlnEvenZernike #11
_rlnMagMat00 #12
_rlnMagMat01 #13
_rlnCtfDataAreCtfPremultiplied #14
1 optics1 300.0 2.7 0.1 1.5 8 2 0.1 [0.1,-0.2] [0,0,1,2,3] 1.01 -0.002 1

data_particles

loop_
_rlnImageName #1
_rlnAngleRot #2
_rlnAngleTilt #3
_rlnAnglePsi #4
_rlnOriginXAngst #5
_rlnOriginYAngst #6
_rlnDefocusU #7
_rlnDefocusV #8
_rlnDefocusAngle #9
_rlnRandomSubset #10
_rlnOpticsGroup #11
_rlnMicrographName #12
_rlnMicrographPreExposure #13
_rlnTomoName #14
_rlnCtfBfactor #15
000001@p.mrcs 10.0 20.0 -30.0 1.5 -2.5 11000.0 10000.0 30.0 1 1 "mic 1.mrc" 0 TS1 5
000002@p.mrcs 11.0 21.0 -31.0 1.0 -2.0 12000.0 10000.0 30.0 2 1 'mic 2.mrc' 3.5 TS1 -5
000003@p.mrcs 12.0 22.0 -32.0 0.0 -1.0 13000.0 10000.0 30.0 1 1 mic3.mrc 7 TS1 0 # end
"""
STAR_30 = b"""data_images
loop_
_rlnImageName
_rlnAngleRot
_rlnAngleTilt
_rlnAnglePsi
_rlnOriginX
_rlnOriginY
_rlnDefocusU
_rlnVoltage
_rlnSphericalAberration
_rlnAmplitudeContrast
_rlnMagnification
_rlnDetectorPixelSize
_rlnHelicalTubeID
1@p.mrcs\t1\t2\t3\t0.5\t0\t1e4\t300\t2.7\t.1\t40000\t6\t1
2@p.mrcs\t1\t2\t3\t0.5\t0\t1e4\t300\t2.7\t.1\t40000\t6\t1
"""
STAR_TILTS = b"""
data_
_rlnTomoParticlesFile fuzzed.star
_rlnTomoTomogramsFile fuzzed.star

data_general
_rlnTomoSubTomosAre2DStacks 1

data_global
loop_
_rlnTomoName
_rlnTomoHand
_rlnTomoTiltSeriesPixelSize
_rlnTomoSizeX
_rlnTomoSizeY
_rlnTomoSizeZ
TS1 -1 0.75 900 900 300

data_TS1
loop_
_rlnTomoXTilt
_rlnTomoYTilt
_rlnTomoZRot
_rlnDefocusU
_rlnDefocusV
_rlnDefocusAngle
_rlnMicrographPreExposure
_rlnCtfScalefactor
0 -3 85 11000 10000 30 3 0.9
0 0 85 11000 10000 30 0 1
0 3 85 11000 10000 30 6 0.9

data_optics
loop_
_rlnOpticsGroup
_rlnVoltage
_rlnSphericalAberration
_rlnAmplitudeContrast
_rlnImagePixelSize
_rlnImageSize
_rlnImageDimensionality
_rlnTomoSubtomogramBinning
1 300 2.7 0.1 1.5 8 2 2

data_particles
loop_
_rlnTomoName
_rlnImageName
_rlnTomoVisibleFrames
_rlnCoordinateX
_rlnCoordinateY
_rlnCoordinateZ
_rlnTomoSubtomogramRot
_rlnTomoSubtomogramTilt
_rlnTomoSubtomogramPsi
_rlnAngleRot
_rlnAngleTilt
_rlnAnglePsi
_rlnOriginXAngst
_rlnOriginYAngst
_rlnOriginZAngst
_rlnOpticsGroup
_rlnRandomSubset
TS1 p.mrcs [1,1,1] 400 420 150 5 6 7 10 20 -30 1 2 3 1 1
"""
STAR_CISTEM = b"""# Written by cisTEM
data_
loop_
_cisTEMPositionInStack #1
_cisTEMAnglePsi #2
_cisTEMAngleTheta #3
_cisTEMAnglePhi #4
_cisTEMXShift #5
_cisTEMYShift #6
_cisTEMDefocus1 #7
_cisTEMDefocus2 #8
_cisTEMDefocusAngle #9
_cisTEMPhaseShift #10
_cisTEMImageActivity #11
_cisTEMOccupancy #12
_cisTEMPixelSize #13
_cisTEMMicroscopeVoltagekV #14
_cisTEMMicroscopeCsMM #15
_cisTEMAmplitudeContrast #16
_cisTEMBeamTiltX #17
_cisTEMBeamTiltY #18
_cisTEMStackFilename #19
_cisTEMAssignedSubset #20
1 10 20 30 1.5 -2 11000 10000 30 0.5 1 100 1.5 300 2.7 0.1 0.1 0 'p.mrcs' 1
3 10 20 30 1.5 -2 11000 10000 30 0.0 -1 20 1.5 300 2.7 0.1 0.1 0 'p.mrcs' 2
"""
STAR_SINGLE = b"data_general\n_rlnFinalResolution 3.5\n_rlnName 'a b' # c\n\ndata_\nloop_\n_a\n"
STAR_COMMENTS = b"data_x\n" + b"# a " * 30 + b"\nx\n"
GROUP = b"""created: 2026-01-02
group:
  name: particles
results:
  alignments3D:
    metafile: '>fuzzed.cs'
    num_items: 3
  blob:
    metafile: '>fuzzed.cs'
version: v4.5.1
"""


def write(reader: str, name: str, content: bytes) -> None:
    """One file of the corpus."""
    path = CORPUS / reader / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def answer(reader: str, content: bytes) -> str:
    """The message of the reader without what is particular to one file, or that it was read."""
    try:
        targets.READERS[reader](content)
    except CryosplatError as error:
        line = str(error).splitlines()[0]
        return re.sub(r"'.*'|\".*\"|[0-9.]+|/dev/\S+", "", line)[:80]
    return "read"


RUN = {
    "schema_version": 1, "program": "cryosplat", "particles": "/a/p.star", "box_size": 32,
    "pixel_size": 1.5, "n_particles": 300, "n_half": [150, 150], "symmetry": "C1",
    "contrast": {"used": "bright", "preferred": "bright", "standard_deviations": 9.5},
    "solvent": {"contrast": 0.5, "b_factor": 300.0, "half_sets": [[0.5, 299.0], [0.5, 301.0]]},
    "resolution": 3.2, "resolution_at_nyquist": False, "resolution_from": "cross",
    "resolutions": {"half-maps, corrected": {"0.5": 4.1, "0.143": 3.2}},
    "gaussians": [800, 700, 700], "members": 4, "choices": ["a"], "trials": [[[0, -1.0, None]]],
    "notes": [{"code": "a", "severity": "alarm", "text": "b", "remedy": "c"}],
    "worth": {"used": True, "kept": 290, "odds": [[0.0, 1.0, 3.0]], "examples": [["a", 1, 1.0, 1.0]]},
    "guinier": {"b_factor": -80.0, "frequencies_squared": [0.01], "line": [1.0, 2.0]},
    "local_resolution": {"median": 4.0, "q05": 3.0, "q95": 6.0, "voxels": {"median": 4.2}},
    "views": {"axes": [[0.0, 0.0, 1.0]], "bounds": [[0.0, 1.0]], "counts": [3]},
    "directional": {"cfar": 0.9, "axes": [[0.0, 0.0, 1.0]], "resolutions": [3.0]},
    "model": {"file": "a.cif", "resolution_0.5": 3.4, "residues": [["A", "1", "ALA", 0.7]]},
    "refinement": {"verdict": "refined", "best": 1, "rounds": [{"gain": 0.1}, {"gain": 0.4}]},
    "states": {"kind": "classes", "found": True, "n": 2, "shares": [0.5, 0.5], "counts": [1, 2]},
    "timings": {"total": 12.5}, "settings": {"seed": 0}, "provenance": {"date": "2026"},
}  # fmt: skip
FSC = b"""shell,frequency (1/A),resolution (A),half-maps,"half-maps, masked"
0,0.00000000,,1.000000,1.000000
1,0.02083333,48.0000,0.990000,
2,0.04166667,24.0000,0.500000,-0.100000
"""


def gather() -> None:
    """Add to the corpus the smallest of the found files that get the same answer."""
    for reader in targets.READERS:
        kept: set[str] = set()
        old = sorted((CORPUS / reader).iterdir())
        new = sorted((CORPUS.parents[1] / "build" / "fuzz" / reader).glob("*"))
        for path in (*old, *sorted(new, key=lambda p: p.stat().st_size)):
            content = path.read_bytes()
            said = answer(reader, content)
            if said not in kept and path in new and len(content) <= MOST_BYTES:
                write(reader, hashlib.sha1(content).hexdigest()[:12], content)
            kept.add(said)


def main() -> None:
    """Write all of it."""
    n = targets.IMAGES
    stars = {"relion31": STAR_31, "relion30": STAR_30, "tilts": STAR_TILTS, "cistem": STAR_CISTEM,
             "single": STAR_SINGLE, "comments": STAR_COMMENTS}  # fmt: skip
    for name, content in stars.items():
        write("star", f"{name}.star", content)
    single = {"alignments3D/pose": np.full((n, 3), 0.3, "f4"),
              "alignments3D/shift": np.full((n, 2), 0.5, "f4"),
              "alignments3D/psize_A": np.full(n, 1.5, "f4"),
              "alignments3D/split": np.array([0, 1, 0], "u4")}  # fmt: skip
    lenses = {"ctf/tilt_A": np.full((n, 2), 900.0, "f4"), "ctf/trefoil_A": np.ones((n, 2), "f4"),
              "ctf/tetra_A": np.ones((n, 4), "f4"), "ctf/anisomag": np.full((n, 4), 0.01, "f4"),
              "ctf/shift_A": np.ones((n, 2), "f4"), "ctf/scale_const": np.ones(n, "f4")}  # fmt: skip
    write("cs", "refined.cs", targets.cs_table(**single))
    write("cs", "lenses.cs", targets.cs_table(**single, **lenses))
    several = {"alignments3D_multi/pose": np.full((n, 2, 3), 0.3, "f4"),
               "alignments3D_multi/shift": np.full((n, 2, 2), 0.5, "f4"),
               "alignments3D_multi/class_posterior": np.full((n, 2), 0.5, "f4")}  # fmt: skip
    write("cs", "multi.cs", targets.cs_table(**several, **{"ctf/tilt_A": np.full((n, 2), 9, "f4")}))
    write("cs", "group.csg", GROUP)
    for protocol in (0, 2, 4, 5):
        write("pkl", f"poses{protocol}.pkl", pickle.dumps(targets.poses(), protocol))
        write("pkl", f"ctf{protocol}.pkl", pickle.dumps(targets.ctf(), protocol))
    plain = {"a": [1, 2.5, None, True, 2**40, -1], "b": {1, 2}, "c": (b"x", "é", 1j)}
    for protocol in (0, 3, 5):
        write("pkl", f"plain{protocol}.pkl", pickle.dumps(plain, protocol))
    write("pkl", "system.pkl", b"cos\nsystem\n(S'true'\ntR.")
    write("pkl", "memo.pkl", b"]r\xff\xff\xff\xff.")
    scratch = targets.folder()
    write_stack(scratch / "a.mrcs", np.ones((2, 4, 4)), 1.5)
    stack = (scratch / "a.mrcs").read_bytes()
    write("mrc", "stack.mrcs", stack)
    write_map(scratch / "a.mrc", np.ones((4, 4, 4)), 1.5)
    write("mrc", "map.mrc", (scratch / "a.mrc").read_bytes())
    for mode in (0, 1, 4, 6, 12, 101):
        write("mrc", f"mode{mode}.mrcs", stack[:12] + bytes([mode]) + stack[13:])
    write_ply(scratch / "a.ply", np.zeros((2, 3)), np.ones((2, 3)), [[1, 0, 0, 0]] * 2, [1, 2])
    write("ply", "two.ply", (scratch / "a.ply").read_bytes())
    write("run", "run.json", json.dumps(RUN, indent=1).encode())
    write("fsc", "fsc.csv", FSC)
    for name, kind in (
        ("default", ReconstructionSettings()),
        ("paper", ReconstructionSettings.paper()),
    ):
        write("settings", f"{name}.toml", kind.to_toml().encode())
    write_arrays(scratch / "a", "checkpoint", 2, {"x": np.arange(3.0)}, {"identity": {"n": 3}})
    write("checkpoint", "one.checkpoint", (scratch / "a").read_bytes())
    Statistics.zero(Grid(4, 1.5)).save(scratch / "a")
    write("statistics", "zero.statistics", (scratch / "a").read_bytes())
    for kind, arrays in state_arrays().items():
        values = {"kind": kind, "length": 1.5, "box_size": 8}
        write_arrays(scratch / "a", "states", 1, arrays, values)
        write("states", f"{kind}.safetensors", (scratch / "a").read_bytes())


def state_arrays() -> dict[str, dict[str, np.ndarray]]:
    """What `StoredStates` needs of a run of ``classify`` and of ``motion``: two Gaussians."""
    one = {"means": np.zeros((2, 3), "f4"), "scales": np.ones((2, 3), "f4"),
           "quaternions": np.ones((2, 4), "f4"), "amplitudes": np.ones(2, "f4")}  # fmt: skip
    motion = {f"shared_{name}": array for name, array in one.items()}
    motion |= {"nodes": np.zeros((3, 1), "f4"), "anchors": np.zeros((2, 3), "f4"),
               "blend": np.full((2, 2), 0.5, "f4"), "turns": np.zeros((2, 2, 3), "f4"),
               "moves": np.zeros((2, 2, 3), "f4")}  # fmt: skip
    return {
        "classes": {f"full_{name}": array[None] for name, array in one.items()},
        "motion": motion,
    }


if __name__ == "__main__":
    gather() if sys.argv[1:] == ["gather"] else main()
