"""A TCP proxy before a server, whose cable can be pulled: connections break, and new ones are refused."""

import socket
import struct
import threading
from contextlib import contextmanager, suppress


class CutProxy:
    """Passes bytes on to a port of this machine while it `is_whole`."""

    def __init__(self, to_port):
        self._to = ("127.0.0.1", to_port)
        self._lock = threading.Lock()
        self._open = set()
        self._listening = _listen(0)
        self.port = self._listening.getsockname()[1]
        self.is_whole = True
        self._serve()

    def cut(self):
        """Break all connections, and refuse new ones."""
        with self._lock:
            if not self.is_whole:
                return
            self.is_whole = False
            self._listening.close()
            for one in self._open:
                _reset(one)
            self._open.clear()

    def mend(self):
        """Be as before."""
        with self._lock:
            if self.is_whole:
                return
            self._listening, self.is_whole = _listen(self.port), True
        self._serve()

    def _serve(self):
        listening = self._listening
        listening.settimeout(0.1)  # closing a socket does not wake who waits for it

        def serve():
            while self._listening is listening and self.is_whole:
                with suppress(TimeoutError, OSError):
                    self._connect(listening.accept()[0])

        threading.Thread(target=serve, daemon=True).start()

    def _connect(self, client):
        server = socket.create_connection(self._to)
        with self._lock:
            if not self.is_whole:
                _reset(client)
                _reset(server)
                return
            self._open |= {client, server}
        for source, target in ((client, server), (server, client)):
            threading.Thread(target=_pass_on, args=(source, target), daemon=True).start()


def _listen(port):
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen(50)
    return listening


def _pass_on(source, target):
    with suppress(OSError):
        source.settimeout(None)
        while piece := source.recv(1 << 16):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _reset(one):
    with suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.shutdown(socket.SHUT_RDWR)
    one.close()


@contextmanager
def cut_proxy(to_port):
    """A proxy for the block."""
    proxy = CutProxy(to_port)
    try:
        yield proxy
    finally:
        proxy.cut()
