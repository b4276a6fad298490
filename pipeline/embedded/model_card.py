"""The measured part of the embedded model's card: figures on the sample's hand-drawn masks, and pictures.

Only the lines between two marks are rewritten; everything that a person wrote in the card stays as it is.
"""

import io
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from model.checkpoint_facts import facts_of
from model.config import EnsembleConfig, ModelConfig
from model.saliency import load_diffusion_model
from pipeline.collection.images import decode_rgb
from pipeline.config import ClusterConfig
from pipeline.errors import ConfigError
from pipeline.evaluation.config import EvaluationConfig
from pipeline.evaluation.grey import decode_file
from pipeline.evaluation.job import evaluate
from pipeline.evaluation.model_run import run_url
from pipeline.evaluation.pairs import Pair
from pipeline.evaluation.tasks import find_tasks
from pipeline.evaluation.truth import read_truth
from pipeline.files.maps import mask_of, variance_picture
from pipeline.files.outlines import small, small_outlined
from pipeline.files.storage import publish
from pipeline.progress.stages import say
from pipeline.runs.candidates import read_maps
from pipeline.runs.commits import committed_shards, read_shard_record

MEMBERS = 10
STEPS = (10, 4, 2, 1)
"""Beside the model's own number, with which the pictures are made."""
BEGIN, END = "<!-- measured by `make card`, which rewrites these lines -->", "<!-- end of measured lines -->"
PICTURES = 8
THUMBNAIL_PX, GAP_PX, HEAD_PX = 160, 4, 22
HEADS = ("photo, mask's outline", "drawn by hand", "saliency", "variance")


@dataclass(frozen=True, slots=True, kw_only=True)
class CardRow:
    """One row of the table."""

    steps: int
    metrics: Mapping[str, float]
    clear: Mapping[str, float]
    """Means over the photographs in which nobody could choose another object."""
    lowered_by: float
    """Share of the mean error that is gone once the worst third by variance is dropped."""
    seconds: float
    """Median time of one photograph."""


def write_card(model: str, sample: Path, card: Path) -> str:
    """Evaluate the model on the sample with every number of steps; write figures and pictures of the card.

    Args:    sample: folder with `images` and `masks`; `masks` has `outlines.json`.
             card: the README of the model; `risk_coverage.png`, `examples.png` and `failures.png` go beside it.
    Returns: the measured part.
    Raises:  ConfigError: the card does not exist or has no marks. Also whatever `evaluate` raises.
    """
    if not card.is_file():
        raise ConfigError(f"{card} does not exist; give the README of a model")
    page = card.read_text(encoding="utf-8")
    with_measured(page, "")  # refuse a card without marks before the work
    with tempfile.TemporaryDirectory(prefix="card-") as temporary:
        own = facts_of(ModelConfig(model=model)).default_denoise_steps
        folders = {steps: Path(temporary, f"{steps}-steps") for steps in dict.fromkeys((own, *STEPS))}
        rows = []
        for steps, out in folders.items():
            rows.append(_measure_row(model, steps, sample, out))
            say(f"{steps} steps: S {rows[-1].metrics['s_measure']:.4f}, MAE {rows[-1].metrics['mae']:.4f}")
        first = folders[own]
        names = [row["name"] for row in sorted(_rows(first), key=lambda row: row["mae"])]  # smallest error first
        even = [names[place] for place in np.linspace(0, len(names) - 1, PICTURES).round().astype(int)]
        pictures = {
            "risk_coverage.png": (first / "risk_coverage.png").read_bytes(),
            "examples.png": _draw(even, sample, first),
            "failures.png": _draw(names[-PICTURES:][::-1], sample, first),
        }
    for name, content in pictures.items():
        publish(str(card.with_name(name)), content)
    measured = _section(rows)
    publish(str(card), with_measured(page, measured).encode())
    return measured


