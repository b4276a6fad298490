"""The model of a request on this machine, and what the request leaves to it: members, steps, bounds, precision."""

import logging
from dataclasses import replace

from model.checkpoint_facts import CheckpointFacts, recommended_for, settled
from model.config import EnsembleConfig
from pipeline.config import RunConfig
from pipeline.files import patience
from pipeline.files.model_urls import at_hand, origin_of
from pipeline.precision import with_precision
from pipeline.release.sources import with_model
from pipeline.runs.fingerprint import facts_of_model
from pipeline.runs.run_file import newest_document
from pipeline.selection.policy import RECOMMENDED, PolicyConfig
from pipeline.selection.recommended import with_bounds

log = logging.getLogger(__name__)

OF_WEIGHTS = "--ensemble-size is left out, and the weights are made for"
"""Whose number of members it is that `RunConfig.check` refuses, once the model is at hand."""


def with_model_here(config: RunConfig) -> RunConfig:
    """The same with a model on this machine, which is fetched if it was given as a URL, and with its own numbers of
    members and steps, and its own bounds, where none were given, and a precision that is not `auto`. The release says
    where the model is from.

    Raises: as `at_hand`, `facts_of_model` and `with_bounds`.
    """
    with patience.lasting(config.cluster.storage_patience_s):  # what was fetched of some GB is not to be lost
        model = with_precision(at_hand(config.model), _begun_with(config))
    facts = facts_of_model(model)
    ensemble = settled(config.ensemble, facts)
    policy = with_bounds(config.policy, recommended_for(ensemble, facts))
    _say_taken(config, ensemble, policy, facts)
    release = with_model(config.release, origin_of(model))
    return replace(config, model=model, ensemble=ensemble, policy=policy, release=release)


def _begun_with(config: RunConfig) -> str:
    """The precision of the run that is resumed; "" for a new run, and where nothing depends on it."""
    if config.model.dtype != "auto":
        return ""
    _, made_with, _ = newest_document(config.out)
    return made_with.get("dtype", "")


def _say_taken(config: RunConfig, ensemble: EnsembleConfig, policy: PolicyConfig, facts: CheckpointFacts) -> None:
    """Say what was left out of the request, and what counts instead."""
    taken = {
        name: getattr(settled_part, name)
        for asked, settled_part in ((config.ensemble, ensemble), (config.policy, policy))
        for name in ("ensemble_size", "denoise_steps", *sorted(RECOMMENDED))
        if getattr(asked, name, "") is None
    }
    if taken:
        log.info(
            "not given, so taken from the weights or by default: %s",
            ", ".join(f"{name} {value}" for name, value in taken.items()),
        )
    if facts.recommended_bounds and RECOMMENDED & taken.keys() and not recommended_for(ensemble, facts):
        log.warning(
            "the weights recommend bounds on the variance for their own settings only, so %s count: look at what they "
            "accept",
            " and ".join(f"{name} {taken[name]}" for name in sorted(RECOMMENDED & taken.keys())),
        )
