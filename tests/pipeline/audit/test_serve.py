"""The server of the audit page: what it saves, and whom it refuses."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audit.answers import Answer, read_answers
from pipeline.audit.serve import MOST_BODY_BYTES, audit_server, serve_audit
from pipeline.errors import ConfigError
from tests.pipeline.audit.conftest import prepare_audit


@contextmanager
def running(path):
    """A server that answers."""
    with audit_server(path, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def made(tmp_path_factory, audited_release):
    """An audit that tests of refusals share."""
    return prepare_audit(tmp_path_factory.mktemp("served") / "audit", audited_release)


@pytest.fixture(scope="module")
def server(made):
    with running(made.path) as server:
        yield server


def ask(server, method, path, body=b"", **headers):
    """Status and content of an answer; a header of None is left out."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    told = {"Host": f"127.0.0.1:{server.server_port}", "Content-Type": "application/json"}
    told |= {"Content-Length": str(len(body))} if method == "POST" else {}
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in told.items():
        if value is not None:
            connection.putheader(name, value)
    connection.endheaders(body)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, content


def make_answer(made, place=0, **changes):
    key = made.tasks(changes.get("rater", "rater-1"))[place]
    return Answer(**{"plan": made.audit.plan.digest, "rater": "rater-1", "key": key, "verdict": "right", **changes})


def saved(made):
    return read_answers(made.path, made.audit.asked)


def test_an_answer_is_on_the_disk_when_it_is_confirmed(prepared, monkeypatch):
    made, synced = prepared(), []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(sync(file)))
    with running(made.path) as server:
        for place in range(3):
            synced.clear()
            answer = make_answer(made, place, seconds=1.5)
            assert ask(server, "POST", "/answers", answer.encode()) == (200, json.dumps({"saved": answer.key}).encode())
            assert saved(made)["rater-1"][-1] == answer
            assert synced


def test_an_answer_that_is_sent_again_is_saved_once_even_after_a_restart(prepared):
    made = prepared()
    first, changed = make_answer(made, seconds=1.0), make_answer(made, verdict="skip")
    for sent in ([first, first, changed], [changed, first]):
        with running(made.path) as server:
            assert [ask(server, "POST", "/answers", answer.encode())[0] for answer in sent] == [200] * len(sent)
    assert saved(made)["rater-1"] == [first, changed]


def test_two_raters_at_once_lose_nothing(prepared):
    made = prepared()
    with running(made.path) as server:

        def judge(rater):
            for place in range(5):
                ask(server, "POST", "/answers", make_answer(made, place, rater=rater, seconds=float(place)).encode())

        threads = [threading.Thread(target=judge, args=[rater]) for rater in made.audit.plan.raters]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for rater in made.audit.plan.raters:
        assert [answer.key for answer in saved(made)[rater]] == made.tasks(rater)


def test_one_answer_from_several_tabs_at_once_is_saved_once(prepared, monkeypatch):
    made = prepared()
    monkeypatch.setattr(os, "fsync", lambda _: time.sleep(0.02))
    with running(made.path) as server:
        answer = make_answer(made)
        threads = [threading.Thread(target=server.save, args=[answer]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert saved(made)["rater-1"] == [answer]


def test_a_rater_gets_her_own_answers_and_nobody_elses(prepared):
    made = prepared()
    with running(made.path) as server:
        own, other = make_answer(made), make_answer(made, rater="rater-2", verdict="skip")
        for answer in (own, other):
            ask(server, "POST", "/answers", answer.encode())
        assert ask(server, "GET", "/answers?rater=rater-1") == (200, own.encode())
        assert ask(server, "GET", "/answers?rater=adjudicator") == (200, b"")
        for path in ("/answers?rater=", "/answers", "/answers?rater=../rater-1", "/answers/rater-1.jsonl"):
            assert ask(server, "GET", path)[0] == 404


def test_the_page_and_what_it_shows_are_served(server, made):
    key = made.tasks()[0]
    assert ask(server, "GET", "/") == (200, (made.path / "index.html").read_bytes())
    for name in (f"images/{key}.jpg", f"masks/{key}.js", "page/vendor/konva.min.js", "tasks/rater-2.js"):
        assert ask(server, "GET", f"/{name}") == (200, (made.path / name).read_bytes())
    assert json.loads(ask(server, "GET", "/audit.json")[1]) == {"plan": made.audit.plan.digest}


def test_nothing_else_is_served(server, made):
    (made.path / "images" / "link.png").symlink_to(made.path / "plan.json")
    paths = ["/plan.json", "/release.txt", "/answers/rater-1.jsonl", "/images/../plan.json", "/images/%2e%2e/plan.json"]
    paths += [
        "//etc/passwd",
        "/images/..%2fplan.json",
        "/images/link.png",
        "/page/",
        "/page",
        "/images/.hidden",
        "/%00",
    ]
    assert {path: ask(server, "GET", path)[0] for path in paths} == dict.fromkeys(paths, 404)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["http://[x/", "http://attacker.example/index.html", "//[x"])
def test_an_address_of_another_place_is_refused_even_if_it_is_none(server, method, path):
    assert ask(server, method, path, b"{}")[0] in (403, 404)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="?#"), max_size=30))
