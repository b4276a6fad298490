"""One request to a web server: its address is looked at first, and no more of the answer is read than was asked for."""

import http.client
import io
import re
import socket
import ssl
import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache, partial
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

from pipeline.files.safe_hosts import connect

AGENT = "sod-benchmark"
_TIMEOUT_S = 20.0
_LONGEST_READ_S = 120.0
_PIECE_BYTES = 64 << 10
_QUERY = "%/:@!$&'()*+,;=?~-._[]|"
_IN_NO_HOST = re.compile(r"[\x00-\x20\x7f]")


class RefusedError(Exception):
    """An address is not to be read, or its answer is no image; `reason` is one of `FAILURE_REASONS`."""

    def __init__(self, reason: str, found: str) -> None:
        super().__init__(found)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answers; the body only of a file that is there."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


@dataclass(frozen=True, slots=True)
class Address:
    """A checked address."""

    is_https: bool
    host: str
    port: int
    origin: str
    target: str
    """Path and query, as the request has them."""


def checked(url: str) -> Address:
    """Look at an address.

    Raises: RefusedError: `unsafe_address`.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        target = quote(parts.path or "/", safe="%/:@!$&'()*+,;=~-._") + (
            f"?{quote(parts.query, safe=_QUERY)}" if parts.query else ""
        )
    except ValueError as error:  # whose words may have a password in them
        raise RefusedError("unsafe_address", "its address can't be read: see its host and port") from error
    is_https, host = parts.scheme.lower() == "https", parts.hostname or ""
    rules = {
        f"an address must begin with http:// or https://, not {parts.scheme[:20] + ':'!r}": (
            parts.scheme.lower() not in ("http", "https")
        ),
        "its address has a user or a password, which are not sent; remove them": parts.username is not None,
        "its address has no host": not host,
    }
    for rule, broken in rules.items():
        if broken:
            raise RefusedError("unsafe_address", rule)
    try:
        ascii_host = host.encode("idna").decode()  # in ASCII too, labels can be empty or too long to be asked for
    except UnicodeError as error:
        raise RefusedError("unsafe_address", f"host {host[:100]!r} is no name of a host") from error
    if _IN_NO_HOST.search(ascii_host):
        raise RefusedError("unsafe_address", f"host {host[:100]!r} is no name of a host")
    origin = f"{parts.scheme.lower()}://{f'[{ascii_host}]' if ':' in ascii_host else ascii_host}"
    port = port or (443 if is_https else 80)
    return Address(is_https=is_https, host=ascii_host, port=port, origin=f"{origin}:{port}", target=target)


def ask(parts: Address, most_bytes: int, first: int | None, allowed: Collection[str]) -> Answer:
    """Ask once; hang up when there is more than was asked for.

    Args:   as `web.fetch`.
    Raises: RefusedError: `too_many_bytes`, `unreadable`. UnsafeHostError: its host may not be connected to.
            OSError, HTTPException, ValueError: it can't be reached, or its answer breaks off or is no HTTP.
    """
    deadline = time.monotonic() + _LONGEST_READ_S
    headers = {"User-Agent": AGENT, "Accept": "image/*, */*;q=0.5", "Accept-Encoding": "identity"}
    if first is not None:
        headers["Range"] = f"bytes=0-{first - 1}"
    if parts.is_https:
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(parts.host, parts.port, context=_tls())
    else:
        connection = http.client.HTTPConnection(parts.host, parts.port)
    try:
        connection.sock = connect(parts.host, parts.port, allowed, _TIMEOUT_S)
        if parts.is_https:
            connection.sock = _tls().wrap_socket(connection.sock, server_hostname=parts.host)
        connection.response_class = partial(_response, deadline)  # type: ignore[assignment]
        connection.request("GET", parts.target, headers=headers)
        with connection.getresponse() as response:
            body = b""
            if response.status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
                body = _body(response, most_bytes, first)
            return Answer(response.status, response.headers, body)
    finally:
        connection.close()


def _body(response: http.client.HTTPResponse, most_bytes: int, first: int | None) -> bytes:
    if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("identity", ""):
        raise RefusedError("unreadable", "its server sends it compressed, although asked not to")
    claimed = response.length
    if first is None and claimed is not None and claimed > most_bytes:
        raise RefusedError("too_many_bytes", f"{claimed} bytes; the limit is {most_bytes}")
    wanted = most_bytes + 1 if first is None else first
    pieces: list[bytes] = []
    missing = wanted
    while missing > 0 and (piece := response.read(min(missing, _PIECE_BYTES))):
        pieces.append(piece)
        missing -= len(piece)
    read_bytes = wanted - missing
    if first is None and read_bytes > most_bytes:
        raise RefusedError("too_many_bytes", f"too many bytes; the limit is {most_bytes}")
    if claimed is not None and read_bytes < min(claimed, wanted):
        raise ConnectionError(f"it hung up after {read_bytes} of {claimed} bytes")
    return b"".join(pieces)


class _Timed(io.RawIOBase):
    """What a socket receives until a deadline, however slowly it comes: a limit for each byte bounds no answer."""

    def __init__(self, received: io.RawIOBase, sock: socket.socket, deadline: float) -> None:
        self._received = received
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Receive what is there."""
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError(f"not there after {_LONGEST_READ_S:.0f} s")
        self._sock.settimeout(min(_TIMEOUT_S, left_s))
        return self._received.readinto(buffer)

    def readall(self) -> bytes:
        """Refuse: `http.client` asks for all there is where a chunk says that it has -1 bytes."""
        raise ValueError("a part of its answer has a length below zero")

    def close(self) -> None:
        """Close it, and let go of the socket."""
        self._received.close()
        super().close()


def _response(deadline: float, sock: socket.socket, *arguments: Any, **options: Any) -> http.client.HTTPResponse:
    response = http.client.HTTPResponse(sock, *arguments, **options)
    response.fp = io.BufferedReader(_Timed(response.fp.detach(), sock, deadline))
    return response


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
