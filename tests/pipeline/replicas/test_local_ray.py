"""What is asked of a head over HTTP: a server of the test's own answers; the end-to-end tests ask a real one."""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pipeline.replicas import local_ray
from pipeline.replicas.local_ray import LocalRay

TOKEN = "a" * 64


class _Jobs(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.server.coming:
            self.server.answers |= self.server.coming.pop(0)
        is_known = self.headers["Authorization"] == f"Bearer {TOKEN}" and self.path in self.server.answers
        content = json.dumps(self.server.answers.get(self.path)).encode()
        self.send_response(200 if is_known else 404)
        self.send_header("Content-Length", str(len(content) + self.server.missing_bytes))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with HTTPServer(("127.0.0.1", 0), _Jobs) as server:
        server.answers, server.missing_bytes, server.coming = {}, 0, []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def head(server):
    """A head without processes, at the address of the server."""
    head = LocalRay.__new__(LocalRay)
    address = f"http://127.0.0.1:{server.server_port}"
    head.environment = {"RAY_API_SERVER_ADDRESS": address, "RAY_AUTH_TOKEN": TOKEN}
    return head


@pytest.mark.parametrize(("status", "has_succeeded"), [("SUCCEEDED", True), ("FAILED", False), ("RUNNING", False)])
def test_a_job_is_asked_for_with_the_token_and_without_a_proxy(head, server, monkeypatch, status, has_succeeded):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    server.answers["/api/jobs/job-1"] = {"status": status, "driver_exit_code": 0}
    server.answers["/api/jobs/job-1/logs"] = {"logs": "one\ntwo\n"}
    assert head.job("job-1")["status"] == status
    assert head.succeeded("job-1") is has_succeeded
    assert head.logs("job-1") == "one\ntwo\n"


def test_a_job_that_nobody_knows_has_not_succeeded(head):
    assert not head.succeeded("job-2")
    with pytest.raises(OSError, match="404"):
        head.job("job-2")


def test_a_job_is_followed_to_its_end_and_each_line_is_printed_once(head, server, monkeypatch, capsys):
    monkeypatch.setattr(local_ray, "FOLLOW_EVERY_S", 0.01)
    status, logs = "/api/jobs/job-1", "/api/jobs/job-1/logs"
    server.coming = [
        *({status: {"status": "PENDING"}, logs: {"logs": ""}}, {}, {status: {"status": "RUNNING"}}),
        *({logs: {"logs": "one\n"}}, {}, {logs: {"logs": "one\ntwo\nth"}}),
        {status: {"status": "FAILED"}, logs: {"logs": "one\ntwo\nthree\n"}},
    ]
    head.follow("job-1")
    assert capsys.readouterr().out == "one\ntwo\nthree\n"
    assert server.coming == []


def test_a_head_that_goes_away_is_not_followed_any_further(head, capsys):
    head.environment["RAY_API_SERVER_ADDRESS"] = "http://127.0.0.1:9"
    head.follow("job-1")
    assert capsys.readouterr().out == ""


def test_of_a_head_that_is_gone_or_breaks_off_nothing_is_known(head, server):
    server.answers["/api/jobs/job-1"] = {"status": "SUCCEEDED"}
    server.missing_bytes = 5
    assert not head.succeeded("job-1")
    with pytest.raises(OSError, match=r"answer to /api/jobs/job-1 broke off"):
        head.job("job-1")
    head.environment["RAY_API_SERVER_ADDRESS"] = "http://127.0.0.1:9"
    assert not head.succeeded("job-1")
    with pytest.raises(OSError, match="refused"):
        head.job("job-1")


def test_ports_are_free_differ_and_are_none_that_linux_gives_away(monkeypatch):
    lowest_given_away = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr(local_ray, "_PORTS", [taken.getsockname()[1], *range(20_100, 20_110)])
        few = local_ray._free_ports(7)
    monkeypatch.undo()
    assert set(few) <= set(range(20_100, 20_110))
    many = local_ray._free_ports(50)
    assert len({*few}) == 7
    assert len({*many}) == 50
    assert max(many) < lowest_given_away
