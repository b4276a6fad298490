"""One run, one truth: what a replica proves, by digests, before it takes its first shard.

The driver says what the run is made with (`Expected`); a replica finds out what it has itself. A path proves nothing:
another version of the code may lie there, or no image. Options travel with the replica's setup, so they are equal.
`weights.py` proves the weights, and fetches them; `runs/machine.py` compares the kind of device and the instruction
set, which the first replica decides.
"""

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from pipeline.errors import NodeUnfitError
from pipeline.files import urls
from pipeline.replicas.probes import REMEDY, problems
from pipeline.replicas.seat import Seat
from pipeline.replicas.shard_work import ShardWork
from pipeline.runs.fingerprint import code_sha256
from pipeline.runs.machine import LIBRARIES, library_versions

_PROVEN = ("code", *LIBRARIES)
"""Fields of a fingerprint that a machine can have otherwise; all others are options."""
REMEDY_OF_OUT = "Give --out as a folder that all nodes share, or as the URL of a bucket"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the driver knows of a run; every replica must find the same."""

    fields: Mapping[str, str] = field(default_factory=dict)
    """Field of the fingerprint → its value, of those that a machine can have otherwise."""
    more_code: tuple[str, ...] = ()
    """Modules of `pipeline/` that the field `code` covers beside those of candidates; see `code_sha256`."""
    accept_mixed: bool = False
    """Versions of libraries may differ; see `ShardWork`."""

    @staticmethod
    def of(
        made_with: Mapping[str, str],
        *,
        further: Sequence[str] = (),
        more_code: Sequence[str] = (),
        accept_mixed: bool = False,
    ) -> "Expected":
        """What is expected by a fingerprint. Args: further: fields that `prove` is told what they are on a machine."""
        fields = {name: made_with[name] for name in (*_PROVEN, *further) if name in made_with}
        return Expected(fields=fields, more_code=tuple(more_code), accept_mixed=accept_mixed)


def prove(
    expected: Expected,
    work: ShardWork,
    seat: Seat,
    device: str = "cpu",
    further: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Prove that this process has what the run is made with, and sees its images and its folder.

    Args:   device: that the model will be on.
            further: fields that the caller has found out here.
    Raises: NodeUnfitError: it does not; the message has each difference with the value expected and the one found.
            StorageUnavailableError, OSError: the images' storage does not respond, or does not let us in.
    """
    lacks = other_software(expected)
    for name in further.keys() & expected.fields.keys():
        if further[name] != expected.fields[name]:
            lacks[_difference(name, expected.fields[name], further[name])] = "Have the same files on every node"
    if found := next(problems(work.probes), None):
        lacks[found] = REMEDY
    if urls.is_local(work.run) and not Path(work.run).is_dir():  # it would be made, and take commits nobody else sees
        lacks[f"{work.run}: there is no such folder"] = REMEDY_OF_OUT
    elif urls.is_local(work.run) and work.lock and not (Path(work.run) / work.lock).is_file():
        lacks[f"{work.run}: it is not the folder that the driver writes to"] = REMEDY_OF_OUT
    if not lacks:  # torch may not even be there otherwise
        lacks |= _other_device(device)
    if lacks:
        raise NodeUnfitError(seat.node, lacks)


def other_software(expected: Expected) -> dict[str, str]:
    """Code and libraries of this machine that differ from those of the run: what differs → what to do about it."""
    lacks = {}
    for name, wanted, found in _other_libraries(expected):
        lacks[_difference(name, wanted, found)] = (
            "Install the same versions on every node (requirements.lock), or accept different last bits with "
            "--accept-mixed"
        )
    wanted = expected.fields.get("code", "")
    if wanted and (found := code_sha256(expected.more_code)) != wanted:
        lacks[_difference("code", wanted, found)] = (
            "Have the same version of this project on every node, or submit it with the job (--working-dir)"
        )
    return lacks


def _other_libraries(expected: Expected) -> list[tuple[str, str, str]]:
    """Name, expected version and found version of each library that differs."""
    wanted = {name: version for name, version in expected.fields.items() if name in LIBRARIES}
    if expected.accept_mixed or not wanted:
        return []
    try:
        versions = library_versions()
    except importlib.metadata.PackageNotFoundError as error:
        return [(error.name, wanted.get(error.name, ""), "")]
    return [(name, version, versions[name]) for name, version in wanted.items() if versions[name] != version]


def _other_device(device: str) -> dict[str, str]:
    """A small sum on the device: a GPU that is broken fails there, not at a shard."""
    if not device.startswith("cuda"):  # `auto` is settled before on a cluster
        return {}
    remedy = "Check nvidia-smi there, and that torch has been built for CUDA (the wheel of the node's CUDA version)"
    import torch

    try:
        if float(torch.ones(1 << 20, device=device).sum()) == 1 << 20:
            return {}
        return {f"device {device}: it computes a wrong sum": remedy}
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch was built without CUDA
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        return {f"device {device}: expected, found none that works ({said})": remedy}


def _difference(name: str, expected: str, found: str) -> str:
    return f"{name}: expected {expected or 'none'}, found {found or 'none'}"
