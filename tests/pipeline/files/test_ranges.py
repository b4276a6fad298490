"""Parts of files: the same from every store, and never more than was asked for, whatever an HTTP server sends."""

import threading
from http.server import BaseHTTPRequestHandler

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.collection.stores import read_bytes
from pipeline.errors import SampleError
from pipeline.files import urls
from pipeline.files.ranges import read_range
from pipeline.records import Location
from tests.pipeline.files.web_server import serving
from tests.pipeline.make import make_sample

CONTENT = bytes(range(256)) * 40
ENDLESS_BYTES = 3 << 30


class Handler(BaseHTTPRequestHandler):
    """/ranges honours Range, /whole and /endless ignore it, /status/N answers with N."""

    def do_GET(self):
        _, kind, *rest = self.path.split("/")
        if kind == "status":
            self.send_error(int(rest[0]))
        elif kind == "ranges":
            first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
            self.answer(206 if first < len(CONTENT) else 416, CONTENT[first : last + 1])
        elif kind == "whole":
            self.answer(200, CONTENT)
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(ENDLESS_BYTES))
            self.end_headers()
            self.send_until_the_client_hangs_up()

    def do_HEAD(self):
        self.send_error(405)

    def send_until_the_client_hangs_up(self):
        piece = bytes(1 << 16)
        try:
            while self.server.sent_bytes < ENDLESS_BYTES:
                self.wfile.write(piece)
                self.server.sent_bytes += len(piece)
        except OSError:
            pass
        finally:
            self.server.has_ended.set()

    def answer(self, status, content):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    with serving(Handler) as running:
        running.sent_bytes, running.has_ended = 0, threading.Event()
        yield running


def url_of(server, name):
    return f"http://127.0.0.1:{server.server_port}/{name}"


# Properties


@given(st.integers(0, len(CONTENT) + 9), st.integers(0, len(CONTENT) + 9))
@settings(deadline=None, max_examples=40)
def test_a_part_is_the_same_from_every_store(server, tmp_path_factory, start, length):
    local = tmp_path_factory.getbasetemp() / "content"
    local.write_bytes(CONTENT)
    MemoryFileSystem().pipe_file("/content", CONTENT)
    expected = CONTENT[start : start + length]
    assert read_range(LocalFileSystem(), str(local), start, start + length) == expected
    assert read_range(MemoryFileSystem(), "/content", start, start + length) == expected
    assert read_range(*urls.resolve(url_of(server, "ranges")), start, start + length) == expected


@given(st.integers(0, len(CONTENT) + 9))
@settings(deadline=None, max_examples=20)
def test_the_beginning_of_a_file_comes_from_servers_that_send_it_whole(server, length):
    assert read_range(*urls.resolve(url_of(server, "whole")), 0, length) == CONTENT[:length]


# Faults


def test_no_more_than_the_limit_is_read_of_an_endless_answer(server):
    sample = make_sample(location=Location(path=url_of(server, "endless")))
    with pytest.raises(SampleError) as caught:
        read_bytes(sample, max_bytes=1 << 20)
    assert caught.value.reason == "too_many_bytes"
    assert server.has_ended.wait(60), "the connection is closed"
    assert server.sent_bytes < 64 << 20, "what was not read is in the buffers of the system"


def test_a_part_behind_the_beginning_is_not_looked_for_in_a_whole_answer(server):
    with pytest.raises(OSError, match="whole files only"):
        read_range(*urls.resolve(url_of(server, "whole")), 5, 9)


def test_a_missing_file_is_missing_and_other_answers_are_faults_of_the_machine(server):
    fs, path = urls.resolve(url_of(server, "status/404"))
    with pytest.raises(FileNotFoundError):
        read_range(fs, path, 0, 9)
    for status, kind in ((403, PermissionError), (401, PermissionError), (500, OSError), (503, OSError)):
        fs, path = urls.resolve(url_of(server, f"status/{status}"))
        with pytest.raises(kind, match=str(status)):
            read_range(fs, path, 0, 9)
