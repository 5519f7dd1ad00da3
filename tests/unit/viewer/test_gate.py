"""The viewer answers its own page and nobody else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

import pytest
from browser import browser
from full_runs import fill_run, plain_run
from served import free_port, served

viser = pytest.importorskip("viser", reason="the viewer's packages are not installed")
OPENER = build_opener(ProxyHandler({}))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = plain_run(tmp_path_factory.mktemp("gate") / "run")
    fill_run(folder)
    with served(folder.path) as url:
        yield url


def _status(url: str, **headers: str) -> int:
    try:
        with OPENER.open(Request(url, headers=headers), timeout=10) as answer:
            return answer.status
    except HTTPError as error:
        return error.code


def test_nothing_is_served_without_the_token(address: str) -> None:
    root, query = address.split("?")
    assert _status(address) == 200
    assert _status(root) == 403
    assert _status(f"{root}?token=guess") == 403
    assert _status(f"{root}assets/anything.js") == 403
    assert len(query) > len("token=") + 30


def test_the_first_answer_gives_a_cookie_that_opens_the_rest(address: str) -> None:
    with OPENER.open(address, timeout=10) as answer:
        cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    root = address.split("?")[0]
    assert _status(root, Cookie=cookie.split(";")[0]) == 200
    assert _status(root, Cookie="other=1; " + cookie.split(";")[0]) == 200
    assert _status(root, Cookie=cookie.split(";")[0] + "x") == 403


@pytest.mark.parametrize(
    "name", ["evil.example", "evil.example:8080", "203.0.113.9", "127.0.0.1.x"]
)
def test_a_name_that_was_pointed_at_this_machine_is_refused(address: str, name: str) -> None:
    assert _status(address, Host=name) == 403
    assert _status(address, Host=f"localhost:{urlsplit(address).port}") == 200


def test_a_socket_from_another_origin_is_refused(address: str) -> None:
    client = pytest.importorskip("websockets.sync.client")
    from websockets.exceptions import InvalidStatus

    parts = urlsplit(address)
    ws = f"ws://{parts.netloc}/?{parts.query}"
    protocol = [f"viser-v{viser.__version__}"]
    own = f"http://{parts.netloc}"
    with client.connect(ws, origin=own, subprotocols=protocol, proxy=None) as socket:
        assert socket.recv(timeout=10)
    for origin in ("http://evil.example", f"http://localhost:{parts.port}", "null"):
        with pytest.raises(InvalidStatus, match="403"):
            client.connect(ws, origin=origin, subprotocols=protocol, proxy=None)
    with pytest.raises(InvalidStatus, match="403"):
        client.connect(f"ws://{parts.netloc}/", origin=own, subprotocols=protocol, proxy=None)


@contextmanager
def _other_site() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<html><body>another site</body></html>")

        def log_message(self, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", free_port()), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


READ = """
(() => {{
  window.heard = "nothing yet";
  const socket = new WebSocket("{url}", ["viser-v{version}"]);
  socket.onmessage = () => {{ window.heard = "data"; }};
  socket.onclose = () => {{ if (window.heard !== "data") window.heard = "refused"; }};
}})()
"""


def test_a_page_of_another_origin_cannot_read_the_map(address: str) -> None:
    parts = urlsplit(address)
    asks = READ.format(url=f"ws://{parts.netloc}/", version=viser.__version__)
    with _other_site() as other, browser() as page:
        # the browser has the cookie of the viewer by now
        page.open(address, 300, 200)
        page.until("document.querySelectorAll('canvas').length > 0")
        page.value(asks)
        page.until("window.heard === 'data'")
        page.open(other, 300, 200)
        page.value(asks)
        page.until("window.heard === 'refused'")


def test_text_of_a_run_is_shown_as_text() -> None:
    from cryosplat.viewer.page import literal

    assert literal("<img src=x onerror=alert(1)>\n[a](javascript:b)") == (
        "\\<img src\\=x onerror\\=alert\\(1\\)\\> \\[a\\]\\(javascript\\:b\\)"
    )
