"""The input of a run: where images and annotations are, and how large an image may be."""

import re
from dataclasses import dataclass, fields
from typing import Any, Literal

from model.config import MAX_IMAGE_PIXELS
from pipeline.files.urls import chain_refused, is_chained
from pipeline.options import require_positive

Orientation = Literal["stored", "upright", "auto"]
"""Which frame images have whose sizes do not tell: see `frames.py`."""
MAX_IMAGE_BYTES = 64 << 20
"""Default limit on an image file, and on the bytes it takes in an archive: 64 MiB."""
MOST_IMAGE_PIXELS = 500_000_000
"""Largest limit on height x width: with the 4 bytes of Pillow's pixels, 2 GB, which some libraries count in 32 bits."""


_HOST = re.compile(r"[^\s/\[\]@]+")


def require_pixel_limit(config: Any) -> None:
    """Check the field `max_image_pixels` of a configuration.

    Raises: ValueError: it is not from 1 to `MOST_IMAGE_PIXELS`; the message names it with its value.
    """
    require_positive(config, "max_image_pixels")
    if config.max_image_pixels > MOST_IMAGE_PIXELS:
        raise ValueError(
            f"max_image_pixels is {config.max_image_pixels}; it must be at most {MOST_IMAGE_PIXELS}: larger images "
            "take more than 2 GB in one piece, which the libraries that decode and encode them can't handle"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InputConfig:
    """The images to segment."""

    images: str
    """Folder of images, a zip like COCO's, webdataset tars (a folder of them, one, or a pattern such as
    'shards/{00000..00117}.tar'), parquet with images, or a table of addresses (CSV, JSON lines, parquet). Nothing is
    unpacked. A path or an fsspec URL."""
    annotations: str = ""
    """COCO annotation JSON that lists the images; a path or an fsspec URL. Without it, every image found."""
    metadata: str = ""
    """CSV or parquet table of licences, authors and sources, with a row for each image that it knows; a path or an
    fsspec URL. Annotations take precedence over it."""
    follow_links: bool = False
    """Read images through symbolic links that lead out of the folder of images, as in a cache of the Hugging Face Hub.
    Without it, such images become failed rows."""
    max_image_bytes: int = MAX_IMAGE_BYTES
    """Larger files become failed rows."""
    max_image_pixels: int = MAX_IMAGE_PIXELS
    """Images that claim more pixels become failed rows; they are not decoded. At most 500,000,000."""
    orientation: Orientation = "auto"
    """Frame of images that ask viewers to turn them (EXIF orientation) if their annotated size does not tell it: as
    `stored`, or turned `upright`. `auto`: stored with annotations, upright without."""
    allow_chained_urls: bool = False
    """Let images and annotations be at chained URLs, such as simplecache::s3://bucket/train2017.zip: caches and zips
    (simplecache, filecache, blockcache, zip) on any other place."""

    image_column: str = ""
    """Column of a parquet file that has the images. By default it is told by its type and name."""
    name_column: str = ""
    """Column of a table that has the names of its images. By default their own paths, or a column such as file_name."""
    address_column: str = ""
    """Column of a table that has paths or URLs of images. By default one called url, path or the like."""
    allow_hosts: tuple[str, ...] = ()
    """Hosts and addresses that URLs in a table may lead to although they are in a private network or on this machine,
    and that are read whatever their robots.txt says."""

    def __post_init__(self) -> None:
        for place in () if self.allow_chained_urls else (self.images, self.annotations, self.metadata):
            if isinstance(place, str) and is_chained(place):  # it is no text while options are being collected
                raise ValueError(chain_refused(place))
        for host in self.allow_hosts:
            if not _HOST.fullmatch(host) or host.count(":") == 1:
                raise ValueError(
                    f"allow_hosts has {host!r}; it must be names or addresses of hosts, without protocol, port and "
                    "path, localhost or 10.0.0.5 for example"
                )
        require_positive(self, "max_image_bytes")
        require_pixel_limit(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectConfig:
    """Write the annotation JSON of images that have none: ids, names, sizes, and what a table tells of them.

    Exit codes: 0 done, 1 failed, 2 wrong request, 3 some images are not in the file (each is named with its reason).
    """

    images: str
    """Where the images are: a folder, a zip, tars, parquet or a table, as the main job takes them."""
    out: str
    """The file to write; a path or an fsspec URL. An existing file is not replaced."""
    metadata: str = ""
    """CSV or parquet table of licences, authors and sources, with a row for each image that it knows."""
    orientation: Orientation = "auto"
    """Sizes of images that ask viewers to turn them (EXIF orientation): as `stored`, or turned `upright`. `auto`:
    upright. The file states it."""
    follow_links: bool = False
    """Read images through symbolic links that lead out of the folder of images."""
    max_image_bytes: int = MAX_IMAGE_BYTES
    """Larger files fail."""
    allow_chained_urls: bool = False
    """Let images and the table be at chained URLs, such as simplecache::s3://bucket/photos.zip."""
    image_column: str = ""
    """Column of a parquet file that has the images. By default it is told by its type and name."""
    name_column: str = ""
    """Column of a table that has the names of its images."""
    address_column: str = ""
    """Column of a table that has paths or URLs of images."""
    allow_hosts: tuple[str, ...] = ()
    """Hosts that URLs in a table may lead to although they are in a private network or on this machine."""

    def __post_init__(self) -> None:
        _ = self.input  # which refuses what it can't use

    @property
    def input(self) -> InputConfig:
        """The same options, as those of the main job."""
        return InputConfig(
            **{option.name: getattr(self, option.name) for option in fields(self) if option.name != "out"}
        )
