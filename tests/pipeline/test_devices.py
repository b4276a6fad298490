"""Devices, asked of a stand-in for the NVIDIA driver; torch has no say here."""

import ctypes
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import devices
from pipeline.devices import require_device, require_device_of_cluster, require_known_device, why_no_gpu
from pipeline.errors import ConfigError


class Driver:
    """What is used of libcuda, with some GPUs."""

    def __init__(self, gpus, error=0):
        self.gpus, self.error = gpus, error

    def cuInit(self, flags):
        return self.error

    def cuDeviceGetCount(self, count):
        count._obj.value = self.gpus
        return 0


@pytest.fixture
def driver_with(monkeypatch):
    """Gives this machine a driver, or None for none."""

    def put(driver, version="2.14.1"):
        def load(name):
            if driver is None:
                raise OSError(f"{name}: cannot open shared object file")
            return driver

        monkeypatch.setattr(ctypes, "CDLL", load)
        monkeypatch.setattr(devices, "_OF_AMD", Path("/no/such/device"))
        monkeypatch.setattr(devices, "_torch_version", lambda: version)
        monkeypatch.setattr(devices.sys, "platform", "linux")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    return put


@given(st.integers(1, 16), st.integers(0, 20))
def test_a_numbered_gpu_is_there_if_the_driver_counts_as_many(gpus, number):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "_gpus_here", lambda: (gpus, ""))
        patch.setattr(devices, "_torch_version", lambda: "2.14.1")
        patch.setattr(devices, "_OF_AMD", Path("/no/such/device"))
        patch.setattr(devices.sys, "platform", "linux")
        require_device("cuda")
        if number < gpus:
            require_device(f"cuda:{number}")
            return
        with pytest.raises(ConfigError, match=f"--device cuda:{number}: this machine has {gpus} GPU"):
            require_device(f"cuda:{number}")


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_without_a_driver_what_needs_none_passes(driver_with, device):
    driver_with(None)
    require_device(device)


@pytest.mark.parametrize("device", ["gpu", "cuda0", "cuda:", "cuda:-1", "cuda:01", "", "CUDA", "auto:0", "cpu\n"])
def test_a_name_that_no_device_has_is_refused_everywhere(device):
    for check in (require_known_device, require_device):
        with pytest.raises(ConfigError, match="there is no such device; give auto, cpu, cuda, or cuda:N"):
            check(device)


def test_without_a_driver_there_is_no_gpu(driver_with):
    driver_with(None)
    with pytest.raises(ConfigError, match=r"no NVIDIA driver \(libcuda.so.1 can't be loaded\). Give --device cpu"):
        require_device("cuda")


@pytest.mark.parametrize(("gpus", "error", "said"), [(0, 0, "machine"), (0, 100, r"\(error 100\)"), (2, 803, "803")])
def test_a_driver_that_finds_no_gpu_or_fails_is_named(driver_with, gpus, error, said):
    driver_with(Driver(gpus, error))
    with pytest.raises(ConfigError, match=f"the NVIDIA driver finds no GPU on this machine.*{said}|{said}"):
        require_device("cuda")


def test_hidden_gpus_are_said_to_be_hidden(driver_with, monkeypatch):
    driver_with(Driver(0, 100))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ConfigError, match="CUDA sees no GPU, and CUDA_VISIBLE_DEVICES is ''"):
        require_device("cuda")


def test_a_torch_for_cpus_only_is_named_where_there_is_a_gpu(driver_with):
    driver_with(Driver(1), version="2.14.1+cpu")
    with pytest.raises(ConfigError, match=r"torch 2.14.1\+cpu is built without CUDA"):
        require_device("cuda")


@pytest.mark.parametrize(
    ("driver", "version", "reason"),
    [
        (None, "2.14.1", "this machine has no NVIDIA driver (libcuda.so.1 can't be loaded)"),
        (Driver(0), "2.14.1", "the NVIDIA driver finds no GPU on this machine"),
        (Driver(1), "2.14.1+cpu", "torch 2.14.1+cpu is built without CUDA"),
        (Driver(1), "2.14.1", ""),
    ],
)
def test_why_there_is_no_gpu_to_use_is_one_reason(driver_with, driver, version, reason):
    driver_with(driver, version)
    assert why_no_gpu() == reason


def test_where_the_driver_can_not_tell_nothing_is_refused(driver_with, monkeypatch, tmp_path):
    driver_with(None)
    monkeypatch.setattr(devices, "_OF_AMD", tmp_path)
    require_device("cuda:3")
    driver_with(None)
    monkeypatch.setattr(devices.sys, "platform", "darwin")
    require_device("cuda")


def test_a_cluster_is_asked_for_gpus_by_kind_and_not_by_number():
    require_device_of_cluster("cpu", 0)
    require_device_of_cluster("auto", 0)
    require_device_of_cluster("cuda", 2)
    require_device_of_cluster("cuda:0", 2)
    with pytest.raises(ConfigError, match="the Ray cluster has no GPU"):
        require_device_of_cluster("cuda", 0)
    with pytest.raises(ConfigError, match="each replica has one GPU of its own"):
        require_device_of_cluster("cuda:1", 2)
