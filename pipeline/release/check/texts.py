"""Checks on the texts of a release: each is compared with the manifest, and so with the masks."""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from PIL import Image

from model.config import MAX_IMAGE_PIXELS
from model.documents import parse_json, parse_yaml
from pipeline.collection.collection import NOBODY, Collection, License
from pipeline.config import ReleaseConfig
from pipeline.errors import SampleError
from pipeline.files.csv_keys import key_from_csv
from pipeline.files.pictures import decoded
from pipeline.files.tables import cell
from pipeline.passes.duplicates.contamination import PICTURE, TABLE, closest_pairs, picture_px, table
from pipeline.records import StoredFile
from pipeline.release.changes import ANNOTATIONS_BYTES
from pipeline.release.check.containers import webp_problem
from pipeline.release.check.croissant_guard import strange_parts
from pipeline.release.check.page import PAGE, asset_problem, data_problem, html_problems, is_asset, is_data
from pipeline.release.check.release_json import StatedRelease
from pipeline.release.check.rows import Rows
from pipeline.release.check.samples import FoundSample, mask_against
from pipeline.release.coco_json import CATEGORY, image_file
from pipeline.release.contents import card, is_described
from pipeline.release.croissant import CROISSANT, croissant, tars_by_split
from pipeline.release.croissant_texts import CroissantAbout
from pipeline.release.duplicates import has_duplicates
from pipeline.release.licenses import COLUMNS, is_listed, notice
from pipeline.release.manifest import SCENE, schema_of
from pipeline.release.mask_license import license_files
from pipeline.release.page.files import page_about, page_files
from pipeline.release.page.tiles import SheetLayout, layout_of, sheet_name

_FRONT_MATTER = re.compile(r"\s*---\r?\n(.*?)\r?\n---(?:\r?\n|$)", re.DOTALL)


def annotation_problems(
    content: bytes, stated: StatedRelease, split: str, rows: Rows, samples: Mapping[str, FoundSample]
) -> Iterator[str]:
    """How a split's COCO annotations differ from the images, licences and masks of manifest and tars."""
    document, about = parse_json(content, most_bytes=ANNOTATIONS_BYTES), stated.release
    if stated.format == 2:
        document = _as_format_3(document, about)
    images = {image["id"]: image for image in document["images"]}
    masks = {annotation["image_id"]: annotation for annotation in document["annotations"]}
    listed = {row["image_id"]: row for row in rows.values() if row["split"] == split}
    empty = {number for number, row in listed.items() if row.get(SCENE.name) == "empty"}
    if not images.keys() == masks.keys() | empty == listed.keys():
        with_masks = masks.keys() | empty
        every, common = images.keys() | with_masks | listed.keys(), images.keys() & with_masks & listed.keys()
        yield f"image {min(every - common)}, for example, is not in all of images, annotations and manifest"
    for number in sorted(masks.keys() & empty):
        yield f"image {number} has an annotation, though the manifest says that its scene is empty"
    if document["categories"] != [CATEGORY] or document["info"] != {
        "description": about.name,
        "version": about.version,
    }:
        yield "its info or categories differ from this release's"
    licenses = {licence["id"]: (licence["name"], licence["url"]) for licence in document["licenses"]}
    for row in listed.values():
        if licenses.get(row["license_id"], ("", "")) != (row["license_name"], row["license_url"]):
            yield f"licence {row['license_id']} of {row['key']} differs from the manifest's"
    if (len(images), len(masks)) != (len(document["images"]), len(document["annotations"])):
        yield "has an image or annotation twice"
    ids = [annotation["id"] for annotation in document["annotations"]]
    if ids != list(range(1, len(ids) + 1)):
        yield f"its annotations have the ids {ids[:3]} …, not 1 to {len(ids)} in order"
    for number in images.keys() & (masks.keys() | empty) & listed.keys():
        row, named = listed[number], images[number]["file_name"]
        expected = image_file(row["key"], row["file_name"], embed_images=about.embed_images)
        if named != expected:
            yield f"image {number}: file_name is {named!r}, not {expected!r}"
        for what in mask_against(images[number], masks.get(number), listed[number], samples):
            yield f"image {number}: {what}"


def _as_format_3(document: dict[str, Any], about: ReleaseConfig) -> dict[str, Any]:
    """Annotations of format 2 with the names and ids that format 3 gives them, if they have those of format 2."""
    images = [
        image
        | {
            "file_name": image_file(f"{image['id']:012d}", image["file_name"], embed_images=about.embed_images),
            "collection_file_name": image["file_name"],
        }
        for image in document["images"]
    ]
    annotations = [
        annotation | ({"id": place} if annotation["id"] == annotation["image_id"] else {"id": 0})
        for place, annotation in enumerate(document["annotations"], start=1)
    ]
    return document | {"images": images, "annotations": annotations}


def origin_problems(content: bytes, collection: Collection) -> Iterator[str]:
    """Authors and sources in the table of a release of format 2, whose manifest has none, that differ."""
    for line in _license_lines(content, prefixed=False):
        origin = collection.origins.get(line["key"], NOBODY)
        if (line["author"], line["source"]) != (cell(origin.author), cell(origin.source)):
            yield f"{line['key']}: author or source differs from the annotations'"


def license_problems(content: bytes, rows: Rows, stated: StatedRelease) -> Iterator[str]:
    """Whether the table lists exactly the images that tars or page show, with the manifest's licences and origins."""
    lines = _license_lines(content, prefixed=stated.format > 2)
    shared = [column for column in COLUMNS if column in schema_of((), stated.format).names]
    found = [tuple(line[column] for column in shared) for line in lines]
    expected = [
        tuple(cell(rows[key][column]) for column in shared)
        for key in sorted(rows)
        if is_listed(rows[key], stated.policy, stated.release.embed_images)
    ]
    if sorted(found) != sorted(expected):  # sorted: a run that grew lists images by shard
        wrong = sorted(set(found) ^ set(expected))[:1] or "images listed twice"
        yield f"does not list the images of tars and page with their licences and origins; for example {wrong}"


