"""Asks another model for its mask of each image, and compares it with the candidate's.

Members of an ensemble share their weights: where the model is wrong with confidence, all of them are. A model of other
weights, trained on other images, is wrong elsewhere.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from model.config import EnsembleConfig, ModelConfig
from model.loading import load_model
from model.prediction import ModelOutputError
from pipeline.errors import ConfigError, RunMismatchError, SampleError
from pipeline.networks.onnx_files import one_digest, onnx_digests, require_packages
from pipeline.networks.onnx_network import OnnxNetwork
from pipeline.passes.agreement import iou
from pipeline.passes.folder import pass_folder, read_document
from pipeline.passes.mask_text import mask_to_text
from pipeline.passes.options import WitnessOptions
from pipeline.passes.score_pass import Item, PassContext, Values
from pipeline.passes.witness.test_sets import mentions_in
from pipeline.runs.fingerprint import model_fields
from pipeline.selection.columns import Column, Text
from pipeline.selection.scores import Score

log = logging.getLogger(__name__)

DIGEST = "witness_sha256"
"""Field of the pass's fingerprint: SHA-256 of the witness's file and data, or of its folder of weights."""


class Asked(Protocol):
    """A witness that is loaded."""

    device_kind: str

    def saliency_of(self, image: UInt8[np.ndarray, "h w 3"], key: str) -> Float32[np.ndarray, "h w"]:
        """Its map of one image, in [0, 1]. Raises: ModelOutputError: it has none."""


class Witness:
    """Fulfils `Scorer`.

    Raises: ConfigError: the options name no witness or two, or nobody says what it was trained on.
    """

    needs_image = True

    def __init__(self, options: WitnessOptions, context: PassContext) -> None:
        _refuse(options)
        self._options, self._context = options, context

    @property
    def columns(self) -> Sequence[Column]:
        """How the witness judges the candidate, and its own mask."""
        name = self._context.name
        return (
            Score(
                name=f"{name}_iou",
                meaning="intersection over union of the mask with the witness's, 0 to 1",
                worse_when="low",
                rankable=True,
            ),
            Score(
                name=f"{name}_confidence",
                meaning="how sure the witness is where it or the candidate has an object: the mean of |2p - 1| over "
                "the pixels of both masks (over the image if both are empty), 0 to 1",
                worse_when="low",
                rankable=True,
            ),
            Score(
                name=f"{name}_area",
                meaning="share of the image's pixels that the witness's mask covers, 0 to 1",
                worse_when="low",
            ),
            Text(
                name=f"{name}_mask",
                is_mask=True,
                meaning="the witness's mask at threshold 0.5: COCO's compressed run lengths at the image's size, as "
                "JSON",
            ),
        )

    @property
    def device_kind(self) -> str:
        """That of the network."""
        return self._asked.device_kind

    def score_all(self, items: Sequence[Item]) -> list[Values | SampleError]:
        """Ask about one image after the other, so that no image's map depends on its neighbours."""
        return [self._score(item) for item in items]

    def _score(self, item: Item) -> Values | SampleError:
        assert item.image is not None
        try:
            saliency = self._asked.saliency_of(item.image, item.sample.key)
        except ModelOutputError as error:
            return SampleError("model_output", f"the witness: {error}")
        return judge(self._context.name, saliency, item.candidate.mask)

    @cached_property
    def _asked(self) -> Asked:
        """Raises: RunMismatchError: the witness is not the one that the pass was begun with."""
        begun = read_document(self._context.run, self._context.name).fingerprint.get(DIGEST, "")
        found = witness_digest(self._options, self._context.model)
        if found != begun:
            raise RunMismatchError(
                f"{pass_folder(self._context.run, self._context.name)} was begun with a witness of SHA-256 {begun}; "
                f"{_called(self._options)} has {found} here. Put the same weights on every machine, and leave them "
                "alone while the pass works"
            )
        return _load(self._options, self._context.model)

    @staticmethod
    def try_out(options: WitnessOptions, context: PassContext) -> None:
        """Run the network once, and warn of what makes it a poor witness. Raises: ConfigError: it can't be run."""
        if options.witness:
            onnx_digests(Path(options.witness))  # refuses data outside its folder before onnxruntime opens them
            # On the CPU: the driver may have no GPU, and what is checked does not depend on it.
            _network(options, replace(context.model, device="cpu")).try_out()
        for warning in warnings_about(options, context):
            log.warning("%s: %s", context.name, warning)

    @staticmethod
    def made_with(options: WitnessOptions, context: PassContext) -> dict[str, str]:
        """Digests of the witness, and what its values depend on besides."""
        found = {DIGEST: witness_digest(options, context.model), "option witness_trained_on": options.trained_on}
        if options.witness:
            _, onnxruntime = require_packages()
            return found | {
                "signature": str(options.signature),  # a later version may correct a preset
                "threads": str(context.model.threads),
                "onnxruntime": str(onnxruntime.__version__),
            }
        return found | model_fields(_own_model(options, context.model))

    @staticmethod
    def about(options: WitnessOptions, context: PassContext) -> dict[str, str]:
        """What the witness is, what it was trained on, and warnings."""
        digest = witness_digest(options, context.model)
        said = {"Witness": f"{_called(options)}, SHA-256 {digest}", "Trained on": options.trained_on}
        if options.witness:
            wanted = options.signature
            size = f"{wanted.height_px} x {wanted.width_px} px" if wanted.height_px else "the size that its file fixes"
            said["Asked"] = (
                f"images resized to {size}, maps back to the images' sizes, both by Pillow's bilinear filter; preset "
                f"{options.preset}, mean {wanted.mean}, deviation {wanted.std}, white {wanted.white}, output "
                f"{wanted.output} as {wanted.values}"
            )
        if warnings := warnings_about(options, context):
            said["Warning"] = " ".join(warnings)
        return said


