"""How a replica is, as it answers when it is asked."""

from pipeline.files.patience import storage_health
from pipeline.replicas.events import Pulse
from pipeline.replicas.usage import ReplicaUsage, peak_device_bytes, peak_rss_bytes


def pulse_of(images: int, usage: ReplicaUsage | None) -> Pulse:
    """Take the pulse of the replica in this process.

    Args: images: that it has finished. usage: None: it has not loaded the model yet.
    """
    health = storage_health()
    return Pulse(
        images=images,
        predicting_s=usage.predicting_s if usage else 0.0,
        waiting_s=max(0.0, usage.loaded_s - usage.predicting_s) if usage else 0.0,
        storage_errors=health.errors,
        storage_away_s=health.away_s,
        rss_bytes=peak_rss_bytes(),
        device_bytes=peak_device_bytes(),
        batch_images=usage.batch_images if usage else 0,
    )
