"""Whatever names a data set has, no job prints or writes a character that a terminal, browser or spreadsheet obeys."""

import errno
import io
import json
import logging
import os
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs import coco_pseudolabel, publish_release, verify_release, verify_run
from jobs.command_line import FAILED, USAGE, run_job
from jobs.printing import ShownStream, Terminal, shown_streams
from pipeline.errors import StorageError, UsageError
from pipeline.shown import ShownFormatter
from tests.pipeline.make import make_collection, make_instances
from tests.pipeline.test_shown import CONTROLS

HOSTILE = [
    *(character for character in CONTROLS if character != "\0"),
    "\x1b[2J",
    "\x1b]0;x\x07",
    "=1+1",
    "\r\nerror: ",
]
NAMES = st.lists(st.sampled_from([*HOSTILE, "a", "é", "|", "<b>"]), min_size=1, max_size=6).map("".join)
TEXTS_OF_A_RELEASE = (".md", ".html", ".csv", "NOTICE", "CHANGELOG.md", "SHA256SUMS")
few = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))


def obeyed(text):
    """The characters that something would obey; line breaks are a page's own."""
    return {*text.replace("\r\n", "\n")} & ({*CONTROLS} - {"\n"})


def test_the_characters_that_are_looked_for_are_found():
    assert obeyed("a\x1b\u202e\u2028\x85\t\r") == {"\x1b", "\u202e", "\u2028", "\x85", "\t", "\r"}


@contextmanager
def captured():
    """What is written to stdout and stderr, on streams that claim to be terminals."""
    before, streams = (sys.stdout, sys.stderr), (io.StringIO(), io.StringIO())
    for stream in streams:
        stream.isatty = lambda: True
    sys.stdout, sys.stderr = streams
    try:
        yield streams
    finally:
        sys.stdout, sys.stderr = before


def call(monkeypatch, main, *command_line):
    """The exit code of a job, and all that it printed and logged."""
    monkeypatch.setattr(sys, "argv", ["job", *map(str, command_line)])
    monkeypatch.setenv("TERM", "dumb")  # bars have control characters of their own: see test_bars.py
    logging.getLogger().handlers.clear()
    with captured() as (out, err), pytest.raises(SystemExit) as ended:
        run_job(main)
    logging.getLogger().handlers.clear()
    return ended.value.code, out.getvalue() + err.getvalue()


