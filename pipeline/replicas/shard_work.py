"""What the work on a shard needs to know, whatever the work is."""

from dataclasses import dataclass

from pipeline.records import Frame
from pipeline.replicas.probes import Probe


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardWork:
    """What is equal for all shards of a run, or of a score pass."""

    run: str
    """The folder in which shards are committed: the run's, or that of the score pass."""
    lock: str = ""
    """File in that folder which the session has made; whoever does not see it sees another folder. "": not known."""
    batch_images: int
    max_image_bytes: int
    max_image_pixels: int
    default_frame: Frame = "stored"
    """Of images whose annotated size does not tell their frame."""
    made_with: str = ""
    """SHA-256 of the fingerprint; the shard records carry it."""
    storage_patience_s: float = 0.0
    """Seconds that a replica waits for storage that does not respond, with its work in its hands."""
    accept_mixed: bool = False
    """Replicas may run on machines whose last bits differ; the run notes which."""
    keep_members: bool = False
    """A run stores the masks of ensemble members too."""
    retry_failed: bool = False
    """Committed shards are handed out too: their images are kept, except for batches that have a failed image."""
    probes: tuple[Probe, ...] = ()
    """Images that the driver has read; every machine must be able to."""
