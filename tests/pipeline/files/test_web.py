"""Examples and faults of reading from web servers: manners, bounds, and addresses that are not to be read."""

import http.client
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from queue import SimpleQueue

import pytest

from pipeline.errors import SampleError, StorageUnavailableError
from pipeline.files import safe_hosts, web, web_request
from tests.pipeline.files.web_server import web_server

IMAGE = bytes(range(256)) * 400
HERE = ("127.0.0.1",)


@pytest.fixture(scope="module")
def server():
    with web_server() as site:
        yield site


@pytest.fixture
def site(server, monkeypatch):
    server.pages = {"/a.jpg": [IMAGE]}
    server.requests.clear()
    monkeypatch.setattr(web._OF_PROCESS, "here", web._Web())
    return server


@pytest.fixture
def slept(monkeypatch):
    """Seconds of every pause; nobody waits, and the clock goes on."""
    pauses = []
    now = time.monotonic

    class Clock:
        monotonic = staticmethod(lambda: now() + sum(pauses))
        time = staticmethod(time.time)
        sleep = staticmethod(pauses.append)

    monkeypatch.setattr(web, "time", Clock)
    return pauses


@pytest.fixture
def as_public(monkeypatch):
    """Take the server for one in the internet, as no test has a network."""
    monkeypatch.setattr(safe_hosts, "is_public", lambda _: True)


def fetch(url, *, most_bytes=1 << 20, first=None, allowed=HERE):
    return web.fetch(url, "7 ('a.jpg')", most_bytes=most_bytes, first=first, allowed=allowed)


def refused(url, **options):
    with pytest.raises(SampleError) as caught:
        fetch(url, **options)
    return caught.value


def without_end(head):
    """A page that begins so and sends up to 64 MB, and a queue of how many bytes it could send."""
    sent_to = SimpleQueue()  # a server's thread notices the end when it has time

    def answer(handler):
        handler.wfile.write(head)
        sent = 0
        try:
            while sent < 64 << 20:
                sent += handler.wfile.write(IMAGE)
        except ConnectionError:
            pass
        sent_to.put(sent)

    return [answer], sent_to


# Manners


def test_a_file_is_read_whole_or_its_beginning_and_the_tool_gives_its_name(site):
    assert fetch(f"{site.url}/a.jpg") == IMAGE
    assert fetch(f"{site.url}/a.jpg", first=100) == IMAGE[:100]
    (_, whole), (_, part) = site.requests
    assert whole["User-Agent"] == part["User-Agent"] == "sod-benchmark"
    assert "Range" not in whole
    assert part["Range"] == "bytes=0-99"


def test_servers_without_ranges_are_hung_up_on(site):
    site.pages["/a.jpg"], sent_to = without_end(b"HTTP/1.1 200 OK\r\n\r\n")
    assert fetch(f"{site.url}/a.jpg", first=1000) == IMAGE[:1000]
    error = refused(f"{site.url}/a.jpg", most_bytes=200_000)
    assert (error.reason, error.detail) == (
        "too_many_bytes",
        "7 ('a.jpg'): too many bytes; the limit is 200000",
    )
    assert all(sent_to.get(timeout=60) < 64 << 20 for _ in range(2))


def test_a_file_of_more_bytes_than_the_limit_is_not_read(site):
    error = refused(f"{site.url}/a.jpg", most_bytes=len(IMAGE) - 1)
    assert error.detail == f"7 ('a.jpg'): {len(IMAGE)} bytes; the limit is {len(IMAGE) - 1}"
    assert fetch(f"{site.url}/a.jpg", most_bytes=len(IMAGE)) == IMAGE


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_busy_is_asked_again_after_growing_pauses(site, slept, status):
    site.pages["/a.jpg"] = [(status, {}, b""), (status, {}, b""), IMAGE]
    assert fetch(f"{site.url}/a.jpg") == IMAGE
    assert slept == pytest.approx([1, 3], abs=0.5)


@pytest.mark.parametrize("said", ["30", "a date"])
def test_retry_after_is_obeyed(site, slept, said):
    said = formatdate(time.time() + 30, usegmt=True) if said == "a date" else said
    site.pages["/a.jpg"] = [(429, {"Retry-After": said}, b""), IMAGE]
    assert fetch(f"{site.url}/a.jpg") == IMAGE
    assert sum(slept) == pytest.approx(30, abs=2)


