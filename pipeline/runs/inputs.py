"""RUN/plan/inputs.json: where the newest session found annotations and images, for whoever needs them later.

RUN/plan/model.json: what is known of the model: where it was fetched, at which commit, and the bounds it recommends.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from model.checkpoint_facts import CheckpointFacts
from model.documents import parse_json
from pipeline.collection.config import InputConfig
from pipeline.errors import CollectionError, ConfigError, StorageError, StorageUnavailableError
from pipeline.files import storage
from pipeline.files.tars import encode_json
from pipeline.records import Problem
from pipeline.shown import HIDDEN, shown

log = logging.getLogger(__name__)

_WRITTEN_ANEW = "run its own sod label command again, which writes the file anew"


def remember_inputs(run: str, inputs: InputConfig) -> None:
    """Write down where annotations and images were found, for a release of the run that is made later.

    Passwords and signatures of their URLs are not stored; `require_whole` finds out that they are missing.
    """
    stored = replace(
        inputs,
        images=shown(inputs.images),
        annotations=shown(inputs.annotations),
        metadata=shown(inputs.metadata),
    )
    _write(storage.join(run, "plan", "inputs.json"), encode_json(asdict(stored)))


def remember_model(run: str, url: str, sha256: str, recommended: Mapping[str, float]) -> None:
    """Write down what is known of a run's model, for a release that is made later; nothing if that is nothing.

    Args: url: that it was fetched from, at a fixed commit if there is one; "" if it was not given as one.
          sha256: of its weights.
          recommended: option of the policy → bound, as `recommended_for` gives them.
    """
    if url or recommended:
        known = {"url": shown(url), "weights": sha256, "recommended_bounds": dict(recommended)}
        _write(storage.join(run, "plan", "model.json"), encode_json(known))


def remembered_model(run: str) -> str:
    """The URL that the model of a run was fetched from; "" if it was not given as one."""
    return str(_known_of_model(run).get("url", ""))


def remembered_bounds(run: str) -> dict[str, float]:
    """Option of the policy → bound that the model of a run recommends for what the run was made with."""
    try:
        return dict(CheckpointFacts.of(_known_of_model(run)).recommended_bounds)
    except ValueError as error:
        log.warning(
            "%s/plan/model.json is damaged (%s): what the weights recommend is not known, so give the bounds on the "
            "variance, or the usual ones count; or %s",
            *(run, error, _WRITTEN_ANEW),
        )
        return {}


def _known_of_model(run: str) -> dict[str, Any]:
    url = storage.join(run, "plan", "model.json")
    if storage.exists(url):
        with suppress(ValueError, RecursionError):
            known = parse_json(storage.read(url))
            return known if isinstance(known, dict) else {"recommended_bounds": known}
        return {"recommended_bounds": "not JSON"}
    return {}


def _write(url: str, content: bytes) -> None:
    if not storage.exists(url) or storage.read(url) != content:
        storage.publish(url, content)


def remembered_inputs(run: str) -> InputConfig:
    """Read what `remember_inputs` wrote.

    Raises: CollectionError: the file is missing or can't be read.
    """
    url = storage.join(run, "plan", "inputs.json")
    try:
        stored = parse_json(storage.read(url))
        inputs = InputConfig(**stored | {"allow_hosts": tuple(stored.get("allow_hosts", ()))})
        places = (inputs.images, inputs.annotations, inputs.metadata)
        if not all(isinstance(place, str) for place in places):
            raise ValueError(f"it has {', '.join(map(repr, places))}")
        return inputs
    except StorageUnavailableError:
        raise
    except (StorageError, ValueError, TypeError, AttributeError) as error:
        raise CollectionError(
            f"{url} does not say where the images are ({error}). If {run} is a run, {_WRITTEN_ANEW}"
        ) from error


def input_problems(run: str) -> list[Problem]:
    """What is wrong with what a run remembers of its inputs and its model; only its own command knows what it was."""
    problems = []
    try:
        remembered_inputs(run)
    except CollectionError as error:
        problems.append(Problem(where="plan/inputs.json", what=str(error)))
    try:
        CheckpointFacts.of(_known_of_model(run))
    except ValueError as error:
        problems.append(Problem(where="plan/model.json", what=f"is damaged ({error}): {_WRITTEN_ANEW}"))
    return problems


def require_whole(run: str, **places: str) -> None:
    """Refuse remembered places of inputs whose passwords or signatures were not stored.

    Args:   places: option → path or URL.
    Raises: ConfigError: there is such a place; the message names its option.
    """
    for option, place in places.items():
        if HIDDEN in place:
            raise ConfigError(
                f"{run} does not store what is hidden in the place of its {option}, {place}: give --{option} again"
            )
