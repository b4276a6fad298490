"""Predicting photos with the embedded model: masks do not depend on other photos; bad photos, resuming, full disks."""

import errno
import json
import logging
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from model import memory, saliency
from model.checkpoints import CheckpointError
from model.config import EnsembleConfig, ModelConfig
from model.maps import quantise_deviation, quantise_saliency
from model.prediction import ModelOutputError
from model.seeds import key_of
from pipeline.config import RunConfig
from pipeline.errors import ConfigError, StorageError
from pipeline.files import local_disk, storage
from pipeline.files.pictures import OPENED
from pipeline.options import from_options
from pipeline.photos import predict as photos_predict
from pipeline.photos.config import OFFICIAL_OPTIONS
from pipeline.photos.predict import load, predict
from pipeline.run import run
from pipeline.runs.candidates import read_maps
from pipeline.runs.commits import read_shard_record
from tests.pipeline.photos.make import (
    QUICK,
    encoded,
    files_below,
    grey_of,
    load_quickly,
    make_config,
    make_pixels,
    names_below,
    write_photos,
)

SAMPLE = Path(__file__).resolve().parents[3] / "pipeline" / "sample" / "images"
ALL = {"save_uncertainty": True, "overlay": True}
EXIF_ORIENTATION = 0x0112
LIMIT_PX = 89_000_000

BATCH_STEPS = 1
"""The batch of a photo changes its mask by at most this many of 255 steps. Before rounding, differences of 4e-5 were
seen at 64 px (2.4e-6 at 160 px), a hundredth of a step, which can change how a value is rounded."""


def predict_one(photos, out, **options):
    """The mask of a photo that is predicted alone."""
    assert predict(make_config(photos, out, **options)).predicted == 1
    (mask,) = Path(out).rglob("*.png")
    return grey_of(mask)


def counts(report):
    return report.photos, report.predicted, report.skipped, report.failed


def problems_in(caplog):
    """File name → why it failed, from the log."""
    failed = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    return {Path(message.partition(" failed: ")[0]).name: message.partition(" failed: ")[2] for message in failed}


def assert_within(one, other, steps):
    assert np.abs(one.astype(int) - other.astype(int)).max() <= steps


# The same mask alone and among others


@settings(max_examples=6)
@given(st.lists(st.integers(1, 24), min_size=2, max_size=5, unique=True), st.integers(1, 3), st.integers(1, 12))
def test_a_photo_has_the_same_mask_alone_and_among_others_whatever_the_batch(
    tmp_path_factory, alone_masks, numbers, members, batch_size
):
    folder, out = tmp_path_factory.mktemp("photos"), tmp_path_factory.mktemp("out")
    for number in numbers:
        (folder / f"{number:012d}.jpg").symlink_to(SAMPLE / f"{number:012d}.jpg")
    predict(make_config(folder, out, ensemble_size=members, batch_size=batch_size))
    for number in numbers:
        mask = grey_of(out / f"{number:012d}.png")
        assert_within(mask, alone_masks(number, members), BATCH_STEPS)


@pytest.fixture(scope="module")
def alone_masks(tmp_path_factory):
    """Masks of sample photos predicted alone, each computed once."""
    known = {}

    def mask_of(number, members):
        if (number, members) not in known:
            out = tmp_path_factory.mktemp("alone")
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(photos_predict, "load_diffusion_model", load_quickly)
                known[number, members] = predict_one(SAMPLE / f"{number:012d}.jpg", out, ensemble_size=members)
        return known[number, members]

    return mask_of


