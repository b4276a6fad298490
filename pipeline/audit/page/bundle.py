"""The files of the audit page: code, images, variance maps, masks, and each rater's tasks.

Nothing here tells a rater what scores an image has, how it was selected, or what anybody else has answered. Texts that
come from the release stand in data scripts alone, and the page inserts them as text.
"""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from pipeline.audit.drawn_files import IMAGE, VARIANCE, drawn_files
from pipeline.audit.page.pictures import shown_image, shown_variance
from pipeline.audit.plan import ADJUDICATOR, AuditPlan
from pipeline.audit.released import AuditedRelease
from pipeline.collection.instances import Instance
from pipeline.errors import CollectionError, ConfigError
from pipeline.passes.mask_text import Rle
from pipeline.progress.stages import counted
from pipeline.release.page.data import call
from pipeline.shown import printable

SCRIPTS = (
    "audit.js",
    "rle.js",
    "mask.js",
    "shapes.js",
    "pieces.js",
    "display.js",
    "clock.js",
    "store.js",
    "session.js",
    "loader.js",
    "viewer.js",
    "overlay.js",
    "tools.js",
    "picks.js",
    "bar.js",
    "editor.js",
    "keys.js",
    "bars.js",
    "looks.js",
    "screens.js",
    "judging.js",
)
"""In dependency order; `app.js` comes last."""
_ASSETS = (*SCRIPTS, "app.js", "style.css", "editor.css", "icon.svg")
_VENDOR = ("konva.min.js", "konva.LICENSE.txt")
FOLDERS = ("page", "images", "variance", "masks", "tasks")
"""The folders of an audit that the page is made of, beside index.html."""


def write_pages(
    path: Path,
    plan: AuditPlan,
    audited: AuditedRelease,
    masks: Mapping[str, Rle],
    instances: Mapping[str, Sequence[Instance]] | None = None,
) -> Path:
    """Write the page of an audit and everything it shows.

    Args:    path: the audit's folder, which exists.
             masks: key → the release's mask, of every image of the sample.
             instances: key → things outlined in the collection's annotations, which the editor offers.
    Returns: index.html.
    Raises:  ConfigError: the release has no photos, or the folder has a page; nothing was written then.
             StorageError: a tar or an image of the release can't be read.
    """
    require_photos(audited)
    if taken := [name for name in ("index.html", *FOLDERS) if (path / name).exists()]:
        raise ConfigError(f"{path} already has {', '.join(taken)}: give a new folder with --out")
    index = _written(path, page_files(plan))
    for key, rle in masks.items():
        things = [
            {"label": thing.category, "mask": Rle(size=rle["size"], counts=thing.counts)}
            for thing in (instances or {}).get(key, ())
        ]
        _write(path / "masks" / f"{key}.js", call("mask", key, {"mask": rle, "instances": things}, page="audit"))
    suffixes = _write_pictures(path, audited, list(masks))
    for rater in plan.raters:
        tasks = [task_of(audited.rows[key], suffixes[key]) for key in plan.tasks_of(rater)]
        _write(path / "tasks" / f"{rater}.js", tasks_script(plan, rater, tasks))
    return index


def require_photos(audited: AuditedRelease) -> None:
    """Refuse a release of masks alone.

    Raises: ConfigError: its photos are not in its tars.
    """
    if not audited.stated.release.embed_images:
        raise ConfigError(
            f"{audited.title} has masks alone, and nobody can judge a mask without its photo. Make a release with "
            "photos (embed_images), only for yourself if their licences do not let you publish them, and audit that one"
        )


def require_page(path: Path) -> None:
    """Refuse the folder of an audit that has no page.

    Raises: CollectionError: it has none.
    """
    if not (path / "index.html").is_file() or not (path / "tasks").is_dir():
        raise CollectionError(f"{path} has no page: plan the audit again, into a new folder")


def page_files(plan: AuditPlan) -> dict[str, bytes]:
    """The page itself: name relative to the audit → content."""
    assets = files("pipeline.audit") / "page"
    template = _TEMPLATES.get_template("index.html.jinja")
    index = template.render(plan=plan, digest=plan.digest, adjudicator=ADJUDICATOR, scripts=(*SCRIPTS, "app.js"))
    return {
        "index.html": index.encode(),
        **{f"page/{name}": (assets / name).read_bytes() for name in _ASSETS},
        **{f"page/vendor/{name}": (assets / "vendor" / name).read_bytes() for name in _VENDOR},
    }


def task_of(row: Mapping[str, Any], suffix: str) -> dict[str, Any]:
    """What the page needs to show an image: its size, and where its files are."""
    key = row["key"]
    return {
        "key": key,
        "width": row["width"],
        "height": row["height"],
        "image": f"images/{key}.{suffix}",
        "variance": f"variance/{key}.png",
        "data": f"masks/{key}.js",
    }


def tasks_script(plan: AuditPlan, rater: str, tasks: Sequence[Mapping[str, Any]]) -> bytes:
    """Encode what somebody judges, in her order."""
    release = {"name": plan.name, "version": plan.version}
    return call("tasks", {"plan": plan.digest, "rater": rater, "release": release, "tasks": tasks}, page="audit")


def _write_pictures(path: Path, audited: AuditedRelease, keys: Sequence[str]) -> dict[str, str]:
    """Write images and variance maps; return key → suffix of its image."""
    suffixes: dict[str, str] = {}
    drawn = drawn_files(audited, keys, (IMAGE, VARIANCE))
    for key, members in counted("writing the images of the page", drawn, len(keys), "images"):
        suffixes[key], content = shown_image(audited.rows[key], members[IMAGE])
        _write(path / "images" / f"{key}.{suffixes[key]}", content)
        _write(path / "variance" / f"{key}.png", shown_variance(key, members[VARIANCE]))
    return suffixes


def _written(path: Path, contents: Mapping[str, bytes]) -> Path:
    for name, content in contents.items():
        _write(path / name, content)
    return path / "index.html"


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("xb") as file:
        file.write(content)


_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("pipeline.audit", "page"),
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    undefined=jinja2.StrictUndefined,
    finalize=lambda value: printable(value) if type(value) is str else value,
    autoescape=True,
)
