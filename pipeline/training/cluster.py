"""Run the trainer's loop with Ray Train: one worker per GPU, on any number of machines.

Checkpoints are the trainer's own, in the output folder, which all machines must see. Ray only restarts workers when
some died; they resume from the newest checkpoint. If an earlier one is configured, the driver makes it the newest.
"""

import json
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path

# Before ray: this sets the authentication mode, which ray reads when it is imported.
from model.documents import parse_json
from pipeline.replicas.on_ray.connection import connected

# isort: split
import ray
import ray.train
import ray.train.torch
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from torch import nn

from pipeline.errors import ConfigError, ModelError, PipelineError, UsageError
from pipeline.files import storage
from pipeline.progress.lines import LogLines
from pipeline.progress.stages import shown_by, stage
from pipeline.shown import ShownFormatter
from pipeline.training.config import TrainingConfig, with_absolute_paths
from pipeline.training.preflight import check_request
from pipeline.training.start import check_claim, claim_of, resuming_from_newest
from pipeline.training.trainer import Worker, train_in_worker

log = logging.getLogger(__name__)

_REFUSAL = "refused.json"


def train_on_ray(config: TrainingConfig) -> Path:
    """Train on the cluster of RAY_ADDRESS, or on one that is started here and ends with the training.

    Returns: the folder of the finished model.
    Raises:  UsageError: data, weights, workers or output folder can't be used; found before the first step.
             ModelError: workers died more often than `max_failures`, or for a reason that would recur.
    """
    config = with_absolute_paths(config)
    with stage("reading the headers of all photos and masks"):
        pairs = check_request(config)
    with stage("reading the starting weights"):
        claim = claim_of(config, pairs, config.cluster.workers)
    with connected(for_training=True):
        workers, use_gpu = workers_on(ray.cluster_resources(), config.cluster.workers)
        check_claim(config, claim | {"workers": workers})
        # The claim is checked: from here on workers resume, also those that replace dead ones.
        trainer = TorchTrainer(
            _work,
            train_loop_config={"config": resuming_from_newest(config)},
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=use_gpu),
            run_config=RunConfig(
                name="ray",
                storage_path=str(config.output_dir),
                failure_config=FailureConfig(max_failures=config.cluster.max_failures),
            ),
        )
        refusal = config.output_dir / _REFUSAL
        refusal.unlink(missing_ok=True)
        try:
            with stage("training on Ray; a worker's own lines follow"):
                trainer.fit()
        except ray.train.TrainingFailedError as error:
            if not refusal.exists():
                raise ModelError(f"training failed: {error}") from error
        if refusal.exists():
            found = parse_json(refusal.read_bytes())
            refusal.unlink()
            raise (UsageError if found["usage"] else ModelError)(found["message"])
    return config.output_dir / "model"


def train_inline(config: TrainingConfig) -> Path:
    """Train in this process."""
    _use_threads(config)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return train_in_worker(config, Worker(device=device))


def workers_on(resources: Mapping[str, float], requested: int) -> tuple[int, bool]:
    """Number of workers on a cluster with these resources, and whether each gets a GPU.

    Raises: ConfigError: the cluster can't start as many; Ray would wait for further machines forever.
    """
    gpus = int(resources.get("GPU", 0))
    workers = requested or max(1, gpus)
    most, unit = (gpus, "GPUs") if gpus else (int(resources.get("CPU", 0)), "CPUs")
    if workers > most:
        raise ConfigError(f"--workers {workers}: the cluster has {most} {unit}, one per worker; give at most {most}")
    return workers, gpus > 0


def _work(options: dict[str, TrainingConfig]) -> None:
    """Run one worker; Ray calls this again when a worker was lost.

    Ray Train can't tell a worker that died from one that gave up for good reason, and would retry the latter
    `max_failures` times too. So a worker that gives up leaves its reason in a file, and its successors stop at once.
    """
    config = options["config"]
    refusal = config.output_dir / _REFUSAL
    if refusal.exists():
        return
    try:
        _train(config)
    except PipelineError as error:
        found = {"usage": isinstance(error, UsageError), "message": str(error)}
        storage.publish(str(refusal), json.dumps(found).encode())
        raise


def _train(config: TrainingConfig) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(ShownFormatter("%(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    _use_threads(config)
    with LogLines(lambda line: log.info("%s", line), lambda line: log.info("%s", line)) as lines, shown_by(lines):
        _train_as(config)


def _train_as(config: TrainingConfig) -> None:
    """Train as the worker that this process is."""
    context = ray.train.get_context()
    world = context.get_world_size()
    worker = Worker(
        rank=context.get_world_rank(),
        world=world,
        device=ray.train.torch.get_device(),
        wrap=_among_others if world > 1 else lambda networks: networks,
        wait=torch.distributed.barrier if world > 1 else lambda: None,
    )
    train_in_worker(config, worker)


def _among_others(networks: nn.Module) -> nn.Module:
    """Synchronise gradients with the other workers.

    The conditioner's side output does not enter the loss, so its weights get no gradients and must not be waited for.
    """
    wrapped: nn.Module = ray.train.torch.prepare_model(
        networks, parallel_strategy_kwargs={"find_unused_parameters": True}
    )
    return wrapped


def _use_threads(config: TrainingConfig) -> None:
    torch.set_num_threads(config.cluster.threads or os.cpu_count() or 1)
