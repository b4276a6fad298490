"""Properties of reading from web servers: whatever they and a table's addresses say, it costs one image at most."""

import contextlib
import socket

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.errors import SampleError
from pipeline.files import safe_hosts, web
from pipeline.files.web_request import RefusedError, checked
from tests.pipeline.files.web_server import web_server

IMAGE = bytes(range(256)) * 40
ODD = st.text(st.sampled_from("/:[]@?#%.;=\\~- \t\0a1²é℀日\ud800"), max_size=12) | st.text(max_size=20)
ADDRESS = st.builds(
    str.__add__,
    st.sampled_from(
        ["", "/", "//", "http://", "https://", "http://a.example", "http://a.example:", "http://a.example/"]
    ),
    ODD,
)
RULE = st.builds(
    "{}{}{}".format,
    st.sampled_from(["User-agent: ", "Disallow: ", "Allow: ", "Crawl-delay: ", "Request-rate: ", "Sitemap: ", ""]),
    st.sampled_from(["", "*", "/", "//", "1/"]),
    ODD | st.just("9" * 5000),
)


@pytest.fixture(scope="module")
def anywhere():
    """Every host is this server, but those that no name server could be asked for."""
    known = socket.getaddrinfo

    def connect(_, timeout_s):
        connected = socket.socket()
        connected.settimeout(timeout_s)
        connected.connect(("127.0.0.1", port))
        return connected

    def resolve(host, *_, **__):
        with contextlib.suppress(socket.gaierror):
            known(host, None, flags=socket.AI_NUMERICHOST)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    with web_server() as server, pytest.MonkeyPatch.context() as patch:
        port = int(server.url.rpartition(":")[2])
        patch.setattr(socket, "getaddrinfo", resolve)
        patch.setattr(socket, "create_connection", connect)
        patch.setattr(safe_hosts, "is_public", lambda _: True)
        patch.setattr(web, "_PAUSES_S", (0.0, 0.0))
        yield server


def file_or_failure(server, url, **pages):
    """What reading gives, the file or the reason of the failure: any other error is a fault."""
    server.pages = {f"/{name.replace('_', '.')}": [page] for name, page in pages.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(web._OF_PROCESS, "here", web._Web())
        try:
            return web.fetch(url, "7 ('a.jpg')", most_bytes=1 << 20, first=None, allowed=())
        except SampleError as error:
            return error.reason


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://ann:secret@a.example/1.jpg", "its address has a user or a password, which are not sent; remove them"),
        ("http://@a.example/1.jpg", "its address has a user or a password"),
        ("http:///1.jpg", "its address has no host"),
        ("ftp://a.example/1.jpg", "an address must begin with http:// or https://, not 'ftp:'"),
    ],
)
def test_an_address_that_is_not_asked_for_says_why(url, said):
    with pytest.raises(RefusedError) as caught:
        checked(url)
    assert (caught.value.reason, "secret" in str(caught.value)) == ("unsafe_address", False)
    assert said in str(caught.value)


# Properties


@example("http://a..b.com/x.jpg")
@example("http://.x.com/x.jpg")
@example(f"http://{'a' * 64}.com/x.jpg")
@example("http://a.example//[a.jpg")
@example("http://a.example/\ud800")
@example("http://h%5b/a.jpg")
@given(ADDRESS)
def test_any_text_as_an_address_gives_a_file_or_a_failure_of_one_image(anywhere, url):
    assert file_or_failure(anywhere, url) in ("missing", "unsafe_address", "unreadable")


@example("http://[bad/")
@example("http://a..b.com/x.jpg")
@example("//[a.jpg")
@given(ADDRESS)
def test_any_text_as_a_redirect_gives_a_file_or_a_failure_of_one_image(anywhere, location):
    def redirect(handler):
        sent = location.replace("\n", "").replace("\r", "").encode("utf-8", "surrogatepass")
        handler.wfile.write(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + sent + b"\r\n\r\n")

    found = file_or_failure(anywhere, "http://a.example/a.jpg", a_jpg=redirect)
    assert found in ("missing", "unsafe_address", "unreadable")


@example(["User-agent: *", "Disallow: //[x"], "a.jpg")
@example(["User-agent: *", "Crawl-delay: ²"], "a.jpg")
@example(["User-agent: *", "Disallow: /b"], "/[a.jpg")
@given(st.lists(RULE, max_size=6), ODD)
def test_any_text_as_robots_txt_gives_a_file_or_a_failure_of_one_image(anywhere, lines, path):
    rules = "\n".join(lines).encode("utf-8", "surrogatepass")
    found = file_or_failure(anywhere, f"http://a.example/{path}", robots_txt=rules, a_jpg=IMAGE)
    assert found in (IMAGE, "missing", "opted_out", "unsafe_address", "unreadable")


@example("Retry-After", "\r\n           5")
@example("Transfer-Encoding", "chunked")
@given(st.sampled_from(["Retry-After", "Content-Length", "X-Robots-Tag", "Content-Encoding"]), ODD)
def test_any_text_as_a_header_gives_a_file_or_a_failure_of_one_image(anywhere, name, said):
    def answer(handler):
        status = b"429 Busy" if name == "Retry-After" else b"200 OK"
        header = f"{name}: {said}\r\n\r\n".encode("utf-8", "surrogatepass")
        handler.wfile.write(b"HTTP/1.1 " + status + b"\r\nConnection: close\r\n" + header + b"-5\r\nx")

    found = file_or_failure(anywhere, "http://a.example/a.jpg", a_jpg=answer)
    assert isinstance(found, bytes) or found in ("opted_out", "unreadable", "too_many_bytes")