def judge(name: str, saliency: Float32[np.ndarray, "h w"], mask: Bool[np.ndarray, "h w"]) -> dict[str, float | str]:
    """The columns of one image.

    Args: saliency: the witness's, in [0, 1]. mask: the candidate's.
    """
    own = saliency >= 0.5
    seen = own | mask
    sureness = np.abs(2 * saliency.astype(np.float64) - 1)
    return {
        f"{name}_iou": iou(own, mask),
        f"{name}_confidence": float(sureness[seen].mean() if seen.any() else sureness.mean()),
        f"{name}_area": float(own.mean()),
        f"{name}_mask": mask_to_text(own),
    }


def witness_digest(options: WitnessOptions, model: ModelConfig) -> str:
    """SHA-256 of the witness. Raises: ConfigError: it is not there."""
    if options.witness:
        return one_digest(onnx_digests(Path(options.witness)))
    return model_fields(_own_model(options, model))["weights"]


def warnings_about(options: WitnessOptions, context: PassContext) -> list[str]:
    """What speaks against this witness of this run."""
    found = []
    if mentions := mentions_in(options.trained_on):
        sets = ", ".join(map(str, mentions))
        found.append(
            f"The witness was trained on {sets}: it knows answers of that test. Show no result on it that this pass "
            "has a part in."
        )
    if options.witness_model and witness_digest(options, context.model) == context.made_with.get("weights"):
        found.append("The witness has the run's own weights, so it makes the run's own mistakes.")
    return found


def _refuse(options: WitnessOptions) -> None:
    options.check()
    if options.witness:
        require_packages()


def _called(options: WitnessOptions) -> str:
    return Path(options.witness).name if options.witness else f"the model {options.witness_model}"


def _own_model(options: WitnessOptions, model: ModelConfig) -> ModelConfig:
    return replace(model, model=options.witness_model)


def _load(options: WitnessOptions, model: ModelConfig) -> Asked:
    return _NetworkAsked(_network(options, model)) if options.witness else _ModelAsked(options, model)


def _network(options: WitnessOptions, model: ModelConfig) -> OnnxNetwork:
    return OnnxNetwork(Path(options.witness), options.signature, device=model.device, threads=model.threads)


class _NetworkAsked:
    """A network in ONNX as a witness."""

    def __init__(self, network: OnnxNetwork) -> None:
        self._network, self.device_kind = network, network.device_kind

    def saliency_of(self, image: UInt8[np.ndarray, "h w 3"], key: str) -> Float32[np.ndarray, "h w"]:
        """See `Asked`; a network has no noise that could depend on the key."""
        return self._network.saliency_of(image)


class _ModelAsked:
    """One of our own models as a witness."""

    def __init__(self, options: WitnessOptions, model: ModelConfig) -> None:
        ensemble = EnsembleConfig(
            ensemble_size=options.witness_members, denoise_steps=options.witness_steps, timestep_spacing="trailing"
        )
        try:
            self._model = load_model(_own_model(options, model), ensemble)
        except (OSError, ValueError) as error:
            raise ConfigError(f"--witness-model {options.witness_model}: {error}") from error
        self.device_kind = self._model.device_kind

    def saliency_of(self, image: UInt8[np.ndarray, "h w 3"], key: str) -> Float32[np.ndarray, "h w"]:
        """See `Asked`."""
        (found,) = self._model.predict([image], [key])
        return found.saliency
