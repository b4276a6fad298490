"""Exports a release in a layout that other tools read; the table of layouts is here.

To add a layout: write its class in a module beside this one, and name it in `LAYOUTS`.
"""

import importlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import CollectionError, ConfigError, ReleaseExistsError
from pipeline.extras import extra_command
from pipeline.files import local_disk
from pipeline.preconditions import require_outside, require_target
from pipeline.progress.stages import counted, say
from pipeline.release.export.layout import KnownLayout, LayoutClass, write
from pipeline.release.opened import open_release, samples_in

LAYOUTS = {
    "sod": KnownLayout(
        meaning="Image/KEY.jpg, GT/KEY.png and splits/SPLIT.txt, as toolboxes for salient objects read them",
        module="pipeline.release.export.sod:SodFolders",
        needs_photos=False,
    ),
    "coco": KnownLayout(
        meaning="SPLIT/KEY.jpg and annotations/instances_SPLIT.json, whose file names match",
        module="pipeline.release.export.coco:CocoFolders",
    ),
    "yolo": KnownLayout(
        meaning="images/, labels/ with polygons of class 0, and data.yaml",
        module="pipeline.release.export.yolo:YoloFolders",
    ),
    "hf-parquet": KnownLayout(
        meaning="parquet with columns image, mask, maps and scores, for load_dataset(OUT)",
        module="pipeline.release.export.hf_parquet:HuggingFaceParquet",
    ),
    "fiftyone": KnownLayout(
        meaning="pictures, samples.json, and a script that makes a dataset of them, with scores as fields",
        module="pipeline.release.export.fiftyone:FiftyOneFolder",
    ),
}
"""Name → layout."""
TERMS = ("LICENSE", "licenses.csv", "NOTICE")
"""Every export has these files of its release: whose images these are, and under which terms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export has written."""

    out: str
    layout: str
    images: int
    files: int
    file_bytes: int


def export_release(release: str, layout: str, out: Path) -> Exported:
    """Copy the accepted images of a release into a new folder, in a layout that other tools read.

    The folder gets its name when it is whole; an export that is interrupted leaves nothing.

    Args:   release: folder or URL. layout: a name in `LAYOUTS`. out: a folder that does not exist yet, or is empty.
    Raises: CollectionError: there is no complete release. ReleaseExistsError: `out` has something. ConfigError: `out`
            is inside the release, the layout needs photos and the release has masks alone, or a package is missing.
            StorageError: a file of the release is torn.
    """
    known, out = LAYOUTS[layout], out.absolute()
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ReleaseExistsError(f"--out {out} exists and is not an empty folder: give another one")
    require_outside(str(out), release, "--out")
    require_target(out, "--out")
    made = _class_of(layout, known)
    opened = open_release(release)
    if not opened.rows:
        raise CollectionError(f"{release} has no accepted image, so there is nothing to export")
    if known.needs_photos and not opened.stated.release.embed_images:
        raise ConfigError(
            f"{release} has masks alone, and the layout {layout} needs photos: build the release with --embed-images, "
            "or export it as sod"
        )
    say(f"exporting {len(opened.rows)} images of {opened.title} to {out}")
    local_disk.make_folders(out.parent)
    unfinished = out.with_name(local_disk.unfinished_name(out.name))
    unfinished.mkdir()
    try:
        writer, images = made(unfinished, opened), 0
        samples = counted("exporting", samples_in(opened), len(opened.rows), "images")
        for sample in samples:
            writer.add(sample)
            images += 1
        writer.close()
        for name in (name for name in TERMS if name in opened.stated.files):
            write(unfinished / name, opened.content(name))
        files = [path for path in unfinished.rglob("*") if path.is_file()]
        file_bytes = sum(path.stat().st_size for path in files)
        local_disk.rename_folder(unfinished, out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return Exported(out=str(out), layout=layout, images=images, files=len(files), file_bytes=file_bytes)


def _class_of(layout: str, known: KnownLayout) -> LayoutClass:
    module, _, name = known.module.partition(":")
    try:
        found: LayoutClass = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] in ("jobs", "model", "pipeline"):
            raise
        raise ConfigError(f"--layout {layout} needs the package {error.name}; {extra_command('eval')}") from error
    return found
