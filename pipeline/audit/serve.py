"""Serve the page of an audit on this machine, and save each answer before it is confirmed.

Loopback only, and nothing for other sites: a page of another origin, or a name that somebody has pointed at 127.0.0.1,
gets no answer. Only the page's own files are read; `answers/` is not among them.
"""

import fcntl
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from pipeline.audit.answers import Answer, add_answers, parse_answer, read_answers
from pipeline.audit.folder import Audit, open_audit
from pipeline.audit.page.bundle import FOLDERS, require_page
from pipeline.audit.plan import ADJUDICATOR, PLAN
from pipeline.errors import ConfigError, PipelineError
from pipeline.progress.stages import say

MOST_BODY_BYTES = 16 << 20
"""The largest answer: a mask of a photo of 50 megapixels takes 1 MB, if it is not noise."""
_HOSTS = ("127.0.0.1", "localhost")
_NAME = re.compile(r"(vendor/)?[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
    "bmp": "image/bmp",
}
_IDLE_S = 30.0


def serve_audit(path: Path, port: int) -> None:
    """Serve an audit until somebody presses Ctrl-C.

    Args:   port: on the loopback interface; 0 takes any free one.
    Raises: CollectionError: there is no audit, or its release differs. ConfigError: the port is taken, or another
            server has this audit.
    """
    with audit_server(path, port) as server:
        try:
            for rater in server.audit.plan.raters:
                say(f"{rater}: {server.address}#{rater}")
            if (path / "tasks" / f"{ADJUDICATOR}.js").is_file():
                say(f"{ADJUDICATOR}: {server.address}#{ADJUDICATOR}")
            say("Answers are saved as they are given. Press Ctrl-C to stop")
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            say(f"Stopped. The answers are in {path / 'answers'}")


@contextmanager
def audit_server(path: Path, port: int) -> "Iterator[AuditServer]":
    """A server of an audit that does not answer yet; see `serve_audit`."""
    audit = open_audit(path)
    require_page(path)
    # The plan is locked, not changed: whatever happens to this process, the lock goes with it.
    with (path / PLAN).open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"{path} is being served by another process: use its address, or stop it") from error
        try:
            server = AuditServer(audit, port)
        except OSError as error:
            raise ConfigError(f"port {port} can't be used ({error.strerror}): give another --port, or 0") from error
        with server:
            yield server


class AuditServer(ThreadingHTTPServer):
    """Serves one audit to any number of raters at once."""

    daemon_threads = True

    def __init__(self, audit: Audit, port: int) -> None:
        self.audit = audit
        self._adding = threading.Lock()
        given = read_answers(audit.path, audit.asked).values()
        self._known = {answer.encode() for answers in given for answer in answers}
        super().__init__((_HOSTS[0], port), _Handler)

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{_HOSTS[0]}:{self.server_port}/"

    @property
    def hosts(self) -> frozenset[str]:
        """What a browser that was sent here says it asks."""
        return frozenset(f"{host}:{self.server_port}" for host in _HOSTS)

    def save(self, answer: Answer) -> None:
        """Add an answer, unless it is there: a page that got no reply sends it again."""
        with self._adding:
            if (line := answer.encode()) not in self._known:
                add_answers(self.audit.path, answer.rater, [answer])
                self._known.add(line)


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: AuditServer
    timeout = _IDLE_S
    server_version, sys_version = "audit", ""

    def do_GET(self) -> None:
        """Send a file of the page, what is served, or a rater's own answers."""
        if not self._is_from_here():
            return
        url = urlsplit(self.path)
        if url.path == "/audit.json":
            self._send_json({"plan": self.server.audit.plan.digest})
        elif url.path == "/answers":
            self._send_answers(parse_qs(url.query).get("rater", [""])[0])
        elif (file := _file(self.server.audit.path, unquote(url.path))) is None:
            self._refuse(HTTPStatus.NOT_FOUND, "The page has no such file")
        else:
            self._send(HTTPStatus.OK, file.read_bytes(), _TYPES[file.suffix.removeprefix(".")])

    def do_POST(self) -> None:
        """Save an answer."""
        if not self._is_from_here():
            return
        length = self.headers.get("Content-Length", "")
        if urlsplit(self.path).path != "/answers":
            self._refuse(HTTPStatus.NOT_FOUND, "Answers go to /answers")
        elif self.headers.get_content_type() != "application/json":
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "An answer is application/json")
        elif not (length.isascii() and length.isdigit()):
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "Say how long the answer is: Content-Length is missing")
        elif len(length) > len(str(MOST_BODY_BYTES)) or int(length) > MOST_BODY_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"An answer has at most {MOST_BODY_BYTES} bytes")
        else:
            self._save(self.rfile.read(int(length)))

    def _save(self, body: bytes) -> None:
        try:
            answer = parse_answer(body, self.server.audit.asked)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, f"This is no answer of this audit: {error}")
            return
        try:
            self.server.save(answer)
        except OSError as error:
            self._refuse(HTTPStatus.INSUFFICIENT_STORAGE, f"The answer could not be saved: {error.strerror}")
            return
        self._send_json({"saved": answer.key})

    def _send_answers(self, rater: str) -> None:
        audit = self.server.audit
        if rater not in audit.asked.tasks:
            self._refuse(HTTPStatus.NOT_FOUND, "There is no such rater")
            return
        try:
            given = read_answers(audit.path, audit.asked)[rater]
        except PipelineError as error:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, f"The saved answers can't be read: {error}")
            return
        self._send(HTTPStatus.OK, b"".join(answer.encode() for answer in given), "application/jsonl")

    def _is_from_here(self) -> bool:
        """Refuse names that others have pointed at this machine, and pages of other sites."""
        hosts, origin = self.server.hosts, self.headers.get("Origin")
        is_ours = self.headers.get("Host", "") in hosts and (origin is None or origin.removeprefix("http://") in hosts)
        is_ours &= self.path.startswith(
            "/"
        )  # a proxy is asked for whole addresses, which can be of other hosts, or none
        is_link = self.command == "GET" and self.headers.get("Sec-Fetch-Mode") == "navigate"  # in a mail, for example
        if not is_ours or not (is_link or self.headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none")):
            self._refuse(HTTPStatus.FORBIDDEN, f"Only the page at {self.server.address} is answered")
            return False
        return True

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self._send(status, f"{why}.\n".encode(), "text/plain; charset=utf-8")

    def _send_json(self, value: object) -> None:
        self._send(HTTPStatus.OK, json.dumps(value).encode(), "application/json")

    def _send(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Say nothing: a line per image would hide what matters."""


def _file(audit: Path, name: str) -> Path | None:
    """The file of the page that an address names; None if it is none of the page's."""
    name = name.removeprefix("/") or "index.html"
    folder, _, rest = name.partition("/")
    if name != "index.html" and not (folder in FOLDERS and _NAME.fullmatch(rest)):
        return None
    file = audit / name
    is_itself = file.resolve() == audit.resolve() / name  # no link leads elsewhere
    return file if is_itself and file.is_file() and file.suffix.removeprefix(".") in _TYPES else None
