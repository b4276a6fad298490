"""Read files of many web servers, politely: few connections at a time, pauses where a server asks for them, its
robots.txt and its opt-outs obeyed, and no server of this machine's own networks (`safe_hosts.py`).

Every process has its own bounds and its own memory of which hosts are down. Messages name hosts and never whole
addresses, which may have signatures.
"""

import errno
import http.client
import socket
import ssl
import string
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import quote, urljoin
from urllib.robotparser import RobotFileParser

from pipeline.errors import SampleError, StorageUnavailableError
from pipeline.files.of_process import OfProcess
from pipeline.files.safe_hosts import UnsafeHostError, is_allowed
from pipeline.files.web_request import AGENT, Address, Answer, RefusedError, ask, checked

PER_HOST, IN_ALL = 4, 32
"""Connections at a time, per process."""
_PAUSES_S = (1.0, 3.0, 9.0, 0.0)
"""After each try."""
LONGEST_WAIT_S = 180.0
"""For one image, in all. A replica that finishes none for half an hour is taken for stalled."""
_DOWN_AFTER, _DOWN_S = 3, 300.0
"""Failures in a row after which a host is left alone, and for how long."""
_MOST_REDIRECTS = 5
_MOST_ROBOTS_BYTES = 500 << 10
_REDIRECTS = (301, 302, 303, 307, 308)
_TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_GONE = (404, 410)
_OPT_OUTS = frozenset({"noai", "noimageai"})
_NO_NETWORK = (errno.ENETUNREACH, errno.ENETDOWN)


def fetch(url: str, label: str, *, most_bytes: int, first: int | None, allowed: Collection[str]) -> bytes:
    """Read a file at an http or https address, following redirects.

    Args:   label: names the image in messages. most_bytes: larger files are refused.
            first: read only so many bytes from its beginning, also from servers that send whole files.
            allowed: hosts that are read wherever they are and whatever their robots.txt says.
    Raises: SampleError: `missing`, `too_many_bytes`, `unsafe_address`, `opted_out`; `unreadable`: the server refuses,
                         or could not be reached in several tries.
            OSError: this machine has no network.
    """
    try:
        return _OF_PROCESS.here.read(url, most_bytes, first, allowed)
    except RefusedError as refused:
        raise SampleError(refused.reason, f"{label}: {refused}") from refused


def require_network(hosts: Collection[str]) -> None:
    """Ask for the addresses of some hosts, before many are asked for images.

    Raises: StorageUnavailableError: no name server answers.
    """
    for host in hosts:
        try:
            socket.getaddrinfo(host, None)
        except (socket.gaierror, UnicodeError) as error:
            if _is_no_network(error):
                continue
        return
    if hosts:
        raise StorageUnavailableError(
            f"no name server tells where {', '.join(hosts)} are. Check this machine's network, then run the same "
            "command again"
        )


@dataclass(slots=True)
class _Host:
    """What a process knows of one server."""

    name: str
    slots: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(PER_HOST))
    rules: threading.Lock = field(default_factory=threading.Lock)
    robots: RobotFileParser | None = None
    not_before: float = 0.0
    failures: int = 0
    down_until: float = 0.0

    def wait(self, until: float) -> bool:
        """Wait for as long as the server has asked for; False, and no waiting, if that is longer than until then."""
        while (pause := self.not_before - time.monotonic()) > 0:
            if self.not_before > until:
                return False
            time.sleep(pause)
        return True

    def failed(self) -> None:
        self.failures += 1
        if self.failures >= _DOWN_AFTER:
            self.down_until = time.monotonic() + _DOWN_S