@pytest.mark.parametrize("options", [{}, {"processing_res": 0}], ids=["squares", "own sizes"])
def test_photos_and_a_run_give_the_same_bytes_where_their_batches_are_the_same(tmp_path, options):
    numbers = (5, 10, 12, 21, 24)  # the last one alone in its batch
    photos = tmp_path / "photos"
    photos.mkdir()
    entries = []
    for number in numbers:
        file = f"{number:012d}.jpg"
        with Image.open(SAMPLE / file) as image:
            small = image.resize((image.width // 6, image.height // 6))
        small.save(photos / file)
        entries.append({"id": number, "file_name": file, "width": small.width, "height": small.height})
    (tmp_path / "annotations.json").write_text(json.dumps({"images": entries}))
    settings_of_both = QUICK | {"ensemble_size": 2, "batch_size": 8, **options}  # 4 photos at once
    predict(make_config(photos, tmp_path / "out", **settings_of_both))
    run_settings = settings_of_both | {"batch_images": 4, "model": "nano", "engine": "inline", "shard_size": 8}
    run_settings |= {"images": str(photos), "annotations": str(tmp_path / "annotations.json")}
    run(from_options(RunConfig, run_settings | {"out": str(tmp_path / "run")}, missing=None))
    stored = dict(read_maps(str(tmp_path / "run"), read_shard_record(str(tmp_path / "run"), "000000")))
    assert len(stored) == len(numbers)
    for key, maps in stored.items():
        assert np.array_equal(grey_of(tmp_path / "out" / f"{key}.png"), maps.saliency)


# Examples


def test_every_photo_becomes_a_grey_png_of_its_name_and_size_with_the_models_saliency(tmp_path):
    photos = write_photos(tmp_path / "photos", "b.png", "a.b.png", "größe 1.png")
    out = tmp_path / "out"
    report = predict(make_config(photos, out))
    assert counts(report) == (3, 3, 0, 0)
    assert report.output_dir == str(out)
    assert names_below(out) == ["a.b.png", "b.png", "größe 1.png"]
    model = load(make_config(photos, out))
    expected = model.predict(
        [make_pixels(1), make_pixels(0)], [key_of("a.b"), key_of("b")]
    )  # in the order of their names
    for name, prediction in zip(("a.b", "b"), expected, strict=True):
        assert np.array_equal(grey_of(out / f"{name}.png"), quantise_saliency(prediction.saliency))


def test_the_name_without_its_folder_and_suffix_decides_the_noise(tmp_path):
    folders = {}
    for folder, name in (("one", "x.png"), ("two", "x.bmp"), ("three", "y.png")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(encoded(make_pixels(), name.rpartition(".")[2]))
        folders[folder] = predict_one(tmp_path / folder, tmp_path / "out" / folder)
    assert np.array_equal(folders["one"], folders["two"])
    assert not np.array_equal(folders["one"], folders["three"])


def test_a_glob_keeps_the_folders_of_the_photos(tmp_path):
    write_photos(tmp_path, "photos/a.png", "photos/inner/a.png")
    report = predict(make_config(tmp_path / "photos" / "**" / "*.png", tmp_path / "out", **ALL))
    assert counts(report) == (2, 2, 0, 0)
    assert names_below(tmp_path / "out") == [
        *("a.png", "inner/a.png", "overlay/a.jpg", "overlay/inner/a.jpg"),
        *("uncertainty/a.png", "uncertainty/inner/a.png"),
    ]


def test_subfolders_are_read_on_request_mirrored_in_the_outputs_and_not_read_from_the_outputs(tmp_path):
    photos = write_photos(tmp_path / "photos", "a.png", "inner/a.png", ".hidden/b.png")
    config = make_config(photos, photos / "masks", recursive=True, cutout=True)
    assert counts(predict(config)) == (2, 2, 0, 0)
    written = ["a.png", "cutout/a.png", "cutout/inner/a.png", "inner/a.png"]
    assert names_below(photos / "masks") == written
    assert counts(predict(config)) == (2, 0, 2, 0)
    with Image.open(photos / "masks" / "cutout" / "inner" / "a.png") as cutout:
        assert np.array_equal(np.asarray(cutout)[:, :, 3], grey_of(photos / "masks" / "inner" / "a.png"))


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(write_photos(tmp_path, "photos/a.png")))
    assert counts(predict(make_config("~/photos/a.png", Path("~/masks")))) == (1, 1, 0, 0)
    assert names_below(tmp_path / "masks") == ["a.png"]


def test_odd_names_become_the_names_of_masks(tmp_path):
    names = ["a\nb.png", "s3::c.png", "file:d.png", "e\udcff.png", "f .png", "-g.png", "%20#?.png", "\u202eh.png"]
    photos = write_photos(tmp_path / "photos", *names)
    assert counts(predict(make_config(photos, tmp_path / "out"))) == (len(names), len(names), 0, 0)
    assert names_below(tmp_path / "out") == sorted(names)


def test_at_processing_resolution_the_maps_are_those_of_the_model_and_the_uncertainty_the_members_deviation(tmp_path):
    photos = write_photos(tmp_path / "photos", "a.png")
    options = {"ensemble_size": 5, "output_processing_res": True, **ALL}
    predict(make_config(photos, tmp_path / "out", **options))
    (prediction,) = load(make_config(photos, tmp_path / "out", **options)).predict([make_pixels()], [key_of("a")])
    saliency, uncertainty = grey_of(tmp_path / "out" / "a.png"), grey_of(tmp_path / "out" / "uncertainty" / "a.png")
    assert saliency.shape == uncertainty.shape == (64, 64)
    assert np.array_equal(saliency, quantise_saliency(prediction.members.mean(0)))
    assert_within(uncertainty, quantise_deviation(prediction.members.std(0)), 1)  # rounded apart
    assert uncertainty.max() > 20
    with Image.open(tmp_path / "out" / "overlay" / "a.jpg") as overlay:
        assert overlay.size == (64, 64)


def test_at_their_own_sizes_photos_of_any_shape_have_masks_of_their_shape(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    sizes = {"a": (30, 40), "b": (64, 128), "c": (1, 1), "d": (130, 20)}
    for name, (height, width) in sizes.items():
        (photos / f"{name}.png").write_bytes(encoded(make_pixels(width=width, height=height)))
    options = {"processing_res": 0, "output_processing_res": True, "save_uncertainty": True}
    assert counts(predict(make_config(photos, tmp_path / "out", **options))) == (4, 4, 0, 0)
    for name, size in sizes.items():
        for path in (f"{name}.png", f"uncertainty/{name}.png"):
            assert grey_of(tmp_path / "out" / path).shape == size


def test_the_overlay_shows_the_photo_in_its_size(tmp_path):
    photos = write_photos(tmp_path / "photos", "a.png")
    predict(make_config(photos, tmp_path / "out", overlay=True))
    with Image.open(tmp_path / "out" / "overlay" / "a.jpg") as overlay:
        assert overlay.size == (40, 30)
        picture = np.asarray(overlay.convert("RGB")).astype(int)
    assert np.abs(picture - make_pixels()).max() > 50
    assert picture.mean() < make_pixels().mean()


@pytest.mark.parametrize(
    ("ensemble_size", "batch_size", "batches"),
    [
        (10, 40, [4, 1]),
        (10, 39, [3, 2]),
        (10, 5, [1, 1, 1, 1, 1]),
        (10, 0, [2, 2, 1]),  # 20 members at once, more gain nothing on a CPU
        (10, None, [2, 2, 1]),
        (1, 0, [5]),
    ],
)
def test_photos_are_predicted_together_until_their_members_fill_a_batch(
    tmp_path, monkeypatch, ensemble_size, batch_size, batches
):
    photos, seen = write_photos(tmp_path / "photos", *(f"{number}.png" for number in range(5))), []
    monkeypatch.setattr(photos_predict, "predict_batch", lambda _model, pixels, _key_of: seen.append(len(pixels)) or {})
    predict(make_config(photos, tmp_path / "out", ensemble_size=ensemble_size, batch_size=batch_size))
    assert seen == batches


@pytest.mark.parametrize(
    ("options", "has_gpu", "dtype"),
    [
        ({}, False, "float32"),
        ({"half_precision": True}, False, "bfloat16"),
        ({"half_precision": True}, True, "float16"),
        ({"half_precision": True, "device": "cpu"}, True, "bfloat16"),
        ({"half_precision": True, "device": "cuda:1"}, False, "float16"),
        ({"half_precision": True, "dtype": "float16"}, False, "float16"),
        ({"dtype": "bfloat16"}, True, "bfloat16"),
    ],
)
def test_half_precision_is_the_dtype_that_suits_the_device_unless_one_is_given(monkeypatch, options, has_gpu, dtype):
    seen = []
    monkeypatch.setattr(saliency.torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(photos_predict, "load_diffusion_model", lambda settings, *_: seen.append(settings))
    load(make_config("photos", Path("out"), **{"device": "auto", **options}))
    assert [settings.dtype for settings in seen] == [dtype]


def test_half_precision_changes_masks_a_little(tmp_path, monkeypatch):
    photos = write_photos(tmp_path / "photos", "a.png")
    whole = predict_one(photos, tmp_path / "whole")
    monkeypatch.setattr(photos_predict, "load_diffusion_model", saliency.load_diffusion_model)
    half = predict_one(photos, tmp_path / "half", half_precision=True)
    assert 0 < np.abs(whole.astype(int) - half).mean() < 10


def test_official_files_are_loaded_with_device_dtype_and_ensemble(tmp_path, monkeypatch):
    seen = []

    def load_official(files, dtype):
        seen.append((files, dtype))
        return load_quickly(ModelConfig(), EnsembleConfig()).pipeline

    monkeypatch.setattr(photos_predict, "load_official", load_official)
    photos = write_photos(tmp_path / "photos", "a.png")
    paths = {name: tmp_path / name for name in OFFICIAL_OPTIONS}
    predict_one(photos, tmp_path / "out", half_precision=True, **paths)
    ((files, dtype),) = seen
    assert (files.stable_diffusion, files.unet, files.branch) == tuple(paths.values())
    assert dtype == saliency.torch.bfloat16


def test_photos_and_those_that_failed_are_counted(tmp_path, told):
    photos = write_photos(tmp_path / "photos", "a.png", "b.png")
    (photos / "b.png").write_bytes(b"")
    predict(make_config(photos, tmp_path / "out"))
    assert told.ended == [("loading the model", 0, True), ("predicting", 2, True)]
    assert (told.opened[1].total, told.opened[1].notes) == (2, "1 failed")


# Existing outputs


def test_finished_photos_are_skipped_and_reported_without_loading_a_model(tmp_path, monkeypatch, caplog):
    photos = write_photos(tmp_path / "photos", "a.png", "b.png")
    predict(make_config(photos, tmp_path / "out", **ALL))
    before = files_below(tmp_path)
    monkeypatch.delattr(photos_predict, "load_diffusion_model")
    with caplog.at_level(logging.INFO):
        report = predict(make_config(photos, tmp_path / "out", **ALL))
    assert counts(report) == (2, 0, 2, 0)
    assert report.images_per_s == 0
    assert files_below(tmp_path) == before
    assert (
        f"skipping 2 photos whose outputs exist in {tmp_path / 'out'}; --overwrite computes them again"
        in caplog.messages
    )


def test_only_missing_photos_are_computed_and_only_missing_outputs_written(tmp_path):
    photos = write_photos(tmp_path / "photos", "a.png", "b.png")
    predict(make_config(photos / "a.png", tmp_path / "out"))
    before = files_below(tmp_path / "out")
    assert counts(predict(make_config(photos, tmp_path / "out"))) == (2, 1, 1, 0)
    assert counts(predict(make_config(photos, tmp_path / "out", save_uncertainty=True))) == (2, 2, 0, 0)
    after = files_below(tmp_path / "out")
    assert sorted(after) == ["a.png", "b.png", "uncertainty/a.png", "uncertainty/b.png"]
    assert after["a.png"] == before["a.png"]


def test_overwriting_computes_and_replaces_everything(tmp_path):
    photos = write_photos(tmp_path / "photos", "a.png")
    predict(make_config(photos, tmp_path / "out", seed=1, **ALL))
    before = files_below(tmp_path / "out")
    assert counts(predict(make_config(photos, tmp_path / "out", **ALL, overwrite=True))) == (1, 1, 0, 0)
    after = files_below(tmp_path / "out")
    assert after.keys() == before.keys()
    assert all(after[name][0] != before[name][0] for name in before)
    predict(make_config(photos, tmp_path / "fresh", **ALL))
    fresh = files_below(tmp_path / "fresh")
    assert {name: content for name, (content, _) in after.items()} == {
        name: content for name, (content, _) in fresh.items()
    }


@pytest.mark.parametrize("at", [0, 1, 4, 7])
def test_after_an_interruption_at_any_file_the_same_command_computes_the_rest_with_the_same_result(
    tmp_path, monkeypatch, at
):
    photos = write_photos(tmp_path / "photos", "a.png", "b.png", "c.png")
    config, published = make_config(photos, tmp_path / "out", **ALL), []
    publish = storage.publish

    def interrupt(url, content):
        if ".trial-" not in url:
            published.append(url)
            if len(published) > at:
                raise KeyboardInterrupt
        return publish(url, content)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "publish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            predict(config)
    before = files_below(tmp_path / "out")
    assert len(before) == at
    assert counts(predict(config)) == (3, 3 - at // 3, at // 3, 0)
    after = files_below(tmp_path / "out")
    assert {name: after[name] for name in before} == before
    predict(make_config(photos, tmp_path / "undisturbed", **ALL))
    undisturbed = files_below(tmp_path / "undisturbed")
    assert after.keys() == undisturbed.keys()
    for name in after:
        if name.endswith(".png"):  # after one is skipped, the others are in other batches
            assert_within(grey_of(tmp_path / "out" / name), grey_of(tmp_path / "undisturbed" / name), BATCH_STEPS)


# Unusual photos


def with_orientation(orientation):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    return exif


UNUSUAL = {
    "grey.jpg": encoded(make_pixels()[:, :, 0], "JPEG"),
    "cmyk.jpg": encoded(make_pixels(), "JPEG", "CMYK"),
    "palette.png": encoded(make_pixels(), "PNG", "P"),
    "one bit.png": encoded(make_pixels(), "PNG", "1"),
    "16 bits.png": encoded(make_pixels()[:, :, 0].astype(np.uint16) * 257),
    "alpha.png": encoded(np.dstack([make_pixels(), make_pixels()[:, :, 0]])),
    "animated.gif": encoded(
        make_pixels(), "GIF", save_all=True, append_images=[Image.fromarray(make_pixels(number)) for number in (1, 2)]
    ),
    "web.webp": encoded(make_pixels(), "WEBP"),
    "of a browser.avif": encoded(make_pixels(), "AVIF"),
    "saved by a browser.jfif": encoded(make_pixels(), "JPEG"),
    "camera.JPE": encoded(make_pixels(), "JPEG"),
    "12 bits.png": encoded(make_pixels()[:, :, 0].astype(np.uint16) * 16),
    "progressive.jpg": encoded(make_pixels(), "JPEG", progressive=True),
    "really a png.jpg": encoded(make_pixels()),
    "exif of nonsense.png": encoded(make_pixels(), exif=b"Exif\0\0nonsense"),
    "exif cut off.webp": encoded(make_pixels(), "WEBP", exif=b"Exif\0\0MM"),
}


def test_unusual_but_whole_photos_do_not_fail(tmp_path, caplog):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, content in UNUSUAL.items():
        (photos / name).write_bytes(content)
    assert counts(predict(make_config(photos, tmp_path / "out"))) == (len(UNUSUAL), len(UNUSUAL), 0, 0)
    assert caplog.records == []
    for name in UNUSUAL:
        assert grey_of(tmp_path / "out" / Path(name).with_suffix(".png")).shape == (30, 40)


def test_photos_that_need_a_codec_are_not_left_out_silently(tmp_path, caplog):
    photos = write_photos(tmp_path / "photos", "a.png")
    for name, start in (("b.HEIC", b"\0\0\0\x18ftypheic\0\0\0\0heicmif1"), ("c.jxl", b"\xff\x0a\0")):
        (photos / name).write_bytes(start)
    (photos / "d.dng").write_bytes(b"II*\0")
    assert counts(predict(make_config(photos, tmp_path / "out"))) == (3, 1, 0, 2)
    problems = problems_in(caplog)
    assert problems.keys() == {"b.HEIC", "c.jxl"}
    for name, advice, opened in (
        ("b.HEIC", "To read HEIC: pip install pillow-heif", "HEIF"),
        ("c.jxl", "To read JPEG XL: pip install pillow-jxl-plugin", "JXL"),
    ):
        assert (advice in problems[name]) == (opened not in OPENED)


@pytest.mark.parametrize(("width", "height"), [(40_000, 3), (3, 40_000), (1, 1)])
def test_very_long_and_very_small_photos_do_not_fail(tmp_path, width, height):
    (tmp_path / "a.png").write_bytes(encoded(np.full((height, width, 3), 90, np.uint8)))
    assert counts(predict(make_config(tmp_path / "a.png", tmp_path / "out", **ALL))) == (1, 1, 0, 0)
    assert grey_of(tmp_path / "out" / "a.png").shape == (height, width)


@pytest.mark.parametrize("image_format", ["jpeg", "png", "webp", "avif"])
def test_a_turned_photo_is_predicted_as_people_see_it(tmp_path, caplog, image_format):
    (tmp_path / "photos").mkdir()
    for orientation in (1, 6):
        content = encoded(make_pixels(), image_format, exif=with_orientation(orientation))
        (tmp_path / "photos" / f"{orientation}.{image_format}").write_bytes(content)
    predict(make_config(tmp_path / "photos", tmp_path / "out", overlay=True))
    assert caplog.messages == []
    assert grey_of(tmp_path / "out" / "6.png").shape == (40, 30)
    assert grey_of(tmp_path / "out" / "1.png").shape == (30, 40)
    with Image.open(tmp_path / "out" / "overlay" / "6.jpg") as overlay:
        assert overlay.size == (30, 40)


@pytest.mark.parametrize("image_format", ["jpeg", "tiff", "avif"])
@pytest.mark.parametrize("options", [{"orientation": "stored"}, {"reference": True}])
def test_a_turned_photo_is_predicted_as_stored_if_that_is_asked_for_with_a_warning(
    tmp_path, caplog, image_format, options
):
    (tmp_path / "photos").mkdir()
    for orientation in (1, 6):
        content = encoded(make_pixels(), image_format, exif=with_orientation(orientation))
        (tmp_path / "photos" / f"{orientation}.{image_format}").write_bytes(content)
    predict(make_config(tmp_path / "photos" / f"*.{image_format}", tmp_path / "out", **options))
    path = tmp_path / "photos" / f"6.{image_format}"
    said = f"{path} has an EXIF orientation, which is not applied: its mask matches the pixels as stored"
    assert caplog.messages == [said]
    assert grey_of(tmp_path / "out" / "6.png").shape == (30, 40)


# Bad photos


def png_header(width, height):
    """A PNG that ends after saying how large it is."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"")
    chunks = [
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in (header, data)
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


BAD = {
    "text.jpg": (b"<html>not found</html>", "undecodable: text.jpg: UnidentifiedImageError"),
    "nothing.jpg": (b"", "undecodable: nothing.jpg: UnidentifiedImageError: 'cannot identify image file"),
    "cut.jpg": (encoded(make_pixels(), "JPEG")[:800], "undecodable: cut.jpg: OSError: 'image file is truncated"),
    "torn.png": (encoded(make_pixels())[:200], "undecodable: torn.png: "),
    "huge.png": (png_header(40_000, 40_000), "too_many_pixels: huge.png: 40000 x 40000 px"),
    "large.png": (
        png_header(10_000, 10_000),
        f"too_many_pixels: large.png: 10000 x 10000 px; the limit is {LIMIT_PX} pixels",
    ),
    "floats.tif": (encoded(make_pixels()[:, :, 0], "TIFF", "F"), "pixels of mode F have no fixed range"),
}


def test_every_bad_photo_fails_by_itself_with_its_reason_and_the_others_are_done(tmp_path, caplog):
    photos = write_photos(tmp_path / "photos", "a good.png", "z good.png")
    for name, (content, _said) in BAD.items():
        (photos / name).write_bytes(content)
    report = predict(make_config(photos, tmp_path / "out", **ALL))
    assert counts(report) == (len(BAD) + 2, 2, 0, len(BAD))
    problems = problems_in(caplog)
    assert problems.keys() == BAD.keys()
    for name, (_content, said) in BAD.items():
        assert said in problems[name]
    assert names_below(tmp_path / "out") == [
        *("a good.png", "overlay/a good.jpg", "overlay/z good.jpg"),
        *("uncertainty/a good.png", "uncertainty/z good.png", "z good.png"),
    ]
    again = predict(make_config(photos, tmp_path / "out", **ALL))
    assert counts(again) == (len(BAD) + 2, 0, 2, len(BAD))


def test_the_exceeded_limit_is_reported(tmp_path, caplog):
    (tmp_path / "huge.png").write_bytes(png_header(40_000, 40_000))
    predict(make_config(tmp_path / "huge.png", tmp_path / "out"))
    assert f"the limit is {LIMIT_PX} pixels" in problems_in(caplog)["huge.png"]


def test_the_limit_on_pixels_can_be_given(tmp_path, caplog):
    photos = write_photos(tmp_path / "photos", "a.png")
    height, width = make_pixels().shape[:2]
    config = make_config(photos, tmp_path / "out", max_image_pixels=width * height - 1)
    assert counts(predict(config)) == (1, 0, 0, 1)
    said = f"too_many_pixels: a.png: {width} x {height} px; the limit is {width * height - 1} pixels"
    assert problems_in(caplog) == {"a.png": said}
    assert predict(make_config(photos, tmp_path / "out", max_image_pixels=width * height)).predicted == 1


def test_a_file_with_too_many_bytes_is_not_read(tmp_path, monkeypatch, caplog):
    photos = write_photos(tmp_path / "photos", "a.png", "b.png")
    monkeypatch.setattr(photos_predict, "MAX_IMAGE_BYTES", 1000)
    (photos / "b.png").write_bytes(bytes(1001))
    assert counts(predict(make_config(photos, tmp_path / "out"))) == (2, 1, 0, 1)
    assert problems_in(caplog) == {"b.png": "too_many_bytes: 1001 bytes; the limit is 1000"}


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "Permission denied"), OSError(errno.EIO, "I/O error")])
def test_a_file_that_can_not_be_read_fails_with_the_systems_reason(tmp_path, monkeypatch, caplog, error):
    photos, open_path = write_photos(tmp_path / "photos", "a.png", "b.png", "c.png"), Path.open

    def refuse(path, *options):
        if path.name == "b.png":
            raise error
        return open_path(path, *options)

    monkeypatch.setattr(Path, "open", refuse)
    assert counts(predict(make_config(photos, tmp_path / "out"))) == (3, 2, 0, 1)
    assert problems_in(caplog) == {"b.png": f"unreadable: {error.strerror}"}


def test_a_file_that_disappears_during_prediction_fails_and_is_named(tmp_path, monkeypatch, caplog):
    photos = write_photos(tmp_path / "photos", "a.png", "b.png")
    find_photos = photos_predict.find_photos

    def then_remove(named, **options):
        found = find_photos(named, **options)
        (photos / "b.png").unlink()
        return found

    monkeypatch.setattr(photos_predict, "find_photos", then_remove)
    assert counts(predict(make_config(photos, tmp_path / "out"))) == (2, 1, 0, 1)
    assert problems_in(caplog) == {"b.png": "unreadable: No such file or directory"}


def test_a_photo_that_the_networks_turn_into_nan_fails_by_itself(tmp_path, monkeypatch, caplog):
    photos = write_photos(tmp_path / "photos", "a.png", "b.png", "c.png")

    def load_spoilt(settings, ensemble, enough):
        model = load_quickly(settings, ensemble)
        predict_well = model.predict

        def spoil(images, keys):
            if key_of("b") in keys:
                raise ModelOutputError("members lie in [nan, nan]; saliency maps lie in [0, 1]")
            return predict_well(images, keys)

        model.predict = spoil
        return model

    monkeypatch.setattr(photos_predict, "load_diffusion_model", load_spoilt)
    assert counts(predict(make_config(photos, tmp_path / "out"))) == (3, 2, 0, 1)
    assert problems_in(caplog)["b.png"].startswith("model_output: key b: members lie in [nan, nan]")


def test_a_photo_too_large_for_memory_at_its_own_size_fails_by_itself(tmp_path, monkeypatch, caplog):
    photos = write_photos(tmp_path / "photos", "a.png", "b.png", "c.png")
    (photos / "b.png").write_bytes(encoded(make_pixels(width=640, height=640)))
    for module in (memory, saliency):
        monkeypatch.setattr(module, "free_bytes", lambda _device: 100 * 2**20)  # one member takes 0.2 GiB
    report = predict(make_config(photos, tmp_path / "out", processing_res=0))
    assert counts(report) == (3, 2, 0, 1)
    said = problems_in(caplog)["b.png"]
    assert said.startswith("model_memory: key b: one ensemble member of 640 x 640 px takes about 0.2 GiB")
    assert "0.1 GiB are free; give a smaller --processing-res" in said


def test_a_name_too_long_for_the_outputs_fails_by_itself(tmp_path, caplog):
    photos = write_photos(tmp_path / "photos", "a.png", "b.png", "c.png")
    (photos / "b.png").rename(photos / ("b" * 252))  # its mask's name has four letters more
    assert counts(predict(make_config(photos / "*", tmp_path / "out"))) == (3, 2, 0, 1)
    assert list(problems_in(caplog).values()) == ["its outputs can't be written: File name too long"]
    assert names_below(tmp_path / "out") == ["a.png", "c.png"]


@pytest.mark.parametrize("name", ["b" * 251, "日" * 83, "a" + "日" * 83])
def test_every_name_that_a_photo_may_have_is_one_for_its_outputs(tmp_path, name):
    photos = write_photos(tmp_path / "photos", f"{name}.png")
    assert counts(predict(make_config(photos, tmp_path / "out", **ALL))) == (1, 1, 0, 0)
    found = ["overlay/{}.jpg", "uncertainty/{}.png", "{}.png"]
    assert sorted(names_below(tmp_path / "out")) == sorted(place.format(name) for place in found)


def test_a_photo_too_wide_for_the_overlays_format_fails_by_itself(tmp_path, caplog):
    photos = write_photos(tmp_path / "photos", "a.png", "c.png")
    (photos / "b.png").write_bytes(encoded(np.full((1, 65_501, 3), 90, np.uint8)))
    assert counts(predict(make_config(photos, tmp_path / "out", overlay=True))) == (3, 2, 0, 1)
    assert problems_in(caplog)["b.png"].startswith("its outputs can't be written: ")


def test_photos_whose_masks_clash_or_would_replace_a_photo_fail_and_the_others_are_done(tmp_path, caplog):
    photos = write_photos(tmp_path / "photos", "a.png", "a.bmp", "b.png")
    assert counts(predict(make_config(photos, tmp_path / "out"))) == (3, 2, 0, 1)
    assert f"is an output of {photos / 'a.bmp'} already" in problems_in(caplog)["a.png"]
    caplog.clear()
    before = files_below(photos)
    assert counts(predict(make_config(photos / "*", photos, overwrite=True))) == (3, 0, 0, 3)
    assert set(problems_in(caplog)) == {"a.png", "a.bmp", "b.png"}
    assert files_below(photos) == before


# Faults of the request and of the machine


def test_ignored_files_are_reported(tmp_path, caplog):
    photos = write_photos(tmp_path / "photos", "a.png")
    (photos / "notes.txt").write_text("words")
    (photos / "b.psd").write_bytes(b"8BPS")
    (photos / "c.psd").write_bytes(b"8BPS")
    with caplog.at_level(logging.INFO):
        predict(make_config(photos, tmp_path / "out"))
    (said,) = caplog.messages
    assert said.startswith(
        "ignoring 3 files whose names are not those of photos: 2 Photoshop (PSD) (b.psd, for example), 1 of an unknown "
        "format (notes.txt, for example); supported are JPEG, PNG, WEBP, GIF, BMP, TIFF"
    )


def test_an_ignored_file_that_can_not_be_read_does_no_harm(tmp_path, caplog):
    photos = write_photos(tmp_path / "photos", "a.png")
    (photos / "secret").write_bytes(b"x")
    (photos / "secret").chmod(0)
    (photos / "gone.txt").symlink_to(tmp_path / "nowhere")
    with caplog.at_level(logging.INFO):
        predict(make_config(photos, tmp_path / "out"))
    assert caplog.messages[0].startswith("ignoring 1 files")


def test_an_output_folder_that_is_a_file_is_refused_before_a_model_is_loaded(tmp_path, monkeypatch):
    photos = write_photos(tmp_path / "photos", "a.png")
    (tmp_path / "out").touch()
    monkeypatch.delattr(photos_predict, "load_diffusion_model")
    with pytest.raises(ConfigError, match=r"--output-dir .*out: can't be written to"):
        predict(make_config(photos, tmp_path / "out"))


def test_masks_among_the_photos_are_refused_with_another_folder(tmp_path):
    photos = write_photos(tmp_path / "photos", "a.jpg")
    with pytest.raises(ConfigError, match=r"--output-dir .*photos is the folder of the images.*, .*photos/masks for"):
        predict(make_config(photos, photos / ".." / "photos"))
    assert names_below(photos) == ["a.jpg"]


def test_a_full_disk_raises_and_finished_outputs_stay(tmp_path, monkeypatch):
    photos = write_photos(tmp_path / "photos", "a.png", "b.png", "c.png")
    write_synced, written = local_disk.write_synced, []

    def fill_up(path, content):
        written.append(path)
        if len(written) == 3:  # the first is the trial
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write_synced(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(local_disk, "write_synced", fill_up)
        with pytest.raises(StorageError, match=r"b\.png: the disk is full, \d+ bytes"):
            predict(make_config(photos, tmp_path / "out"))
    assert names_below(tmp_path / "out") == ["a.png"]
    assert counts(predict(make_config(photos, tmp_path / "out"))) == (3, 2, 1, 0)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError("/nowhere holds no model_index.json"), "/nowhere holds no model_index.json"),
        (ValueError("device cuda can't be used: no driver"), "device cuda can't be used"),
        (CheckpointError("swinb.pth: 3 tensors are missing"), "3 tensors are missing"),
    ],
)
def test_weights_that_can_not_be_loaded_are_a_config_error(monkeypatch, error, said):
    def fail(*_):
        raise error

    monkeypatch.setattr(photos_predict, "load_diffusion_model", fail)
    with pytest.raises(ConfigError, match=said):
        load(make_config("photos", Path("out")))
