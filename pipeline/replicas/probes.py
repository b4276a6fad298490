"""A few images of a run with their digests, by which a node proves that it sees what the driver has seen.

An image that is missing on one node may lie on all others: before it becomes a failed row, the probes tell whether the
image is at fault or the machine.
"""

import hashlib
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from pipeline.collection.stores import read_bytes
from pipeline.errors import NodeUnfitError, SampleError, StorageUnavailableError
from pipeline.files.connections import failure_in_words
from pipeline.records import Sample

_TRIED = 20
"""Images that are tried for each probe. In a collection in which so many can't be read, fewer probes do."""
_OF_MACHINES = ("missing", "unreadable")
"""Reasons of failures that may be the machine's fault: a disk that is not mounted, a copy that is torn."""
REMEDY = (
    "Make the images readable at the same path on every node (a shared file system), or give them as a URL that all "
    "nodes can read"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """An image that the driver has read."""

    sample: Sample
    sha256: str
    """Of its file."""
    max_bytes: int
    """As `stores.read_bytes`."""


def take_probes(samples: Sequence[Sample], max_bytes: int) -> tuple[Probe, ...]:
    """Read the first, the middle and the last image that can be read.

    Raises: OSError: as `stores.read_bytes`.
    """
    found: dict[str, Probe] = {}
    count, half = len(samples), len(samples) // 2
    for places in (range(count), range(half, count), range(count - 1, -1, -1)):
        for place in places[:_TRIED]:
            try:
                content = read_bytes(samples[place], max_bytes=max_bytes)
            except SampleError:
                continue
            sha256 = hashlib.sha256(content).hexdigest()
            found.setdefault(samples[place].key, Probe(sample=samples[place], sha256=sha256, max_bytes=max_bytes))
            break
    return tuple(found.values())


def problems(probes: Sequence[Probe]) -> Iterator[str]:
    """Read the probes again: for each that is not what the driver has read, what is found instead.

    Raises: StorageUnavailableError, OSError: their storage does not respond, or does not let us in.
    """
    return filter(None, map(_problem, probes))


def _problem(probe: Probe) -> str:
    """What is found instead of what the driver has read; "" if it is the same."""
    label = f"image {probe.sample.key}"
    try:
        content = read_bytes(probe.sample, max_bytes=probe.max_bytes)
    except StorageUnavailableError:
        raise
    except SampleError as error:
        return f"{label} is {error}"
    except OSError as error:
        if failure_in_words(error):
            raise
        return f"{label} can't be read ({type(error).__name__}: {error})"
    found = hashlib.sha256(content).hexdigest()
    return "" if found == probe.sha256 else f"{label} has the SHA-256 {found}, expected {probe.sha256}"


def refuse_machine(error: SampleError, sample: Sample, probes: Sequence[Probe]) -> None:
    """Find out whether an image that can't be read is at fault, or the machine: then no probe can be read either.

    Args:   error: what reading the image has raised.
    Raises: NodeUnfitError: it is the machine. StorageUnavailableError, OSError: as `problems`.
    """
    if error.reason not in _OF_MACHINES or sample.problem or not probes:
        return  # with a problem of its own, the driver has not found it either
    found = list(takewhile(bool, map(_problem, probes)))  # one that can be read is enough
    if len(found) == len(probes):
        lack = (
            f"image {sample.key} is {error}, and of {len(probes)} images that the driver could read, none: {found[0]}"
        )
        raise NodeUnfitError(platform.node(), {lack: REMEDY}) from error