def test_the_whole_host_is_left_alone_while_it_asks_for_a_pause(site, slept):
    site.pages |= {"/busy.jpg": [(503, {"Retry-After": "100"}, b"")]}
    refused(f"{site.url}/busy.jpg")
    paused = sum(slept)
    assert fetch(f"{site.url}/a.jpg") == IMAGE
    assert sum(slept) - paused == pytest.approx(100, abs=2)


def test_a_server_that_asks_for_a_longer_pause_is_not_waited_for(site, slept):
    site.pages["/a.jpg"] = [(429, {"Retry-After": "86400"}, b"")]
    assert "answers with status 429 and asks to wait for 86400 s" in refused(f"{site.url}/a.jpg").detail
    assert refused(f"{site.url}/a.jpg").detail.endswith("127.0.0.1 asks to be left alone for a while")
    assert sum(slept) == 0


def test_no_image_is_waited_for_longer_than_three_minutes(site, slept):
    site.pages["/a.jpg"] = [(503, {"Retry-After": "100"}, b"")]
    refused(f"{site.url}/a.jpg")
    assert sum(slept) == pytest.approx(100, abs=2)


def test_a_host_that_is_always_busy_is_left_alone_after_three_images(site, slept):
    site.pages["/a.jpg"] = [(503, {}, b"")]
    found = [refused(f"{site.url}/a.jpg").detail for _ in range(5)]
    assert found[-1].endswith("127.0.0.1 has not answered several times; --retry-failed asks again")
    assert len(site.requests) == 3 * len(web._PAUSES_S)


@pytest.mark.parametrize("part", ["headers", "body"])
def test_an_answer_that_drips_is_not_waited_for(site, slept, monkeypatch, part):
    monkeypatch.setattr(web_request, "_LONGEST_READ_S", 0.2)
    monkeypatch.setattr(web, "_PAUSES_S", (0.0,))

    def drip(handler):
        if part == "body":
            handler.send_response(200)
            handler.end_headers()
        for _ in range(100):
            time.sleep(0.02)
            handler.wfile.write(b"x")

    site.pages["/a.jpg"] = [drip]
    begun = time.monotonic()
    assert "TimeoutError" in refused(f"{site.url}/a.jpg").detail
    assert time.monotonic() - begun < 1.5


def test_a_host_has_four_connections_at_most(site, monkeypatch):
    lock, at_once, ask = threading.Lock(), [0, 0], web.ask

    def counting(*arguments):
        with lock:
            at_once[0] += 1
            at_once[1] = max(at_once)
        time.sleep(0.02)
        try:
            return ask(*arguments)
        finally:
            with lock:
                at_once[0] -= 1

    monkeypatch.setattr(web, "ask", counting)
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(lambda _: fetch(f"{site.url}/a.jpg"), range(16))) == {IMAGE}
    assert at_once[1] == web.PER_HOST == 4


def test_a_dead_host_costs_each_of_its_images_less_and_less(slept, monkeypatch, site):
    calls = []

    def refuses(*_):
        calls.append(1)
        raise ConnectionRefusedError("told so")

    monkeypatch.setattr(web_request, "connect", refuses)
    found = [refused("http://dead.example/a.jpg", allowed=("dead.example",)).detail for _ in range(10)]
    assert len(calls) == 3 * len(web._PAUSES_S)
    assert "dead.example can't be reached (ConnectionRefusedError: told so)" in found[0]
    assert found[-1].endswith("dead.example has not answered several times; --retry-failed asks again")


