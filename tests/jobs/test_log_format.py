"""`--log-format json`: whatever a job writes to stderr, each line is an object, and nothing hostile gets through."""

import io
import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import verify_run
from jobs.ahead import begun
from jobs.command_line import run_job
from jobs.log_format import JsonHandler, JsonStream, json_logs, taken_log_format
from pipeline.errors import ConfigError, StorageError
from pipeline.progress.stages import say, stage
from pipeline.records import PassRow
from pipeline.replicas.progress import Progress


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


@given(st.lists(st.text(), max_size=8))
def test_whatever_is_written_in_whatever_pieces_is_lines_of_json(pieces):
    file = io.StringIO()
    stream = JsonStream(file)
    for piece in pieces:
        assert stream.write(piece) == len(piece)
    stream.close_line()
    found = lines(file.getvalue())
    assert all(one.keys() >= {"time", "level", "event", "said"} and one["said"] for one in found)
    assert len(found) <= "".join(pieces).count("\n") + 1
    assert file.getvalue().isascii()


@pytest.mark.parametrize(
    ("given_line", "taken", "left"),
    [
        (["sod", "label", "--out", "x"], "text", ["sod", "label", "--out", "x"]),
        (["sod", "label", "--log-format", "json", "--out", "x"], "json", ["sod", "label", "--out", "x"]),
        (["sod", "--log-format=json", "label"], "json", ["sod", "label"]),
        (["sod", "label", "--log-format", "text"], "text", ["sod", "label"]),
    ],
)
def test_the_option_stands_anywhere(given_line, taken, left):
    assert taken_log_format(given_line) == taken
    assert given_line == left


@pytest.mark.parametrize("words", [["--log-format"], ["--log-format", "xml"], ["--log-format="]])
def test_another_format_is_refused(words):
    with pytest.raises(ConfigError, match=r"must be one of text, json"):
        taken_log_format(["sod", "label", *words])


@pytest.fixture
def logged(monkeypatch, capsys):
    """Runs a job with JSON logs; gives its exit code and what is on stderr."""

    def run(job):
        monkeypatch.setattr(sys, "argv", ["job", "--log-format", "json"])
        monkeypatch.setattr(logging.root, "handlers", [])
        monkeypatch.setattr(logging.root, "level", logging.WARNING)
        with pytest.raises(SystemExit) as ended:
            run_job(job)
        return ended.value.code, lines(capsys.readouterr().err)

    return run


def test_a_job_in_all_its_ways_of_telling(logged):
    def job():
        with begun("labelling"), stage("looking", 10, "images") as opened:
            opened.advance(3, "1 failed")
        say("a line with s3://user:hunter2@bucket and \x1b[31m")
        row = PassRow(
            key="a", status="failed", reason="missing", detail="no file a.jpg", candidate_sha256="", values={}
        )
        Progress(2, None).add_computed([row])
        fields = {"replica": "r1", "cause": "node"}
        logging.getLogger("pipeline.happened").info("r1 is gone", extra={"event": "replica_ended", "fields": fields})
        logging.getLogger("x").warning("look %s", "here")
        print("half ", end="", file=sys.stderr)
        print("a line", file=sys.stderr)
        raise StorageError("torn")

    code, found = logged(job)
    assert code == 1
    events = [one["event"] for one in found]
    assert events[:5] == ["said", "stage_began", "stage_began", "said", "image_failed"]
    failed = found.pop(4)
    assert (failed["key"], failed["reason"], failed["detail"]) == ("a", "missing", "no file a.jpg")
    assert failed["said"] == "a failed: missing: no file a.jpg"
    assert events[5:] == ["replica_ended", "log", "said", "said", "ended"]
    began = found[2]
    assert (began["stage"], began["total"], began["unit"]) == ("looking", 10, "images")
    assert "hunter2" not in found[3]["said"]
    assert "\\x1b" in found[3]["said"]
    assert (found[4]["replica"], found[4]["said"]) == ("r1", "r1 is gone")
    assert (found[5]["level"], found[5]["logger"], found[5]["said"]) == ("warning", "x", "look here")
    assert found[6]["said"] == "half a line"
    for last in found[7:]:
        assert (last["level"], last["said"]) == ("error", "failed: torn")
    assert found[-1]["exit_code"] == 1


def test_a_crash_is_one_object_with_its_traceback(logged):
    def job():
        raise ZeroDivisionError("by zero")

    code, (found,) = logged(job)
    assert code == 1
    assert (found["level"], found["said"]) == ("error", "ZeroDivisionError: by zero")
    assert (found["event"], found["exit_code"]) == ("ended", 1)
    assert "Traceback" in found["traceback"]


def test_the_last_object_tells_the_exit_code_however_a_job_ends(logged):
    def interrupted():
        raise KeyboardInterrupt

    def refused():
        print("╭─ Parsing error ─╮", file=sys.stderr)  # as tyro refuses options
        print("half a line", end="", file=sys.stderr)
        sys.exit(2)

    for job, ended in (
        (lambda: 0, (0, "info")),
        (lambda: 3, (3, "error")),
        (refused, (2, "error")),
        (lambda: sys.exit("wrong"), (1, "error")),
        (interrupted, (1, "warning")),
    ):
        _, found = logged(job)
        assert [one["event"] == "ended" for one in found] == [False] * (len(found) - 1) + [True]
        assert (found[-1]["exit_code"], found[-1]["level"]) == ended


def test_an_exception_that_is_logged_keeps_its_traceback():
    file = io.StringIO()
    logger = logging.Logger("alone")
    logger.addHandler(JsonHandler(JsonStream(file)))
    try:
        raise ValueError("wrong")
    except ValueError:
        logger.exception("it failed")
    (found,) = lines(file.getvalue())
    assert found["traceback"].endswith("ValueError: wrong\n")


def test_the_streams_are_as_before_when_the_block_ends():
    before = sys.stderr
    with json_logs():
        assert isinstance(sys.stderr, JsonStream)
    assert sys.stderr is before


def test_a_wrong_format_ends_a_job_with_2_before_any_work(run_here):
    code, out, said = run_here(verify_run.main, "verify_run.py", "nowhere", "--log-format", "yaml")
    assert (code, out) == (2, "")
    assert said == "error: --log-format is 'yaml'; it must be one of text, json\n"