def card_problems(content: bytes, stated: StatedRelease) -> Iterator[str]:
    """Front matter that loads other files than the tars, and counts that differ from `release.json`."""
    found = _FRONT_MATTER.match(content.decode())
    if found is None:
        yield "has no front matter"
        return
    front = parse_yaml(found[1])
    patterns = {entry["path"] for config in front["configs"] for entry in config.get("data_files", [])}
    folders = {f"{tar.rpartition('/')[0]}/*.tar" for tar in stated.files if tar.endswith(".tar")}
    if patterns != folders:
        yield f"loads {sorted(patterns)}; the tars are {sorted(folders)}"
    for decision in ("accepted", "rejected", "failed"):
        if f"\n| {decision} | {stated.counts.get(decision, 0)} |\n" not in content.decode():
            yield f"does not say how many images are {decision}"


def derived_files(rows: Sequence[Mapping[str, Any]], stated: StatedRelease) -> dict[str, bytes]:
    """The texts that follow from manifest and `release.json` alone, as this version of the tool writes them."""
    release, policy = stated.release, stated.policy
    about = CroissantAbout(
        release=release, policy=policy, counts=stated.counts, made_with=stated.made_with, passes=stated.passes
    )
    described = [file for name, file in sorted(stated.files.items()) if is_described(name)]
    counts = Counter(
        License(id=row["license_id"], name=row["license_name"], url=row["license_url"])
        for row in rows
        if is_listed(row, policy, release.embed_images)
    )
    duplicates = {TABLE: table(rows)} if has_duplicates(stated.passes) else {}
    return page_files(rows, page_about(release, policy, stated.made_with, stated.passes)) | {
        **duplicates,
        CROISSANT: croissant(about, described),
        "README.md": card(release, policy, rows, stated.made_with, list(tars_by_split(described)), stated.passes),
        "NOTICE": notice(f"{release.name} {release.version}", counts),
        **license_files(release),
    }


def foreign_problems(name: str, content: bytes, page: bytes, files: Mapping[str, StoredFile]) -> Iterator[str]:
    """What could do harm in a text that another version of this tool is said to have written.

    Args: page: the page's HTML as this version writes it. files: name → file of the release.
    """
    if is_asset(name):
        problem = asset_problem(name, content)
    elif is_data(name):
        problem = data_problem(content)
    else:
        problem = ""
    if problem:
        yield problem
    if name == PAGE:
        yield from html_problems(content, page, files)
    if name == CROISSANT:
        yield from strange_parts(parse_json(content), {file.name: file.sha256 for file in files.values()})


def pictures_of(rows: Rows, stated: StatedRelease) -> dict[str, Callable[[bytes], Iterator[str]]]:
    """Name of each picture beside the tars → what finds problems in it."""
    layout = layout_of(stated.format)
    found: dict[str, Callable[[bytes], Iterator[str]]] = {
        name: partial(sheet_problems, tiles=tiles, layout=layout) for name, tiles in sheets_of(rows, layout).items()
    }
    if has_duplicates(stated.passes):
        found[PICTURE] = partial(duplicates_problems, rows=list(rows.values()))
    return found


def sheets_of(rows: Rows, layout: SheetLayout) -> dict[str, int]:
    """Sheet of tiles → number of its tiles."""
    tiles = sum(row["members"] > 0 for row in rows.values())
    return {
        sheet_name(number): min(layout.per_sheet, tiles - number * layout.per_sheet)
        for number in range(-(-tiles // layout.per_sheet))
    }


def sheet_problems(content: bytes, tiles: int, layout: SheetLayout) -> Iterator[str]:
    """Whether the picture has the size of its tiles; only people can judge what it shows."""
    if problem := webp_problem(content):
        yield f"can't be read as a picture alone: it {problem}"
    size_px = layout.size_px(tiles)

    def size_of(sheet: Image.Image) -> tuple[int, int]:
        if sheet.size == size_px:  # checked before anything is unpacked
            sheet.load()
        return sheet.size

    try:
        most_px = max(size_px[0] * size_px[1], MAX_IMAGE_PIXELS)
        found_px = decoded("sheet", content, size_of, max_pixels=most_px, formats=("WEBP",))
    except SampleError as error:
        yield f"can't be read as a picture: {error.detail}"
        return
    if found_px != size_px:
        yield f"is {found_px[0]} x {found_px[1]} px; {tiles} tiles take {size_px[0]} x {size_px[1]}"


def duplicates_problems(content: bytes, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Whether the picture has the size of its pairs; only people can judge what it shows."""
    size_px = picture_px(len(closest_pairs(rows)))
    try:
        found_px = decoded(PICTURE, content, lambda image: image.size, max_pixels=MAX_IMAGE_PIXELS, formats=("PNG",))
    except SampleError as error:
        yield f"can't be read as a picture: {error.detail}"
        return
    if found_px != size_px:
        yield f"is {found_px[0]} x {found_px[1]} px; the pairs in the manifest take {size_px[0]} x {size_px[1]}"


def _license_lines(content: bytes, *, prefixed: bool) -> list[dict[str, str]]:
    header, *lines = list(csv.reader(io.StringIO(content.decode(), newline="")))
    if tuple(header) != COLUMNS:
        raise ValueError(f"the columns are {header}, not {list(COLUMNS)}")
    found = [dict(zip(COLUMNS, line, strict=True)) for line in lines]
    return [line | {"key": key_from_csv(line["key"])} for line in found] if prefixed else found