def test_a_connection_that_breaks_is_tried_again(site, slept):
    def cut(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(IMAGE)))
        handler.end_headers()
        handler.wfile.write(IMAGE[:1000])

    site.pages["/a.jpg"] = [lambda handler: cut(handler), lambda _: None, IMAGE]
    assert fetch(f"{site.url}/a.jpg") == IMAGE
    assert len(site.requests) == 3


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (b"User-agent: *\nDisallow: /", "opted_out"),
        (b"User-agent: sod-benchmark\nDisallow: /a", "opted_out"),
        (b"User-agent: other\nDisallow: /", ""),
        (b"User-agent: *\nDisallow: /b", ""),
        (b"User-agent: *\nDisallow: //[x\nDisallow: /\nCrawl-delay: \xc2\xb2", "opted_out"),
        (b"User-agent: *\nDisallow: //[x", ""),
        (b"\xff\x00<html>", ""),
        (b"", ""),
    ],
)
def test_robots_txt_is_obeyed_and_read_once_but_for_hosts_that_are_allowed(site, as_public, rules, expected):
    site.pages["/robots.txt"] = [rules]
    for _ in range(2):
        if expected:
            assert refused(f"{site.url}/a.jpg", allowed=()).reason == expected
        else:
            assert fetch(f"{site.url}/a.jpg", allowed=()) == IMAGE
    assert [path for path, _ in site.requests].count("/robots.txt") == 1
    assert fetch(f"{site.url}/a.jpg") == IMAGE


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ("noai", "opted_out"),
        ("noindex, NoImageAI", "opted_out"),
        ("sod-benchmark: noai", "opted_out"),
        ("otherbot: noai", ""),
        ("noindex", ""),
    ],
)
def test_opt_outs_of_servers_are_obeyed(site, as_public, tag, reason):
    site.pages["/a.jpg"] = [(200, {"X-Robots-Tag": tag}, IMAGE)]
    if reason:
        assert refused(f"{site.url}/a.jpg", allowed=()).reason == reason
    else:
        assert fetch(f"{site.url}/a.jpg", allowed=()) == IMAGE


# Answers


@pytest.mark.parametrize(
    ("status", "reason"), [(404, "missing"), (410, "missing"), (403, "unreadable"), (401, "unreadable")]
)
def test_what_is_not_there_is_missing_and_what_is_not_given_unreadable(site, status, reason):
    site.pages["/a.jpg"] = [(status, {}, b"page")]
    error = refused(f"{site.url}/a.jpg")
    assert (error.reason, error.detail) == (reason, f"7 ('a.jpg'): its server answers with status {status}")
    assert len(site.requests) == 1


def test_redirects_are_followed_five_times(site):
    for number in range(6):
        site.pages[f"/{number}"] = [(302, {"Location": f"/{number + 1}"}, b"")]
    site.pages["/6"] = [IMAGE]
    assert fetch(f"{site.url}/1") == IMAGE
    assert refused(f"{site.url}/0").detail.endswith("more than 5 redirects")


@pytest.mark.parametrize(
    "sent",
    [
        "/caf\u00e9 1.jpg?d=\u00fc".encode(),
        b"/caf%C3%A9 1.jpg?d=%c3%bc ",
        "{site}/caf\u00e9 1.jpg?d=\u00fc#top".encode(),
        b"caf\xc3\xa9%201.jpg?d=\xc3%bc",
    ],
)
def test_a_redirect_may_have_bytes_that_should_have_been_escaped(site, sent):
    site.pages["/a.jpg"] = [(302, {"Location": sent.replace(b"{site}", site.url.encode()).decode("latin-1")}, b"")]
    for query in ("%C3%BC", "%c3%bc", "%C3%bc"):
        site.pages[f"/caf%C3%A9%201.jpg?d={query}"] = [IMAGE]
    assert fetch(f"{site.url}/a.jpg") == IMAGE


def test_a_redirect_in_another_encoding_asks_for_the_bytes_that_it_has(site):
    site.pages |= {"/a.jpg": [(302, {"Location": "/caf\u00e9.jpg"}, b"")], "/caf%E9.jpg": [IMAGE]}
    assert fetch(f"{site.url}/a.jpg") == IMAGE


def test_a_part_of_less_than_no_bytes_does_not_have_everything_read(site, slept):
    site.pages["/a.jpg"], sent_to = without_end(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n")
    assert refused(f"{site.url}/a.jpg", first=100).reason == "unreadable"
    assert sent_to.get(timeout=60) < 64 << 20


def test_an_answer_that_is_compressed_is_refused(site):
    site.pages["/a.jpg"] = [(200, {"Content-Encoding": "gzip"}, b"x")]
    assert refused(f"{site.url}/a.jpg").reason == "unreadable"


# Addresses that are not to be read


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"])
def test_loopback_is_refused_however_it_is_spelled(site, host):
    port = site.url.rpartition(":")[2]
    error = refused(f"http://{host}:{port}/a.jpg", allowed=("other.example",))
    assert error.reason == "unsafe_address"
    assert "--allow-hosts" in error.detail
    assert site.requests == []


@pytest.mark.parametrize("allowed", ["127.0.0.1", "LOCALHOST", "localhost."])
def test_hosts_are_allowed_by_name_or_by_address(site, allowed):
    host = "127.0.0.1" if allowed[0] == "1" else "localhost"
    assert fetch(site.url.replace("127.0.0.1", host) + "/a.jpg", allowed=(allowed,)) == IMAGE


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/",
        "http://[fe80::1]/",
        "file:///etc/passwd",
        "ftp://x/",
    ],
)
def test_a_redirect_to_a_private_address_or_another_protocol_is_refused(site, target):
    site.pages["/a.jpg"] = [(302, {"Location": target}, b"")]
    assert refused(f"{site.url}/a.jpg").reason == "unsafe_address"


