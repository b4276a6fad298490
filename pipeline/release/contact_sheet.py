"""One PNG for a quick look: photo with the mask's outline, saliency, variance and verdict of a run's first images."""

import io
import itertools
from collections.abc import Iterator, Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.collection.images import decode
from pipeline.collection.stores import read_bytes
from pipeline.config import RunConfig
from pipeline.errors import SampleError
from pipeline.files import storage
from pipeline.files.maps import decode_png, mask_of, variance_picture
from pipeline.files.outlines import small, small_outlined
from pipeline.records import Verdict
from pipeline.release.source import Picked, ReleaseSource, portions, read_portions

NAME = "contact_sheet.png"
MAX_IMAGES = 60
THUMBNAIL_PX = 150
CAPTION_PX = 16
HEAD_PX = 18
HEADS = ("photo, mask's outline", "saliency", "variance (white: 0.25)")
COLUMNS = 3
GAP_PX = 6
_COLOURS = {"accepted": (20, 130, 50), "rejected": (180, 40, 30), "failed": (110, 110, 110)}
_PAPER, _INK = (250, 250, 248), (40, 40, 40)
_FONT_PX = 12


def write_contact_sheet(source: ReleaseSource, verdicts: Mapping[str, Verdict], config: RunConfig) -> str:
    """Draw the first `MAX_IMAGES` predicted images whose photo can still be read; return the sheet's path or URL."""
    cells = [
        _cell(image, members, verdicts[image.row.key], photo)
        for image, members, photo in itertools.islice(_photographed(source, config), MAX_IMAGES)
    ]
    buffer = io.BytesIO()
    _sheet(cells).save(buffer, format="PNG")
    url = storage.join(config.out, NAME)
    storage.publish(url, buffer.getvalue())
    return url


def _photographed(
    source: ReleaseSource, config: RunConfig
) -> Iterator[tuple[Picked, Mapping[str, bytes], Image.Image]]:
    """Predicted images with stored members and photo, skipping unreadable photos: they are no reason to fail here."""
    (predicted,) = portions(source, [[row.key for _, row in source.images() if row.members]])
    for image, members in read_portions(predicted):
        try:
            content = read_bytes(image.sample, max_bytes=config.input.max_image_bytes)
            pixels = decode(
                image.sample,
                content,
                max_pixels=image.sample.width * image.sample.height,
                default=image.row.frame or "stored",
            )
        except SampleError:
            continue
        yield image, members, Image.fromarray(pixels)


def _cell(image: Picked, members: Mapping[str, bytes], verdict: Verdict, photo: Image.Image) -> Image.Image:
    """Draw photo, saliency and variance side by side above a caption."""
    saliency, variance = (decode_png(members[f"{name}.png"]) for name in ("saliency", "variance"))
    pictures = (
        small_outlined(photo, mask_of(saliency).astype(np.uint8) * 255, THUMBNAIL_PX - 2),
        small(Image.fromarray(saliency), THUMBNAIL_PX - 2),
        small(Image.fromarray(variance_picture(variance)), THUMBNAIL_PX - 2),
    )
    cell = Image.new("RGB", (3 * THUMBNAIL_PX, THUMBNAIL_PX + CAPTION_PX), _PAPER)
    for place, picture in enumerate(pictures):
        left = place * THUMBNAIL_PX + (THUMBNAIL_PX - picture.width) // 2
        cell.paste(picture, (left, (THUMBNAIL_PX - picture.height) // 2))
    variance_text = f"variance {image.row.scores['ensemble_variance']:.4f}"
    caption = f"{image.row.key.lstrip('0')}  {verdict.decision} {verdict.reason}  {variance_text}"
    font = ImageFont.load_default(_FONT_PX)
    ImageDraw.Draw(cell).text((2, THUMBNAIL_PX + 1), caption, fill=_COLOURS[verdict.decision], font=font)
    return cell


def _sheet(cells: list[Image.Image]) -> Image.Image:
    """Cells in rows, below a line that says what each picture of a cell shows."""
    width, height = 3 * THUMBNAIL_PX + GAP_PX, THUMBNAIL_PX + CAPTION_PX + GAP_PX
    rows = max(1, -(-len(cells) // COLUMNS))
    sheet = Image.new("RGB", (COLUMNS * width + GAP_PX, HEAD_PX + rows * height + GAP_PX), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_PX)
    for column in range(min(COLUMNS, len(cells))):
        for place, head in enumerate(HEADS):
            middle = GAP_PX + column * width + place * THUMBNAIL_PX + THUMBNAIL_PX // 2
            draw.text((middle, HEAD_PX // 2 + 1), head, fill=_INK, font=font, anchor="mm")
    for number, cell in enumerate(cells):
        row, column = divmod(number, COLUMNS)
        sheet.paste(cell, (GAP_PX + column * width, HEAD_PX + GAP_PX + row * height))
    return sheet
