"""Lets nobody but the page itself drive the server: foreign hosts and origins, and what is too large, are refused.

The server listens to this machine alone, but every page that a browser shows can send requests to this machine. A page
of another origin is told by its Origin; a name that was made to lead here (DNS rebinding) by the Host.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

__all__ = ["RequestGuard", "TooLargeError", "refusal"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class TooLargeError(Exception):
    """A request brought more bytes than it may."""


def refusal(headers: Mapping[str, str], port: int) -> str:
    """Say why a request is refused; empty where it is not.

    Args:
        headers: of the request, with names in small letters.
        port: that the server listens to.

    Example:
        >>> refusal({"host": "127.0.0.1:8080", "origin": "http://localhost:8080"}, 8080)
        ''
        >>> refusal({"host": "evil.example:8080"}, 8080)
        "The host 'evil.example:8080' is not this server's: open http://127.0.0.1:8080."
    """
    hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
    if port == 80:
        hosts |= {"127.0.0.1", "localhost"}
    host, origin = headers.get("host", ""), headers.get("origin")
    if host.lower() not in hosts:
        return f"The host '{host}' is not this server's: open http://127.0.0.1:{port}."
    if origin is not None and origin.lower() not in {f"http://{name}" for name in hosts}:
        return f"The origin '{origin}' may not ask this server: open http://127.0.0.1:{port}."
    site, mode = headers.get("sec-fetch-site", "none"), headers.get("sec-fetch-mode", "navigate")
    if site not in ("none", "same-origin") and mode != "navigate":
        return f"Another page may not ask this server: open http://127.0.0.1:{port}."
    return ""


class RequestGuard:
    """An ASGI application in front of another one.

    Args:
        app: what answers the requests that are let through.
        port: that the server listens to.
        most_bytes: most that a request may bring.
    """

    def __init__(self, app: Application, port: int, most_bytes: int) -> None:
        self.app, self.port, self.most_bytes = app, port, most_bytes

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request or a websocket."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = _headers(scope["headers"])
        if reason := refusal(headers, self.port):
            await _refuse(scope["type"], 403, reason, send)
            return
        if scope["type"] == "websocket":
            await self.app(scope, receive, send)
            return
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.most_bytes:
            await _refuse("http", 413, _too_large(self.most_bytes), send)
            return
        await self._answer(scope, receive, send)

    async def _answer(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        received, started = 0, False

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.most_bytes:  # whatever length was announced
                raise TooLargeError
            return message

        async def sent(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                known = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in _HEADERS if pair[0] not in known)]
            await send(message)

        try:
            await self.app(scope, counted, sent)
        except TooLargeError:
            if not started:
                await _refuse("http", 413, _too_large(self.most_bytes), send)


def _headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Names and values; of a name that is there twice both, which then match nothing."""
    found: dict[str, str] = {}
    for name, value in pairs:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def _too_large(most: int) -> str:
    return (
        f"This is larger than {most / 2**20:,.0f} MiB, the most that can be uploaded: give a folder by --data instead."
    )


async def _refuse(kind: str, status: int, reason: str, send: Send) -> None:
    if kind == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": reason[:100]})
        return
    body = f"{reason}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode()),
               (b"connection", b"close")]  # fmt: skip
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
