"""Small pictures that differ as photographs do: coarse noise, whose every cell follows from a number."""

import io
import json

import numpy as np
from PIL import Image

from pipeline.config import ClusterConfig
from pipeline.passes.config import PassConfig
from pipeline.passes.options import DuplicatesOptions, EmbeddingsOptions
from pipeline.passes.score import score_run
from pipeline.run import run
from tests.pipeline.make import Inputs, make_config, make_entry, write_annotations


def make_photo(number, width=96, height=64):
    """Picture `number`, [H, W, 3]."""
    cells = np.random.default_rng(number).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC))


def encoded(pixels, kind="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, kind, **options)
    return file.getvalue()


def make_photos(folder, pictures):
    """A collection with these pictures, as ids 1, 2, …; none is failed by the fake model."""
    inputs = Inputs(images=folder / "images", annotations=folder / "annotations.json", entries=[])
    inputs.images.mkdir(parents=True)
    add_photos(inputs, pictures)
    return inputs


def add_photos(inputs, pictures):
    """More of them, at the end."""
    for pixels in pictures:
        number = len(inputs.entries) + 1
        entry = {**make_entry(number), "width": pixels.shape[1], "height": pixels.shape[0]}
        entry["file_name"] = f"{number}.png"
        inputs.entries.append(entry)
        (inputs.images / entry["file_name"]).write_bytes(encoded(pixels))
    write_annotations(inputs)


def run_of(inputs, out, **options):
    """A run of them with its release."""
    config = make_config(inputs, out, **options)
    run(config)
    return config


def embed(out, **options):
    """The pass embeddings, without a network."""
    return score(out, "embeddings", EmbeddingsOptions(encoder="none"), **options)


def find_duplicates(out, *against, duplicate_from=0.8, **options):
    """The pass duplicates."""
    given = DuplicatesOptions(against=tuple(against), encoder="none", duplicate_from=duplicate_from)
    return score(out, "duplicates", given, **options)


def score(out, kind, given, **options):
    return score_run(
        PassConfig(run=str(out), kind=kind, cluster=ClusterConfig(engine="inline", live_every_s=0), **options), given
    )


def decoded_json(path):
    return json.loads(path.read_text())