@pytest.mark.parametrize(
    "url",
    [
        *("http://user:secret@127.0.0.1/a", "http:///a", "http://[::1/a", "http://h:99999/a", "http://h:abc/a"),
        *("http://user:secret@\u2100/a", "http://user:secret/x@h/a"),
        *("http://a..b/a", "http://.a/a", f"http://{'a' * 64}.com/a", "http://a b/a", "http://a\0b/a", "http://℀/a"),
    ],
)
def test_an_address_that_is_none_is_refused_without_its_secrets(url):
    error = refused(url)
    assert error.reason == "unsafe_address"
    assert "secret" not in error.detail


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(monkeypatch):
    """A name server that answers with a public address first, and with loopback then, gains nothing."""
    answers = iter(["93.184.215.14", "127.0.0.1"])
    connected = []
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), 80))]
    )

    def connect(address, _):
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(ConnectionRefusedError):
        safe_hosts.connect("rebinding.example", 80, (), 1.0)
    with pytest.raises(safe_hosts.UnsafeHostError):
        safe_hosts.connect("rebinding.example", 80, (), 1.0)
    assert connected == [("93.184.215.14", 80)]


def test_of_a_host_with_several_addresses_only_public_ones_are_connected_to(monkeypatch):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 80)) for ip in ("10.0.0.1", "93.184.215.14")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket, "create_connection", lambda address, _: address)
    assert safe_hosts.connect("mixed.example", 80, (), 1.0) == ("93.184.215.14", 80)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("93.184.215.14", True), ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True), ("10.1.2.3", False),
        ("172.16.0.1", False), ("192.168.1.1", False), ("169.254.169.254", False), ("100.64.0.1", False),
        ("0.0.0.0", False), ("224.0.0.1", False), ("255.255.255.255", False), ("::", False), ("fe80::1%eth0", False),
        ("fc00::1", False), ("ff02::1", False), ("::ffff:10.0.0.1", False), ("2002:7f00:1::", False),
        ("64:ff9b::7f00:1", False), ("198.18.0.1", False),
    ],
)  # fmt: skip
def test_public_addresses_are_told_from_all_others(address, expected):
    assert safe_hosts.is_public(address) is expected


# The machine


def _gaierror(number):
    def fails(*_, **__):
        raise socket.gaierror(number, "told so")

    return fails


def test_a_machine_without_network_is_no_fault_of_an_image(site, slept, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", _gaierror(socket.EAI_AGAIN))
    with pytest.raises(OSError, match="check this machine's network"):
        fetch("http://a.example/a.jpg", allowed=("a.example",))
    with pytest.raises(StorageUnavailableError, match=r"a\.example"):
        web.require_network(["a.example"])


def test_a_name_that_is_not_known_is_the_images_fault_and_not_asked_again(site, slept, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", _gaierror(socket.EAI_NONAME))
    assert refused("http://a.example/a.jpg", allowed=("a.example",)).reason == "unreadable"
    assert slept == []
    web.require_network(["a.example"])


def test_one_name_server_that_fails_is_the_images_fault_once_another_host_was_reached(site, slept, monkeypatch):
    fetch(f"{site.url}/a.jpg")
    monkeypatch.setattr(socket, "getaddrinfo", _gaierror(socket.EAI_AGAIN))
    assert refused("http://a.example/a.jpg", allowed=("a.example",)).reason == "unreadable"


def test_a_certificate_that_is_wrong_is_not_asked_again(site, slept, monkeypatch):
    def connect(*_):
        raise ssl.SSLCertVerificationError("self-signed")

    monkeypatch.setattr(web_request, "connect", connect)
    assert refused("https://a.example/a.jpg", allowed=("a.example",)).reason == "unreadable"
    assert slept == []


def test_an_answer_that_is_no_http_is_the_images_fault(site, slept, monkeypatch):
    def request(*_, **__):
        raise http.client.BadStatusLine("nonsense")

    monkeypatch.setattr(http.client.HTTPConnection, "request", request)
    assert refused(f"{site.url}/a.jpg").reason == "unreadable"
