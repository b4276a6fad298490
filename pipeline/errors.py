"""Everything that can go wrong, as classes. What happens next is decided by class, never by message.

PipelineError
├── UsageError            the request itself is wrong; no work was begun                  → exit 2
│   ├── ConfigError       a configuration field is wrong; names its value and its bound
│   ├── AnnotationError   the annotation JSON can't be used at all
│   ├── CollectionError   the folder or archive of images can't be used at all
│   ├── RunMismatchError  the output folder holds a run with another fingerprint
│   ├── RunBusyError      another session is working on the run
│   └── ReleaseExistsError  the requested version exists and is a different release
├── SampleError           one image can't be used: it becomes a `failed` row, and the shard continues
├── StorageError          a file of a run or release is missing, torn, or can't be written  → exit 1
│   ├── UnsoundReleaseError  a release has problems, so it is not published
│   └── StorageUnavailableError  the storage does not respond or is full; the file may be fine
│       └── StorageRefusedError  it lets nobody in: no credentials, or not these
├── ModelError            the model can't be loaded, or its output is not a prediction        → exit 1
├── ReleaseNotMadeError   images are committed, but the rest or the release was refused    → exit 1
├── NodeUnfitError        a node can't do the work of this run; others may               → exit 1
├── ReplicaError          replicas kept dying: the run stops and can be resumed            → exit 1
├── LeaseLostError        another session took over the run and continues it              → exit 1
└── Stopped               the run was asked to stop and can be resumed                     → exit 1
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from pipeline.shown import without_secrets

RESUME = "Run the same command again to resume"


class PipelineError(Exception):
    """The root of all errors that a caller may want to catch. No message shows a URL's password or signature."""

    def __str__(self) -> str:
        return without_secrets(super().__str__())


class UsageError(PipelineError):
    """The request can't be carried out as given; no work was begun."""


class ConfigError(UsageError):
    """A configuration field is unknown, of the wrong type, or out of its bounds."""


class AnnotationError(UsageError):
    """The annotation JSON is not a readable COCO annotation file."""


class CollectionError(UsageError):
    """The folder or archive of images is missing or can't be opened."""


class RunMismatchError(UsageError):
    """The output folder holds a run with another fingerprint."""


class RunBusyError(UsageError):
    """Another session is working on the run."""


class ReleaseExistsError(UsageError):
    """A release of this name and version exists, and is not the one that would be made."""


class SampleError(PipelineError):
    """One image can't be used.

    Args:
        reason: one of `FAILURE_REASONS`; goes into the manifest, where failures are counted by it.
        detail: what was found, and where; stands beside the reason in the manifest.
    """

    def __init__(self, reason: str, detail: str) -> None:
        if reason not in FAILURE_REASONS:
            raise ValueError(f"unknown failure reason {reason!r}; one of {sorted(FAILURE_REASONS)}")
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["SampleError"], tuple[str, str]]:
        """Pickle both arguments: by default only the message is, from which no other process can rebuild it."""
        return SampleError, (self.reason, self.detail)


FAILURE_REASONS = frozenset(
    {
        "missing",  # the folder or archive has no such file
        "unsafe_path",  # the annotation's file_name leaves the folder
        "unsafe_address",  # its address leads to this machine or into a private network
        "opted_out",  # its server asks programs like this one to stay away
        "unreadable",  # the bytes could not be read: torn archive, wrong checksum, unsupported compression
        "too_many_bytes",  # the file is larger than the limit
        "too_many_pixels",  # the header claims more pixels than the limit
        "too_slow",  # decoding it would take far more work than its pixels justify
        "too_large",  # decoding it would take more memory than its pixels justify, or than there is
        "undecodable",  # not an image, or a truncated one
        "size_mismatch",  # its decoded size differs from the annotation's
        "model_output",  # the model's prediction for it is NaN or outside [0, 1]
        "kills_replica",  # the process died each time it worked on this image, so it is skipped
        "model_memory",  # too large for the device's memory at its own size
        "no_candidate",  # a score pass can't score it: the run has no maps of it
        "no_witness",  # a score pass can't score it: another one that it builds on has no value for it
        "no_members",  # a score pass can't score it: the run has no masks of its members
        "image_changed",  # a score pass can't score it: its file is not the one that was predicted
        "no_vector",  # a score pass can't score it: the pass embeddings has no vector of it
        "pass_output",  # a score pass gave something that its columns can't hold: NaN, or a value out of range
    }
)


class StorageError(PipelineError):
    """A file of a run or a release is missing, torn, or could not be written."""


class StorageUnavailableError(StorageError):
    """The storage failed or is full. The file may be whole, so nothing is concluded about it."""


class StorageRefusedError(StorageUnavailableError):
    """The storage has answered, and lets nobody in: credentials are missing, expired, or don't permit this.

    Args: words: what was answered, and what to check.
    """

    def __init__(self, words: str) -> None:
        super().__init__(f"{words}. Existing files are unchanged. Then run the same command again to resume")
        self.words = without_secrets(words)

    def __reduce__(self) -> tuple[type["StorageRefusedError"], tuple[str]]:
        """Pickle the words: by default the message is, which would get its end twice."""
        return StorageRefusedError, (self.words,)


class UnsoundReleaseError(StorageError):
    """A release has problems, so it is not published."""


class ModelError(PipelineError):
    """Weights can't be loaded, or the model's output is not a valid prediction."""


class ReleaseNotMadeError(PipelineError):
    """Images were computed or scored and committed, and then something refused the rest of the work or the release."""


class ReplicaError(PipelineError):
    """Replicas died more often than the caps allow."""


class NodeUnfitError(PipelineError):
    """A node can't do the work of this run, whichever shard it gets: the fault is the node's, never an image's.

    Args:
        node: its name.
        lacks: what it lacks → what to do about it; each is a part of a sentence, or a sentence without its stop.
    """

    def __init__(self, node: str, lacks: Mapping[str, str]) -> None:
        self.node, self.lacks = node, dict(lacks)
        advice = ". ".join(dict.fromkeys(lacks.values()))
        super().__init__(
            "\n".join([f"{node} can't do the work of this run:", *(f"  {lack}" for lack in lacks), advice])
        )

    def __reduce__(self) -> tuple[type["NodeUnfitError"], tuple[str, dict[str, str]]]:
        """Pickle the arguments, as `SampleError` does."""
        return NodeUnfitError, (self.node, self.lacks)

    @property
    def reason(self) -> str:
        """What it lacks, in one line."""
        return "; ".join(self.lacks)


class LeaseLostError(PipelineError):
    """Another session took over the run because this one seemed dead."""


class Stopped(PipelineError):
    """The run was asked to stop. Committed shards stay."""


@contextmanager
def kept(words: Callable[[], str]) -> Iterator[None]:
    """Add to a full disk, a lost connection or an interrupt in this block what stays of the work.

    Args: words: a sentence such as `24 of 37 images are committed and stay`; "" if nothing stays.
    """
    try:
        yield
    except (OSError, KeyboardInterrupt) as error:
        if said := words():
            error.add_note(f"{said}. {RESUME}")
        raise
