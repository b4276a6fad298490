"""Small inputs for the tests of the pipeline: every pixel, name and score follows from a number by a formula."""

import io
import itertools
import json
import os
import shutil
import traceback
import tracemalloc
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.prediction import Prediction
from pipeline.collection.config import InputConfig
from pipeline.collection.gather import read_collection
from pipeline.collection.stores import open_store
from pipeline.config import RunConfig
from pipeline.files import local_disk, storage
from pipeline.options import from_options
from pipeline.records import CandidateRow, Location, Sample
from pipeline.run import run
from pipeline.selection.scores import SCORES

LICENSES = [{"id": 1, "name": "CC BY", "url": "http://x/by"}, {"id": 2, "name": "CC0", "url": "http://x/zero"}]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Images on disk and the annotations that list them."""

    images: Path
    annotations: Path
    entries: list[dict]

    def file(self, number):
        """Where the image with this id lies."""
        return next(self.images / entry["file_name"] for entry in self.entries if entry["id"] == number)


def read_samples(annotations, images):
    """The collection of these annotations and images."""
    return read_collection(InputConfig(images=str(images), annotations=str(annotations)))


def open_images(images, wanted=(), **options):
    """The store of images at a path or URL."""
    return open_store(InputConfig(images=str(images), **options), wanted)


def make_key(number):
    return f"{number:012d}"


def make_sample(**overrides):
    fields = {"key": make_key(7), "image_id": 7, "file_name": "7.jpg", "width": 20, "height": 16, "license_id": 1}
    return Sample(**{**fields, "location": Location(path="/images/7.jpg"), **overrides})


def make_scores(**overrides):
    """An image that every default accepts."""
    return {
        **dict.fromkeys(SCORES, 0.5),
        "ensemble_variance": 0.01,
        "ensemble_variance_per_area": 0.04,
        "area": 0.25,
        **overrides,
    }


def make_row(**overrides):
    """A predicted image; with `reason` a failed one."""
    fields = {"key": make_key(7), "status": "done", "reason": "", "detail": "", "image_sha256": "ab" * 32}
    fields |= {"image_bytes": 1234, "members": 3, "fewer_at_once": 0}
    fields |= {"scores": make_scores(), "frame": "stored", "exif_orientation": 1}
    if "reason" in overrides:
        fields |= {"status": "failed", "detail": "found so", "members": 0, "scores": {}}
        fields |= {"frame": "", "exif_orientation": 0}
    return CandidateRow(**{**fields, **overrides})


def make_prediction(members):
    """What the members, [E, H, W] in [0, 1], say together about an image of their own size."""
    members = np.asarray(members, dtype=np.float32)
    return Prediction(saliency=members.mean(0), variance=members.var(0), uncertainty=members.std(0), members=members)


def make_jpeg(number, width, height):
    rows, columns, channels = np.ogrid[:height, :width, :3]
    pixels = (rows * 5 + columns * 3 + channels * 60 + number * 17) % 256
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "JPEG")
    return file.getvalue()


def make_entry(number):
    """Image `number` of a collection: its size, name and licence differ from its neighbours'."""
    size = {"width": 24 + 3 * (number % 5), "height": 20 + 5 * (number % 3)}
    return {"id": number, "file_name": f"{number}.jpg", **size, "license": 1 + number % 2}


def make_collection(folder, count):
    """`count` images with the ids 1, 2, …; those of odd ids are what the fake model does not agree on."""
    folder = Path(folder)
    entries = [make_entry(number) for number in range(1, count + 1)]
    inputs = Inputs(images=folder / "images", annotations=folder / "annotations.json", entries=entries)
    inputs.images.mkdir(parents=True)
    for entry in entries:
        content = make_jpeg(entry["id"], entry["width"], entry["height"])
        (inputs.images / entry["file_name"]).write_bytes(content)
    write_annotations(inputs)
    return inputs


def renumber(inputs, file_of):
    """Name the images' files like keys of other images, as in a part of COCO whose images were numbered anew.

    Args: file_of: id → number in the name of its file.
    """
    contents = {entry["id"]: inputs.file(entry["id"]).read_bytes() for entry in inputs.entries}
    for entry in inputs.entries:
        inputs.file(entry["id"]).unlink()
        entry["file_name"] = f"{file_of(entry['id']):012d}.jpg"
    for entry in inputs.entries:
        inputs.file(entry["id"]).write_bytes(contents[entry["id"]])
    write_annotations(inputs)
    return inputs


def write_annotations(inputs, entries=None, **more):
    document = {"images": inputs.entries if entries is None else entries, "licenses": LICENSES, **more}
    inputs.annotations.write_text(json.dumps(document))


