"""Train the embedded nano model; see EmbeddedTrainingConfig for all options."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])


from jobs.ahead import begun
from jobs.command_line import DONE, answer, parse_config, run_job
from jobs.commands import COMMANDS
from pipeline.devices import require_device
from pipeline.embedded.config import EmbeddedTrainingConfig
from pipeline.preconditions import require_target


def main() -> int:
    """Train what is left to train, then print where the model is as one JSON line."""
    config = parse_config(EmbeddedTrainingConfig, sys.argv[1:], COMMANDS["embedded train"])
    require_target(config.out, "--out")
    require_device(config.device)
    with begun(f"training the embedded model in {config.out}"):
        from pipeline.embedded.recipe import train_embedded

    model = train_embedded(config)
    answer({"model": str(model) if model else None, "stage": config.stage})
    return DONE


if __name__ == "__main__":
    run_job(main)
