"""A small web server whose answers a test writes down."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Site:
    """`pages` maps a path to its answers, one after the other; the last one stays."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"
        self.pages = {}
        self.requests = []
        self.lock = threading.Lock()

    def answer(self, path):
        with self.lock:
            answers = self.pages.get(path, [(404, {}, b"")])
            return answers.pop(0) if len(answers) > 1 else answers[0]


@contextmanager
def web_server():
    """Serve a site on loopback. A page is (status, headers, body); bytes alone are a file that knows ranges."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            with site.lock:
                site.requests.append((self.path, dict(self.headers)))
            try:
                self._send(site.answer(self.path))
            except ConnectionError:
                self.close_connection = True

        def _send(self, page):
            if callable(page):
                page = page(self)
                if page is None:
                    self.close_connection = True
                    return
            if isinstance(page, bytes):
                asked = self.headers.get("Range")
                status, page = (206, page[: int(asked.rpartition("-")[2]) + 1]) if asked else (200, page)
                page = (status, {}, page)
            status, headers, body = page
            self.send_response(status)
            for name, value in ({"Content-Length": len(body)} | headers).items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Log nothing."""

    with serving(Handler) as server:
        site = Site(server.server_port)
        yield site


@contextmanager
def serving(handler):
    """Serve on loopback with a handler of requests; gives the server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