def test_no_path_leads_out_of_the_page(server, made, path):
    status, content = ask(server, "GET", f"/images/../{path}")
    assert (status, content) == (404, b"The page has no such file.\n")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "attacker.example"},
        {"Host": "127.0.0.1"},
        {"Host": None},
        {"Origin": "http://attacker.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1"},
        {"Sec_Fetch_Site": "cross-site"},
    ],
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/answers?rater=rater-1"), ("POST", "/answers")])
def test_other_hosts_and_other_sites_are_refused(server, made, headers, method, path):
    status, content = ask(server, method, path, make_answer(made).encode() if method == "POST" else b"", **headers)
    assert status == 403
    assert content.decode().startswith("Only the page at http://127.0.0.1:")
    assert saved(made)["rater-1"] == []


def test_a_link_in_a_mail_opens_the_page(server):
    headers = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    assert ask(server, "GET", "/", **headers)[0] == 200
    assert ask(server, "POST", "/answers", b"{}", **headers)[0] == 403
    assert ask(server, "GET", "/", **headers, Host="attacker.example")[0] == 403


def test_what_is_no_answer_is_refused_with_a_reason(server, made):
    answer = make_answer(made)
    wrong = {
        b"": "",
        b"[" * 5000: "",
        b"[]": "a JSON object is needed",
        answer.encode().replace(b'"right"', b'"perfect"'): "verdict 'perfect' is none of",
        make_answer(made, plan="0" * 64).encode(): "another plan",
        b'{"rater": 1}': "missing",
        answer.encode().replace(
            b'"mask":null', b'"mask":{"size":[1,1],"counts":"1"}'
        ): "mask belongs to the verdict fix",
    }
    for body, reason in wrong.items():
        status, content = ask(server, "POST", "/answers", body)
        assert (status, reason in content.decode()) == (400, True), content
    assert saved(made)["rater-1"] == []


def test_bodies_are_bounded_and_of_one_type(server):
    assert ask(server, "POST", "/answers", Content_Length=str(MOST_BODY_BYTES + 1))[0] == 413
    assert ask(server, "POST", "/answers", Content_Length="9" * 5000)[0] == 413
    assert ask(server, "POST", "/answers", Content_Length="many")[0] == 411
    assert ask(server, "POST", "/answers", Content_Length=None)[0] == 411
    assert ask(server, "POST", "/answers", Content_Type="text/plain")[0] == 415
    assert ask(server, "POST", "/plan.json", b"{}")[0] == 404


def test_an_answer_that_cannot_be_saved_is_not_confirmed(prepared, monkeypatch):
    made = prepared()
    with running(made.path) as server:
        with monkeypatch.context() as patch:

            def full(_):
                raise OSError(28, "No space left on device")

            patch.setattr(os, "fsync", full)
            status, content = ask(server, "POST", "/answers", make_answer(made).encode())
        assert (status, content) == (507, b"The answer could not be saved: No space left on device.\n")
        assert ask(server, "POST", "/answers", make_answer(made).encode())[0] == 200
    assert make_answer(made) in saved(made)["rater-1"]


def test_an_audit_has_one_server_at_a_time(prepared):
    made = prepared()
    with (
        running(made.path),
        pytest.raises(ConfigError, match="being served by another process"),
        audit_server(made.path, 0),
    ):
        pass
    with running(made.path):
        pass


def test_a_port_that_is_taken_is_named(prepared):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} can't be used"):
            serve_audit(prepared().path, port)


def test_ctrl_c_ends_it_cleanly_after_one_address_per_rater(prepared):
    made = prepared()
    code = "import sys; from pathlib import Path; from pipeline.audit.serve import serve_audit\n"
    code += "from pipeline.progress.lines import LogLines; from pipeline.progress.stages import shown_by\n"
    code += "with LogLines(print, print) as shown, shown_by(shown): serve_audit(Path(sys.argv[1]), 0)"
    process = subprocess.Popen([sys.executable, "-u", "-c", code, str(made.path)], stdout=subprocess.PIPE, text=True)
    said = [process.stdout.readline() for _ in range(3)]
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert [line.split()[0] for line in said[:2]] == ["rater-1:", "rater-2:"]
    assert said[1].strip().startswith("rater-2: http://127.0.0.1:")
    assert said[1].strip().endswith("/#rater-2")
    assert rest.startswith("Stopped. The answers are in ")
    assert process.returncode == 0
