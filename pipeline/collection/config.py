"""The input of a run: where images and annotations are, and how large an image may be."""

from dataclasses import dataclass

from pipeline.files.urls import chain_refused, is_chained
from pipeline.options import require_positive

MAX_IMAGE_BYTES = 64 << 20
"""Default limit on an image file, and on the bytes it takes in an archive: 64 MiB."""
MAX_IMAGE_PIXELS = 89_000_000
"""Default limit on height x width, just below Pillow's own: as RGB, 267 MB of memory per image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputConfig:
    """The images to segment."""

    images: str
    """Folder of images, or a zip like COCO's (read without unpacking); a path or an fsspec URL."""
    annotations: str
    """COCO annotation JSON that lists the images; a path or an fsspec URL."""
    max_image_bytes: int = MAX_IMAGE_BYTES
    """Larger files become failed rows."""
    max_image_pixels: int = MAX_IMAGE_PIXELS
    """Images that claim more pixels become failed rows; they are not decoded."""
    allow_chained_urls: bool = False
    """Let images and annotations be at chained URLs, such as simplecache::s3://bucket/train2017.zip: caches and zips
    (simplecache, filecache, blockcache, zip) on any other place."""

    def __post_init__(self) -> None:
        for place in () if self.allow_chained_urls else (self.images, self.annotations):
            if isinstance(place, str) and is_chained(place):  # it is no text while options are being collected
                raise ValueError(chain_refused(place))
        require_positive(self, "max_image_bytes", "max_image_pixels")
