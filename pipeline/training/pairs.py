"""Training pairs: images and their masks from list files, folders or the tars of a release."""

import contextlib
import os
import tarfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from model.config import MAX_IMAGE_PIXELS
from model.documents import DocumentError, read_document
from pipeline.collection.config import MAX_IMAGE_BYTES
from pipeline.collection.images import decode_rgb
from pipeline.errors import CollectionError, SampleError
from pipeline.evaluation.pairs import SUFFIXES, pair_files
from pipeline.evaluation.truth import grey_truth_of, truth_of
from pipeline.files.pictures import decoded
from pipeline.training.config import DataConfig

_HEAD_BYTES = 1 << 16  # 64 KiB: formats store the size near the start
_NAMED = 5
_LONGEST_HEADER_BYTES = 1 << 20  # 1 MiB; names have at most a few hundred

Levels = TypeVar("Levels", Bool[np.ndarray, "h w"], UInt8[np.ndarray, "h w"])


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSource:
    """Where the bytes of an image or mask are: a whole file, or a member of a tar."""

    path: Path
    offset: int = 0
    size_bytes: int = -1
    """-1: to the end of the file."""
    name: str = ""
    """Name of the tar's member."""

    def read(self, most_bytes: int = -1) -> bytes:
        """Read the bytes, or the first ones; never more than `MAX_IMAGE_BYTES`, with which a larger image is torn.

        Raises: OSError: the file no longer exists, or can't be read.
        """
        with self.path.open("rb") as file:
            file.seek(self.offset)
            held = min(os.fstat(file.fileno()).st_size, MAX_IMAGE_BYTES)  # asked for more, Python takes memory for it
            return file.read(min(size for size in (most_bytes, self.size_bytes, held) if size >= 0))

    def size_px(self) -> tuple[int, int] | None:
        """Width and height from the image's header; None if it can't be read."""
        for most_bytes in (_HEAD_BYTES, -1):  # a long EXIF may come first
            with contextlib.suppress(SampleError, OSError):
                return decoded(str(self), self.read(most_bytes), lambda image: image.size, max_pixels=None)
        return None

    def __str__(self) -> str:
        return f"{self.path}:{self.name}" if self.name else str(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPair:
    """An image and its mask."""

    image: ImageSource
    mask: ImageSource
    max_pixels: int = MAX_IMAGE_PIXELS
    """Limit on height x width of both."""

    def read(self) -> tuple[UInt8[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
        """Decode both; the mask is True where the object is.

        Raises: CollectionError: one of them can't be decoded, or their sizes differ; the message names both.
        """
        return self._decoded(truth_of)

    def read_grey(self) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w"]]:
        """Decode both; the mask keeps its grey levels.

        Raises: CollectionError: see `read`.
        """
        return self._decoded(grey_truth_of)

    def _decoded(self, convert: Callable[[Image.Image], Levels]) -> tuple[UInt8[np.ndarray, "h w 3"], Levels]:
        try:
            pixels = decode_rgb(str(self.image), self.image.read(), max_pixels=self.max_pixels)
            truth = decoded(str(self.mask), self.mask.read(), convert, max_pixels=self.max_pixels)
        except (SampleError, OSError) as error:
            raise CollectionError(f"can't train on image {self.image} and mask {self.mask}: {error}") from error
        if pixels.shape[:2] != truth.shape:
            (height, width), (mask_height, mask_width) = pixels.shape[:2], truth.shape
            raise CollectionError(_different_sizes(self, (width, height), (mask_width, mask_height)))
        return pixels, truth


def find_pairs(config: DataConfig) -> tuple[TrainingPair, ...]:
    """Find all pairs of the configured source, in the order of the lists or of names.

    Raises: CollectionError: there are none, a file is missing, or images and masks do not belong together.
    """
    return tuple(replace(pair, max_pixels=config.max_image_pixels) for pair in _pairs_of(config))


def _pairs_of(config: DataConfig) -> tuple[TrainingPair, ...]:
    if config.train_img_list and config.train_gt_list:
        return _pairs_in_lists(config.train_img_list, config.train_gt_list)
    if config.train_img and config.train_gt:
        return tuple(
            TrainingPair(image=ImageSource(path=pair.source), mask=ImageSource(path=pair.mask))
            for pair in pair_files(config.train_img, config.train_gt)
        )
    if config.train_release:
        return _pairs_in_release(config.train_release)
    raise CollectionError("no training data is given")


def check_images(pairs: Sequence[TrainingPair]) -> None:
    """Refuse pairs whose headers can't be read or give different sizes: training would meet them hours later.

    Pixels are not decoded.
    Raises: CollectionError: there are such pairs; the message names files.
    """
    different = []
    for pair in pairs:
        image_px, mask_px = pair.image.size_px(), pair.mask.size_px()
        if not (image_px and mask_px):
            pair.read()  # raises, and knows why
        elif image_px != mask_px:
            different.append(_different_sizes(pair, image_px, mask_px))
    if different:
        named = "\n".join(different[:_NAMED])
        raise CollectionError(f"{len(different)} of {len(pairs)} masks differ in size from their images:\n{named}")


def _different_sizes(pair: TrainingPair, image_px: tuple[int, int], mask_px: tuple[int, int]) -> str:
    (width, height), (mask_width, mask_height) = image_px, mask_px
    return f"image {pair.image}: {width} x {height} px, its mask {pair.mask}: {mask_width} x {mask_height} px"


def _pairs_in_lists(images: Path, masks: Path) -> tuple[TrainingPair, ...]:
    image_paths, mask_paths = (list(_listed(path)) for path in (images, masks))
    if len(image_paths) != len(mask_paths):
        raise CollectionError(
            f"{images} lists {len(image_paths)} images and {masks} {len(mask_paths)} masks; each image needs its mask "
            "on the same line"
        )
    return tuple(
        TrainingPair(image=ImageSource(path=image), mask=ImageSource(path=mask))
        for image, mask in zip(image_paths, mask_paths, strict=True)
    )


def _listed(file: Path) -> Iterator[Path]:
    """The paths in a list file, checked to exist."""
    try:
        lines = read_document(file).decode().splitlines()
    except UnicodeDecodeError as error:
        raise CollectionError(f"can't read {file} as a list of paths: no UTF-8 at byte {error.start}") from error
    except (OSError, DocumentError) as error:
        raise CollectionError(f"can't read {file} as a list of paths: {error}") from error
    named = [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]
    if not named:
        raise CollectionError(f"{file} lists no files")
    for number, line in named:
        path = (file.parent / line).absolute()
        if not path.is_file():
            # Nothing is quoted of a file that is no list of images: it may be one of passwords.
            what = f"file {path}" if path.suffix.lower() in SUFFIXES else "such file, and it has no image's suffix"
            raise CollectionError(f"{file}, line {number}: there is no {what}")
        yield path


def _pairs_in_release(folder: Path) -> tuple[TrainingPair, ...]:
    tars = sorted((folder.absolute() / "data").glob("*/*.tar"))  # names must not depend on the working folder
    if not tars:
        raise CollectionError(f"{folder} holds no data/*/*.tar, so it is not a release of this project")
    pairs = tuple(pair for tar in tars for pair in _pairs_in_tar(tar))
    if not pairs:
        raise CollectionError(f"{folder} has {len(tars)} tars without a pair of image and mask; give another release")
    return pairs


def _pairs_in_tar(tar: Path) -> Iterator[TrainingPair]:
    """The pairs of one tar; only the headers of its members are read, and none is believed."""
    found: dict[str, dict[str, ImageSource]] = {"jpg": {}, "mask.png": {}}
    try:
        tar_bytes = tar.stat().st_size
        # Not compressed: a few KB could unpack to any size.
        with tar.open("rb") as file, tarfile.open(fileobj=cast(Any, _Headers(file)), mode="r:") as members:
            for member in members:
                key, _, extension = member.name.partition(".")
                if extension in found and member.isfile():
                    _require_inside(member, tar_bytes, found[extension].keys())
                    found[extension][key] = ImageSource(
                        path=tar, offset=member.offset_data, size_bytes=member.size, name=member.name
                    )
    except (tarfile.TarError, OSError, ValueError, OverflowError, EOFError) as error:
        raise CollectionError(f"can't read {tar}: {error}") from error
    images, masks = found["jpg"], found["mask.png"]
    if lonely := sorted(images.keys() ^ masks.keys()):
        raise CollectionError(f"{tar}: {lonely[0]} has only an image or only a mask")
    return iter(TrainingPair(image=images[key], mask=masks[key]) for key in images)


class _Headers:
    """The headers of an open tar: whoever asks for more at once believes a header that lies."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, count: int) -> bytes:
        """Read the next bytes.

        Raises: ValueError: no header is as long.
        """
        if not 0 <= count <= _LONGEST_HEADER_BYTES:
            raise ValueError(f"a header claims {count} bytes")
        return self._file.read(count)


def _require_inside(member: tarfile.TarInfo, tar_bytes: int, keys: Collection[str]) -> None:
    """Refuse a member whose bytes are not in the tar, are too many for an image, or come twice.

    Raises: ValueError: one of them.
    """
    if member.name.partition(".")[0] in keys:
        raise ValueError(f"member {member.name[:200]!r} comes twice")
    if member.issparse() or not 0 <= member.size <= MAX_IMAGE_BYTES or member.offset_data + member.size > tar_bytes:
        raise ValueError(
            f"member {member.name[:200]!r} claims {member.size} bytes, in a tar of {tar_bytes}; an image has at most "
            f"{MAX_IMAGE_BYTES}"
        )