def with_measured(page: str, measured: str) -> str:
    """Replace the measured part of a page.

    Raises: ConfigError: the page has no marks to put it between.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ConfigError(f"the card lacks the lines {BEGIN!r} and {END!r} to write the figures between")
    return f"{before}{BEGIN}\n{measured}\n{END}{after}"


def _measure_row(model: str, steps: int, sample: Path, out: Path) -> CardRow:
    ensemble = EnsembleConfig(ensemble_size=MEMBERS, denoise_steps=steps)
    config = EvaluationConfig(
        out=str(out),
        images=str(sample / "images"),
        masks=str(sample / "masks"),
        model=ModelConfig(model=model, threads=2),
        ensemble=ensemble,
        cluster=ClusterConfig(engine="inline"),
    )
    tasks = find_tasks(config)
    (document,) = evaluate(tasks, config)
    outlines = json.loads((sample / "masks" / "outlines.json").read_bytes())
    return CardRow(
        steps=steps,
        metrics=document["metrics"],
        clear=_means(out, {name for name, outline in outlines.items() if outline["clear"]}),
        lowered_by=document["risk_coverage"]["ensemble_variance"]["mae"]["lowered_by"],
        seconds=_seconds(config, tasks[0].pairs),
    )


def _seconds(config: EvaluationConfig, pairs: Sequence[Pair]) -> float:
    model = load_diffusion_model(config.model, config.ensemble)
    photos = [decode_rgb(pair.name, pair.photo.read_bytes()) for pair in pairs[:6]]
    times = []
    for photo, pair in zip(photos, pairs, strict=False):
        started = time.perf_counter()
        model.predict([photo], [pair.name])
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])  # the first photograph warms up


def _means(out: Path, names: set[str]) -> dict[str, float]:
    rows = [row for row in _rows(out) if row["name"] in names]
    means = {name: statistics.mean(float(row[name]) for row in rows) for name in ("mae", "s_measure")}
    return {"images": len(rows), **means}


def _rows(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(out / "images.parquet").to_pylist()
    return rows


def _section(rows: Sequence[CardRow]) -> str:
    head = [
        "settings", "S ↑", "MAE ↓", "max F ↑", "mean E ↑", f"S, MAE of the {rows[0].clear['images']:.0f} clear ones",
        "worst third by variance dropped: MAE", "one photo, 2 threads",
    ]  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        metrics, clear = row.metrics, row.clear
        cells = [
            f"{MEMBERS} members × {row.steps} steps",
            *(f"{metrics[name]:.3f}" for name in ("s_measure", "mae", "max_f", "mean_e")),
            f"{clear['s_measure']:.3f}, {clear['mae']:.3f}",
            f"{-row.lowered_by:.0%}",
            f"{row.seconds:.2f} s",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(["", *lines, ""])


# Pictures


def _draw(names: Sequence[str], sample: Path, out: Path) -> bytes:
    """Photograph with outline, hand-drawn mask, saliency and variance, below heads; two photographs per line."""
    stored = dict(_maps(out))
    strips = [_strip(name, sample, *stored[name]) for name in names]
    lines = [strips[first : first + 2] for first in range(0, len(strips), 2)]
    heights = [max(strip.height for strip in line) for line in lines]
    width = len(HEADS) * (THUMBNAIL_PX + GAP_PX)
    sheet = Image.new("RGB", (2 * width + GAP_PX, HEAD_PX + sum(heights) + 2 * GAP_PX * len(lines)), "white")
    draw, font, top = ImageDraw.Draw(sheet), ImageFont.load_default(12), HEAD_PX
    for column in range(2):
        for place, head in enumerate(HEADS):
            middle = column * (width + GAP_PX) + place * (THUMBNAIL_PX + GAP_PX) + THUMBNAIL_PX // 2
            draw.text((middle, HEAD_PX // 2), head, fill=(40, 40, 40), font=font, anchor="mm")
    for line, height in zip(lines, heights, strict=True):
        for column, strip in enumerate(line):
            sheet.paste(strip, (column * (width + GAP_PX), top + (height - strip.height) // 2))
        top += height + 2 * GAP_PX
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _strip(
    name: str, sample: Path, saliency: UInt8[np.ndarray, "h w"], variance: UInt8[np.ndarray, "h w"]
) -> Image.Image:
    """The pictures of one photograph side by side, in its own proportions."""
    photo = decode_file(sample / "images" / f"{name}.jpg", lambda image: image.convert("RGB"))
    mask = read_truth(sample / "masks" / f"{name}.png").astype(np.uint8) * np.uint8(255)
    found = np.asarray(Image.fromarray(mask_of(saliency).astype(np.uint8) * np.uint8(255)).resize(photo.size))
    pictures = [
        small_outlined(photo, found, THUMBNAIL_PX),
        *(
            small(Image.fromarray(picture).resize(photo.size, Image.Resampling.BILINEAR), THUMBNAIL_PX)
            for picture in (mask, saliency, variance)
        ),
    ]
    strip = Image.new("RGB", (len(HEADS) * (THUMBNAIL_PX + GAP_PX), max(one.height for one in pictures)), "white")
    for place, picture in enumerate(pictures):
        strip.paste(picture, (place * (THUMBNAIL_PX + GAP_PX) + (THUMBNAIL_PX - picture.width) // 2, 0))
    return strip


def _maps(out: Path) -> list[tuple[str, tuple[UInt8[np.ndarray, "h w"], UInt8[np.ndarray, "h w"]]]]:
    """Name, saliency, and a picture of the variance; the run numbers photographs in the order of their names."""
    names = sorted(row["name"] for row in _rows(out))
    run = run_url(str(out))
    found = []
    for shard in sorted(committed_shards(run)):
        for key, maps in read_maps(run, read_shard_record(run, shard)):
            found.append((names[int(key) - 1], (maps.saliency, variance_picture(maps.variance))))
    return found
