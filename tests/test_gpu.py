"""`make gpu` without a GPU: what it says and would run, and what it writes when parts fail; commands are stand-ins."""

import dataclasses
import json
import subprocess
import sys

import pytest

from jobs.command_line import parse_config
from jobs.commands import COMMANDS
from pipeline.benchmarks.kinds import KINDS, options_class
from pipeline.devices import why_no_gpu
from tests import gpu
from tests.gpu import MEASUREMENTS, Called, main, outcomes

REPORT = """<?xml version="1.0"?><testsuites><testsuite>
<testcase classname="test_a" name="test_one[cuda]" time="0.25"/>
<testcase classname="test_a" name="test_two" time="1"><failure message="assert 1">E  assert 1</failure></testcase>
<testcase classname="test_a" name="test_three" time="0"><skipped message="no such kernels"/></testcase>
<testcase classname="test_a" name="test_four" time="0"><error message="setup">E  setup</error></testcase>
</testsuite></testsuites>"""
GOOD = REPORT.replace("failure", "system-out").replace("error", "system-err")
CARD = {"name": "NVIDIA T4", "torch": "2.14.1", "cuda": "13.0"}


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out" / "gpu.json"


class Commands:
    """Answers what `make gpu` runs; those with one of these words in them fail."""

    def __init__(self, report=GOOD, failing=(), torn=()):
        self.report, self.failing, self.torn, self.ran = report, failing, torn, []

    def __call__(self, command):
        line = " ".join(command)
        self.ran.append(line)
        if any(word in line for word in self.failing):
            return Called(1, "", "Traceback: CUDA error: ECC\n")
        if "-m pytest" in line:
            path = line.partition("--junitxml=")[2]
            with open(path, "w") as file:
                file.write(self.report)
            return Called(int("<failure" in self.report), "2 failed", "")
        if "jobs/benchmark.py" in line:
            kind = command[2]
            return Called(0, "{" if kind in self.torn else f"text\n{json.dumps({kind: [{'kind': kind}]})}\n", "")
        if "torch.cuda" in line:
            return Called(0, json.dumps(CARD), "")
        return Called(0, "580.65.06\n", "") if "nvidia-smi" in line else Called(0, "abc123\n", "")


def run_all(out, commands):
    code = main(out, why_not=lambda: "", run=commands)
    return code, json.loads(out.read_text())


def test_without_a_gpu_it_says_so_in_one_line_and_runs_nothing(out, capsys):
    def run(command):
        pytest.fail(f"{command} was run")

    assert main(out, why_not=lambda: "this machine has no NVIDIA driver", run=run) == 0
    assert capsys.readouterr() == ("make gpu: this machine has no NVIDIA driver; nothing was run\n", "")
    assert not out.exists()


