"""Write the sample of an audit as a task for a labelling tool."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.audit.drawn_files import IMAGE, drawn_files
from pipeline.audit.exchange import coco, cvat, label_studio
from pipeline.audit.exchange.task import IMAGES, Task, Titled
from pipeline.audit.folder import Audit, open_audit
from pipeline.audit.plan import ADJUDICATOR
from pipeline.errors import ConfigError
from pipeline.files import local_disk
from pipeline.files.formats import format_of
from pipeline.preconditions import require_outside
from pipeline.progress.stages import stage
from pipeline.progress.words import amount
from pipeline.release.image_names import ImageNames

Tool = Literal["coco", "cvat", "label-studio"]
_SUFFIXES = {"PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written."""

    out: str
    """The new folder."""
    format: Tool
    images: int
    files: tuple[str, ...]
    """Of the tool, relative to the folder; beside them are the images."""


def export_sample(audit: Path, to: Tool, out: Path, rater: str = "") -> Exported:
    """Write images, the tool's files with the release's masks to start from, and what to do with them.

    Args:   out: a folder that does not exist yet, or is empty.
            rater: only her images, in her order; "": all of the sample, in the order of the draw.
    Raises: ConfigError: there is no such rater, or the folder has files. Others: see `open_audit` and
            `drawn_files`.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ConfigError(f"--out {out} exists and is not an empty folder: give another --out")
    opened = open_audit(audit)
    keys = _keys(opened, rater)
    out = out.absolute()
    require_outside(str(out), opened.audited.folder, "--out")
    local_disk.make_folders(out.parent)
    place = out.with_name(local_disk.unfinished_name(out.name))
    place.mkdir()
    try:
        with stage(f"writing {amount(len(keys), 'images')}"):
            names = _write_images(opened, keys, place / IMAGES)
        with stage("writing their masks"):
            files = _files(opened, keys, names, to, out.name)
            for name, content in files.items():
                (place / name).parent.mkdir(exist_ok=True)
                local_disk.write_synced(place / name, content)
        local_disk.rename_folder(place, out)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return Exported(out=str(out), format=to, images=len(keys), files=tuple(sorted(files)))


def _keys(opened: Audit, rater: str) -> list[str]:
    if rater in opened.plan.raters:
        return opened.plan.tasks_of(rater)
    if rater not in ("", ADJUDICATOR):
        raise ConfigError(f"--rater {rater}: this audit has {', '.join(opened.asked.tasks)}")
    return [image.key for image in opened.plan.sample]


def _write_images(opened: Audit, keys: list[str], folder: Path) -> dict[str, str]:
    """Write the images; returns key → name of its file: its key, so that an import can't take it for another image's
    file, with the suffix of its bytes.
    """
    folder.mkdir()
    names, known = {}, ImageNames(opened.audited.file_names)
    for key, members in drawn_files(opened.audited, keys, (IMAGE,)):
        names[key] = f"{known.clear_name(key)}.{_SUFFIXES.get(format_of(members[IMAGE][:512]), 'jpg')}"
        local_disk.write_synced(folder / names[key], members[IMAGE])
    return names


def _files(opened: Audit, keys: list[str], names: Mapping[str, str], to: Tool, folder: str) -> dict[str, bytes]:
    masks, rows = opened.masks(), opened.audited.rows
    tasks = [
        Task(
            key=key,
            image_id=rows[key]["image_id"],
            file_name=names[key],
            height=rows[key]["height"],
            width=rows[key]["width"],
            mask=masks[key],
        )
        for key in keys
    ]
    titled = Titled(title=opened.audited.title, plan=opened.plan.digest)
    if to == "label-studio":
        return label_studio.encode(tasks, titled, folder)
    return coco.encode(tasks, titled) if to == "coco" else cvat.encode(tasks, titled)
