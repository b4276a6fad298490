"""A local S3 server (moto) that throttles, fails and hangs up on request."""

import itertools
import socket
import threading
from collections import deque
from contextlib import contextmanager, suppress

from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

_numbers = itertools.count(1)
_ERROR = (
    '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{code}, told so</Message>'
    "<RequestId>1</RequestId></Error>"
)
FAULTS = {
    "throttled": ("503 Slow Down", "SlowDown"),
    "failed": ("500 Internal Server Error", "InternalError"),
}
"""Fault → status and code of the response. There are two more: `reset` closes the connection without a response;
`answer lost` carries out the request, then closes the connection."""


class FaultyS3:
    """The server's application. `coming` has the faults of the next requests, None for a request without one."""

    def __init__(self):
        self._app = create_backend_app("s3")  # asked directly: the dispatcher lists all of AWS for each request
        self._lock = threading.Lock()
        self.bucket = f"bench-{next(_numbers)}"  # moto keeps its state per process, not per server
        self.coming = deque()
        self.requests = []
        self.fault_of = None
        """If set, gives the fault of a request by its number, instead of `coming`."""

    def __call__(self, environ, start_response):
        with self._lock:
            self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
            if self.fault_of is not None:
                fault = self.fault_of(len(self.requests))
            else:
                fault = self.coming.popleft() if self.coming else None
        if fault in FAULTS:
            status, code = FAULTS[fault]
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response(status, [("Content-Type", "application/xml")])
            return [_ERROR.format(code=code).encode()]
        if fault == "answer lost":
            b"".join(self._app(environ, lambda *_: None))
        if fault is not None:
            with suppress(OSError):  # a proxy may have closed it
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError  # to the server, a client that went away
        return self._app(environ, start_response)


class _Quiet(MotoRequestHandler):
    def log_request(self, *_arguments):
        """Log nothing, instead of thousands of lines."""


@contextmanager
def s3_server(patch):
    """Start the server with an empty bucket, for every client in this process and its children."""
    app = FaultyS3()
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    app.port = server.server_port
    patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        patch.setenv(name, "testing")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        patch.delenv(name, raising=False)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir(app.bucket)
    try:
        yield app
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        s3fs.S3FileSystem.clear_instance_cache()
