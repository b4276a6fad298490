"""Makes a pass by its name: one of the project's own classes, or a class in a user's module."""

import hashlib
import importlib
import inspect
import sys
from types import ModuleType
from typing import Any

from pipeline.errors import ConfigError
from pipeline.passes.known import PASSES, PassSpec
from pipeline.passes.score_pass import OneByOne, PassContext, Scorer
from pipeline.selection.columns import owned


def class_of(kind: str, source: str = "") -> Any:
    """The class of a pass.

    Args:   source: of a user's own module.
    Raises: ConfigError: its module can't be run, or has no such class.
    """
    if kind in PASSES:
        module, _, name = PASSES[kind].made_by.partition(":")
        return getattr(importlib.import_module(module), name)
    module, _, name = kind.partition(":")
    try:
        return getattr(_run_source(module, source), name)
    except Exception as error:  # whatever a user's module raises
        raise ConfigError(f"--pass {kind}: {type(error).__name__}: {error}") from error


def load_pass(spec: PassSpec, context: PassContext) -> Scorer:
    """Make a pass.

    Raises: ConfigError: it refuses its options, or is no pass.
    """
    made_by = class_of(spec.kind, spec.source)
    given = {"options": spec.options, "context": context}
    try:
        wanted = {name: value for name, value in given.items() if name in inspect.signature(made_by).parameters}
        made = made_by(**wanted)
        # By its class: isinstance would ask the instance for its device, and so load its model.
        scorer: Scorer = made if hasattr(made_by, "score_all") else OneByOne(made)
        owned(scorer.columns, context.name)
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"--pass {spec.kind}: {error}") from error
    if not (hasattr(made, "score") or hasattr(made, "score_all")):
        raise ConfigError(f"--pass {spec.kind}: {made_by.__name__} has no method `score`")
    return scorer


def _run_source(name: str, source: str) -> ModuleType:
    """Run a user's module under a name of its own, so that it hides no other module."""
    own_name = f"_pass_{hashlib.sha256(source.encode()).hexdigest()[:16]}_{name.replace('.', '_')}"
    if own_name not in sys.modules:
        module = ModuleType(own_name)
        sys.modules[own_name] = module  # dataclasses look their module up
        try:
            exec(compile(source, f"{name}.py", "exec"), module.__dict__)
        except BaseException:
            del sys.modules[own_name]
            raise
    return sys.modules[own_name]
