"""A folder, tars and COCO's formats say the same, each told by what it is; what is unclear is refused."""

import gzip
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import CollectionError, SampleError
from pipeline.evaluation.grey import read_prediction
from pipeline.evaluation.on_release.predictions import find_predictions
from pipeline.evaluation.on_release.truths import read_truths
from pipeline.release.coco_json import encode_mask
from pipeline.release.image_names import ImageNames
from tests.pipeline.evaluation.make import save, truth


@pytest.fixture(scope="module")
def truths(released):
    return read_truths(str(released.folder), ())


@pytest.fixture(scope="module")
def found(truths):
    """A function that finds the predictions at a place."""
    ids = {row["image_id"]: key for key, row in truths.rows().items()}
    return lambda place: find_predictions(str(place), ImageNames(truths.opened.file_names), truths.masks, ids)


@pytest.fixture(scope="module")
def predicted(masks):
    """Key → a binary mask that a model may have predicted; one of them is empty."""
    return {key: truth(number, *mask.shape) & (number > 0) for number, (key, mask) in enumerate(masks.items())}


def write_folder(folder, predicted):
    for key, mask in predicted.items():
        save(folder / f"{int(key)}.png", mask)  # the collection's file names
    return folder


def write_tars(folder, predicted, *, name="KEY.saliency.png"):
    (folder / "tars").mkdir()
    for number, (key, mask) in enumerate(predicted.items()):
        file = save(folder / "pictures" / name.replace("KEY", key), mask)
        with tarfile.open(folder / f"tars/{number % 2}.tar", "a") as tar:
            tar.add(file, arcname=f"./{file.name}")
    return folder / "tars"


def segmentation(mask):
    return {"size": list(mask.shape), "counts": encode_mask(mask).counts}


