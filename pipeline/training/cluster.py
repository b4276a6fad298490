"""Ray Train: the trainer's loop on one worker per GPU, over any number of machines.

Checkpoints are the trainer's own, in the output folder, which all machines must see: Ray only starts the workers anew
when some died, and they go on from the newest.
"""

import json
import logging
import os
import sys
from dataclasses import replace
from pathlib import Path

# Before ray: it sets the authentication mode, which ray reads when it is imported.
from pipeline.replicas.cluster import connected

# isort: split
import ray
import ray.train
import ray.train.torch
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from torch import nn

from pipeline.errors import ModelError, PipelineError, UsageError
from pipeline.files import storage
from pipeline.training.config import TrainingConfig, resolved
from pipeline.training.pairs import check_sizes, find_pairs
from pipeline.training.start import check_claim, claim_of
from pipeline.training.trainer import Worker, train

_REFUSAL = "refused.json"


def train_on_ray(config: TrainingConfig) -> Path:
    """Train on the cluster of RAY_ADDRESS, or on one that is started here and ends with the training.

    Returns: the folder of the finished model.
    Raises:  UsageError: data, weights or output folder are not what was asked for; found before any worker starts.
             ModelError: workers died more often than `max_failures`, or for a reason that would come again.
    """
    config = resolved(config)
    pairs = find_pairs(config.data)
    check_sizes(pairs)
    with connected(for_training=True):
        gpus = int(ray.cluster_resources().get("GPU", 0))
        workers = config.cluster.workers or max(1, gpus)
        check_claim(config, claim_of(config, pairs, workers))
        trainer = TorchTrainer(
            _work,
            train_loop_config={"config": _begun(config)},
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpus > 0),
            run_config=RunConfig(
                name="ray",
                storage_path=str(config.output_dir),
                failure_config=FailureConfig(max_failures=config.cluster.max_failures),
            ),
        )
        refusal = config.output_dir / _REFUSAL
        refusal.unlink(missing_ok=True)
        try:
            trainer.fit()
        except ray.train.TrainingFailedError as error:
            if not refusal.exists():
                raise ModelError(f"the training failed: {error}") from error
        if refusal.exists():
            found = json.loads(refusal.read_bytes())
            refusal.unlink()
            raise (UsageError if found["usage"] else ModelError)(found["message"])
    return config.output_dir / "model"


def train_inline(config: TrainingConfig) -> Path:
    """Train in this process."""
    _use_threads(config)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return train(config, Worker(device=device))


def _begun(config: TrainingConfig) -> TrainingConfig:
    """What workers are to do, those too that replace dead ones: go on; whether they may has been checked."""
    resume = "latest" if config.resume_from_checkpoint == "none" else config.resume_from_checkpoint
    return replace(config, resume_from_checkpoint=resume)


def _work(options: dict[str, TrainingConfig]) -> None:
    """What each worker runs, and runs again when one of them was lost.

    Ray Train can't tell a worker that died from one that found that it is no use: it would try that `max_failures`
    times too. So such a worker leaves its reason in a file, and those that come after it stop at once.
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
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(message)s")
    _use_threads(config)
    context = ray.train.get_context()
    world = context.get_world_size()
    worker = Worker(
        rank=context.get_world_rank(),
        world=world,
        device=ray.train.torch.get_device(),
        wrap=_among_others if world > 1 else lambda networks: networks,
        wait=_barrier if world > 1 else lambda: None,
    )
    train(config, worker)


def _among_others(networks: nn.Module) -> nn.Module:
    """The conditioner's side output has no part in the loss, so its weights never get a gradient to wait for."""
    wrapped: nn.Module = ray.train.torch.prepare_model(
        networks, parallel_strategy_kwargs={"find_unused_parameters": True}
    )
    return wrapped


def _barrier() -> None:
    torch.distributed.barrier()


def _use_threads(config: TrainingConfig) -> None:
    torch.set_num_threads(config.cluster.threads or os.cpu_count() or 1)
