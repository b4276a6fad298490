"""Finds near-duplicates by what the pass `embeddings` tells: of earlier images of the run, and of test sets.

"Earlier" means the order of the plan. So a run that grows at its end changes no row that is there, and a policy that
bounds `duplicate_similarity` keeps the first of several copies.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Int16

from pipeline.errors import ConfigError, SampleError
from pipeline.passes.duplicates.against import PhotosOf, described, find_against, state_of
from pipeline.passes.duplicates.contamination import PICTURE, TABLE, closest_pairs, picture, table
from pipeline.passes.duplicates.embeddings import THUMBNAIL, VECTOR, require_same_encoder
from pipeline.passes.duplicates.encoders import load_encoder
from pipeline.passes.duplicates.join import Compared, Joined
from pipeline.passes.duplicates.overlay import SIDE_PX
from pipeline.passes.duplicates.vectors import stacked
from pipeline.passes.folder import is_begun, pass_folder, read_document
from pipeline.passes.options import DuplicatesOptions
from pipeline.passes.rows import read_rows
from pipeline.passes.score_pass import Item, PassContext, Photo, Values
from pipeline.runs.commits import committed_shards, read_shard_records
from pipeline.runs.fingerprint import digest_of
from pipeline.selection.columns import Column, Text, Vector
from pipeline.selection.scores import Score

EMBEDDINGS = "embeddings"


class Duplicates:
    """Fulfils `Scorer`."""

    needs_image = False

    def __init__(self, options: DuplicatesOptions, context: PassContext) -> None:
        self._options, self._context = options, context
        if not is_begun(context.run, EMBEDDINGS):
            raise ConfigError(
                "--pass duplicates builds on the pass embeddings, which the run does not have: run sod score "
                f"{context.run} --pass embeddings first"
            )
        document = read_document(context.run, EMBEDDINGS)
        found = [column for column in document.columns if isinstance(column, Vector) and column.name == VECTOR]
        if document.kind != EMBEDDINGS or not found:
            raise ConfigError(
                f"{pass_folder(context.run, EMBEDDINGS)} is no pass of the kind embeddings, but {document.kind}: give "
                "that one another --name"
            )
        self._length = found[0].length
        self._embeddings = document
        if options.sets:
            require_same_encoder(document.fingerprint, options.embeddings, context)
        self._encoder = load_encoder(options.embeddings, context.model) if options.sets else None

    @staticmethod
    def made_with(options: DuplicatesOptions, context: PassContext) -> Mapping[str, str]:
        """What the names of passes and collections do not tell."""
        embeddings = digest_of(read_document(context.run, EMBEDDINGS).fingerprint)
        states = {f"against {name}": state_of(find_against(name, place)) for name, place in options.sets}
        return {"embeddings": embeddings} | states

    @staticmethod
    def about(options: DuplicatesOptions, context: PassContext) -> Mapping[str, str]:
        """What a card says."""
        names = ", ".join(name for name, _ in options.sets)
        compared = f" and with every image of {names}" if names else ""
        return {
            "Near-duplicates": f"Every image was compared with all earlier ones of the collection{compared}, as it is "
            f"and mirrored; from a similarity of {options.duplicate_from:g} on, two images count as near-duplicates. "
            "Resized, recompressed and mirrored copies are found nearly always, cropped ones mostly; pictures of one "
            "scene that were taken apart are not looked for."
        }

    @staticmethod
    def report(
        options: DuplicatesOptions,
        context: PassContext,
        rows: Sequence[Mapping[str, Any]],
        photo_of: Callable[[str], Photo],
    ) -> Mapping[str, bytes]:
        """The table of matches, and the closest pairs as a picture; photos of test sets are shown here only."""
        photos_of_sets = {name: PhotosOf(name, place) for name, place in options.sets}

        def photo_of_set(name: str) -> Photo:
            return photos_of_sets[name.partition("/")[0]].photo(name.partition("/")[2])

        return {TABLE: table(rows), PICTURE: picture(closest_pairs(rows), photo_of, photo_of_set)}

    @property
    def columns(self) -> Sequence[Column]:
        """What is known about duplicates; about test sets only if there are any."""
        limit = f"{self._options.duplicate_from:g}"
        found: list[Column] = [
            Text(name="duplicate_of", meaning=f"key of the first earlier image whose similarity is at least {limit}"),
            Score(
                name="duplicate_similarity",
                meaning="similarity with the nearest earlier image of the collection: cosine of the edges of both "
                "thumbnails, laid over each other whole or cropped, as they are or mirrored, 0 to 1; 0 if none is near",
                worse_when="high",
            ),
            Text(name="nearest_earlier", meaning="key of that image, however similar it is, if any is near"),
        ]
        if self._options.sets:
            names = ", ".join(name for name, _ in self._options.sets)
            found += [
                Text(
                    name="test_set_match",
                    meaning=f"name of the nearest image of {_short(names)}, if its similarity is at least {limit}",
                ),
                Score(
                    name="test_set_similarity",
                    meaning="similarity with the nearest image of other collections, as duplicate_similarity",
                    worse_when="high",
                ),
                Text(name="test_set_nearest", meaning="name of that image, however similar it is, if any is near"),
            ]
        return found

    @property
    def device_kind(self) -> str:
        """That of the encoder; images are compared on the CPU."""
        return self._encoder.device_kind if self._encoder else "cpu"

    def score_all(self, items: Sequence[Item]) -> list[Values | SampleError]:
        """Look up what was found for images; for a whole block of them, when the first is asked for."""
        return [self._score(item.sample.key) for item in items]

    def _score(self, key: str) -> Values | SampleError:
        if key not in self._joined.run.places:
            return SampleError("no_vector", f"key {key}: the pass embeddings has no vector of it: it failed there")
        found = self._joined.of(key)
        values: dict[str, float | str | bytes | None] = {
            "duplicate_of": found.first,
            "duplicate_similarity": found.own.similarity,
            "nearest_earlier": found.own.name,
        }
        if found.of_sets is not None:
            is_match = found.of_sets.similarity >= self._options.duplicate_from
            values |= {
                "test_set_match": found.of_sets.name if is_match else None,
                "test_set_similarity": found.of_sets.similarity,
                "test_set_nearest": found.of_sets.name,
            }
        return values

    @cached_property
    def _joined(self) -> Joined:
        run = read_embeddings(self._context.run, self._length)
        return Joined(run, self._described_sets() if self._options.sets else None, self._options.duplicate_from)

    def _described_sets(self) -> Compared:
        """The images of all other collections."""
        assert self._encoder is not None
        folder = pass_folder(self._context.run, self._context.name)
        states = read_document(self._context.run, self._context.name).fingerprint
        made_with = digest_of(self._embeddings.fingerprint)
        found = [
            described(
                find_against(name, place), folder, states[f"against {name}"], self._encoder, made_with, self._length
            )
            for name, place in self._options.sets
        ]
        return Compared.of(
            [name for one in found for name in one.names],
            np.concatenate([one.vectors for one in found]),
            np.concatenate([one.thumbnails for one in found]),
        )


def read_embeddings(run: str, length: int) -> Compared:
    """Read what is known of all images that are described, in the order of the plan.

    Raises: StorageError: a file is not the one that its record names.
    """
    folder = pass_folder(run, EMBEDDINGS)
    columns = read_document(run, EMBEDDINGS).columns
    keys: list[str] = []
    stored: dict[str, list[Int16[np.ndarray, "n d"]]] = {VECTOR: [stacked([], length)], THUMBNAIL: [_NO_THUMBNAIL]}
    for record in read_shard_records(folder, sorted(committed_shards(folder))).values():
        rows = [row for row in read_rows(folder, record, columns) if row.status == "done"]
        keys += [row.key for row in rows]
        for name, found in stored.items():
            found.append(stacked([row.values[name] for row in rows], found[0].shape[1]))
    return Compared.of(keys, np.concatenate(stored[VECTOR]), np.concatenate(stored[THUMBNAIL]))


_NO_THUMBNAIL = stacked([], SIDE_PX**2)


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}…"