def make_instances(entries):
    """Two things in every image but those whose number divides by five: its left half and its right half."""
    annotations = []
    for entry in entries:
        width, height, half = entry["width"], entry["height"], entry["width"] // 2
        for place, (left, right) in enumerate([(0, half), (half, width)] if entry["id"] % 5 else []):
            outline = [left, 0, right, 0, right, height, left, height]
            named = {"id": 10 * entry["id"] + place, "image_id": entry["id"], "category_id": 1 + place}
            annotations.append({**named, "segmentation": [outline], "iscrowd": 0})
    categories = [
        {"id": 1, "name": "dog", "supercategory": "animal"},
        {"id": 2, "name": "car", "supercategory": "vehicle"},
    ]
    return {"annotations": annotations, "categories": categories}


def make_zip(inputs):
    """The folder of images as the official kind of zip."""
    path = inputs.images.parent / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(path for path in inputs.images.rglob("*") if path.is_file()):
            archive.write(file, file.relative_to(inputs.images.parent))
    return path


def make_config(inputs, out, **options):
    """A run in this process with the fake model and without a live page; `options` are those of the command line.

    Its release may be empty: with few images, the fake model often agrees on none.
    """
    given = {"images": str(inputs.images), "annotations": str(inputs.annotations), "out": str(out), "allow_empty": True}
    given |= {"engine": "inline", "model": "fake", "ensemble_size": 3, "shard_size": 3, "batch_images": 2}
    given |= {"storage_patience_s": 0.0}  # a storage that a test breaks fails at once
    given |= {"live_every_s": 0}
    config: RunConfig = from_options(RunConfig, given | options, missing=None)
    return config


WHEN = [pytest.param(True, id="after"), pytest.param(False, id="before", marks=pytest.mark.thorough)]
"""Where a session ends: after a write, or before it, which is after the one before it but for the first."""


class SessionEnded(Exception):
    """The session was ended here on purpose."""


def end_at_write(patch, number, *, after, removals=False):
    """End the session at its write of that number: before anything of it is done, or when all of it is.

    The machine is gone then: nothing is written after that either. Removals count as writes if they are to.
    """
    made = 0

    def ending(write):
        def call(*args):
            nonlocal made
            made += 1
            if made > number or (made == number and not after):
                raise SessionEnded
            result = write(*args)
            if made == number:
                raise SessionEnded
            return result

        return call

    def removing(tree, **options):
        if made < number:
            shutil_rmtree(tree, **options)

    shutil_rmtree = shutil.rmtree
    patch.setattr(shutil, "rmtree", removing)  # cleaning up after an error is not done either
    patch.setattr(local_disk, "rename_folder", ending(local_disk.rename_folder))
    for name in ("publish", "create", "add_file", "_put", *(["remove"] if removals else [])):
        patch.setattr(storage, name, ending(getattr(storage, name)))


def ended_sessions(begin, *, after, removals=False):
    """Runs whose session was ended at its first write, at its second, and so on until there is none to end it at.

    Args: begin: gives the configuration of the run of that number, from 0.
    """
    for number in itertools.count():
        config = begin(number)
        with pytest.MonkeyPatch.context() as patch:
            end_at_write(patch, number + 1, after=after, removals=removals)
            try:
                run(config)
            except SessionEnded:
                pass
            else:
                return
        yield config


def candidate(run, shard, kind):
    """Where the only tar or parquet file of a shard lies; its name has a digest."""
    (name,) = [
        name
        for name in storage.list_names(storage.join(str(run), "candidates"))
        if name.startswith(f"{shard}.") and name.endswith(f".{kind}")
    ]
    return storage.join(str(run), "candidates", name)


def tree(folder):
    """Relative path → content of every file below a folder, hidden ones too."""
    files = (path for path in sorted(Path(folder).rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def lasting_tree(folder):
    """`tree` without live pages: they show hours and durations, and no bytes of a run or pass follow from them."""
    return {name: content for name, content in tree(folder).items() if "live" not in name.split("/")}


def unsynced(disk_events, root):
    """Names below `root` that a power cut could lose."""
    lost = []
    for path in map(str, Path(root).rglob("*")):
        named = [place for place, event in enumerate(disk_events) if event == ("named", path)]
        if named and ("synced", os.path.dirname(path)) not in disk_events[named[-1] :]:
            lost.append(path)
    return lost


def peak_bytes(call):
    """The most memory that Python objects take during a call, which runs in a process of its own.

    `tracemalloc.stop` races with threads that allocate at that moment (CPython issue 128679, mended in 3.12.9), and
    every process of pytest-xdist has such a thread.
    """
    receiving, sending = os.pipe()
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of forks beside threads
        child = os.fork()
    if not child:
        code = 1
        try:
            tracemalloc.start()
            call()
            os.write(sending, str(tracemalloc.get_traced_memory()[1]).encode())
            code = 0
        except BaseException:  # noqa: BLE001 (printed here, and the process ends with it)
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(sending)
    with os.fdopen(receiving) as answer:
        peak = answer.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, "the call failed in its own process"
    return int(peak)
