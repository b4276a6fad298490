"""Train the nano model from composites; see TrainingConfig for what can be set."""

import json
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import tyro

from jobs.command_line import DONE, run_job
from pipeline.embedded.config import TrainingConfig


def main() -> int:
    """Train what is left to train; one JSON line says where the model is."""
    config = tyro.cli(TrainingConfig, description=TrainingConfig.__doc__)
    from pipeline.embedded.recipe import train

    model = train(config)
    print(json.dumps({"model": str(model) if model else None, "stage": config.stage}))
    return DONE


if __name__ == "__main__":
    run_job(main)
