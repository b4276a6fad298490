"""Loads a release as its users do, in a process of its own; `loaders.py` starts it and explains why.

The task comes as JSON on standard input; the answer goes as JSON to standard output. Nothing here trusts the release:
members with names that no release has are not decoded (webdataset would unpickle a `.pkl`), and connections are
refused.
"""

import importlib
import itertools
import json
import os
import re
import socket
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.release.check.croissant_guard import strange_parts, with_tars
from pipeline.release.croissant import CROISSANT, images_of
from pipeline.release.croissant_texts import PICTURES
from pipeline.release.manifest import MANIFEST

_MOST_PROBLEMS = 5
"""Per file; five are enough to see what is wrong."""
_MEMBER = re.compile(r"([A-Za-z0-9_-]+)\.([a-z0-9_.]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderTask:
    """What to load, and what should come out."""

    loader: str
    """Name of the library."""
    folder: str
    tars: Mapping[str, Sequence[str]]
    """Split → its tars in the folder, in order."""
    keys: Mapping[str, Sequence[str]]
    """Tar → its keys in order, for all tars of the release."""
    annotated: Mapping[str, int]
    """Annotation file → number of images that it should have."""
    pictures: Sequence[str]
    """Extensions of a sample's pictures."""
    rows: int
    """Rows of the manifest."""
    sums: Mapping[str, str]
    """File of the release → its SHA-256."""

    @property
    def members(self) -> set[str]:
        """Extensions of a sample's members."""
        return {"json", *self.pictures}

    def path(self, name: str) -> str:
        """Path of a file of the release."""
        return str(Path(self.folder, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderAnswer:
    """What came out."""

    problems: Sequence[tuple[str, str]] = ()
    """File, and what is wrong with it."""
    missing: str = ""
    """Why the library could not be imported; then nothing was tried."""


Tried = Iterator[tuple[str, Iterator[str]]]
"""File, and what is wrong with it; consumed before the next file is requested."""


def answer_of(task: LoaderTask) -> LoaderAnswer:
    """The answer to a task. It never raises, but a library may end the process."""
    module, load = _LOADERS[task.loader]
    try:
        library = importlib.import_module(module)
    except ImportError as error:
        return LoaderAnswer(missing=str(error) or "no reason given")
    problems: list[tuple[str, str]] = []
    where = ""
    try:
        for where, found in load(library, task):
            problems += [(where, what) for what in itertools.islice(found, _MOST_PROBLEMS)]
    except Exception as error:  # noqa: BLE001 (whatever it is, users of the library would get it too)
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        problems.append((where, f"{type(error).__name__}: {str(error)[:300]}{cause[:300]}"))
    return LoaderAnswer(problems=problems)


def main() -> None:
    """Answer one task."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries may print anything
    socket.socket.connect = _refuse  # type: ignore[method-assign]
    answer = answer_of(LoaderTask(**json.load(sys.stdin)))
    answers.write(json.dumps(asdict(answer)))
    answers.flush()
    os._exit(0)  # the work is done: no thread or atexit handler of a library may spoil it


def _refuse(*_address: object) -> None:
    raise OSError("a loader tried to connect to something, though all it needs is in the folder")


def _with_webdataset(library: Any, task: LoaderTask) -> Tried:
    for name in itertools.chain.from_iterable(task.tars.values()):
        yield name, _samples_of_webdataset(library, task, name)


def _samples_of_webdataset(library: Any, task: LoaderTask, name: str) -> Iterator[str]:
    facts_of_tar(task, name)
    found = []
    for sample in library.WebDataset([task.path(name)], shardshuffle=False, empty_check=False).decode("l8"):
        found.append(sample["__key__"])
        size = (sample["json"]["height"], sample["json"]["width"])
        for extension in sorted(task.members - {"json"}):
            if getattr(sample[extension], "shape", None) != size:
                yield f"{sample['__key__']}.{extension} is not an image of {size[1]} x {size[0]} px"
    if found != list(task.keys[name]):
        yield f"gives {len(found)} samples, not the {len(task.keys[name])} of the tar in order"


def _with_datasets(library: Any, task: LoaderTask) -> Tried:
    """Load the first tar of each split: it shows what is wrong with the card, and the rest would take very long."""
    if not task.tars:
        return  # without data the library finds no loader
    yield "README.md", iter(())  # so that an error below is one of the card, which is read first
    loaded = library.load_dataset(task.folder, streaming=True)
    other_splits = set(loaded) != set(task.tars)
    said = f"gives the splits {sorted(loaded)}; the release has {sorted(task.tars)}"
    yield "README.md", iter([said] if other_splits else [])
    for split, names in ((split, names) for split, names in task.tars.items() if split in loaded):
        yield names[0], _rows_of_datasets(loaded[split], task, names[0])


def _rows_of_datasets(rows: Any, task: LoaderTask, name: str) -> Iterator[str]:
    pictures, facts = sorted(task.members - {"json"}), facts_of_tar(task, name)
    kinds = {extension: type(rows.features.get(extension)).__name__ for extension in pictures}
    if set(kinds.values()) != {"Image"}:
        yield f"gives {kinds}; all should be Image"
        return
    found = []
    for row in itertools.islice(rows, len(facts)):
        key = row["__key__"]
        found.append(key)
        if row["json"] != facts.get(key):
            yield f"{key}: gives the facts {row['json']}; the tar has {facts.get(key)}"
        sizes = {row[extension].size for extension in pictures}
        if sizes != {(row["json"]["width"], row["json"]["height"])}:
            yield f"{key}: gives pictures of {sorted(sizes)} px"
    if found != list(task.keys[name]):
        yield f"gives {len(found)} rows, not the {len(task.keys[name])} samples of the tar in order"


def _with_pycocotools(library: Any, task: LoaderTask) -> Tried:
    for name, images in task.annotated.items():
        yield name, _masks_of_pycocotools(library, task.path(name), images)


def _masks_of_pycocotools(library: Any, path: str, images: int) -> Iterator[str]:
    loaded = library.COCO(path)
    loaded.info()
    if len(loaded.getImgIds()) != images:
        yield f"gives {len(loaded.getImgIds())} images; the split has {images}"
    if not loaded.loadCats(loaded.getCatIds()):
        yield "gives no categories"
    for annotation in loaded.loadAnns(loaded.getAnnIds()):
        (image,) = loaded.loadImgs(annotation["image_id"])
        mask = loaded.annToMask(annotation)
        if mask.shape != (image["height"], image["width"]) or mask.sum() != annotation["area"]:
            yield f"annotation {annotation['id']} gives a mask of another size or area than it states"


def _with_mlcroissant(library: Any, task: LoaderTask) -> Tried:
    if CROISSANT in task.sums:
        yield CROISSANT, _records_of_mlcroissant(library, task)


def _records_of_mlcroissant(library: Any, task: LoaderTask) -> Iterator[str]:
    """Read the whole document and manifest, but only the first tar of each split: records are held in memory."""
    document = json.loads(Path(task.path(CROISSANT)).read_bytes())
    strange = list(strange_parts(document, task.sums))
    if strange:
        yield from strange
        return
    library.Dataset(jsonld=json.loads(json.dumps(document)))  # raises on errors, and changes its argument
    firsts = {split: names[0] for split, names in task.tars.items()}
    paths = {name: task.path(name) for name in (MANIFEST, *firsts.values())}
    dataset = library.Dataset(jsonld=with_tars(document, firsts.values()), mapping=paths)
    rows = sum(1 for _ in dataset.records("manifest"))
    if rows != task.rows:
        yield f"gives {rows} records of the manifest, which has {task.rows} rows"
    for split, name in firsts.items():
        facts_of_tar(task, name)
        found = []
        for record in dataset.records(images_of(split)):
            values = {field.rpartition("/")[2]: value for field, value in record.items()}
            found.append(values["key"].decode())
            sizes = {getattr(values[PICTURES[extension][0]], "size", None) for extension in task.members - {"json"}}
            if sizes != {(values["width"], values["height"])}:
                yield f"{found[-1]}: gives no pictures, or pictures of other sizes than its facts state"
        if sorted(found) != sorted(task.keys[name]):
            yield f"gives {len(found)} records, not the {len(task.keys[name])} samples of {name}"


def facts_of_tar(task: LoaderTask, name: str) -> dict[str, Any]:
    """Key → the facts of a sample, read with plain Python.

    Raises: ValueError: the tar has a member that no release has; loaders would decode or unpack it, whatever it is.
    """
    if zipfile.is_zipfile(task.path(name)):
        raise ValueError(f"{name} is both a zip and a tar: loaders might unpack it as either")
    facts = {}
    with tarfile.open(task.path(name), "r:") as tar:
        for member in tar:
            named = _MEMBER.fullmatch(member.name)
            file = tar.extractfile(member) if member.isreg() and not member.issparse() else None
            if named is None or file is None or named[2] not in task.members:
                raise ValueError(f"{name} has {ascii(member.name)[:100]}, which is not a member of a sample")
            if named[2] == "json":
                facts[named[1]] = json.load(file)
    return facts


_LOADERS: Mapping[str, tuple[str, Callable[[Any, LoaderTask], Tried]]] = {
    "webdataset": ("webdataset", _with_webdataset),
    "datasets": ("datasets", _with_datasets),
    "pycocotools": ("pycocotools.coco", _with_pycocotools),
    "mlcroissant": ("mlcroissant", _with_mlcroissant),
}

if __name__ == "__main__":
    main()
