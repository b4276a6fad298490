"""One PNG to look at: photo, saliency, variance and verdict of the first images of a run."""

import io
import itertools
from collections.abc import Iterator

from PIL import Image, ImageDraw

from pipeline import storage
from pipeline.config import RunConfig
from pipeline.errors import SampleError
from pipeline.images import decode, read_bytes
from pipeline.maps import variance_picture
from pipeline.records import Verdict
from pipeline.release.assemble import Candidate, ReleaseSource, candidates

MAX_IMAGES = 60
THUMBNAIL_PX = 150
CAPTION_PX = 16
COLUMNS = 3
GAP_PX = 6
_COLOURS = {"accepted": (20, 130, 50), "rejected": (180, 40, 30), "failed": (110, 110, 110)}
_PAPER = (250, 250, 248)


def write_contact_sheet(source: ReleaseSource, config: RunConfig) -> str:
    """Draw the first `MAX_IMAGES` predicted images; returns where the picture lies."""
    cells = [
        _cell(candidate, source.verdicts[candidate.row.key], photo)
        for candidate, photo in itertools.islice(_photographed(source, config), MAX_IMAGES)
    ]
    buffer = io.BytesIO()
    _sheet(cells).save(buffer, format="PNG")
    url = storage.join(config.out, "contact_sheet.png")
    storage.publish(url, buffer.getvalue())
    return url


def _photographed(source: ReleaseSource, config: RunConfig) -> Iterator[tuple[Candidate, Image.Image]]:
    """Candidates whose photo can still be read: the sheet is for looking, a missing photo is no reason to fail."""
    for candidate in candidates(source):
        try:
            content = read_bytes(candidate.sample, max_bytes=config.input.max_image_bytes)
            pixels = decode(candidate.sample, content, max_pixels=config.input.max_image_pixels)
        except SampleError:
            continue
        yield candidate, Image.fromarray(pixels)


def _cell(candidate: Candidate, verdict: Verdict, photo: Image.Image) -> Image.Image:
    """Photo, saliency and variance side by side over a caption."""
    variance = variance_picture(candidate.maps.variance)
    pictures = (photo, Image.fromarray(candidate.maps.saliency), Image.fromarray(variance))
    cell = Image.new("RGB", (3 * THUMBNAIL_PX, THUMBNAIL_PX + CAPTION_PX), _PAPER)
    for place, picture in enumerate(pictures):
        small = picture.convert("RGB")
        small.thumbnail((THUMBNAIL_PX - 2, THUMBNAIL_PX - 2))
        left = place * THUMBNAIL_PX + (THUMBNAIL_PX - small.width) // 2
        cell.paste(small, (left, (THUMBNAIL_PX - small.height) // 2))
    variance_text = f"variance {candidate.row.scores['ensemble_variance']:.4f}"
    caption = f"{candidate.row.key.lstrip('0')}  {verdict.decision} {verdict.reason}  {variance_text}"
    ImageDraw.Draw(cell).text((2, THUMBNAIL_PX + 2), caption, fill=_COLOURS[verdict.decision])
    return cell


def _sheet(cells: list[Image.Image]) -> Image.Image:
    width, height = 3 * THUMBNAIL_PX + GAP_PX, THUMBNAIL_PX + CAPTION_PX + GAP_PX
    rows = max(1, -(-len(cells) // COLUMNS))
    sheet = Image.new("RGB", (COLUMNS * width + GAP_PX, rows * height + GAP_PX), _PAPER)
    for number, cell in enumerate(cells):
        row, column = divmod(number, COLUMNS)
        sheet.paste(cell, (GAP_PX + column * width, GAP_PX + row * height))
    return sheet
