"""Who may see the page: those who were given its address, from the page itself and no other.

A browser lets every page it has open send requests to this machine, and does not apply the
same-origin rule to WebSockets. So the address of the page carries a random token, the first answer
turns it into a cookie that is not sent from other sites, and each request is checked for token or
cookie, for the host it was meant for and, where the browser names one, for the origin it comes from.
"""

from __future__ import annotations

import http
import ipaddress
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import websockets.asyncio.server as websocket_server
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

Handler = Callable[[Any, Request], Response | None]


class Gate:
    """The token of one server, and the check of every request to it.

    ``host``: the address it listens at; requests that name another host are refused where it is
    this machine's own (a name that an attacker's DNS points here is another host).
    """

    def __init__(self, host: str) -> None:
        self.host = host
        self.token = secrets.token_urlsafe(24)

    def address(self, port: int) -> str:
        """The address to open in a browser."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{port}/?token={self.token}"

    def refusal(self, request: Request) -> str | None:
        """Why a request is refused; None where it may pass."""
        named = request.headers.get("Host", "")
        if not self._is_here(named):
            return f"This viewer does not answer to the host {named!r}."
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != named:
            return f"Pages of {origin!r} may not read this viewer."
        if not (self._has_token(request) or self._has_cookie(request)):
            return "Open the viewer with the address that `cryosplat view` printed."
        return None

    def guarded(self, handler: Handler | None) -> Handler:
        """``handler`` of HTTP requests and WebSocket handshakes, behind the check."""

        def check(connection: Any, request: Request) -> Response | None:
            refused = self.refusal(request)
            if refused is not None:
                headers = Headers({"Content-Type": "text/plain; charset=utf-8"})
                return Response(http.HTTPStatus.FORBIDDEN, "Forbidden", headers, refused.encode())
            response = None if handler is None else handler(connection, request)
            if response is not None and self._has_token(request):
                response.headers["Set-Cookie"] = (
                    f"{self._cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict"
                )
            if response is not None:
                response.headers["Referrer-Policy"] = "no-referrer"
                response.headers["X-Frame-Options"] = "DENY"
            return response

        return check

    @property
    def _cookie(self) -> str:
        # cookies do not tell ports apart; several viewers may run on one machine
        return f"cryosplat-{self.token[:8]}"

    def _is_here(self, named: str) -> bool:
        try:
            host = urlsplit(f"//{named}").hostname or ""
        except ValueError:
            return False
        if host in (self.host, "localhost"):
            return True
        try:
            address = ipaddress.ip_address(host)
            own = ipaddress.ip_address(self.host)
        except ValueError:
            return not _is_loopback(self.host)
        return address.is_loopback or not own.is_loopback

    def _has_token(self, request: Request) -> bool:
        query = parse_qs(urlsplit(request.path).query)
        return any(secrets.compare_digest(t.encode(), self.token.encode())
                   for t in query.get("token", ()))  # fmt: skip

    def _has_cookie(self, request: Request) -> bool:
        expected = f"{self._cookie}={self.token}".encode()
        cookies = ";".join(request.headers.get_all("Cookie")).split(";")
        return any(secrets.compare_digest(c.strip().encode(), expected) for c in cookies)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def serving_behind(gate: Gate) -> Iterator[None]:
    """Servers that viser starts within the block check each request at the ``gate``.

    viser hands its handler of requests to ``websockets.asyncio.server.serve`` and offers no place
    for another; here the handler is wrapped on its way.
    """
    serve = websocket_server.serve

    def guarded_serve(*arguments: Any, **options: Any) -> Any:
        options["process_request"] = gate.guarded(options.get("process_request"))
        return serve(*arguments, **options)

    websocket_server.serve = guarded_serve
    try:
        yield
    finally:
        websocket_server.serve = serve
