"""The page of a run that is being made: its map so far, drawn again whenever it has grown."""

from __future__ import annotations

import threading

import viser

from ..errors import CryosplatError
from ..run_folder import RunFolder
from .page import lit, literal, painted_mesh
from .scene import ShownMap, read_growing

LEVEL = 3.0  # sigmas


class GrowingPage:
    """What is known of the run in ``folder``, which is not there yet."""

    def __init__(self, server: viser.ViserServer, folder: RunFolder) -> None:
        self.server, self.folder = server, folder
        lit(server, folder.path.name)
        self.words = server.gui.add_markdown("")
        self.level = server.gui.add_slider("Level (σ)", 0.5, 10.0, 0.1, LEVEL)
        self.level.on_update(lambda _: self._moved.set())
        self._moved = threading.Event()
        self._seen: tuple[int, int] | None = None
        self._shown: tuple[ShownMap, float] | None = None

    @property
    def ended(self) -> bool:
        """Whether the run is finished, or broken off."""
        return not self.folder.growing.exists()

    def redraw(self, timeout: float) -> None:
        """Draw the map if it has grown or its level has moved; waits up to ``timeout`` seconds."""
        moved = self._moved.wait(timeout)
        self._moved.clear()
        if (self._grown() or moved) and self._shown is not None:
            shown, reach = self._shown
            surface = shown.surface(self.level.value * shown.sigma)
            if len(surface.triangles):
                mesh = painted_mesh(surface, shown.colour, 1.0)
                self.server.scene.add_mesh_trimesh("/Map", mesh, scale=1.0 / max(reach, 1e-6))

    def _grown(self) -> bool:
        """Read the map where it is another than the one that is shown."""
        try:
            state = self.folder.growing.stat()
            if self._seen == (state.st_ino, state.st_mtime_ns):
                return False
            title, shown, reach = read_growing(self.folder.growing)
        except (OSError, CryosplatError):  # it has just ended, or is just being replaced
            return False
        self._seen, self._shown = (state.st_ino, state.st_mtime_ns), (shown, reach)
        self.words.content = f"**The run is under way**: {literal(title)}."
        return True

    def tell_broken_off(self) -> None:
        """The run has ended without a result."""
        self.words.content = "**The run was broken off.**"
