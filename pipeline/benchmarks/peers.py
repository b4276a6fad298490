"""Ours beside what others use for the same work: diffusers' Marigold, and writers of webdataset's tars."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal, get_args

from pipeline.benchmarks.benchmark import Case, Result, arguments_of, at_least_one, not_empty, table_head
from pipeline.benchmarks.model_work import Dtype, ModelWork, Size
from pipeline.benchmarks.peer_tars import Writer, require_writer
from pipeline.errors import ConfigError

Part = Literal["model", "tars"]
Way = Literal["ours", "marigold", "marigold, one batch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """Ours beside what others use: diffusers' Marigold pipeline with the same UNet and VAE, and webdataset's writer of
    tars with the same samples. In turn, each in a process of its own; `orchestration` has Ray Data.

    Marigold is called as its documents say, with what is best for it: no text encoder, but the embedding of an empty
    prompt, whose two tokens are fewer than ours; no conditioner; members one by one (its default) and in one batch.
    Photos are square, since it keeps their shape and would see fewer pixels of others. Both give a map and its spread
    at the photo's size. Marigold aligns its members first, which ours need not: that time is shown by itself.
    """

    parts: tuple[Part, ...] = ("model", "tars")
    """`model`: seconds per photo. `tars`: samples/s."""
    sizes: tuple[Size, ...] = ("nano",)
    """Of UNet and VAE. `full` has random weights and takes minutes per photo on two cores: give it few members and
    steps."""
    dtype: Dtype = "float32"
    """Precision of weights and activations."""
    photos: int = 4
    """Square photographs per measurement; always one for the full size."""
    repeats: int = 3
    """How often each is measured, in turn."""
    samples: int = 2_048
    """Samples to write: a photo of 640 x 480 px and a JSON each, 64 to a tar."""
    writers: tuple[Writer, ...] = ("candidates", "release", "bare", "webdataset")
    """`candidates`, `release`: as we write both, with sums and synced to the disk. `bare`: our tar alone, which is all
    that `webdataset`'s ShardWriter does. `img2dataset` writes a parquet of the JSONs too, as `candidates` does; install
    it with `pip install --no-deps img2dataset`, since it requires a webdataset below 0.3."""
    work: ModelWork = field(default_factory=ModelWork)

    def __post_init__(self) -> None:
        at_least_one(self, "photos", "repeats", "samples")
        not_empty(self, "parts", "sizes", "writers")

    def cases(self) -> list[Case]:
        """Every way of one size, then every writer, one after the other, round by round.

        Raises: ConfigError: a writer is not installed, or Marigold has no such precision on a CPU.
        """
        if "model" in self.parts and self.dtype != "float32" and self.work.device == "cpu":
            raise ConfigError(
                f"--dtype {self.dtype}: Marigold resizes photos in that precision, which torch can't do on a CPU; give "
                "float32, or --device cuda"
            )
        for writer in self.writers:
            require_writer(writer)
        common = {"dtype": self.dtype, "samples": self.samples, **arguments_of(self.work)}
        cases: list[Case] = []
        if "model" in self.parts:
            for size in self.sizes:
                photos = self.photos if size == "nano" else 1
                one_round = [{"part": "model", "way": way, "size": size, "photos": photos} for way in get_args(Way)]
                cases += [case | common for case in one_round * self.repeats]
        if "tars" in self.parts:
            one_round = [{"part": "tars", "way": writer, "size": "", "photos": 0} for writer in self.writers]
            cases += [case | common for case in one_round * self.repeats]
        return cases

    def table(self, results: Sequence[Result]) -> Iterator[str]:
        """A table for each part, with one row per way: medians over the rounds."""
        rows: dict[str, dict[tuple[str, str], list[Result]]] = {"model": defaultdict(list), "tars": defaultdict(list)}
        for result in results:
            rows[result["part"]][result["size"], result["way"]].append(result)
        if rows["model"]:
            yield from _model_table(rows["model"])
        if rows["model"] and rows["tars"]:
            yield ""
        if rows["tars"]:
            yield from _tar_table(rows["tars"])


def _model_table(rows: dict[tuple[str, str], list[Result]]) -> Iterator[str]:
    yield from table_head(
        "UNet and VAE",
        "way",
        "precision",
        "seconds per photo",
        "of it, aligning",
        "of the time of ours",
        "without aligning",
        "of its CPU time",
    )
    for (size, way), same in rows.items():
        seconds, aligning, cpu = (median(result[name] for result in same) for name in ("photo_s", "align_s", "cpu_s"))
        ours, cpu_of_ours = (median(result[name] for result in rows[size, "ours"]) for name in ("photo_s", "cpu_s"))
        yield (
            f"| {size} | {way} | {same[0]['dtype']} | {seconds:.2f} s | {aligning:.2f} s | {seconds / ours:.2f} × "
            f"| {(seconds - aligning) / ours:.2f} × | {cpu / cpu_of_ours:.2f} × |"
        )


def _tar_table(rows: dict[tuple[str, str], list[Result]]) -> Iterator[str]:
    yield from table_head("writer", "samples/s", "lowest to highest", "MB/s", "against webdataset")
    theirs = [result["samples_per_s"] for result in rows.get(("", "webdataset"), ())]
    for (_, writer), same in rows.items():
        rates = [result["samples_per_s"] for result in same]
        ratio = f"{median(rates) / median(theirs):.2f}" if theirs else ""
        mb_per_s = median(rates) * same[0]["sample_bytes"] / 1e6
        yield (
            f"| {writer} | {median(rates):,.0f} | {min(rates):,.0f} to {max(rates):,.0f} | {mb_per_s:,.0f} | {ratio} |"
        )


def measure(
    folder: Path,
    *,
    part: Part,
    way: Any,
    size: Size,
    dtype: Dtype,
    photos: int,
    samples: int,
    ensemble_size: int,
    denoise_steps: int,
    threads: int,
    device: str,
) -> dict[str, Any]:
    """Seconds per photo of a model, or samples/s of a writer; what comes before is warm-up."""
    if part == "tars":
        from pipeline.benchmarks.peer_tars import write_samples

        return {"part": part, "size": "", "way": way, **write_samples(folder, way, samples)}
    from model.config import EnsembleConfig, ModelConfig
    from pipeline.benchmarks.peer_models import predict_photos

    config = ModelConfig(device=device, dtype=dtype, threads=threads)
    ensemble = EnsembleConfig(ensemble_size=ensemble_size, denoise_steps=denoise_steps)
    found = predict_photos(way, size, config, ensemble, photos)
    return {"part": part, "size": size, "way": way, "dtype": dtype, "photos": photos, **found}
