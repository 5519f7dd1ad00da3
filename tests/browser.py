"""A real browser without a window, spoken to over its DevTools socket: what tests of pages need.

Chromium's own protocol over websockets (which viser brings along) needs no driver and no download.
"""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--remote-debugging-port=0", "--remote-allow-origins=*", "--no-first-run",
    "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist", "--disable-background-networking", "--log-level=3",
)  # fmt: skip
WAIT = 60.0  # seconds


@dataclass
class Browser:
    """One page. ``problems``: what it wrote to its console as an error; ``asked``: its requests."""

    socket: Any
    number: int = 0
    problems: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """One command of the protocol and its result."""
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv(timeout=WAIT))
            self._note(message)
            if message.get("id") == self.number:
                assert "error" not in message, message
                return message.get("result", {})

    def _note(self, message: dict[str, Any]) -> None:
        match message.get("method"):
            case "Runtime.exceptionThrown":
                self.problems.append(json.dumps(message["params"]["exceptionDetails"])[:400])
            case "Log.entryAdded" if message["params"]["entry"]["level"] == "error":
                self.problems.append(json.dumps(message["params"]["entry"])[:400])
            case "Runtime.consoleAPICalled" if message["params"]["type"] == "error":
                self.problems.append(json.dumps(message["params"]["args"])[:400])
            case "Network.requestWillBeSent":
                self.asked.append(message["params"]["request"]["url"])

    def open(self, url: str, width: int, height: int) -> None:
        """Go to ``url`` in a window of CSS pixels."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.size(width, height)
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def size(self, width: int, height: int) -> None:
        """Change the size of the window."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
            mobile=False,
        )  # fmt: skip

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, expression: str, wait: float = WAIT) -> Any:
        """Wait until an expression is true, and return it."""
        end = time.monotonic() + wait
        while time.monotonic() < end:
            if value := self.value(expression):
                return value
            time.sleep(0.1)
        raise AssertionError(f"{expression} did not come true in {wait} s; {self.problems}")

    def picture(self, path: Path | None = None) -> np.ndarray:
        """What the window shows, (height, width, 3) uint8."""
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        if path is not None:
            path.write_bytes(data)
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def settled(self, wait: float = 15.0) -> np.ndarray:
        """The picture once two in a row are alike."""
        end, last = time.monotonic() + wait, self.picture()
        while time.monotonic() < end:
            time.sleep(0.3)
            now = self.picture()
            if np.array_equal(now, last):
                return now
            last = now
        return last

    def pdf(self) -> bytes:
        """The page as printed."""
        data = self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"]
        return base64.b64decode(data)

    def click(self, x: float, y: float) -> None:
        """Press and release the left mouse button."""
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def key(self, name: str, code: int) -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=name, code=name,
                windowsVirtualKeyCode=code,
            )  # fmt: skip


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser that ends with the block; skips the test where none is installed."""
    wanted = os.environ.get("CRYOSPLAT_BROWSER")
    program = wanted or next((p for n in NAMES if (p := shutil.which(n))), None)
    if program is None:
        pytest.skip(f"no browser found ({', '.join(NAMES)}; or set CRYOSPLAT_BROWSER)")
    connect = pytest.importorskip("websockets.sync.client").connect
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            port = _port(Path(profile) / "DevToolsActivePort", process)
            with connect(_page(port), max_size=None, proxy=None) as socket:
                yield Browser(socket)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _port(path: Path, process: subprocess.Popen[bytes]) -> int:
    end = time.monotonic() + 2 * WAIT
    while time.monotonic() < end:
        assert process.poll() is None, f"the browser ended with code {process.returncode}"
        if path.exists() and (lines := path.read_text().split()):
            return int(lines[0])
        time.sleep(0.05)
    raise AssertionError("the browser did not open its DevTools")


def _page(port: int) -> str:
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/json/list", timeout=WAIT) as answer:
        pages = json.load(answer)
    return next(p["webSocketDebuggerUrl"] for p in pages if p["type"] == "page")