@pytest.mark.skipif(not why_no_gpu(), reason="here is a GPU, so everything would be run")
def test_so_it_does_on_this_machine(out):
    done = subprocess.run(
        [sys.executable, "-m", "tests.gpu", str(out)], cwd=gpu.ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"make gpu: {why_no_gpu()}; nothing was run\n"
    assert not out.exists()


def test_everything_is_in_one_file_with_the_cards_name(out, capsys):
    code, found = run_all(out, Commands())
    assert (code, found["failed"]) == (0, [])
    assert {name: found["card"][name] for name in CARD} == CARD
    assert found["card"]["driver"] == "580.65.06"
    assert found["machine"]["commit"] == "abc123"
    assert (found["tests"]["passed"], found["tests"]["failed"], found["tests"]["skipped"]) == (3, 0, 1)
    assert [(one["kind"], one["rows"]) for one in found["benchmarks"]] == [
        (kind, [{"kind": kind}]) for kind, *_ in MEASUREMENTS
    ]
    assert all(one["seconds"] >= 0 for one in [found["card"], found["tests"], *found["benchmarks"]])
    assert capsys.readouterr().out == (
        f"make gpu: NVIDIA T4: tests 3 passed, 0 failed, 1 skipped; {len(MEASUREMENTS)} of {len(MEASUREMENTS)} "
        f"measurements; {out}\n"
    )


@pytest.mark.parametrize("failing", ["torch.cuda", "-m pytest", *dict.fromkeys(kind for kind, *_ in MEASUREMENTS)])
def test_a_part_that_fails_loses_no_other_and_is_named(out, failing):
    code, found = run_all(out, Commands(failing=[failing]))
    assert code == 1
    names = {"torch.cuda": ["card"], "-m pytest": ["tests"]}
    assert found["failed"] == names.get(failing, [" ".join(one) for one in MEASUREMENTS if one[0] == failing])
    lost = [part for part in (found["card"], found["tests"], *found["benchmarks"]) if "error" in part]
    assert len(lost) == len(found["failed"])
    assert {(part["error"], part["said"]) for part in lost} == {("exit code 1", "Traceback: CUDA error: ECC\n")}


def test_a_failed_test_is_a_failure_and_all_outcomes_are_there(out):
    code, found = run_all(out, Commands(report=REPORT))
    assert (code, found["failed"]) == (1, ["tests"])
    assert [(test["test"], test["outcome"]) for test in found["tests"]["each"]] == [
        ("test_a::test_one[cuda]", "passed"),
        ("test_a::test_two", "failed"),
        ("test_a::test_three", "skipped"),
        ("test_a::test_four", "failed"),
    ]
    assert [test.get("said") for test in found["tests"]["each"]] == [None, "E  assert 1", "no such kernels", "E  setup"]
    assert len([one for one in found["benchmarks"] if "rows" in one]) == len(MEASUREMENTS)


def test_tests_that_were_all_skipped_are_no_success(out):
    only_skipped = '<testsuites><testcase classname="a" name="b"><skipped message="no"/></testcase></testsuites>'
    code, found = run_all(out, Commands(report=only_skipped))
    assert (code, found["failed"], found["tests"]["error"]) == (1, ["tests"], "no test passed")


@pytest.mark.parametrize("report", ["<testsuites>", ""])
def test_a_torn_report_is_a_failed_part(out, report):
    code, found = run_all(out, Commands(report=report))
    assert (code, found["failed"]) == (1, ["tests"])


def test_a_torn_result_is_a_failed_part(out):
    code, found = run_all(out, Commands(torn=["limit"]))
    assert (code, found["failed"]) == (1, [" ".join(MEASUREMENTS[0])])


def test_what_has_ended_is_on_the_disk_before_the_next_part_begins(out):
    seen = []

    class Watching(Commands):
        def __call__(self, command):
            seen.append(len(json.loads(out.read_text()).get("benchmarks", [])) if out.exists() else -1)
            return super().__call__(command)

    run_all(out, Watching())
    assert seen[-len(MEASUREMENTS) :] == list(range(len(MEASUREMENTS)))


def test_a_command_is_heard_while_it_runs_and_its_end_is_kept(capfd):
    script = "import sys; print('rows'); [print('line', n, file=sys.stderr) for n in range(100)]; sys.exit(3)"
    done = gpu.call([sys.executable, "-c", script])
    assert (done.code, done.stdout) == (3, "rows\n")
    assert done.said.splitlines() == [f"line {number}" for number in range(60, 100)]
    assert len(capfd.readouterr().err.splitlines()) == 100


def test_a_command_that_hangs_is_ended_with_what_it_started(monkeypatch):
    monkeypatch.setattr(gpu, "LONGEST_S", 0.5)
    script = "import subprocess; subprocess.run(['sleep', '60'])"
    assert gpu.call([sys.executable, "-c", script]).code < 0


def has_device(kind):
    names = {field.name for field in dataclasses.fields(options_class(kind))}
    return bool(names & {"device", "work"})


def test_every_benchmark_that_has_a_device_is_measured():
    assert {kind for kind, *_ in MEASUREMENTS} == {kind for kind in KINDS if has_device(kind)}


@pytest.mark.parametrize("options", MEASUREMENTS, ids=" ".join)
def test_the_options_of_every_measurement_are_understood_and_give_cases_on_the_gpu(options):
    kind, *rest = options
    of_kind = dataclasses.replace(COMMANDS["bench"], name=f"bench {kind}", word=kind, examples=())
    parsed = parse_config(options_class(kind), [*rest, "--device", "cuda"], of_kind)
    assert {case["device"] for case in parsed.cases()} == {"cuda"}


def test_a_report_without_tests_has_no_outcomes():
    assert outcomes("<testsuites/>") == []
