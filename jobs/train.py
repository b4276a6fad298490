"""Fine-tune SOD-diffusion; `TrainingConfig` documents all options."""

import json
import logging
import sys
from dataclasses import replace
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import tyro

from jobs.command_line import DONE, run_job
from pipeline.training.config import TrainingConfig, require_packages, require_places, without_effect

log = logging.getLogger(__name__)


def main() -> int:
    """Train from the newest checkpoint, if any, to the end; print one JSON line that says where the model is."""
    config: TrainingConfig = tyro.cli(
        TrainingConfig, description=TrainingConfig.__doc__, config=(tyro.conf.OmitArgPrefixes,)
    )
    config = replace(config, output_dir=config.output_dir.absolute())
    require_packages(config)
    require_places(config)
    if ignored := without_effect(config):
        log.info("without effect here: %s", ", ".join(ignored))
    from pipeline.training.cluster import train_inline, train_on_ray

    model = train_inline(config) if config.cluster.engine == "inline" else train_on_ray(config)
    print(json.dumps({"model": str(model)}))
    return DONE


if __name__ == "__main__":
    run_job(main)
