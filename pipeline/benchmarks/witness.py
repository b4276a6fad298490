"""What a witness pass costs beside the witness's own inference: in processor time, on one thread, in turns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.benchmarks.benchmark import Case, Result, arguments_of, at_least_one, table_head
from pipeline.errors import ConfigError
from pipeline.networks.presets import PresetName

WIDTH, HEIGHT = 640, 480
"""The size of most of COCO's images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A witness pass, and the witness's inference alone on as many images; shards of both in turns."""

    witness: str = "out/witness/is-net.onnx"
    """ONNX file of the witness; `make witness` fetches this one."""
    preset: PresetName = "isnet"
    """As the pass's."""
    images: int = 12
    """Number of images, of 640 x 480 px."""
    shard_size: int = 4
    """Images per turn; the first turn is not counted."""

    def __post_init__(self) -> None:
        at_least_one(self, "images", "shard_size")
        if self.images <= self.shard_size:
            raise ValueError(f"images is {self.images}; the first turn of {self.shard_size} is not counted: give more")

    def cases(self) -> list[Case]:
        """One.

        Raises: ConfigError: there is no such file.
        """
        if not Path(self.witness).is_file():
            raise ConfigError(f"--witness {self.witness}: there is no such file; `make witness` fetches IS-Net")
        return [arguments_of(self)]

    def table(self, results: Sequence[Result]) -> Iterator[str]:
        """One row per case."""
        yield from table_head("witness", "images", "inference alone", "the pass", "share on top")
        for result in results:
            inference_s, pass_s = result["inference_s"], result["pass_s"]
            yield (
                f"| {result['witness']} | {result['images']} | {inference_s:.2f} s/image | {pass_s:.2f} s/image "
                f"| {pass_s / inference_s - 1:.1%} |"
            )


def measure(folder: Path, *, witness: str, preset: PresetName, images: int, shard_size: int) -> dict[str, Any]:
    """Processor time of this process per image: of the pass from reading to commit, and of inference."""
    import time

    import numpy as np

    from model.config import ModelConfig
    from pipeline.benchmarks.inputs import MADE_WITH, make_collection
    from pipeline.benchmarks.runs import carry_out
    from pipeline.config import ClusterConfig, RunConfig
    from pipeline.networks.onnx_network import OnnxNetwork
    from pipeline.passes.known import PassSpec
    from pipeline.passes.options import WitnessOptions
    from pipeline.passes.score_pass import PassContext
    from pipeline.passes.scoring import PassSetup
    from pipeline.replicas.shard_work import ShardWork
    from pipeline.replicas.shards import Shared
    from pipeline.replicas.suspects import Caution
    from pipeline.runs.run_file import read_run

    config = RunConfig(
        out=str(folder / "run"),
        input=make_collection(folder, images, WIDTH, HEIGHT),
        model=ModelConfig(model="fake"),
        cluster=ClusterConfig(engine="inline"),
        shard_size=shard_size,
    )
    carry_out(config)
    _, specs = read_run(config.out)
    options = WitnessOptions(witness=str(Path(witness).absolute()), preset=preset)
    context = PassContext(name="witness", run=config.out, made_with=MADE_WITH, model=config.model)
    _begin(options, context)
    setup = PassSetup(
        spec=PassSpec(kind="witness", options=options),
        context=context,
        work=ShardWork(
            run=f"{config.out}/passes/witness",
            batch_images=4,
            max_image_bytes=config.input.max_image_bytes,
            max_image_pixels=config.input.max_image_pixels,
        ),
        needed={},
    )
    scoring = setup.load()
    network = OnnxNetwork(Path(options.witness), options.signature, device="cpu", threads=1)
    batch = network.input_of(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    took: dict[str, list[float]] = {"pass_s": [], "inference_s": []}
    for spec in specs:
        started = time.process_time()
        scoring.process(spec, Caution(), Shared())
        between = time.process_time()
        for _ in spec.samples:
            network.run(batch)
        took["pass_s"].append(between - started)
        took["inference_s"].append(time.process_time() - between)
    counted = sum(len(spec.samples) for spec in specs[1:])
    per_image = {name: sum(turns[1:]) / counted for name, turns in took.items()}
    return {"witness": Path(witness).name, "images": counted, **per_image}


def _begin(options: Any, context: Any) -> None:
    """Write what a pass was made with, as its driver does."""
    from pipeline.passes.folder import PassDocument
    from pipeline.passes.opening import open_pass
    from pipeline.passes.witness.witness import Witness as Pass

    document = PassDocument(
        kind="witness",
        fingerprint=Pass.made_with(options, context),
        columns=tuple(Pass(options, context).columns),
        about={},
    )
    open_pass(context.run, context.name, document)
