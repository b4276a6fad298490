"""Describes each image by a vector, a thumbnail and a perceptual hash: `duplicates.py` finds near-duplicates by them.

A vector is made of two parts of equal length: what the image shows (`encoders.py`), and what it looks like from afar
(`thumbnails.py`). So the cosine of two vectors is the mean of both parts' cosines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from pipeline.errors import ConfigError, SampleError
from pipeline.passes.duplicates.encoders import Encoder, encoder_fields, load_encoder
from pipeline.passes.duplicates.overlay import SIDE_PX
from pipeline.passes.duplicates.thumbnails import FREQUENCIES, HASH_DIGITS, LEVELS, seen_from_afar
from pipeline.passes.duplicates.vectors import STORED, unit, whole_numbers
from pipeline.passes.options import EmbeddingsOptions
from pipeline.passes.score_pass import Item, PassContext, Values
from pipeline.selection.columns import Column, Text, Vector

VECTOR, THUMBNAIL, HASH = "embedding", "embedding_thumbnail", "perceptual_hash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What is stored of an image."""

    vector: bytes
    thumbnail: bytes
    hash: str


class Embeddings:
    """Fulfils `Scorer`."""

    needs_image = True

    def __init__(self, options: EmbeddingsOptions, context: PassContext) -> None:
        self._encoder = load_encoder(options, context.model)

    @staticmethod
    def made_with(options: EmbeddingsOptions, context: PassContext) -> Mapping[str, str]:
        """What the encoder's name does not tell."""
        return encoder_fields(options, context.model)

    @staticmethod
    def about(options: EmbeddingsOptions, context: PassContext) -> Mapping[str, str]:
        """What a card says."""
        return {
            "Embeddings": f"Each image has a perceptual hash (pHash, {4 * HASH_DIGITS} bits of its low frequencies)."
        }

    @property
    def columns(self) -> Sequence[Column]:
        """The vector, and the hash."""
        return (
            Vector(
                name=VECTOR,
                meaning="what the image shows and what it looks like from afar; the cosine of two vectors tells how "
                "alike two images are",
                length=self._encoder.length + FREQUENCIES**2,
            ),
            Vector(
                name=THUMBNAIL,
                meaning=f"{SIDE_PX} rows of {SIDE_PX} grey values, 0 to {255 * LEVELS}",
                length=SIDE_PX**2,
            ),
            Text(
                name=HASH,
                meaning="perceptual hash of the image (pHash of its grey values), 64 bits as 16 hexadecimal digits; "
                "copies differ in few bits, unrelated images in about 32",
            ),
        )

    @property
    def device_kind(self) -> str:
        """That of the encoder."""
        return self._encoder.device_kind

    def score_all(self, items: Sequence[Item]) -> list[Values | SampleError]:
        """Describe the images of a batch."""
        images = [item.image for item in items if item.image is not None]
        return [
            {VECTOR: found.vector, THUMBNAIL: found.thumbnail, HASH: found.hash}
            for found in describe(images, self._encoder)
        ]


def describe(images: Sequence[UInt8[np.ndarray, "_h _w 3"]], encoder: Encoder) -> list[Described]:
    """Describe at least one image.

    Raises: ModelOutputError: the encoder gave NaN or infinity.
    """
    return [
        Described(
            vector=whole_numbers(_joined(shown, seen.frequencies)).tobytes(),
            thumbnail=seen.thumbnail.astype(STORED).tobytes(),
            hash=seen.hash,
        )
        for shown, seen in zip(encoder.of(images), map(seen_from_afar, images), strict=True)
    ]


def _joined(shown: Float[np.ndarray, " s"], seen: Float[np.ndarray, " 64"]) -> Float[np.ndarray, " d"]:
    """One vector of both parts; frequencies last, since their end is the odd part."""
    return np.concatenate([unit(shown), unit(seen)])


def require_same_encoder(embeddings: Mapping[str, str], options: EmbeddingsOptions, context: PassContext) -> None:
    """Refuse to compare vectors of two encoders.

    Args:   embeddings: the fingerprint of the pass that made the run's vectors.
    Raises: ConfigError: they were made with something else; names each field with both values.
    """
    from pipeline.made_with import differences, refusal

    wanted = encoder_fields(options, context.model)
    found = differences({name: embeddings.get(name, "") for name in wanted}, wanted)
    if found:
        advice = "Give the options that the run's embeddings were made with, so that other images get alike vectors"
        raise ConfigError(refusal("--against: the pass embeddings of the run has another encoder", found, advice))
