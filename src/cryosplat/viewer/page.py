"""The viewer's page: controls on the right, and what they draw."""

from __future__ import annotations

import re
import threading
from typing import Any

import numpy as np
import trimesh
import viser
from numpy.typing import NDArray
from PIL import Image
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from ..appearance import on_scale
from ..validation.comparison import SOURCES
from .scene import MASK_LEVEL, Scene, ShownMap, Surface, of_state
from .state_controls import StateControls

ELLIPSOIDS, SPLATS = "ellipsoids", "splats"
PLAIN = "plain"
MOST_ELLIPSOIDS, MOST_SPLATS = 4000, 60_000
STEP = 0.1
"""Of the level, in sigmas."""
COLOUR_STEPS = 64
BALL_ROUNDS, BALL_RINGS = 16, 10
AXES = {"z (xy plane)": 0, "y (xz plane)": 1, "x (yz plane)": 2}


def literal(text: object) -> str:
    """Text that Markdown shows as it is: no markup, no HTML, no links."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(str(text).split()))


class LocalServer(viser.ViserServer):
    """A server that cannot be asked by its page to open a public address."""

    def request_share_url(self, verbose: bool = True) -> str | None:
        """None: maps leave this machine only where the user said so."""
        return None


class Page:
    """The controls and the drawing of one run.

    Controls only mark what has changed; `redraw`, called by one thread, draws it once, however
    often a slider has moved meanwhile.
    """

    def __init__(self, server: viser.ViserServer, scene: Scene) -> None:
        self.server, self.scene = server, scene
        self.size = 1.0 / max(scene.reach, 1e-6)
        """Units of the page in an Angstrom: the molecule has radius 1."""
        self._changed = threading.Condition()
        self._pending: set[str] = set()
        self._drawn: dict[str, list[Any]] = {}
        self._look()
        self.state_controls: StateControls | None = None
        if scene.states is not None:
            with server.gui.add_folder("States"):
                self.state_controls = StateControls(server.gui, scene.states)
            self._watch("gaussians", *self.state_controls.places)
            self._watch("chosen", *self.state_controls.places, *self.state_controls.picks)
        with server.gui.add_folder("Surface"):
            self._surface_controls()
        if scene.gaussians is not None:
            with server.gui.add_folder("Gaussians"):
                self._gaussian_controls()
        with server.gui.add_folder("Slice"):
            self._slice_controls()

    def redraw(self, timeout: float | None = None) -> bool:
        """Draw what has changed; waits for a change up to ``timeout`` seconds, False if none."""
        with self._changed:
            if not self._pending:
                self._changed.wait(timeout)
            parts, self._pending = self._pending, set()
        for part in sorted(parts):
            getattr(self, f"_draw_{part}")()
        return bool(parts)

    def _touch(self, part: str) -> None:
        with self._changed:
            self._pending.add(part)
            self._changed.notify()

    def _watch(self, part: str, *handles: Any) -> None:
        for handle in handles:
            handle.on_update(lambda _: self._touch(part))
        self._touch(part)

    def _look(self) -> None:
        lit(self.server, self.scene.name)
        self.words = self.server.gui.add_markdown(self._words())

    def _words(self) -> str:
        resolution = self.scene.summary.get("resolution")
        lines = [f"**{resolution:.2f} Å**" if resolution else "**No resolution is claimed**"]
        if self.scene.states is not None:
            found = self.scene.summary["states"]
            cause = f"**No states found**: {literal(found.get('cause', ''))}."
            lines = [f"**{self._states_found(found)}**" if found["found"] else cause]
            if found.get("further_found"):
                lines.append(literal(found["further"]))
        if source := SOURCES.get(str(self.scene.summary.get("resolution_from"))):
            lines[0] += f", from the {source}"
        for finding in self.scene.summary.get("notes", []):
            if finding.get("severity") == "alarm":
                lines.append(f"**Alarm:** {literal(finding['text'])}")
        if self.scene.reduction > 1:
            pixel = next(iter(self.scene.maps.values())).pixel_size
            lines.append(
                f"Maps are shown at every {self.scene.reduction}. voxel ({pixel:.2f} Å), blurred "
                "accordingly; the files are finer."
            )
        return "\n\n".join(lines)

    @staticmethod
    def _states_found(found: dict[str, Any]) -> str:
        if found["kind"] == "classes":
            return f"{found['n']} classes"
        return f"Motion along {found['coordinates']} coordinate{'s'[: found['coordinates'] - 1]}"

    def _draw_chosen(self) -> None:
        if self.state_controls is not None:
            self.state_controls.draw()

    def _surface_controls(self) -> None:
        gui, scene = self.server.gui, self.scene
        self.shown = {
            title: gui.add_checkbox(title, i == 0 and scene.states is None)
            for i, title in enumerate(scene.maps)
        }
        self.mask = gui.add_checkbox("Mask", False, visible=scene.mask is not None)
        suggested = round(max(0.5, scene.suggested_sigmas), 1)
        highest = round(max(10.0, 2.5 * suggested), 1)
        self.level = gui.add_slider("Level (σ)", 0.5, highest, STEP, suggested)
        colourings = [PLAIN] + ["local resolution"] * (scene.local_resolution is not None)
        self.colouring = gui.add_dropdown("Colour", colourings, initial_value=colourings[-1])
        self.opacity = gui.add_slider("Opacity", 0.1, 1.0, 0.05, 1.0)
        self.told = gui.add_markdown("")
        self._watch(
            "surface", *self.shown.values(), self.mask, self.level, self.colouring, self.opacity
        )

    def _gaussian_controls(self) -> None:
        gui, gaussians = self.server.gui, self.scene.gaussians
        assert gaussians is not None
        self.gaussians = gui.add_checkbox("Show Gaussians", self.scene.states is not None)
        self.style = gui.add_dropdown("As", (ELLIPSOIDS, SPLATS))
        self.by = gui.add_dropdown("Coloured by", list(gaussians.colourings))
        most = max(2, min(gaussians.count, MOST_SPLATS))
        self.number = gui.add_slider("Heaviest", 1, most, 1, min(most, 2000))
        self.sigmas = gui.add_slider("Size (σ)", 0.2, 2.0, 0.1, 1.0)
        self.counted = gui.add_markdown("")
        self._watch("gaussians", self.gaussians, self.style, self.by, self.number, self.sigmas)

    def _slice_controls(self) -> None:
        gui, scene = self.server.gui, self.scene
        first = next(iter(scene.maps.values()))
        end = round(first.half_side, 1)
        self.slice = gui.add_checkbox("Show slice", False)
        self.sliced = gui.add_dropdown("Of", list(scene.maps))
        self.axis = gui.add_dropdown("Across", list(AXES))
        self.position = gui.add_slider("At (Å)", -end, end, round(first.pixel_size, 2), 0.0)
        self._watch("slice", self.slice, self.sliced, self.axis, self.position)

    def _replace(self, part: str, handles: list[Any]) -> None:
        """Take the new handles in and the earlier ones away; one of the same name is gone already."""
        names = {handle.name for handle in handles}
        for old in self._drawn.get(part, []):
            if old.name not in names:
                old.remove()
        self._drawn[part] = handles

    def _draw_surface(self) -> None:
        handles, levels = [], []
        for title, box in self.shown.items():
            if box.value:
                shown = self.scene.maps[title]
                level = self.level.value * shown.sigma
                levels.append(f"{level:.4g} ({title.lower()})")
                handles += self._surface(shown, level)
        if self.mask.value and self.scene.mask is not None:
            handles += self._plain(self.scene.mask, MASK_LEVEL, 0.25)
        told = [f"{self.level.value:.1f} σ is {', '.join(levels)}."] if levels else []
        if levels and self.colouring.value != PLAIN and self.scene.local_resolution is not None:
            low, high = self.scene.local_range
            told.append(f"Blue {low:.1f} Å, orange {high:.1f} Å.")
        self.told.content = " ".join(told)
        self._replace("surface", handles)

    def _surface(self, shown: ShownMap, level: float) -> list[Any]:
        local = self.scene.local_resolution
        if self.colouring.value == PLAIN or local is None:
            return self._plain(shown, level, self.opacity.value)
        surface = shown.surface(level)
        values = local.values_at(surface.points)
        low, high = self.scene.local_range
        return self._mesh(shown.title, surface, (values - low) / (high - low), self.opacity.value)

    def _plain(self, shown: ShownMap, level: float, opacity: float) -> list[Any]:
        return self._mesh(shown.title, shown.surface(level), shown.colour, opacity)

    def _mesh(
        self, title: str, surface: Surface, colour: NDArray[np.float64], opacity: float
    ) -> list[Any]:
        """``colour``: one as (3,), or for each point its place on the scale from 0 to 1."""
        if not len(surface.triangles):
            return []
        mesh = painted_mesh(surface, colour, opacity)
        return [
            self.server.scene.add_mesh_trimesh(
                f"/{title}", mesh, scale=self.size, cast_shadow=False, receive_shadow=False
            )
        ]

    def _draw_gaussians(self) -> None:
        gaussians = self.scene.gaussians
        if gaussians is None or not self.gaussians.value:
            return self._replace("gaussians", [])
        if self.state_controls is not None:
            gaussians = of_state(self.state_controls.states, self.state_controls.at)
        ellipsoids = self.style.value == ELLIPSOIDS
        count = min(self.number.value, MOST_ELLIPSOIDS) if ellipsoids else self.number.value
        count = min(count, len(gaussians.amplitudes))
        colours = gaussians.colours(self.by.value)[:count]
        name = f"/Gaussians, {self.style.value}"
        if ellipsoids:
            ball, faces = _ball()
            handle = self.server.scene.add_batched_meshes_simple(
                name, ball, faces, gaussians.quaternions[:count],
                gaussians.means[:count] * self.size,
                batched_scales=gaussians.scales[:count] * self.size * self.sigmas.value,
                batched_colors=np.round(255 * colours).astype(np.uint8),
                batched_opacities=None if gaussians.shares is None else gaussians.shares[:count],
                lod="off",
            )  # fmt: skip
        else:
            spread = (self.size * self.sigmas.value) ** 2
            handle = self.server.scene.add_gaussian_splats(
                name, gaussians.means[:count] * self.size, gaussians.covariances()[:count] * spread,
                colours, gaussians.opacities()[:count, None],
            )  # fmt: skip
        _, low, high = gaussians.colourings[self.by.value]
        told = f"The {count:,} heaviest of {gaussians.count:,}. "
        if left_out := gaussians.count - len(gaussians.amplitudes):
            told += f"{left_out:,} that are faint in this state are left out. "
        if self.scene.states is not None and self.by.value != "amplitude":
            told += "Orange differs most between states."
        elif self.by.value != "amplitude":
            told += f"Blue {low:.2f} Å, orange {high:.2f} Å, grey unknown."
        else:
            told += "Blue heavy, orange light."
        self.counted.content = told
        self._replace("gaussians", [handle])
        return None

    def _draw_slice(self) -> None:
        if not self.slice.value:
            return self._replace("slice", [])
        shown, axis = self.scene.maps[self.sliced.value], AXES[self.axis.value]
        box = shown.volume.shape[0]
        index = round(self.position.value / shown.pixel_size) + box // 2
        image = np.take(shown.volume, int(np.clip(index, 0, box - 1)), axis)
        low, high = np.percentile(shown.volume[box // 2], (1.0, 99.8))
        grey = np.clip((image - low) / max(high - low, 1e-12), 0.0, 1.0)
        side = box * shown.pixel_size * self.size
        # pixels are centred on voxels: an even box reaches half a voxel less far on one side
        shift = 0.5 * shown.pixel_size * self.size * (1 if box % 2 == 0 else 0)
        where = np.full(3, -shift)
        where[2 - axis] = self.position.value * self.size
        handle = self.server.scene.add_image(
            "/slice", np.repeat(np.round(255 * grey).astype(np.uint8)[..., None], 3, axis=2), side,
            side, wxyz=_TURNS[axis], position=where, format="png", cast_shadow=False,
            receive_shadow=False,
        )  # fmt: skip
        self._replace("slice", [handle])
        return None


def lit(server: viser.ViserServer, name: str) -> None:
    """Camera, lights and panel of a page."""
    server.gui.configure_theme(show_logo=False, show_share_button=False)
    server.gui.main_panel.dock_right()
    server.gui.set_panel_label(f"{name} · cryosplat")
    server.scene.set_up_direction("+z")
    server.initial_camera.position = (1.9, -2.7, 1.3)
    server.initial_camera.look_at = (0.0, 0.0, 0.0)
    server.initial_camera.fov = 0.75
    server.scene.configure_environment_map(None)
    server.scene.configure_default_lights(enabled=False)
    server.scene.add_light_hemisphere("/sky", ground_color=(120, 125, 135), intensity=1.6)
    server.scene.add_light_directional("/key", intensity=2.0, position=(1.0, -2.0, 3.0))


def painted_mesh(surface: Surface, colour: NDArray[np.float64], opacity: float) -> trimesh.Trimesh:
    """A mesh with its own normals, painted through a texture that holds the scale of colours."""
    scale = on_scale(np.linspace(0.0, 1.0, COLOUR_STEPS), 0.0, 1.0)
    plain = colour.shape == (3,) and len(surface.points) != 3
    row = colour[None] if plain else scale
    edge = 0.5 / COLOUR_STEPS
    across = np.full(len(surface.points), 0.5) if plain else np.clip(colour, edge, 1 - edge)
    texture = Image.fromarray(np.round(255 * row).astype(np.uint8)[None])
    material = PBRMaterial(
        baseColorTexture=texture, baseColorFactor=[1.0, 1.0, 1.0, opacity], metallicFactor=0.0,
        roughnessFactor=0.75, doubleSided=True, alphaMode="OPAQUE" if opacity >= 1.0 else "BLEND",
    )  # fmt: skip
    uv = np.stack([across, np.full(len(across), 0.5)], 1)
    return trimesh.Trimesh(
        surface.points, surface.triangles, vertex_normals=surface.normals, process=False,
        visual=TextureVisuals(uv=uv, material=material),
    )  # fmt: skip


def _ball() -> tuple[np.ndarray, np.ndarray]:
    """A sphere of radius 1 with few triangles."""
    polar = np.linspace(0.0, np.pi, BALL_RINGS + 1)
    around = np.arange(BALL_ROUNDS) * 2 * np.pi / BALL_ROUNDS
    ring = np.stack([np.cos(around), np.sin(around), np.zeros_like(around)], -1)
    points = np.sin(polar)[:, None, None] * ring + np.cos(polar)[:, None, None] * [0.0, 0.0, 1.0]
    faces = []
    for i in range(BALL_RINGS):
        for j in range(BALL_ROUNDS):
            a, b = i * BALL_ROUNDS + j, i * BALL_ROUNDS + (j + 1) % BALL_ROUNDS
            c, d = a + BALL_ROUNDS, b + BALL_ROUNDS
            faces += [(a, c, b), (b, c, d)]
    return points.reshape(-1, 3).astype(np.float32), np.array(faces, np.uint32)


_HALF = np.sqrt(0.5)
_TURNS = {0: (1.0, 0.0, 0.0, 0.0), 1: (_HALF, _HALF, 0.0, 0.0), 2: (0.5, 0.5, 0.5, 0.5)}
"""From the plane of an image (right x, down y) to the plane across z, y and x; see tests."""
