"""Everything that can go wrong, as classes; what is done about it is decided by class, never by message.

PipelineError
├── UsageError            the request itself is wrong: nothing was started                 → exit 2
│   ├── ConfigError       a field of the configuration, with its value and its bound
│   ├── AnnotationError   the annotation JSON as a whole can't be used
│   ├── CollectionError   the folder or archive of images as a whole can't be used
│   ├── RunMismatchError  the output folder holds a run that was made with something else
│   ├── RunBusyError      another session works on the run
│   └── ReleaseExistsError  the version to be made is already there, made with something else
├── SampleError           one image can't be used: it becomes a `failed` row, the shard goes on
├── StorageError          a file of a run or release is missing, torn, or can't be written  → exit 1
│   ├── UnsoundReleaseError  a release that is to be published is not what it should be
│   └── StorageUnavailableError  the storage does not answer, or is full: says nothing about the file
├── ModelError            the model gave something that is no prediction, or can't be loaded → exit 1
├── ReleaseNotMadeError   the candidates are committed, and the release can't be made     → exit 1
├── ReplicaError          replicas kept dying: the run stops, and can be resumed            → exit 1
├── LeaseLostError        another session took the run over; it goes on there               → exit 1
└── Stopped               somebody asked the run to stop; the same command goes on          → exit 1
"""


class PipelineError(Exception):
    """The root: anything of ours that a caller may want to catch."""


class UsageError(PipelineError):
    """The request can't be carried out as it was made; nothing was changed."""


class ConfigError(UsageError):
    """A configuration field is unknown, of the wrong type, or out of its bounds."""


class AnnotationError(UsageError):
    """The annotation JSON can't be read as COCO annotations."""


class CollectionError(UsageError):
    """The images' folder or archive is missing or can't be opened."""


class RunMismatchError(UsageError):
    """The output folder holds a run with another fingerprint."""


class RunBusyError(UsageError):
    """Another session works on the run."""


class ReleaseExistsError(UsageError):
    """A release of this name and version is there already, and is not the one that would be made."""


class SampleError(PipelineError):
    """One image can't be used.

    Args:
        reason: one of `FAILURE_REASONS`; goes into the manifest, so that failures can be counted.
        detail: what was found, and where; goes into the manifest beside the reason.
    """

    def __init__(self, reason: str, detail: str) -> None:
        if reason not in FAILURE_REASONS:
            raise ValueError(f"unknown failure reason {reason!r}; one of {sorted(FAILURE_REASONS)}")
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["SampleError"], tuple[str, str]]:
        """Exceptions pickle their message alone, and could not be made of it in another process."""
        return SampleError, (self.reason, self.detail)


FAILURE_REASONS = frozenset(
    {
        "missing",  # no such file in the folder or archive
        "unsafe_path",  # the annotation's file_name leaves the folder
        "unreadable",  # the bytes could not be read: torn archive, wrong checksum, unsupported compression
        "too_many_bytes",  # the file is larger than the limit
        "too_many_pixels",  # the header claims more pixels than the limit
        "undecodable",  # no image, or a truncated one
        "size_mismatch",  # decodes to another size than the annotation says
        "model_output",  # the model's prediction for it is NaN or outside [0, 1]
        "kills_replica",  # the process died whenever it worked on it, so it is not touched any more
        "model_memory",  # at its own size it is too large for the device's memory
    }
)


class StorageError(PipelineError):
    """A file of a run or a release is missing, torn, or could not be written."""


class StorageUnavailableError(StorageError):
    """The storage does not do what it is asked for. The file may be whole, so nothing is concluded from it."""


class UnsoundReleaseError(StorageError):
    """A release has problems, so it is not published."""


class ModelError(PipelineError):
    """Weights can't be loaded, or a prediction breaks its contract."""


class ReleaseNotMadeError(PipelineError):
    """Images were computed and committed, and then the release could not be made."""


class ReplicaError(PipelineError):
    """Replicas died more often than the caps allow."""


class LeaseLostError(PipelineError):
    """Another session has taken the run over, since this one seemed dead."""


class Stopped(PipelineError):
    """The run was asked to stop. What is committed stays."""
