"""The page of a release: `index.html` and the files it loads, as bytes. Writes nothing; pictures are in `tiles.py`.

The page is static and loads nothing from outside its folder. Texts from the collection appear only in data scripts, and
the page inserts them as text, never as markup; the HTML itself contains only the release's own name and version.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from pipeline.config import ReleaseConfig
from pipeline.passes.folder import StatedPass, columns_of
from pipeline.release.croissant_texts import pictures_of
from pipeline.release.mask_license import license_files
from pipeline.release.page import tiles
from pipeline.release.page.data import CHUNK_ROWS, call, data_files
from pipeline.release.page.names import LABELS
from pipeline.release.page.scores import describe_bounds, describe_scores
from pipeline.release.templates import AGREEMENT, UNCHECKED, render
from pipeline.selection.columns import Text, table_with
from pipeline.selection.policy import PolicyConfig, bounds
from pipeline.selection.stopping_rule import members_in_words

SCRIPTS = (
    "rows.js",
    "view.js",
    "charts.js",
    "tiles.js",
    "compose.js",
    "gallery.js",
    "outlines.js",
    "further.js",
    "sample.js",
    "viewer.js",
    "detail.js",
    "filters.js",
    "certificates.js",
)
"""In dependency order; `app.js` comes last, after the data."""
_ASSETS = (*SCRIPTS, "app.js", "style.css", "gallery.css", "viewer.css", "icon.svg")
_VENDOR = ("uPlot.iife.min.js", "uPlot.min.css", "uPlot.LICENSE.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageAbout:
    """What a page says about its release, besides the rows."""

    name: str
    version: str
    members: str
    """How many members predicted each image, in words."""
    embed_images: bool
    """Are the photos in the tars?"""
    extensions: Sequence[str] = ("jpg", "mask.png", "saliency.png", "variance.png", "json")
    """Of the files that a sample has in its tar."""
    has_license: bool = True
    """Does the release name a licence of its masks?"""
    policy: PolicyConfig
    passes: Sequence[StatedPass] = ()
    """The score passes whose columns the manifest has."""


def page_about(
    release: ReleaseConfig, policy: PolicyConfig, made_with: Mapping[str, str], passes: Sequence[StatedPass] = ()
) -> PageAbout:
    """Derive what a page says from the release's configuration, the fingerprint of its run, and its score passes."""
    return PageAbout(
        name=release.name,
        version=release.version,
        members=members_in_words(made_with),
        embed_images=release.embed_images,
        extensions=(*pictures_of(release), "json"),
        has_license=bool(license_files(release)),
        policy=policy,
        passes=passes,
    )


def page_files(rows: Sequence[Mapping[str, Any]], about: PageAbout) -> dict[str, bytes]:
    """Encode all files of the page except the sheets of tiles.

    Args:    rows: manifest rows, in manifest order; each row with `members` has a tile, in the same order.
    Returns: name relative to the release → content; equal rows give equal bytes.
    """
    table, layout = table_with(columns_of(about.passes)), tiles.LAYOUT
    data, dictionaries = data_files(rows, bounds(about.policy), table)
    release: dict[str, Any] = {
        "name": about.name,
        "version": about.version,
        "images": len(rows),
        "chunk_rows": CHUNK_ROWS,
        "embed_images": about.embed_images,
        "scores": describe_scores(table),
        "bounds": describe_bounds(about.policy),
        "labels": LABELS,
        "extensions": about.extensions,
        "dictionaries": dictionaries,
        "tiles": {
            "px": layout.panel_px,
            "panels": tiles.PANELS,
            "columns": layout.columns,
            "per_sheet": layout.per_sheet,
        },
    }
    if masks := [column for column in columns_of(about.passes) if isinstance(column, Text) and column.is_mask]:
        release["masks"] = [{"name": mask.name, "meaning": mask.meaning} for mask in masks]
    index = render(
        "page/index.html.jinja",
        about=about,
        agreement=AGREEMENT,
        unchecked=UNCHECKED,
        scripts=[*SCRIPTS, "release.js", *(name.removeprefix("page/") for name in data if "/data-" in name), "app.js"],
    )
    assets = files("pipeline.release") / "page"
    return {
        "index.html": index,
        "page/release.js": call("release", release),
        **data,
        **{f"page/{name}": (assets / name).read_bytes() for name in _ASSETS},
        **{f"page/vendor/{name}": (assets / "vendor" / name).read_bytes() for name in _VENDOR},
    }