class _Web:
    """The servers that a process has asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hosts: dict[str, _Host] = {}
        self._all = threading.BoundedSemaphore(IN_ALL)
        self._reached_at = -_DOWN_S

    def read(self, url: str, most_bytes: int, first: int | None, allowed: Collection[str]) -> bytes:
        answer = self._followed(url, most_bytes, first, allowed, obey=True)
        if answer.status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            return answer.body
        if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return b""
        reason = "missing" if answer.status in _GONE else "unreadable"
        raise RefusedError(reason, f"its server answers with status {answer.status}")

    def _followed(
        self, url: str, most_bytes: int, first: int | None, allowed: Collection[str], *, obey: bool
    ) -> Answer:
        for _ in range(_MOST_REDIRECTS + 1):
            parts = checked(url)
            with self._lock:
                host = self._hosts.setdefault(parts.origin, _Host(name=parts.host))
            is_free = is_allowed(parts.host, allowed)
            if obey and not is_free:
                self._obey_robots(host, parts, allowed)
            answer = self._answer(host, parts, most_bytes, first, allowed)
            if answer.status not in _REDIRECTS or not answer.headers.get("Location"):
                if obey and not is_free:
                    _obey_opt_out(answer)
                return answer
            url = _redirected(url, answer.headers["Location"])
        raise RefusedError("unreadable", f"more than {_MOST_REDIRECTS} redirects")

    def _obey_robots(self, host: _Host, parts: Address, allowed: Collection[str]) -> None:
        with host.rules:
            if host.robots is None:
                answer = self._followed(
                    f"{parts.origin}/robots.txt", _MOST_ROBOTS_BYTES, _MOST_ROBOTS_BYTES, allowed, obey=False
                )
                is_there = answer.status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT)
                host.robots = _rules(answer.body.decode("utf-8", "replace").splitlines() if is_there else [])
        # The parser wants an address, and looks at its path only: alone, a path such as //x/a would be one on a host x.
        if not host.robots.can_fetch(AGENT, f"http://host{parts.target}"):
            raise RefusedError("opted_out", f"robots.txt of {parts.host} asks programs like this one to stay away")

    def _answer(
        self, host: _Host, parts: Address, most_bytes: int, first: int | None, allowed: Collection[str]
    ) -> Answer:
        """Ask until there is an answer that counts."""
        failure: Exception | None
        if time.monotonic() < host.down_until:
            raise RefusedError("unreadable", f"{host.name} has not answered several times; --retry-failed asks again")
        until = time.monotonic() + LONGEST_WAIT_S
        found, failure = f"{host.name} asks to be left alone for a while", None
        for pause_s in _PAUSES_S:
            if not host.wait(until):
                break
            try:
                with host.slots, self._all:
                    answer = ask(parts, most_bytes, first, allowed)
            except UnsafeHostError as error:
                raise RefusedError("unsafe_address", str(error)) from error
            except (OSError, http.client.HTTPException, ValueError) as error:
                found, failure = f"{host.name} can't be reached ({type(error).__name__}: {str(error)[:100]})", error
                if _is_final(error):
                    break
                time.sleep(pause_s)
                continue
            self._reached_at, failure = time.monotonic(), None
            if answer.status not in _TRY_AGAIN:
                host.failures = 0
                return answer
            asked_s = _asked_pause_s(answer.headers.get("Retry-After", ""))
            asks = f" and asks to wait for {asked_s:.0f} s" if asked_s else ""
            found = f"its server answers with status {answer.status}{asks}, again and again"
            host.not_before = time.monotonic() + (asked_s or pause_s)
        if failure is not None and _is_no_network(failure) and time.monotonic() - self._reached_at > _DOWN_S:
            raise OSError(
                f"no server can be reached, {host.name} for example: {failure}; check this machine's network"
            ) from failure
        host.failed()
        raise RefusedError("unreadable", found)


def _redirected(url: str, location: str) -> str:
    """The address that a redirect leads to; bytes that it should have escaped are escaped as they are."""
    try:
        # http.client takes headers for ISO-8859-1, whatever they are.
        return urljoin(url, quote(location.strip(), safe=string.punctuation, encoding="iso-8859-1"))
    except ValueError as error:
        raise RefusedError("unsafe_address", "its server redirects to an address that can't be read") from error


def _rules(lines: Sequence[str]) -> RobotFileParser:
    """The rules of a robots.txt, without the lines that can't be read."""
    rules = RobotFileParser()
    rules.parse([line for line in lines if _is_readable(line)])
    return rules


def _is_readable(line: str) -> bool:
    """Can the parser read a line of a robots.txt? It raises ValueError for `Disallow: //[` or `Crawl-delay: ²`."""
    try:
        RobotFileParser().parse(["User-agent: *", line])
    except ValueError:
        return False
    return True


def _obey_opt_out(answer: Answer) -> None:
    """Obey the header X-Robots-Tag: noai or noimageai, for everybody or for this program."""
    for said in answer.headers.get_all("X-Robots-Tag", []):
        whom, _, directives = said.lower().rpartition(":")
        if whom.strip() in ("", "*", AGENT):
            found = _OPT_OUTS.intersection(word.strip() for word in directives.split(","))
            if found:
                raise RefusedError("opted_out", f"its server says X-Robots-Tag: {min(found)}")


def _asked_pause_s(said: str) -> float:
    """Seconds that a header Retry-After asks for, which has a number or a date; 0 if it asks for nothing."""
    if said.strip().isdecimal():
        return float(said.strip()[:9])
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0


def _is_final(error: Exception) -> bool:
    """Would asking again be in vain?"""
    is_unknown = isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME
    return is_unknown or isinstance(error, ssl.SSLCertVerificationError)


def _is_no_network(error: Exception) -> bool:
    is_unanswered = isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
    return is_unanswered or (isinstance(error, OSError) and error.errno in _NO_NETWORK)


_OF_PROCESS = OfProcess(_Web)
