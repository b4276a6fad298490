"""The first worker's work between steps: metrics, validations, checkpoints, the best and the final model."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from model.config import EnsembleConfig
from model.diffusion import SODDiffusionPipeline
from model.folders import give_back, save_pipeline
from model.saliency import torch_dtype
from pipeline.progress.stages import say
from pipeline.training.config import TrainingConfig
from pipeline.training.metrics import Metrics
from pipeline.training.start import TrainingPlan
from pipeline.training.state import TrainingState
from pipeline.training.validation import Validation, validation_pairs

LOG_EVERY_STEPS = 10
MODELS = ("model", "best")
"""Folders of models in the output folder."""
MODEL_KIND = "fine-tuned"
"""Kind in the `origin.json` of saved models."""


class Watch:
    """Writes everything that a training leaves in its output folder.

    Args:
        claim: what determines the losses; goes into the `origin.json` of saved models.
        report: called with each row of metrics.
    Raises: CollectionError: validation photos and masks do not belong together.
    """

    def __init__(
        self,
        config: TrainingConfig,
        plan: TrainingPlan,
        state: TrainingState,
        claim: dict[str, Any],
        report: Callable[[dict[str, float]], None],
    ) -> None:
        self.config = config
        self.plan = plan
        self.state = state
        self.claim = claim
        self.report = report
        self.pipeline: SODDiffusionPipeline = state.networks.pipeline
        self.metrics = Metrics(config.output_dir, state.step, config.reports)
        self.validation = _validation(config)
        for name in MODELS:
            give_back(config.output_dir / name)

    def after_step(self) -> None:
        """Do whatever is due at this step; the checkpoint comes last, since it implies that the rest is written."""
        step = self.state.step
        validates = self.validation is not None and self.is_due(self.plan.validation_steps)
        if validates or self.is_due(LOG_EVERY_STEPS):
            values = self._losses() | (self._validate() if validates else {})
            self.metrics.add(step, values)
            self.report({"step": float(step), **values})
        if self.is_due(self.config.checkpointing_steps):
            self.state.save(self.config.output_dir, self.config.checkpoints_total_limit)

    def finish(self) -> None:
        """Save the model."""
        self._save_model(self.config.output_dir / "model")
        self.metrics.close()

    def is_due(self, every_steps: int) -> bool:
        """Whether something done every so many steps, and at the end, is due."""
        return self.state.step % every_steps == 0 or self.state.step == self.plan.steps

    def _losses(self) -> dict[str, float]:
        """Mean losses since the last row, and where the training stands."""
        state, plan = self.state, self.plan
        total, diffusion, auxiliary = torch.tensor(state.pending, dtype=torch.float64).mean(0).tolist()
        state.pending.clear()
        return {
            "epoch": state.step / plan.steps_per_epoch,
            "loss": total,
            "loss_diffusion": diffusion,
            "loss_auxiliary": auxiliary,
            "learning_rate": float(state.schedule.get_last_lr()[0]),
        }

    def _validate(self) -> dict[str, float]:
        """Measure the current weights; save them as OUTPUT_DIR/best if they are the best so far."""
        assert self.validation is not None
        name, step = self.config.best_by, self.state.step
        best = self.metrics.best(name, larger_is_better=name != "mae")
        with self.state.averaged():
            self.state.networks.eval()
            values = self.validation.run(self.pipeline, self.config.output_dir / f"validation/step-{step:06d}.png")
            self.state.networks.train()
        figures = f"MAE {values['mae']:.4f}, S {values['s_measure']:.4f}, max F {values['max_f']:.4f}"
        say(f"step {step} of {self.plan.steps}: validation: {figures}")
        if best is None or (values[name] < best if name == "mae" else values[name] > best):
            self._save_model(self.config.output_dir / "best")
        return values

    def _save_model(self, folder: Path) -> None:
        """Save the current (or averaged) weights as a folder for --model, whole or not at all."""
        dtype, source = torch_dtype(self.config.save_dtype), self.pipeline
        with self.state.averaged():
            vae, unet, conditioner, mask_decoder = (
                # diffusers' own `to` warns needlessly
                network and nn.Module.to(copy.deepcopy(network), "cpu", dtype).eval()
                for network in (source.vae, source.unet, source.conditioner, source.mask_decoder)
            )
        copied = SODDiffusionPipeline(
            vae,
            unet,
            source.scheduler,
            conditioner,
            default_processing_res=source.default_processing_res,
            mask_decoder=mask_decoder,  # the VAE does not learn, so that it still fits
        )
        # Bounds on the variance hold for the weights that they were measured with, and these are others.
        copied.state_facts(replace(source.facts, recommended_bounds={}))
        origin = {"kind": MODEL_KIND, "step": self.state.step, "training": self.claim}
        save_pipeline(copied, folder, origin, replace=True)
        say(f"saved {folder}")


def _validation(config: TrainingConfig) -> Validation | None:
    pairs = validation_pairs(config.data)
    if not pairs:
        return None
    ensemble = EnsembleConfig(
        ensemble_size=config.validation_ensemble_size,
        denoise_steps=config.validation_denoise_steps,
        processing_res=config.processing_res,
    )
    return Validation(pairs, ensemble)
