"""What happens to a batch of images between their bytes and their tar members, without anything around it."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.config import EnsembleConfig
from model.fake import FakeModel
from pipeline.collection.images import decode_rgb
from pipeline.records import CandidateRow
from pipeline.runs.candidates import encode_members
from pipeline.selection.scores import score


class Segment:
    """Decodes, predicts with the fake model, scores and encodes: step by step the work of `process_shard`."""

    def __init__(self, ensemble_size: int) -> None:
        self._model = FakeModel(ensemble=EnsembleConfig(ensemble_size=ensemble_size))

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Turn `path` and `bytes` of each image into its key and members, in columns as Ray Data uses them."""
        keys, photos = [Path(path).stem for path in batch["path"]], list(batch["bytes"])
        pixels = [decode_rgb(key, photo) for key, photo in zip(keys, photos, strict=True)]
        samples = []
        for key, photo, prediction in zip(keys, photos, self._model.predict(pixels, keys), strict=True):
            row = CandidateRow(
                key=key,
                status="done",
                reason="",
                detail="",
                image_sha256=hashlib.sha256(photo).hexdigest(),
                image_bytes=len(photo),
                members=len(prediction.members),
                fewer_at_once=prediction.fewer_at_once,
                scores=score(prediction),
            )
            samples.append({"__key__": key, **encode_members(row, prediction)})
        return {name: [sample[name] for sample in samples] for name in samples[0]}