@pytest.fixture
def handlers_kept():
    """The root logger has the handlers of the tests again afterwards."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


# What jobs print and write


@few
@given(names=st.lists(NAMES, min_size=7, max_size=7, unique=True))
def test_a_run_a_build_and_their_checks_print_and_write_nothing_that_is_obeyed(names, tmp_path_factory, handlers_kept):
    folder = tmp_path_factory.mktemp("hostile")
    inputs = make_collection(folder / "in", 4)
    file_name, licence, url, author, source, category, supercategory = names
    entries = [{**entry, "author": author, "flickr_url": source} for entry in inputs.entries]
    entries[0]["file_name"] = f"{file_name}.jpg"  # no such file: the message about it has its name
    document = {"images": entries, **make_instances(entries)}
    document["licenses"] = [{"id": 1, "name": licence, "url": url}, {"id": 2, "name": f"={licence}", "url": url}]
    for entry in document["categories"]:
        entry |= {"name": category + entry["name"], "supercategory": supercategory}
    inputs.annotations.write_text(json.dumps(document))
    out = folder / "out"
    given_inputs = ("--images", inputs.images, "--annotations", inputs.annotations)
    options = ("--out", out, "--engine", "inline", "--model", "fake", "--ensemble-size", 3, "--shard-size", 2)
    release = out / "release" / "sod-benchmark-1.0.0"
    with pytest.MonkeyPatch.context() as patch:
        said = [
            call(patch, coco_pseudolabel.main, *given_inputs, *options, "--max-failed-share", 1),
            call(patch, publish_release.main, "build", out, "--version", "2.0.0", "--engine", "inline",
                 "--previous", release, "--max-variance", 0.001, "--allow-empty"),
            call(patch, publish_release.main, "push", release, folder / "pushed", "--no-loaders"),
            call(patch, verify_run.main, out),
            call(patch, verify_release.main, release, "--annotations", inputs.annotations, "--no-loaders"),
        ]  # fmt: skip
        (release / "licenses.csv").write_text("torn")
        (release / f"{file_name.replace('/', '')[:50]}.jpg").write_bytes(b"stray")
        said.append(call(patch, verify_release.main, release, "--no-loaders"))
        said.append(call(patch, publish_release.main, "build", out, "--name", file_name))
        said.append(call(patch, coco_pseudolabel.main, *given_inputs, *options, "--seed", 5))
        document["images"][0]["file_name"] = f"{licence}{file_name}"
        inputs.annotations.write_text(json.dumps(document))
        said.append(call(patch, coco_pseudolabel.main, *given_inputs, *options))
        document["images"][1] |= {"width": author, source: 1}
        inputs.annotations.write_text(json.dumps(document))
        said.append(call(patch, coco_pseudolabel.main, *given_inputs, *options))
    assert [code for code, _ in said] == [0, 0, 0, 0, 0, FAILED, USAGE, USAGE, USAGE, USAGE]
    for _, text in said:
        assert obeyed(text) == set()
    pages = [path for path in folder.rglob("*") if path.is_file() and path.name.endswith(TEXTS_OF_A_RELEASE)]
    assert {"README.md", "index.html", "licenses.csv", "changes.csv", "NOTICE", "CHANGELOG.md"} <= {
        p.name for p in pages
    }
    for path in pages:
        assert obeyed(path.read_bytes().decode()) == set(), path


def test_a_traceback_and_a_log_record_are_shown_like_everything_else(monkeypatch, handlers_kept):
    def main():
        logging.getLogger("x").warning("first\nsecond %s", "s3://k:hunter2@b\x9b")
        raise RuntimeError("t\u202e https://host/?sig=hunter2")

    code, text = call(monkeypatch, main)
    assert code == FAILED
    assert obeyed(text) == set()
    assert "hunter2" not in text
    assert "\n  second s3://(hidden)@b\\x9b\n" in text
    assert "RuntimeError: t\\u202e" in text


@pytest.mark.parametrize("error", [UsageError, StorageError, OSError])
def test_a_name_with_line_breaks_does_not_pose_as_a_line_of_its_own(monkeypatch, error, handlers_kept):
    def main():
        raise error("a\nfailed: nothing\rat all")

    _, text = call(monkeypatch, main)
    assert text.endswith("at all\n") or text.endswith("same command again\n")
    assert "a\n  failed: nothing\\rat all" in text


def test_the_streams_are_those_of_before_afterwards(capsys):
    before = sys.stdout, sys.stderr
    with shown_streams():
        assert not sys.stdout.isatty()
        sys.stdout.writelines(["a\x1b\n"])
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr().out == "a\\x1b\n"


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_log_record_is_shown_whatever_its_words(message, value):
    record = logging.LogRecord("x", logging.INFO, __file__, 1, message.replace("%", "%%") + "%s", (value,), None)
    assert obeyed(ShownFormatter("%(message)s").format(record)) == set()


def test_every_job_prints_through_the_streams():
    """`run_job` sets them up; only a progress bar may know the terminal behind them."""
    for path in Path(run_job.__code__.co_filename).parent.glob("*.py"):
        source = path.read_text()
        assert "__stdout__" not in source, path
        assert "__stderr__" not in source, path
        if '__name__ == "__main__"' in source:
            assert "\n    run_job(main)\n" in source, path


class Gone(io.StringIO):
    """A stream whose reader has left, or whose disk is full."""

    def __init__(self, number, file):
        super().__init__()
        self.number, self.file = number, file

    def write(self, text):
        raise OSError(self.number, "gone")

    def fileno(self):
        return self.file.fileno()


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EIO, errno.ENOSPC])
def test_a_reader_that_leaves_or_a_terminal_that_closes_ends_no_work_but_a_full_disk_is_told(number, tmp_path):
    with (tmp_path / "out").open("w") as file:
        stream = ShownStream(Terminal(Gone(number, file)))
        if number == errno.ENOSPC:
            with pytest.raises(OSError, match="gone"):
                stream.write("text")
        else:
            assert stream.write("text") == 4
        assert os.path.samestat(os.fstat(file.fileno()), os.stat(os.devnull)) == (number != errno.ENOSPC)


def test_a_stream_that_is_closed_takes_what_is_printed(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with shown_streams():
        print("nobody reads this")
    assert sys.stdout is None
