"""Distil a mask decoder from a model's VAE; see DistillationConfig for all options."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])


from jobs.ahead import begun, command, next_steps
from jobs.command_line import DONE, USAGE, answer, parse_config, run_job
from jobs.commands import COMMANDS
from model.decoder_choice import LEAST_IOU
from pipeline.distillation.config import DistillationConfig


def main() -> int:
    """Distil what is left to distil; print where the model is and how well its decoders agree, as one JSON line."""
    config = parse_config(DistillationConfig, sys.argv[1:], COMMANDS["distil"])
    with begun(f"distilling a mask decoder in {config.out}"):
        from pipeline.distillation.folder import require_folder

        require_folder(config)
        from model.checkpoint_files import CheckpointError
        from pipeline.distillation.distil import distil

    try:
        made = distil(config)
    except CheckpointError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    found, is_close = made.stated.agreement, made.stated.is_close_at(made.trained_px)
    is_taken = is_close and made.stated.distilled_from is not None
    ious = ", ".join(f"{one.iou:.4f} at {one.side_px} px" for one in made.stated.deciding)
    of = "drawn maps" if made.stated.deciding[0].maps_of == "drawn" else "photographs"
    reason = "its VAE is in bfloat16, by which auto can't know it" if is_close else f"below {LEAST_IOU}"
    taken = "--decoder auto takes it" if is_taken else f"{reason}, so that only --decoder mask takes it"
    use = command("predict", "PHOTOS", "--out", "MASKS", "--model", made.model)
    next_steps(
        f"IoU with the VAE's masks of {of} {ious}: at {made.trained_px} px, {taken}; predict with: {use}",
        f"look at the worst of its maps: {made.worst}",
    )
    answer(
        {
            "model": str(made.model),
            "parameters": made.parameters,
            "worst": str(made.worst),
            "distilled_from": made.stated.distilled_from,
            "agreement": [one.as_fields() for one in found],
            "taken_by_auto": is_taken,
        }
    )
    return DONE


if __name__ == "__main__":
    run_job(main)
