"""The gate of the explorer's server: who may ask, under which name.

A page of another site can send requests to a server on this machine, or point a name of its own at
it (DNS rebinding). So the server answers to its own names alone, and to WebSockets of its own page.
On an address that other machines reach, it also wants a token.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Any, Send], Awaitable[None]]

LOCAL = ("127.0.0.1", "localhost", "::1")
"""Names of this machine to itself."""

COOKIE = "unweave-token"

HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]
"""Headers of every answer, beside the policy."""

POLICY = "default-src 'self'; img-src 'self' blob: data:; base-uri 'none'; frame-ancestors "
"""Content of the page's own; the names of pages that may hold it in a frame follow."""

FRAMES = "http://localhost:* http://127.0.0.1:* vscode-webview: vscode-file:"
"""Pages on this machine: notebooks of Jupyter, marimo and VS Code."""


class Gate:
    """An app behind the gate.

    Args:
        app: The app.
        host: The address that the server is bound to.
        token: The word that must be known; None where only this machine can ask.
        is_framed: Whether pages on this machine may hold the page in a frame.
    """

    def __init__(
        self, app: App, host: str, token: str | None = None, *, is_framed: bool = False
    ) -> None:
        self.app, self.host, self.token = app, host, token
        policy = POLICY + (FRAMES if is_framed else "'none'")
        self.headers = [*HEADERS, (b"content-security-policy", policy.encode())]

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        reason = self._refusal(scope)
        if reason is None:
            await self.app(scope, receive, self._guarded(scope, send))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": reason})
        else:
            head = [(b"content-type", b"text/plain; charset=utf-8"), *self.headers]
            await send({"type": "http.response.start", "status": 403, "headers": head})
            await send({"type": "http.response.body", "body": f"{reason}\n".encode()})

    def _refusal(self, scope: Scope) -> str | None:
        """Return why a request is refused, None if it is not."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        name = _hostname(host)
        if self.token is None and name not in (*LOCAL, self.host):
            return f"this server answers to {self.host} and localhost, not to {name!r}"
        origin = headers.get(b"origin")
        if scope["type"] == "websocket" and origin not in (f"http://{host}", f"https://{host}"):
            return "only the explorer's own page may ask"
        if self.token is not None and not self._knows(scope, headers):
            return "the address lacks the token that `unweave explore` printed"
        return None

    def _knows(self, scope: Scope, headers: dict[bytes, str]) -> bool:
        """Return true if a request has the token, in its address or its cookie."""
        assert self.token is not None
        query = parse_qs(scope["query_string"].decode("latin-1"))
        given = query.get("token", [""])[0] or _cookie(headers.get(b"cookie", ""))
        return secrets.compare_digest(given.encode(), self.token.encode())

    def _guarded(self, scope: Scope, send: Send) -> Send:
        """Return `send` with the headers of every answer."""

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                more = list(self.headers)
                if self.token is not None:
                    kept = f"{COOKIE}={self.token}; HttpOnly; SameSite=Strict; Path=/"
                    more.append((b"set-cookie", kept.encode()))
                message["headers"] = [*message.get("headers", []), *more]
            await send(message)

        return with_headers


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # of brackets that no address has
        return ""


def _cookie(text: str) -> str:
    try:
        found = SimpleCookie(text).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""
