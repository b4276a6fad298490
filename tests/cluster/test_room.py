"""The room itself: who is in it sees nobody else, and it is not entered where that is not allowed."""

import subprocess
import sys

import pytest

from tests.cluster import room

LINKS = ("sh", "-c", "ip -o link | wc -l; ls -d /proc/[0-9]* | wc -l; exit 7")


def in_room(*command, **options):
    return subprocess.run(
        [sys.executable, "-m", "tests.cluster.room", *command],
        capture_output=True, text=True, check=False, cwd=room.ROOT, **options,
    )  # fmt: skip


def test_a_command_in_a_room_sees_its_own_network_and_processes_and_its_exit_code_comes_back():
    if reason := room.why_not():
        pytest.skip(reason)
    ended = in_room(*LINKS)
    links, processes = map(int, ended.stdout.split())
    assert links == 1
    assert processes < 6
    assert ended.returncode == 7, ended.stderr


def test_where_there_can_be_no_room_nothing_is_run_and_it_is_said_why(tmp_path):
    (tmp_path / "unshare").write_text("#!/bin/sh\necho unshare: not permitted >&2\nexit 1\n")
    (tmp_path / "unshare").chmod(0o755)
    ended = in_room("touch", str(tmp_path / "ran"), env={"PATH": f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin"})
    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr.startswith("skipped: namespaces are not allowed here (unshare: not permitted)")
    assert not (tmp_path / "ran").exists()


def test_missing_tools_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert room.why_not().startswith("there is no unshare and no nsenter and no ip and no mount here")
