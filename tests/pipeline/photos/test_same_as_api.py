"""The Python API gives a photo the map that `jobs/predict.py` gives it with the same settings, to the byte."""

import io

import numpy as np
from PIL import Image

import model
from pipeline.photos.predict import predict
from tests.pipeline.files.make_images import ADOBE_RGB, exif_with, icc_profile
from tests.pipeline.photos.make import QUICK, make_config, make_pixels


def test_photos_of_every_kind_get_the_bytes_of_predict(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    kinds = {
        "000000000007.jpg": {},
        "turned.jpg": {"exif": exif_with(6)},
        "wide colours.jpg": {"icc_profile": icc_profile(2.2, ADOBE_RGB)},
    }
    for number, (name, options) in enumerate(kinds.items()):
        Image.fromarray(make_pixels(number)).save(folder / name, **options)
    predict(make_config(folder, tmp_path / "by predict"))
    sod = model.load("nano", threads=1, **QUICK)
    results = sod(sorted(folder.iterdir()))
    for result in results:
        result.save(tmp_path / "by the API")
    for name in kinds:
        stem = name.removesuffix(".jpg")
        by_predict = (tmp_path / f"by predict/{stem}.png").read_bytes()
        assert (tmp_path / f"by the API/{stem}.saliency.png").read_bytes() == by_predict
    with Image.open(folder / "turned.jpg") as opened:
        alone = sod(opened)
    assert alone.saliency.shape == (40, 30)
    with Image.open(io.BytesIO((tmp_path / "by predict/turned.png").read_bytes())) as mapped:
        assert np.abs(np.rint(alone.saliency * 255) - np.asarray(mapped, float)).max() <= 1
