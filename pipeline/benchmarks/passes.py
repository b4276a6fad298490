"""What a view of the score pass `flip` costs against the prediction that it repeats: the same members and steps."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from pipeline.benchmarks.benchmark import Case, Result, arguments_of, at_least_one, not_empty, table_head
from pipeline.passes.options import FlipOptions, View

if TYPE_CHECKING:
    from pipeline.passes.score_pass import Item


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """Time of a view of the score pass `flip`, from the image and its candidate to the scores, against the model's
    prediction of the same images with as many members and steps. Both are measured in turn, batch after batch."""

    views: tuple[View, ...] = ("mirror", "smaller", "larger", "colours")
    """Each is measured alone."""
    members: int = 1
    """Members per view."""
    steps: int = 2
    """DDIM steps per member."""
    images: int = 12
    """Photographs of the sample, in batches of four."""
    rounds: int = 5
    """How often the photographs are gone through."""
    threads: int = 2
    """CPU threads."""
    device: str = "cpu"
    """Same as the main job's --device."""
    model: str = "nano"
    """Same as the main job's --model."""

    def __post_init__(self) -> None:
        at_least_one(self, "members", "steps", "images", "rounds", "threads")
        not_empty(self, "views")

    def cases(self) -> list[Case]:
        """One case per view."""
        common = arguments_of(self)
        return [{"view": view, **common} for view in common.pop("views")]

    def table(self, results: Sequence[Result]) -> Iterator[str]:
        """One row per view."""
        yield from table_head(
            "view", "seconds per image", "prediction alone", "of its time", "quarter to quarter", "of its CPU time"
        )
        for result in results:
            ratios = sorted(result["ratios"])
            low, high = (ratios[int(share * (len(ratios) - 1))] for share in (0.25, 0.75))
            yield (
                f"| {result['view']} | {median(result['view_s']):.3f} s | {median(result['prediction_s']):.3f} s "
                f"| {median(ratios):.3f} | {low:.3f} to {high:.3f} | {median(result['cpu_ratios']):.3f} |"
            )


def measure(
    folder: Path,
    *,
    view: View,
    members: int,
    steps: int,
    images: int,
    rounds: int,
    threads: int,
    device: str,
    model: str,
) -> dict[str, Any]:
    """Seconds per image of every batch both ways, and their ratios. Which of the two comes first alternates.

    The ratio of this process's CPU time says the same where others keep the machine busy, but nothing about a GPU.
    """
    from model.config import ModelConfig
    from model.loading import load_model
    from pipeline.passes.flip import Flip, ensemble_of
    from pipeline.passes.score_pass import PassContext

    options = FlipOptions(views=(view,), view_members=members, view_steps=steps)
    config = ModelConfig(model=model, device=device, threads=threads)
    flip = Flip(options, PassContext(name="flip", run="", made_with={}, model=config))
    alone = load_model(config, ensemble_of(options, {}))
    batches = _batches(alone, images)
    found: dict[str, list[float]] = {"view_s": [], "prediction_s": [], "ratios": [], "cpu_ratios": []}
    for number, batch in enumerate([batches[0], *batches * rounds]):
        batch = [replace(item, candidate=replace(item.candidate)) for item in batch]  # nothing is decoded yet
        ways: dict[str, Callable[[], object]] = {
            "view_s": partial(flip.score_all, batch),
            "prediction_s": partial(
                alone.predict,
                [item.image for item in batch if item.image is not None],
                [item.sample.key for item in batch],
            ),
        }
        seconds, cpu = {}, {}
        for way in sorted(ways, reverse=number % 2 == 0):
            began, cpu_began = time.perf_counter(), time.process_time()
            ways[way]()
            seconds[way], cpu[way] = (time.perf_counter() - began) / len(batch), time.process_time() - cpu_began
        if number:  # the first warms up
            found["ratios"].append(seconds["view_s"] / seconds["prediction_s"])
            found["cpu_ratios"].append(cpu["view_s"] / max(cpu["prediction_s"], 1e-9))
            for way, spent in seconds.items():
                found[way].append(spent)
    return {"view": view, "images": images, **found}


def _batches(model: Any, images: int, batch_images: int = 4) -> list[list["Item"]]:
    """Photographs of the sample and their candidates; each candidate is opened anew in every round, as in a pass."""
    from model.maps import encode_png, quantise_saliency
    from pipeline.benchmarks.networks import sample_photos
    from pipeline.passes.score_pass import Candidate, Item
    from pipeline.records import CandidateRow, Sample

    items = []
    for key, pixels in sample_photos(images):
        (prediction,) = model.predict([pixels], [key])
        height, width = pixels.shape[:2]
        sample = Sample(key=key, image_id=0, file_name=key, width=width, height=height, license_id=0, location=None)
        row = CandidateRow(
            key=key, status="done", reason="", detail="", image_sha256="", image_bytes=0, members=1,
            fewer_at_once=0, scores={},
        )  # fmt: skip
        files = {"saliency.png": encode_png(quantise_saliency(prediction.saliency))}
        items.append(Item(sample=sample, image=pixels, candidate=Candidate(row=row, files=files)))
    return [items[first : first + batch_images] for first in range(0, images, batch_images)]
