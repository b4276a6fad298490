"""Servers that can't be reached: what refused is said, in words, whatever the client library makes of it."""

import contextlib
import http.server
import itertools
import socket
import ssl
import threading

import pytest
from fsspec.implementations.http import HTTPFileSystem
from fsspec.implementations.local import LocalFileSystem

from pipeline.collection.coco import read_annotations
from pipeline.collection.config import InputConfig
from pipeline.collection.gather import read_collection
from pipeline.errors import (
    AnnotationError,
    CollectionError,
    ConfigError,
    SampleError,
    StorageRefusedError,
    StorageUnavailableError,
)
from pipeline.files.connections import connected, failure_in_words
from pipeline.files.located import explained
from pipeline.files.trials import before_work
from pipeline.release.changes import read_earlier
from pipeline.release.check.release_json import read_release_json
from tests.pipeline.make import open_images


@pytest.fixture
def closed_port():
    """A port on which nothing listens."""
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]  # bound, but not listening


@pytest.fixture
def server():
    """A function that starts a web server which answers everything with a status, and returns its address."""
    started = []

    def start(status):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_error(status)

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        one = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=one.serve_forever, daemon=True).start()
        started.append(one)
        return f"http://127.0.0.1:{one.server_port}"

    yield start
    for one in started:
        one.shutdown()
        one.server_close()


def raised(*causes):
    """The first error, raised from the second, and so on."""
    for error, cause in itertools.pairwise(causes):
        error.__cause__ = cause
    return causes[0]


