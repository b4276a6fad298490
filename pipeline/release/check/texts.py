"""What a stranger checks about the texts of a release: each compared with the manifest, and so with the masks."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from PIL import Image

from pipeline.collection.coco import Collection, License
from pipeline.config import ReleaseConfig
from pipeline.release.check.record import StatedRelease
from pipeline.release.check.rows import Rows
from pipeline.release.check.samples import FoundSample, mask_against
from pipeline.release.coco_json import CATEGORY
from pipeline.release.contents import card, is_described
from pipeline.release.croissant import CROISSANT, croissant, tars_by_split
from pipeline.release.croissant_texts import CroissantAbout
from pipeline.release.licenses import COLUMNS, NOBODY, is_listed, notice
from pipeline.release.manifest import SCHEMA
from pipeline.release.page.files import page_about, page_files
from pipeline.release.page.tiles import PANELS, SHEET_COLUMNS, TILE_PX, TILES_PER_SHEET, sheet_name


def annotation_problems(
    content: bytes, about: ReleaseConfig, split: str, rows: Rows, samples: Mapping[str, FoundSample]
) -> Iterator[str]:
    """COCO annotations of a split that do not have the images, licences and masks of the manifest and the tars."""
    document = json.loads(content)
    images = {image["id"]: image for image in document["images"]}
    masks = {annotation["image_id"]: annotation for annotation in document["annotations"]}
    there = {row["image_id"]: row for row in rows.values() if row["split"] == split}
    if not images.keys() == masks.keys() == there.keys():
        every, common = images.keys() | masks.keys() | there.keys(), images.keys() & masks.keys() & there.keys()
        yield f"image {min(every - common)}, for example, is not in images, annotations and manifest alike"
    if document["categories"] != [CATEGORY] or document["info"] != {
        "description": about.name,
        "version": about.version,
    }:
        yield "its info or categories are not those of this release"
    licenses = {licence["id"]: (licence["name"], licence["url"]) for licence in document["licenses"]}
    for row in there.values():
        if licenses.get(row["license_id"], ("", "")) != (row["license_name"], row["license_url"]):
            yield f"licence {row['license_id']} of {row['key']} is not the manifest's"
    if (len(images), len(masks)) != (len(document["images"]), len(document["annotations"])):
        yield "an image or annotation comes twice"
    for number in images.keys() & masks.keys() & there.keys():
        for what in mask_against(images[number], masks[number], there[number], samples):
            yield f"image {number}: {what}"


def origin_problems(content: bytes, collection: Collection) -> Iterator[str]:
    """Authors and sources that are not those of the collection."""
    for line in _license_lines(content):
        origin = collection.origins.get(line["key"], NOBODY)
        if (line["author"], line["source"]) != (origin.author, origin.source):
            yield f"{line['key']}: author or source is not that of the annotations"


def license_problems(content: bytes, rows: Rows, stated: StatedRelease) -> Iterator[str]:
    """A table that does not have exactly the images of which anything is here, with the manifest's licences."""
    lines = _license_lines(content)
    shared = [column for column in COLUMNS if column in SCHEMA.names]
    found = [tuple(line[column] for column in shared) for line in lines]
    expected = [
        tuple(str(rows[key][column]) for column in shared)
        for key in sorted(rows)
        if is_listed(rows[key], stated.policy, stated.release.embed_images)
    ]
    if sorted(found) != sorted(expected):  # a run that grew lists images by shard
        wrong = sorted(set(found) ^ set(expected))[:1] or "some of them twice"
        yield f"{wrong} and others: not the images of tars and page with their licences"


def card_problems(content: bytes, stated: StatedRelease) -> Iterator[str]:
    """Front matter that loads other files than the tars, or counts that are not those of the record."""
    from huggingface_hub import DatasetCard

    front = DatasetCard(content.decode(), ignore_metadata_errors=False).data.to_dict()  # type: ignore[no-untyped-call]
    patterns = {entry["path"] for config in front["configs"] for entry in config.get("data_files", [])}
    folders = {f"{tar.rpartition('/')[0]}/*.tar" for tar in stated.files if tar.endswith(".tar")}
    if patterns != folders:
        yield f"loads {sorted(patterns)}, the tars are {sorted(folders)}"
    for decision in ("accepted", "rejected", "failed"):
        if f"\n| {decision} | {stated.counts.get(decision, 0)} |\n" not in content.decode():
            yield f"does not say how many images are {decision}"


def derived_files(rows: Sequence[Mapping[str, Any]], stated: StatedRelease) -> dict[str, bytes]:
    """What this version of the tool writes for these rows and this record: all texts that nothing else goes into."""
    release, policy = stated.release, stated.policy
    about = CroissantAbout(release=release, policy=policy, counts=stated.counts, made_with=stated.made_with)
    described = [file for name, file in sorted(stated.files.items()) if is_described(name)]
    counts = Counter(
        License(id=row["license_id"], name=row["license_name"], url=row["license_url"])
        for row in rows
        if is_listed(row, policy, release.embed_images)
    )
    return page_files(rows, page_about(release, policy, stated.made_with)) | {
        CROISSANT: croissant(about, described),
        "README.md": card(release, policy, rows, stated.made_with, list(tars_by_split(described))),
        "NOTICE": notice(f"{release.name} {release.version}", counts),
    }


def sheets_of(rows: Rows) -> dict[str, int]:
    """Sheets of tiles → how many tiles each has."""
    tiles = sum(row["members"] > 0 for row in rows.values())
    return {
        sheet_name(number): min(TILES_PER_SHEET, tiles - number * TILES_PER_SHEET)
        for number in range(-(-tiles // TILES_PER_SHEET))
    }


def sheet_problems(content: bytes, tiles: int) -> Iterator[str]:
    """A picture that can't hold the tiles. What it shows is for people to see."""
    size_px = SHEET_COLUMNS * len(PANELS) * TILE_PX, -(-tiles // SHEET_COLUMNS) * TILE_PX
    try:
        with Image.open(io.BytesIO(content), formats=("WEBP",)) as sheet:
            found_px = sheet.size
            if found_px == size_px:  # looked at before anything is unpacked
                sheet.load()
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        yield f"can't be read as a picture: {error}"
        return
    if found_px != size_px:
        yield f"is {found_px[0]} x {found_px[1]} px large, {tiles} tiles take {size_px[0]} x {size_px[1]}"


def _license_lines(content: bytes) -> list[dict[str, str]]:
    header, *lines = list(csv.reader(io.StringIO(content.decode(), newline="")))
    if tuple(header) != COLUMNS:
        raise ValueError(f"it has the columns {header}, not {list(COLUMNS)}")
    return [dict(zip(COLUMNS, line, strict=True)) for line in lines]
