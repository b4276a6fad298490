"""Examples and faults of the contact sheet."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.files import storage
from pipeline.files.outlines import outlined
from pipeline.release import contact_sheet
from pipeline.release.contact_sheet import CAPTION_PX, COLUMNS, GAP_PX, HEAD_PX, THUMBNAIL_PX
from tests.pipeline.make import make_collection, make_jpeg, make_key, write_annotations

COLOURS = contact_sheet._COLOURS
CELL = (3 * THUMBNAIL_PX, THUMBNAIL_PX + CAPTION_PX)


def sheet_of(release):
    with Image.open(io.BytesIO(storage.read(storage.join(release.config.out, "contact_sheet.png")))) as image:
        return image.convert("RGB")


def size_of(columns, rows):
    return (columns * (CELL[0] + GAP_PX) + GAP_PX, HEAD_PX + rows * (CELL[1] + GAP_PX) + GAP_PX)


def cell_at(sheet, number):
    row, column = divmod(number, COLUMNS)
    left, top = GAP_PX + column * (CELL[0] + GAP_PX), HEAD_PX + GAP_PX + row * (CELL[1] + GAP_PX)
    return np.asarray(sheet.crop((left, top, left + CELL[0], top + CELL[1])))


def verdict_seen(cell):
    """The verdict whose colour is nearest to the darkest pixel of the caption; letters have soft edges."""
    caption = cell[THUMBNAIL_PX:].reshape(-1, 3).astype(int)
    darkest = caption[caption.sum(axis=1).argmin()]
    return min(COLOURS, key=lambda verdict: np.abs(darkest - COLOURS[verdict]).sum())


def test_every_predicted_image_has_a_cell_in_the_colour_of_its_verdict(released):
    sheet = sheet_of(released)
    predicted = [row["verdict"] for row in released.manifest() if row["verdict"] != "failed"]
    assert sheet.size == size_of(COLUMNS, 3)
    assert [verdict_seen(cell_at(sheet, number)) for number in range(len(predicted))] == predicted


def test_a_photo_and_its_maps_stand_side_by_side_each_centred_in_its_place(released):
    photo, saliency, variance = np.split(cell_at(sheet_of(released), 1)[:THUMBNAIL_PX], 3, axis=1)
    with Image.open(released.inputs.file(2)) as image:
        original = np.asarray(image.convert("RGB"))
    height, width = original.shape[:2]
    top, left = (THUMBNAIL_PX - height) // 2, (THUMBNAIL_PX - width) // 2
    shown = photo[top : top + height, left : left + width]
    mask = saliency[top : top + height, left : left + width, 0] >= 128
    assert np.array_equal(shown, outlined(original, mask))
    assert mask.any()
    assert not np.array_equal(shown, original)
    middle = THUMBNAIL_PX // 2
    assert (saliency[middle, middle] == 255).all()
    assert (saliency[top, left] == variance[top, left]).all()
    assert (variance[middle, middle] == 0).all()
    assert tuple(saliency[top - 1, left - 1]) == contact_sheet._PAPER


def test_only_the_first_images_are_shown(tmp_path, release_of, monkeypatch):
    monkeypatch.setattr(contact_sheet, "MAX_IMAGES", 3)
    inputs = make_collection(tmp_path / "in", 9)
    assert sheet_of(release_of(inputs, tmp_path / "out")).size == size_of(COLUMNS, 1)


def test_without_a_predicted_image_there_is_an_empty_sheet(tmp_path, release_of):
    inputs = make_collection(tmp_path / "in", 1)
    sheet = sheet_of(release_of(inputs, tmp_path / "out", model=f"fake:fail_at={make_key(1)}"))
    assert sheet.size == size_of(COLUMNS, 1)
    assert sheet.getcolors() == [(sheet.width * sheet.height, contact_sheet._PAPER)]


def test_a_photo_that_can_no_longer_be_read_is_left_out(tmp_path, release_of):
    inputs = make_collection(tmp_path / "in", 4)
    assert sheet_of(release_of(inputs, tmp_path / "out")).size == size_of(COLUMNS, 2)
    inputs.file(3).write_bytes(b"no image")
    sheet = sheet_of(release_of(inputs, tmp_path / "out"))
    assert sheet.size == size_of(COLUMNS, 1)
    assert [verdict_seen(cell_at(sheet, number)) for number in range(3)] == ["rejected", "accepted", "accepted"]


@pytest.mark.parametrize("size", [(1, 400), (400, 1), (1, 1)])
def test_images_of_any_shape_have_a_cell(tmp_path, release_of, size):
    inputs = make_collection(tmp_path / "in", 1)
    inputs.file(1).write_bytes(make_jpeg(1, *size))
    write_annotations(inputs, [inputs.entries[0] | {"width": size[0], "height": size[1]}])
    assert sheet_of(release_of(inputs, tmp_path / "out")).size == size_of(COLUMNS, 1)


def test_each_column_of_pictures_has_a_head(released):
    sheet = np.asarray(sheet_of(released))
    for column in range(3 * COLUMNS):
        cell, place = divmod(column, 3)
        left = GAP_PX + cell * (CELL[0] + GAP_PX) + place * THUMBNAIL_PX
        assert (sheet[:HEAD_PX, left : left + THUMBNAIL_PX] < 100).any()
