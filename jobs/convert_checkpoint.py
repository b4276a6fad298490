"""Convert the official checkpoint, or prepare a training from Stable Diffusion 2; see `Arguments` for the options."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

sys.path[0] = str(Path(__file__).resolve().parents[1])


from jobs.command_line import DONE, USAGE, answer, parse_config, run_job
from jobs.commands import COMMANDS
from model.config import check_seed
from model.official_names import IMAGENET_BACKBONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """Write a model folder to OUT, for --model: the official weights, or untrained ones with --from-stable-diffusion.

    OUT/origin.json says what it was made from; `sha256sum -c SHA256SUMS` in OUT checks it.
    """

    stable_diffusion_repo_path: Path  # folder that contains Stable Diffusion 2's folders vae and scheduler
    out: Path  # folder to create; it must not exist, or be empty
    pretrained_model_path: Path | None = None  # the official UNet's folder, or a folder that contains it as `unet`
    swinb_model_path: Path | None = None  # the official Swin-B branch, .pth or .safetensors
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"  # precision of the saved weights
    from_stable_diffusion: bool = False  # prepare a training; the Stable Diffusion folder must contain `unet` too
    backbone: str = IMAGENET_BACKBONE  # with --from-stable-diffusion: a file, timm's name for weights, or `random`
    seed: int = 0  # with --from-stable-diffusion: seed of the conditioner's random weights, from 0

    def __post_init__(self) -> None:
        official = (self.pretrained_model_path, self.swinb_model_path)
        if any(official) if self.from_stable_diffusion else not all(official):
            raise ValueError("give either --pretrained-model-path and --swinb-model-path, or --from-stable-diffusion")
        check_seed(self.seed)


def main() -> int:
    """Write the folder; print one JSON line that says what it contains."""
    arguments = parse_config(Arguments, sys.argv[1:], COMMANDS["convert"])
    check_places(arguments)
    from model.checkpoints import CheckpointError
    from model.weights import weights_sha256

    out = arguments.out
    try:
        parameters = write(arguments)
    except CheckpointError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    written = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    answer({"out": str(out), "bytes": written, "sha256": weights_sha256(out), "parameters": parameters})
    return DONE


def check_places(arguments: Arguments) -> None:
    """Refuse what is missing, and a folder that can't be written, before torch loads.

    Raises: CollectionError: a given path does not exist. ConfigError: OUT is not empty, or can't be written to.
    """
    from pipeline.preconditions import require_new_folder, require_there

    require_new_folder(arguments.out, "--out")
    for name in ("stable_diffusion_repo_path", "pretrained_model_path", "swinb_model_path"):
        if (place := getattr(arguments, name)) is not None:
            require_there(place, f"--{name.replace('_', '-')}")


def write(arguments: Arguments) -> dict[str, int]:
    """Write the requested folder; return the number of parameters of each network in it."""
    from model.checkpoints import OfficialFiles, convert
    from model.saliency import NETWORKS, torch_dtype
    from model.training_start import write_start

    repo, dtype = arguments.stable_diffusion_repo_path, torch_dtype(arguments.dtype)
    unet, branch = arguments.pretrained_model_path, arguments.swinb_model_path
    if unet and branch:
        pipeline = convert(OfficialFiles(unet=unet, stable_diffusion=repo, branch=branch), arguments.out, dtype)
    else:
        backbone = None if arguments.backbone == "random" else arguments.backbone
        pipeline = write_start(repo, backbone, arguments.out, seed=arguments.seed, dtype=dtype)
    return {name: sum(p.numel() for p in getattr(pipeline, name).parameters()) for name in NETWORKS}


if __name__ == "__main__":
    run_job(main)