def write_list(folder, predicted):
    """Every mask in two halves, as a detector finds instances; scores differ."""
    results = []
    for key, mask in predicted.items():
        for half in (slice(0, mask.shape[0] // 2), slice(mask.shape[0] // 2, None)):
            part = np.zeros_like(mask)
            part[half] = mask[half]
            results.append({"image_id": key, "category_id": 3, "segmentation": segmentation(part), "score": 0.1})
    path = folder / "results"  # no suffix: the content tells
    path.write_text(json.dumps(results))
    return path


def write_data_set(folder, predicted):
    """Ids of its own, and no annotation for an empty mask."""
    images = [{"id": 100 - place, "file_name": f"{key}.jpg"} for place, key in enumerate(predicted)]
    annotations = [
        {"image_id": 100 - place, "segmentation": segmentation(mask)}
        for place, mask in enumerate(predicted.values())
        if mask.any()
    ]
    path = folder / "data.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return path


@pytest.mark.parametrize("write", [write_folder, write_tars, write_list, write_data_set])
def test_every_kind_gives_the_same_maps(found, predicted, tmp_path, write):
    of = found(write(tmp_path, predicted)).of
    assert of.keys() == predicted.keys()
    for key, mask in predicted.items():
        assert np.array_equal(read_prediction(of[key], plain=True), mask * np.uint8(255))


def test_a_released_tar_gives_its_saliency_maps(found, released, masks):
    predictions = found(released.folder / "data")
    assert {key: source.member for key, source in predictions.of.items()} == {
        key: f"{key}.saliency.png" for key in masks
    }


def test_polygons_are_drawn(found, masks, tmp_path):
    key = next(iter(masks))
    square = [[2.0, 2.0, 8.0, 2.0, 8.0, 6.0, 2.0, 6.0]]
    path = tmp_path / "r.json"
    path.write_text(json.dumps([{"image_id": int(key), "segmentation": square}]))
    drawn = read_prediction(found(path).of[key])
    assert (drawn[2:6, 2:8] == 255).all()
    assert (drawn > 0).sum() == 24


def test_an_image_with_one_outline_that_can_not_be_read_has_no_half_of_a_prediction(found, masks, tmp_path):
    key, mask = next(iter(masks.items()))
    path = tmp_path / "r.json"
    outlines = [segmentation(mask), {"size": [3, 3], "counts": "9"}]
    path.write_text(json.dumps([{"image_id": int(key), "segmentation": outline} for outline in outlines]))
    with pytest.raises(SampleError, match="a segmentation is run lengths of another size than the image's"):
        read_prediction(found(path).of[key])


def test_what_is_of_no_image_is_surplus(found, maps, masks, tmp_path):
    save(maps / "other/cat.png", truth(1))
    assert found(maps).surplus == ("other/cat.png",)
    path = tmp_path / "r.json"
    one, mask = next(iter(masks.items()))
    results = [{"image_id": number, "segmentation": segmentation(mask)} for number in (3, int(one))]
    path.write_text(json.dumps(results))
    assert found(path).surplus == ("image 3",)


def torn_tar(path):
    with tarfile.open(path, "w") as tar:
        file = save(path.parent / "000000000002.png", truth(1))
        tar.add(file, arcname=file.name)
    path.write_bytes(path.read_bytes()[:700])


def with_link(path):
    with tarfile.open(path, "w") as tar:
        link = tarfile.TarInfo("000000000002.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.mkdir(), "none of the 0 predictions is of an image of the release. Name them by key"),
        (lambda path: save(path / "cat.png", truth(1)), "none of the 1 predictions is of.*; cat.png is the first"),
        (lambda path: None, "does not exist: give a folder of maps, a tar or a COCO JSON"),
        (lambda path: path.write_bytes(b""), "is no whole tar .*nor a COCO JSON"),
        (lambda path: path.write_bytes(gzip.compress(b"x")), "is compressed with gzip; unpack it first"),
        (torn_tar, "is no whole tar"),
        (with_link, "000000000002.png is a symbolic link; write it as a plain file"),
        (lambda path: path.write_text("[1"), "not JSON"),
        (lambda path: path.write_text("[1]"), "is not in COCO's format"),
        (lambda path: path.write_text('{"a": 1}'), "is not in COCO's format"),
        (
            lambda path: path.write_text('{"images": [], "annotations": [{"image_id": 1, "segmentation": []}]}'),
            "an annotation is of image 1, which `images` does not list",
        ),
    ],
)
def test_what_can_not_be_predictions_is_refused_with_what_to_do(found, tmp_path, make, said):
    make(tmp_path / "given")
    with pytest.raises(CollectionError, match=said):
        found(tmp_path / "given")


def test_arrays_are_not_read(found, maps):
    np.save(maps / "000000000002.npy", np.zeros((3, 3)))
    with pytest.raises(CollectionError, match=r"000000000002.npy is an array, which is not read; save each map"):
        found(maps)


def test_predictions_at_a_url_are_refused(found):
    with pytest.raises(CollectionError, match="a local folder or file is needed"):
        found("s3://bucket/maps")


@pytest.mark.parametrize(
    ("mode", "said"),
    [("RGBA", "transparent pixels"), ("RGB", "it has colours"), ("P", "it has colours"), ("F", "no fixed range")],
)
def test_maps_that_have_no_plain_levels_are_refused_with_what_to_do(tmp_path, mode, said):
    pixels = np.full((4, 5, 4), (200, 10, 10, 100), np.uint8)
    picture = Image.fromarray(pixels)
    if mode == "F":
        picture = Image.fromarray(np.full((4, 5), np.nan, np.float32))
    else:
        picture = picture if mode == "RGBA" else picture.convert("RGB").convert(mode)
    picture.save(tmp_path / "map.tif")
    with pytest.raises(SampleError, match=rf"map\.tif.*{said}.*8 bits"):
        read_prediction(tmp_path / "map.tif", plain=True)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "I;16"])
def test_greys_in_every_mode_are_the_same_map(tmp_path, mode):
    levels = np.array([[0, 255], [255, 0]], np.uint8)
    picture = Image.fromarray(levels)
    picture = Image.fromarray(levels.astype(np.uint16) * 257) if mode == "I;16" else picture.convert(mode)
    picture.save(tmp_path / "map.png")
    assert np.array_equal(read_prediction(tmp_path / "map.png", plain=True), levels)
