"""Small pictures of the newest masks of a run, read from what is committed. A few, and only the beginning of a tar."""

import base64
import io
import tarfile
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from model.documents import parse_json
from pipeline.files import storage
from pipeline.files.located import locate
from pipeline.files.maps import decode_png
from pipeline.files.ranges import read_range
from pipeline.records import CandidateRow
from pipeline.runs.candidates import FOLDER
from pipeline.runs.commits import read_shard_record
from pipeline.selection.policy import PolicyConfig
from pipeline.selection.verdicts import decide
from pipeline.shown import printable

MOST = 12
OF_A_SHARD = 4
SIDE_PX = 144
_READ_BYTES = 4 << 20  # 4 MiB of a tar: some ten maps of large photos
_WEBP = {"quality": 60, "method": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The saliency map of one image, small."""

    key: str
    verdict: str
    """Accepted or rejected, for the bounds of the run's policy; "" if there is no policy."""
    reason: str
    variance: float | None
    width_px: int
    height_px: int
    webp: str
    """Base64."""


class Newest:
    """Keeps the newest pictures of a run.

    Args: run: its folder. policy: of the run; None: nothing is decided.
    """

    def __init__(self, run: str, policy: PolicyConfig | None) -> None:
        self._run, self._policy = run, policy
        self._pictures = deque[Picture](maxlen=MOST)

    def look(self, shard: str) -> None:
        """Draw the first images of a committed shard.

        Raises: StorageError, OSError: its files can't be read.
        """
        record = read_shard_record(self._run, shard)
        if record.tar is None:
            return
        fs, path = locate(storage.join(self._run, FOLDER, record.tar.name))
        content = read_range(fs, path, 0, min(_READ_BYTES, record.tar.file_bytes))
        samples = [sample for sample in whole_samples(content) if {"json", "saliency.png"} <= sample.keys()]
        self._pictures.extend(self._drawn(sample) for sample in samples[:OF_A_SHARD])

    def pictures(self) -> tuple[Picture, ...]:
        """The newest first."""
        return tuple(reversed(self._pictures))

    def _drawn(self, sample: Mapping[str, bytes]) -> Picture:
        row = CandidateRow(**parse_json(sample["json"]))
        verdict = decide(row, self._policy) if self._policy else None
        small = Image.fromarray(decode_png(sample["saliency.png"]))
        small.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.BOX, reducing_gap=2.0)
        buffer = io.BytesIO()
        Image.fromarray(np.asarray(small)).save(buffer, format="WEBP", **_WEBP)
        return Picture(
            key=printable(row.key),
            verdict=verdict.decision if verdict else "",
            reason=verdict.reason if verdict else "",
            variance=row.scores.get("ensemble_variance"),
            width_px=small.width,
            height_px=small.height,
            webp=base64.b64encode(buffer.getvalue()).decode("ascii"),
        )


def whole_samples(content: bytes) -> list[dict[str, bytes]]:
    """The samples (extension → content) that are whole in the beginning of a tar."""
    samples: dict[str, dict[str, bytes]] = {}
    for name, member in _whole_members(content):
        key, _, extension = name.partition(".")
        samples.setdefault(key, {})[extension] = member
    return list(samples.values())


def _whole_members(content: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            for member in tar:
                end = member.offset_data + member.size
                if not member.isreg() or member.issparse() or end > len(content):
                    return
                yield member.name, content[member.offset_data : end]
    except tarfile.TarError:  # the beginning ends in a header
        return
