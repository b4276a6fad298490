"""Where a replica sits: what a cluster tells it about its node before it begins."""

from dataclasses import dataclass

from pipeline.files.model_cache import ReadChunk


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """What a replica on a cluster gets. A replica in the driver's own process has no seat: it is the driver's node."""

    node: str
    """The node's name, as messages and events have it."""
    read_chunk: ReadChunk | None = None
    """Reads the driver's model, for a node that has it nowhere; None: it can't be had from there."""
