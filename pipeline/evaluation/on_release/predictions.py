"""Predictions of any model: a folder of maps, webdataset tars, or a COCO JSON. What they are is told by looking."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.errors import CollectionError
from pipeline.evaluation.on_release.names import Matched, match, spellings
from pipeline.evaluation.on_release.results_json import read_results
from pipeline.evaluation.sources import MADE_WITH, InTar, Runs, Source
from pipeline.files import urls
from pipeline.files.formats import IMAGE_SUFFIXES
from pipeline.files.tar_headers import TornTarError, walk
from pipeline.release.image_names import ImageNames

_ARRAYS = (".npy", ".npz", ".mat", ".pt", ".pth", ".pkl", ".exr", ".pfm")
_COMPRESSED = ((b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"))
_ADVICE = "save each map as an 8-bit PNG of one channel, round(255 * map)"


def find_predictions(
    place: str, names: ImageNames, masks: Mapping[str, Runs], ids: Mapping[int, str]
) -> Matched[Source]:
    """Find the prediction of each image; none is decoded.

    Args:   place: local folder or file. In a folder that says what its maps were made with, they are named by key.
            names: of all images of the release. masks: key → mask, of those that matter. ids: id of an image → key.
    Raises: CollectionError: there are none, they are of an unknown kind, none is of an image of the release, or it is
            unclear which image one is of.
    """
    if not urls.is_local(place):
        raise CollectionError(f"--predictions {place}: a local folder or file is needed; copy the predictions first")
    path = Path(urls.absolute(place))
    if not path.exists():
        raise CollectionError(f"--predictions {place} does not exist: give a folder of maps, a tar or a COCO JSON")
    if path.is_file() and _start(path).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"[", b"{"):
        found = read_results(path, names, masks, ids)
    else:
        pictures = _in_folder(path) if path.is_dir() else _in_tars([path])
        listed = _without_arrays(pictures, names, masks, place)
        found = match(listed, names, masks.keys(), place, are_keys=(path / MADE_WITH).is_file())
    if not found.of:
        example = f"; {found.surplus[0]} is the first" if found.surplus else ""
        raise CollectionError(
            f"--predictions {place}: none of the {len(found.surplus)} predictions is of an image of the release"
            f"{example}. Name them by key, such as {next(iter(masks))}.png, or like the files of the collection"
        )
    return found


def _without_arrays(
    pictures: Iterator[tuple[str, Source]], names: ImageNames, masks: Mapping[str, Runs], place: str
) -> Iterator[tuple[str, Source]]:
    for name, source in pictures:
        suffix = Path(name).suffix.lower()
        if suffix in IMAGE_SUFFIXES:
            yield name, source
        elif suffix in _ARRAYS and names.may_be_of(spellings(name.removesuffix(Path(name).suffix))) & masks.keys():
            raise CollectionError(f"{place}: {name} is an array, which is not read; {_ADVICE}")


def _in_folder(folder: Path) -> Iterator[tuple[str, Source]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    tars = [path for path in files if path.suffix.lower() == ".tar"]
    if tars:
        yield from _in_tars(tars)
    for path in files:
        if path not in tars:
            yield path.relative_to(folder).as_posix(), path


def _in_tars(tars: Sequence[Path]) -> Iterator[tuple[str, Source]]:
    for path in tars:
        start = _start(path)
        for magic, called in _COMPRESSED:
            if start.startswith(magic):
                raise CollectionError(f"{path} is compressed with {called}; unpack it first")
        with path.open("rb") as file:

            def read(begin: int, end: int, file=file) -> bytes:  # type: ignore[no-untyped-def]  # noqa: ANN001
                file.seek(begin)
                return bytes(file.read(end - begin))

            try:
                for header in walk(read, path.stat().st_size):
                    name = header.name.removeprefix("./")
                    if header.problem == "a folder" or Path(name).name.startswith("."):
                        continue
                    if header.problem:
                        raise CollectionError(f"{path}: {name} is {header.problem}; write it as a plain file")
                    yield name, InTar(tar=path, member=name, start=header.start, file_bytes=header.content_bytes)
            except TornTarError as error:
                raise CollectionError(
                    f"{path} is no whole tar ({error}), nor a COCO JSON; give a folder of maps, a tar or a COCO JSON"
                ) from error


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(512)
