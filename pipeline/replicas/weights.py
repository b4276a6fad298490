"""The weights of a run on every node: proven by digest where they lie, and fetched where they do not.

A node takes them from the first of these that has them: the path that the driver uses, the node's own cache, the URL
that the model was given as, the driver itself. Another model at the same path is not used, whatever its name.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from model.config import ModelConfig
from model.weights import weight_files, weights_sha256
from pipeline.errors import NodeUnfitError, StorageError, StorageUnavailableError
from pipeline.files import model_cache
from pipeline.files.model_cache import ReadChunk
from pipeline.files.model_urls import origin_of, reader
from pipeline.replicas.seat import Seat
from pipeline.shown import shown

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What the driver knows of the weights of a run."""

    sha256: str
    """As `weights_sha256`."""
    files: Mapping[str, int]
    """Name in the folder → size in bytes."""
    url: str = ""
    """Where every node may fetch them, at a fixed commit if there is such a thing; "": nowhere."""


def weights_of(model: ModelConfig, sha256: str = "") -> Weights | None:
    """Look at the model in this machine's folder; None for the stand-in, which has no weights.

    Args:   model: at hand, as `model_urls.at_hand` gives it. sha256: its digest, if that is known.
    Raises: OSError: there is no such folder, or no model in it.
    """
    if model.is_fake:
        return None
    folder = model.folder
    files = {path.relative_to(folder).as_posix(): path.stat().st_size for path in weight_files(folder)}
    sha256 = sha256 or weights_sha256(folder)
    return Weights(sha256=sha256, files=files, url=origin_of(model))


def at_seat(weights: Weights | None, model: ModelConfig, seat: Seat) -> ModelConfig:
    """The same model in a folder of this node, proven by digest; fetched if it is in none.

    Args:   model: as the driver has it.
    Raises: NodeUnfitError: it can't be had. StorageUnavailableError: nor now, for its storage does not respond.
    """
    if weights is None:
        return model
    if (found := model_cache.digest_in(model.folder)) == weights.sha256:
        return model
    if found:
        log.warning("%s holds other weights on %s (%s); they are not used", model.folder, seat.node, found[:12])
    folder = model_cache.entry(weights.sha256) or _fetched(weights, model.folder, found, seat)
    return replace(model, model=str(folder))


def _fetched(weights: Weights, folder: Path, found: str, seat: Seat) -> Path:
    sources: dict[str, ReadChunk] = {}
    if weights.url:
        sources[shown(weights.url)] = reader(weights.url)
    if seat.read_chunk:
        sources["the driver"] = seat.read_chunk
    said = [f"weights: expected {weights.sha256}, found {found or 'none'} in {folder}"]
    away: StorageUnavailableError | None = None
    for name, read in sources.items():
        try:
            return model_cache.fetch(weights.files, read, weights.sha256)
        except StorageUnavailableError as error:
            away = error
            said.append(f"{name} does not give them: {error}")
        except StorageError as error:
            said.append(f"{name} does not give them: {error}")
    if away:
        raise away
    raise NodeUnfitError(
        seat.node,
        {"; ".join(said): f"Copy the driver's {folder} to the same path on every node, or give --model as a URL"},
    )


def read_from(folder: Path) -> ReadChunk:
    """Reads the weights of a folder, and nothing else of it; what the driver answers its nodes with."""
    names = {path.relative_to(folder).as_posix() for path in weight_files(folder)}

    def read(name: str, start: int, length: int) -> bytes:
        if name not in names:
            raise StorageError(f"{folder} has no weights of the name {name!r:.200}")
        with (folder / name).open("rb") as file:
            file.seek(start)
            return file.read(length)

    return read
