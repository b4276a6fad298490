"""Binds what was predicted to the images it was predicted for: one digest for all images of a shard. Pure.

The digest is in the shard's record from the moment that the shard is committed, and a release repeats it. So maps that
were exchanged between two images since then are found, and scores too that can't be measured again.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.files.tars import encode_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What belongs together."""

    key: str
    image_sha256: str
    maps_sha256: str
    """See `maps_sha256`."""
    members: int
    scores: Mapping[str, float]


def maps_sha256(maps: Mapping[str, bytes]) -> str:
    """SHA-256 of an image's stored maps, saliency and variance; the mask follows from the saliency.

    Not of the mask's own PNG, which is made later, perhaps by another version of Pillow.

    Args: maps: extension → content, as in a candidate shard or in a release.
    """
    digest = hashlib.sha256()
    for name in ("saliency.png", "variance.png"):
        digest.update(hashlib.sha256(maps.get(name, b"")).digest())
    return digest.hexdigest()


def kept_binding(images: Iterable[tuple[str, str, bytes]]) -> str:
    """SHA-256 of the kept members of a shard's predicted images, in the shard's order; "" if none has any.

    Apart from `binding`, which a release repeats: no release has the members.

    Args: images: key, SHA-256 of the image, and its file of members; empty if it has none.
    """
    digest, has_any = hashlib.sha256(), False
    for key, image_sha256, content in images:
        has_any |= bool(content)
        facts = {"key": key, "image": image_sha256, "kept": hashlib.sha256(content).hexdigest()}
        digest.update(encode_json(facts) + b"\n")
    return digest.hexdigest() if has_any else ""


def binding(images: Iterable[Bound]) -> str:
    """SHA-256 of the predicted images of a shard, in the shard's order.

    Raises: ValueError: a score is not finite.
    """
    digest = hashlib.sha256()
    for image in images:
        facts = {"key": image.key, "image": image.image_sha256, "maps": image.maps_sha256, "members": image.members}
        scores = {name: float(score) for name, score in image.scores.items()}
        digest.update(encode_json(facts | {"scores": scores}) + b"\n")
    return digest.hexdigest()
