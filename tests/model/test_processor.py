"""What the system says of processor and GPU; where it says nothing, nothing is known."""

import ctypes
from pathlib import Path
from types import SimpleNamespace

import pytest

from model import processor
from model.processor import compute_capability, processor_flags


@pytest.fixture
def cpuinfo(monkeypatch):
    """Sets the text of /proc/cpuinfo; an exception is raised."""

    def say(text):
        def read_text(path):
            assert path == Path("/proc/cpuinfo")
            if isinstance(text, Exception):
                raise text
            return text

        monkeypatch.setattr(Path, "read_text", read_text)
        processor_flags.cache_clear()

    yield say
    processor_flags.cache_clear()


@pytest.mark.parametrize("name", ["flags", "Features"])
def test_flags_are_those_of_the_first_processor(cpuinfo, name):
    cpuinfo(f"model name\t: some CPU\n{name}\t\t: fpu avx2 amx_bf16\n\nprocessor : 1\n{name} : other\n")
    assert processor_flags() == {"fpu", "avx2", "amx_bf16"}


@pytest.mark.parametrize("said", ["", "processor : 0\n", FileNotFoundError("no /proc")])
def test_a_system_that_does_not_say_has_no_flags(cpuinfo, said):
    cpuinfo(said)
    assert processor_flags() == frozenset()


def make_driver(fails_at=""):
    """A stand-in for CUDA's driver with one GPU of compute capability 9.0."""

    def write(pointer, value):
        pointer._obj.value = value
        return 0

    calls = {
        "cuInit": lambda flags: 0,
        "cuDeviceGet": lambda device, number: write(device, number) if number == 0 else 101,
        "cuDeviceGetAttribute": lambda value, attribute, device: write(value, {75: 9, 76: 0}[attribute]),
    }
    return SimpleNamespace(**calls | ({fails_at: lambda *_: 999} if fails_at else {}))


def test_the_capability_is_the_drivers(monkeypatch):
    monkeypatch.setattr(processor.ctypes, "CDLL", lambda name: make_driver())
    assert compute_capability() == (9, 0)
    assert compute_capability(1) is None


@pytest.mark.parametrize("fails_at", ["cuInit", "cuDeviceGet", "cuDeviceGetAttribute"])
def test_a_driver_that_fails_says_nothing(monkeypatch, fails_at):
    monkeypatch.setattr(processor.ctypes, "CDLL", lambda name: make_driver(fails_at))
    assert compute_capability() is None


def test_without_a_driver_there_is_no_capability(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert compute_capability() is None