def answer(**attributes):
    """An error of a client library's, with what it has of the server's answer."""
    error = Exception("The server said no")
    vars(error).update(attributes)
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(111, "Connect call failed"), "connection refused"),
        (raised(FileNotFoundError("http://x"), OSError(5, "a b"), ConnectionRefusedError(111, "x")), "connection ref"),
        (socket.gaierror(-2, "Name or service not known"), "host's name is not known"),
        (ssl.SSLError(1, "wrong version number"), "no encrypted connection"),
        (TimeoutError("timed out"), "does not answer"),
        (ConnectionResetError(104, "reset by peer"), "the connection broke"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_failure_is_found_in_what_an_error_was_raised_from(error, words):
    assert words in failure_in_words(error)
    with (
        pytest.raises(StorageUnavailableError, match=f"^images 'x': .*{words}"),
        connected("images 'x'", HTTPFileSystem()),
    ):
        raise error


@pytest.mark.parametrize("error", [FileNotFoundError("x"), ValueError("x"), OSError(5, "x")])
def test_other_errors_pass_as_they_are(error):
    assert failure_in_words(error) == ""
    with pytest.raises(type(error)) as caught, connected("x", HTTPFileSystem()):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Access Denied"), r"access denied \(\[Errno 13\] Access Denied\)\. Check credentials"),
        (raised(OSError(5, "a b"), answer(status=401)), "the server answers 401, access denied"),
        (answer(response=answer(status_code=403)), "the server answers 403, access denied"),
        (answer(code=407), "the server answers 407, access denied"),
        (answer(response={"ResponseMetadata": {"HTTPStatusCode": 401}}), "the server answers 401, access denied"),
        (OSError("Forbidden: b/o\nno"), r"access denied \(Forbidden: b/o"),
        (type("NoCredentialsError", (Exception,), {})("Unable to locate"), r"no credentials were found \(Unable to"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_server_that_lets_nobody_in_has_answered(error, words):
    with pytest.raises(StorageRefusedError, match=f"^x: {words}"), connected("x", HTTPFileSystem()):
        raise error
    with pytest.raises(StorageRefusedError, match=f"^http://x/y: {words}"), explained(HTTPFileSystem(), "http://x/y"):
        raise error
    with (
        pytest.raises(ConfigError, match=f"^--model x: {words}"),
        before_work("--model"),
        connected("x", HTTPFileSystem()),
    ):
        raise error


@pytest.mark.parametrize(
    "error",
    [
        *(answer(status=404), answer(status=503), TimeoutError(), answer(code="AccessDenied")),
        raised(TimeoutError(), PermissionError(13, "Access Denied")),  # what failed last decides
    ],
)
def test_a_server_that_does_not_respond_is_no_wrong_request(error):
    with pytest.raises(StorageUnavailableError) as caught, before_work(), explained(HTTPFileSystem(), "http://x/y"):
        raise error
    assert not isinstance(caught.value, StorageRefusedError)


def test_errors_of_the_local_disk_and_our_own_pass_as_they_are():
    for error in (ConnectionRefusedError(111, "x"), TimeoutError(110, "x")):
        with pytest.raises(type(error)), connected("x", LocalFileSystem()):
            raise error
    with pytest.raises(SampleError), connected("x", HTTPFileSystem()):
        raise raised(SampleError("missing", "x"), ConnectionRefusedError(111, "x"))


def test_an_error_that_was_raised_from_itself_ends_the_search():
    error, other = FileNotFoundError("x"), ValueError("y")
    error.__cause__, other.__cause__ = other, error
    assert failure_in_words(error) == ""


# With the real clients


def test_a_web_server_that_refuses_is_said_to_refuse(closed_port):
    url = f"http://127.0.0.1:{closed_port}/x.zip"
    with pytest.raises(StorageUnavailableError, match=r"images 'http.*': connection refused \(.*127\.0\.0\.1:\d+"):
        open_images(url, ["a.jpg"])
    with pytest.raises(StorageUnavailableError, match=r"annotations 'http.*': connection refused \("):
        read_annotations(url)


@pytest.mark.parametrize("read", [read_release_json, read_earlier])
def test_a_release_behind_a_server_that_refuses_is_not_called_missing(closed_port, read):
    with pytest.raises(StorageUnavailableError, match=r"^http.*release.json: connection refused \("):
        read(f"http://127.0.0.1:{closed_port}/demo-1.0.0")


def test_a_release_that_a_server_does_not_have_is_called_missing(server):
    with pytest.raises(CollectionError, match="does not exist"):
        read_release_json(f"{server(404)}/demo-1.0.0")


def test_a_store_that_refuses_is_said_to_refuse(closed_port, monkeypatch):
    pytest.importorskip("s3fs")
    import botocore.exceptions

    # The client itself retries for 16 seconds before it raises this, from these.
    address = f"http://127.0.0.1:{closed_port}/bucket/x.zip"
    refused = ConnectionRefusedError(111, f"Connect call failed ('127.0.0.1', {closed_port})")
    error = raised(botocore.exceptions.EndpointConnectionError(endpoint_url=address), refused)
    assert f'connection refused (Could not connect to the endpoint URL: "{address}")' in failure_in_words(error)
    assert "no credentials were found" in failure_in_words(botocore.exceptions.NoCredentialsError())


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (403, StorageRefusedError, "the server answers 403, access denied"),
        (503, StorageUnavailableError, "the server answers 503"),
        (404, CollectionError, "give an existing place that can be read"),
    ],
)
def test_the_answer_of_a_web_server_is_said(server, status, error, words):
    with pytest.raises(error, match=words):
        open_images(f"{server(status)}/x.zip", ["a.jpg"])


@pytest.mark.parametrize("status", [401, 403])
def test_a_collection_behind_a_server_that_lets_nobody_in_is_a_wrong_request(server, status):
    there = server(status)
    with pytest.raises(ConfigError, match=f"images 'http.*': the server answers {status}, access denied"):
        read_collection(InputConfig(images=f"{there}/x.zip"))
    with pytest.raises(ConfigError, match=f"annotations 'http.*': the server answers {status}, access denied"):
        read_collection(InputConfig(images=f"{there}/x.zip", annotations=f"{there}/x.json"))


def test_annotations_that_are_not_there_are_no_failure_of_the_server(server):
    with pytest.raises(AnnotationError, match="give a COCO annotation JSON"):
        read_annotations(f"{server(404)}/x.json")
