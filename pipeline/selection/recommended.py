"""Bounds of a policy that weights may recommend, where a request gives none."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipeline.errors import ConfigError
from pipeline.selection.policy import UNLESS_RECOMMENDED, PolicyConfig


def with_bounds(policy: PolicyConfig, recommended: Mapping[str, float]) -> PolicyConfig:
    """The same with bounds where none were given.

    Args:   recommended: option → bound, see `CheckpointFacts`.
    Raises: ConfigError: no image could pass them together with the others.
    """
    known = {**UNLESS_RECOMMENDED, **recommended}
    left_out: dict[str, Any] = {name: bound for name, bound in known.items() if getattr(policy, name) is None}
    try:
        return replace(policy, **left_out)
    except ValueError as error:
        taken = " and ".join(f"{name.replace('_', '-')} {bound}" for name, bound in left_out.items())
        raise ConfigError(f"{error}. Nobody gave {taken}, which {_whence(recommended)}: give another") from error


def _whence(recommended: Mapping[str, float]) -> str:
    return "the weights recommend" if recommended else "counts if nothing is given"
