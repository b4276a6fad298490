"""Where the images of a collection are: each kind of place has a store, which is listed once, and a reader.

`KINDS` and `READERS` are the tables: whoever adds a kind of place writes a module like `zips.py`, and a line in each.
A store decides which file or part of a file belongs to a name, and ensures that no name leaves its place. It reads no
image: `read_bytes` does, from the `Location` that the store found. Messages about an image go into a manifest, so they
name no path of this machine, and are the same for every kind of place.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from pipeline.collection import addresses, folders, parquet, tables, tars, zips
from pipeline.collection.collection import About
from pipeline.collection.config import MAX_IMAGE_BYTES, InputConfig
from pipeline.collection.kept import Kept
from pipeline.collection.names import label_of
from pipeline.collection.places import CANNOT_OPEN, Place
from pipeline.errors import CollectionError, SampleError, UsageError
from pipeline.files.connections import connected
from pipeline.files.patience import persist
from pipeline.files.ranges import NoRangesError
from pipeline.records import Location, Sample
from pipeline.shown import shown


class ImageStore(Protocol):
    """Images in one place, listed once."""

    @property
    def found(self) -> str:
        """What is there, in a few words for the log."""

    @property
    def holds_images_only(self) -> bool:
        """Is all that `names` has an image, whatever its name?"""

    def names(self) -> Iterable[str]:
        """The relative name of every image that is there, in any order."""

    def locate(self, file_name: str) -> Location:
        """Find the bytes of `file_name`.

        Raises: SampleError: `unsafe_path`, `missing`, or `unreadable` (ambiguous, encrypted, unknown compression).
        """

    def about(self, name: str) -> About:
        """What the place says of an image that `names` has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of place."""

    name: str
    """In words, for messages."""
    fits: Callable[[Place], bool]
    """Is the place of this kind? The first kind that fits has it."""
    open: Callable[[Place, Collection[str], InputConfig], ImageStore]
    """List it. Gets the place, and the names that will be requested: none means all."""


class Reader(Protocol):
    """Reads images of one kind of place; thread-safe."""

    def __call__(self, location: Location, label: str, max_bytes: int, first: int | None = None) -> bytes:
        """Read one image.

        Args:   label: names the image in messages.
                max_bytes: limit on the size of the image, and on the bytes it takes in an archive.
                first: read only so many bytes from its beginning, or a few more, and check nothing; for its header.
        Raises: SampleError: `missing`, `unreadable`, `too_many_bytes`.
                OSError: the machine, the connection, or the whole place failed, not this image.
        """


KINDS = (
    Kind(name="webdataset tars", fits=tars.is_tars, open=tars.open_tars),
    Kind(name="parquet with images or a table of addresses", fits=tables.is_table, open=tables.open_table),
    Kind(name="a folder of images", fits=folders.is_folder, open=folders.open_folder),
    Kind(name="a zip of images", fits=zips.is_zip, open=zips.open_zip),
)
READERS: Mapping[str, Reader] = {
    "file": folders.read_file,
    "tar": tars.read_member,
    "zip": zips.read_member,
    "parquet": parquet.read_row,
    "address": addresses.read_address,
}
"""The `reader` of a location → what reads it."""


def open_store(inputs: InputConfig, wanted: Collection[str] = (), kept: Kept | None = None) -> ImageStore:
    """Find out what kind of place the images are in, and list it.

    Args:   wanted: all names that will be requested; a folder without any of them may be skipped. None: all.
            kept: what earlier sessions of the run found in large files.
    Raises: CollectionError: nothing exists there, or it is of no known kind, or is torn.
            StorageUnavailableError: its server can't be reached.
    """
    images = f"images {shown(inputs.images)!r}"
    kinds = ", ".join(kind.name for kind in KINDS)
    try:
        place = Place.of(inputs.images, kept)
        with connected(images, place.fs):
            for kind in KINDS:
                if kind.fits(place):
                    return kind.open(place, wanted, inputs)
    except CollectionError:
        raise
    except (UsageError, NoRangesError) as error:
        raise CollectionError(f"images {error}") from error
    except CANNOT_OPEN as error:
        raise CollectionError(f"{images}: {error}; give an existing place that can be read: {kinds}") from error
    raise CollectionError(f"{images}: {place.in_words()}, which is none of these: {kinds}")


def names_in(inputs: InputConfig, limit: int) -> list[str]:
    """At most `limit` names of images that are there, for messages.

    Raises: as `open_store`.
    """
    return sorted(islice(open_store(inputs).names(), limit))


def read_bytes(sample: Sample, *, max_bytes: int = MAX_IMAGE_BYTES) -> bytes:
    """Read the file of one image, wherever it is.

    Args:    max_bytes: limit on the size of the image, and on the bytes it takes in an archive.
    Raises:  SampleError: the sample's own `problem`; `missing`, `unreadable`, `too_many_bytes`.
             OSError: the machine, the connection, or the whole place failed, not this image. StorageUnavailableError,
             Stopped: as `persist`.
    """
    if sample.problem:
        raise SampleError(sample.problem, sample.problem_detail)
    label = label_of(sample)
    if sample.location is None:
        raise SampleError("missing", f"{label}: it has no location")
    location, read = sample.location, READERS[sample.location.reader]
    return persist(location.path, lambda: read(location, label, max_bytes))
