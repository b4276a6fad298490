"""Small photos by formula, and a quick form of the embedded model: few members, one step, few pixels, loaded once."""

import io
from functools import cache

import numpy as np
from PIL import Image

from model.config import EMBEDDED_MODEL
from model.saliency import load_pipeline, ready
from pipeline.options import from_options
from pipeline.photos.config import PhotosConfig

QUICK = {"ensemble_size": 2, "denoise_steps": 1, "processing_res": 64, "batch_size": 4, "device": "cpu"}
"""Two photos at a time."""


def make_config(photos, out, **options):
    given = {"input_rgb_path": str(photos), "output_dir": out}
    config: PhotosConfig = from_options(PhotosConfig, given | QUICK | options, missing=None)
    return config


def make_pixels(number=0, width=40, height=30):
    """A bright disc on a ramp; its place follows from the number."""
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([rows * 3 + number, columns * 2, rows + columns], axis=2) % 160
    disc = (rows - height / 2) ** 2 + (columns - width / 2 - number % 5) ** 2 < (height / 4) ** 2
    pixels[disc] = (250, 200, 40)
    return pixels.astype(np.uint8)


def encoded(pixels, image_format="PNG", mode=None, **options):
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(file, image_format, **options)
    return file.getvalue()


def write_photos(folder, *names):
    """Write a photo under each name, in the format of its suffix; the n-th shows `make_pixels(n)`."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(make_pixels(number)).save(path)
    return folder


def load_quickly(settings, ensemble, enough=None):
    """Stand in for `load_diffusion_model`: the embedded weights are read once for all tests."""
    assert settings.folder == EMBEDDED_MODEL
    return ready(_embedded(), settings, ensemble, enough)


@cache
def _embedded():
    return load_pipeline(EMBEDDED_MODEL)


def files_below(folder):
    """Path → content and modification time of every file below a folder, including hidden ones."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def names_below(folder):
    return sorted(files_below(folder))


def grey_of(path):
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        return np.asarray(image)
