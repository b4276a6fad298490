"""The records that flow through the pipeline; values only, no behaviour beyond what follows from the fields.

A `Sample` is planned, a `CandidateRow` is measured, a `PassRow` adds to it, a `Verdict` is decided, a `ShardRecord` is
committed.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["done", "failed"]
Decision = Literal["accepted", "rejected", "failed"]
Frame = Literal["stored", "upright"]
"""Pixels as stored, or turned as the image's metadata asks viewers to; see `collection/frames.py`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where the bytes of one image are: a file of its own, or a part of a larger one."""

    path: str
    """Local path or fsspec URL of the file; it never enters a release."""
    reader: str = "file"
    """Who reads it: a name in the table of `pipeline/collection/stores.py`."""
    place: tuple[int, ...] = ()
    """Where in the file the image is, in numbers that its reader knows; () for a file of its own."""
    part: str = ""
    """What the part is called there, such as the name of a member or of a column; "" for a file of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One input image, as the annotations or its own header describe it.

    `key` is the 12-digit image id, or follows from the name (`collection/unannotated.py`). `location` is None when the
    image can't be found; `problem` then says why (a reason of `FAILURE_REASONS`) and `problem_detail` where it was
    looked for.
    """

    key: str
    image_id: int
    file_name: str
    width: int
    height: int
    license_id: int
    location: Location | None
    problem: str = ""
    problem_detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSpec:
    """The plan of one shard, made before any byte is read: its number and its samples in key order."""

    index: int
    samples: tuple[Sample, ...]

    @property
    def name(self) -> str:
        """Six digits, the stem of every file of this shard."""
        return f"{self.index:06d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateRow:
    """What is known of one image after the model has seen it, or why it has not.

    `scores` is empty for a failed image; `image_sha256` is empty when no bytes could be read.
    """

    key: str
    status: Status
    reason: str
    detail: str
    image_sha256: str
    image_bytes: int
    members: int
    fewer_at_once: int
    """See `Prediction`: not 0 if memory had run out, so that the last bits may be others on a larger device."""
    scores: Mapping[str, float]
    frame: Frame | Literal[""] = ""
    """That of its maps; "" for a failed image, and in rows of earlier versions."""
    exif_orientation: int = 0
    """1 to 8; 0 for a failed image, and in rows of earlier versions."""

    def stored(self) -> dict[str, Any]:
        """Name → value of every field, as files have them. `asdict` copies deeply: 26 µs instead of 1.3.

        Without a frame, a row has the fields of earlier versions.
        """
        left_out = () if self.frame else ("frame", "exif_orientation")
        values = {name: getattr(self, name) for name in self.__slots__ if name not in left_out}
        return values | {"scores": dict(self.scores)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PassRow:
    """What a score pass has found out about one image, or why it has not."""

    key: str
    status: Status
    reason: str
    """A reason of `FAILURE_REASONS`; empty for an image that was scored."""
    detail: str
    candidate_sha256: str
    """Of what was scored: see `Candidate` of `passes/score_pass.py`; empty for an image without a candidate."""
    values: Mapping[str, float | str | bytes | None]
    """Column → value; None where there is nothing to measure. Empty for a failed image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """Name, size and SHA-256 of a file as it was written; a reader compares them before it trusts the file."""

    name: str
    file_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRecord:
    """The commit of one shard of a run or of a score pass; written last, so its being there means that it is whole."""

    shard: str
    tar: StoredFile | None = None
    """None: a score pass, which has rows alone."""
    rows: StoredFile
    done: int
    failed: int
    made_with: str = ""
    """SHA-256 of the fingerprint it was made with; "" in records of earlier versions."""
    binding: str = ""
    """See `runs/binding.py`; "" in records of earlier versions."""
    number: int = 0
    """0 for the first record of a shard; the one with the highest number counts."""
    kept: str = ""
    """Binds the kept masks of ensemble members to their images: see `runs/binding.py`; "" if the run keeps none."""
    scored: str = ""
    """SHA-256 of the rows of the candidates that a score pass has scored; "" for candidates."""
    builds_on: str = ""
    """SHA-256 of the rows of other passes that a score pass has used; "" if it uses none."""

    @property
    def files(self) -> tuple[StoredFile, ...]:
        """All files of the shard."""
        return (self.tar, self.rows) if self.tar else (self.rows,)

    def stored(self) -> dict[str, Any]:
        """Name → value of every field, as files have them; without those that only the other kind of shard has."""
        only = ("scored", "builds_on") if self.tar else ("tar",)
        unused = [name for name in ("kept", "builds_on") if not getattr(self, name)]
        left_out = {*only, *unused}
        return {name: value for name, value in asdict(self).items() if name not in left_out}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The decision on one image. `reason` is empty for an accepted image."""

    decision: Decision
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What a check of a run or release found wrong in one file."""

    where: str
    """The file, relative to the run or release."""
    what: str
    """What was found, and what was expected."""
