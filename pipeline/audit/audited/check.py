"""Checks on the page of audited images: its pictures, and what another version of this tool is said to have written."""

from collections.abc import Iterator, Mapping
from typing import Any

from PIL import Image

from model.documents import parse_json
from pipeline.audit.audited.known import KNOWN_PAGES
from pipeline.audit.audited.page import PAGE, PREVIEW_PX, preview_px
from pipeline.errors import SampleError
from pipeline.files.pictures import decoded
from pipeline.records import StoredFile
from pipeline.release.check.containers import webp_problem
from pipeline.release.check.croissant_guard import strange_parts
from pipeline.release.check.page import asset_problem, data_problem, is_asset, is_data
from pipeline.release.croissant import CROISSANT


def preview_problems(content: bytes, row: Mapping[str, Any]) -> Iterator[str]:
    """Whether a preview is one picture of its size; only people can judge what it shows. Args: row: of the manifest."""
    if problem := webp_problem(content):
        yield f"can't be read as a picture alone: it {problem}"
    size_px = preview_px(row)

    def size_of(picture: Image.Image) -> tuple[int, int]:
        if picture.size == size_px:  # checked before anything is unpacked
            picture.load()
        return picture.size

    try:
        found_px = decoded("preview", content, size_of, max_pixels=PREVIEW_PX**2, formats=("WEBP",))
    except SampleError as error:
        yield f"can't be read as a picture: {error.detail}"
        return
    if found_px != size_px:
        yield f"is {found_px[0]} x {found_px[1]} px; a preview of the image has {size_px[0]} x {size_px[1]}"


def foreign_problem(name: str, content: bytes, files: Mapping[str, StoredFile]) -> str:
    """What could do harm in a file that another version of this tool is said to have written, "" if nothing.

    Args:   name: relative to the annex. files: name → file of the release.
    Raises: ValueError, RecursionError: Croissant is malformed.
    """
    if is_data(name):
        return data_problem(content)
    if name == PAGE or is_asset(name):
        return asset_problem(name, content, KNOWN_PAGES)
    if name == CROISSANT:
        sums = {f"../../{file.name}": file.sha256 for file in files.values()}
        return next(strange_parts(parse_json(content), sums), "")
    if not name.endswith((".md", ".json", ".jsonl", ".toml", ".webp")):
        return "is not a file that certificates have"
    return ""
