"""A pass of the UNet against the rate at which this machine multiplies matrices."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.config import ModelConfig
from pipeline.benchmarks.benchmark import Case, Result, at_least_one, not_empty, table_head
from pipeline.benchmarks.model_work import Dtype, Size

if TYPE_CHECKING:
    import torch

    from model.diffusion import SODDiffusionPipeline

MATRIX_SIDE = 4096
TRIALS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A pass of the UNet against the rate at which this machine multiplies matrices in the same precision."""

    sizes: tuple[Size, ...] = ("nano", "full")
    """`full` has random weights and takes minutes."""
    dtypes: tuple[Dtype, ...] = ("float32",)
    """Precisions. Both rates are low for bfloat16 on a CPU that has no instructions for it."""
    batch: int = 10
    """Members of one image that pass through together."""
    threads: int = 2
    """CPU threads."""
    device: str = "cpu"
    """Same as the main job's --device."""
    compiled: tuple[bool, ...] = (False,)
    """`False True` compares the plain UNet with the compiled one."""

    def __post_init__(self) -> None:
        at_least_one(self, "batch", "threads")
        not_empty(self, "sizes", "dtypes", "compiled")

    def cases(self) -> list[Case]:
        """One case per size, precision and form."""
        common = {"batch": self.batch, "threads": self.threads, "device": self.device}
        return [
            {"size": size, "dtype": dtype, "compiled": compiled, **common}
            for size, dtype, compiled in product(self.sizes, self.dtypes, self.compiled)
        ]

    def table(self, results: Sequence[Result]) -> Iterator[str]:
        """One row per case."""
        yield from table_head(
            *("model", "precision", "compiled", "first pass", "a pass", "operations", "rate"),
            *("matrix products", "share", "instructions"),
        )
        for result in results:
            compiled = "yes" if result["compiled"] else "no"
            yield (
                f"| {result['size']} | {result['dtype']} | {compiled} | {result['first_s']:.2f} s "
                f"| {result['pass_s']:.3f} s | {result['operations'] / 1e9:.1f} G "
                f"| {result['pass_rate'] / 1e9:.0f} G/s | {result['matrix_rate'] / 1e9:.0f} G/s "
                f"| {result['share']:.0%} | {result['instructions']} |"
            )


def measure(
    folder: Path, *, size: Size, dtype: Dtype, batch: int, threads: int, device: str, compiled: bool
) -> dict[str, Any]:
    """The best of `TRIALS` trials of each, in turn. A multiplication and an addition count as two operations."""
    import torch

    from model.runtime import prepare
    from model.saliency import on_device
    from pipeline.benchmarks.networks import measured_pipeline

    torch.set_num_threads(threads)
    config = ModelConfig(device=device, dtype=dtype, threads=threads, compile=compiled)
    with torch.inference_mode():
        pipeline = prepare(on_device(measured_pipeline(size, config), device), config)
        matrix = torch.randn(MATRIX_SIDE, MATRIX_SIDE, device=pipeline.device, dtype=pipeline.unet.dtype)
        unet_pass = _UNetPass(pipeline, batch)
        with unet_pass.form:
            first_s = _seconds(unet_pass.run)
            trials = [(_seconds(lambda: matrix @ matrix), _seconds(unet_pass.run)) for _ in range(TRIALS)]
        counted = operations(size, batch)
    matrix_s, pass_s = map(min, zip(*trials, strict=True))
    matrix_rate, pass_rate = 2 * MATRIX_SIDE**3 / matrix_s, counted / pass_s
    return {
        "size": size,
        "dtype": dtype,
        "batch": batch,
        "compiled": compiled,
        "first_s": first_s,
        "pass_s": pass_s,
        "operations": counted,
        "pass_rate": pass_rate,
        "matrix_rate": matrix_rate,
        "share": pass_rate / matrix_rate,
        "instructions": _instructions(pipeline.device),
    }


def _instructions(device: "torch.device") -> str:
    """What both rates hang on: the processor's extensions, or the card."""
    import torch

    from pipeline.runs.machine import instruction_set

    return torch.cuda.get_device_name(device) if device.type == "cuda" else instruction_set()


class _UNetPass:
    """One pass of the UNet over the members of one image."""

    def __init__(self, pipeline: "SODDiffusionPipeline", batch: int) -> None:
        import torch

        side, like = pipeline.default_processing_res // 8, {"device": pipeline.device, "dtype": pipeline.unet.dtype}
        tokens = torch.randn(1, side**2, pipeline.conditioner.config.feature_channels, **like)
        latents, timestep = torch.randn(batch, 4, side, side, **like), torch.tensor(500, device=pipeline.device)
        self.form = pipeline.inference_form.for_images(torch.randn(1, 4, side, side, **like), tokens)
        self.run: Callable[[], Any] = lambda: pipeline.unet(latents, timestep, encoder_hidden_states=tokens)


def _seconds(work: Callable[[], Any]) -> float:
    from pipeline.benchmarks.clock import now

    began = now()
    work()
    return now() - began


def operations(size: Size, batch: int) -> int:
    """Operations of a pass in our form, counted on torch's `meta` device, which computes no values."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from model.architectures import build_pipeline

    with torch.device("meta"):
        unet_pass = _UNetPass(build_pipeline(size), batch)
    with unet_pass.form, FlopCounterMode(display=False) as counter:
        unet_pass.run()
    return int(counter.get_total_flops())
