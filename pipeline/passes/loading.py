"""Makes a pass by its name: one of the project's own classes, or a class in a user's module."""

import importlib
import inspect
import traceback
from typing import Any

from pipeline.errors import ConfigError, PipelineError
from pipeline.passes.known import OWN_FILE, PASSES, PassSpec, is_own, run_source
from pipeline.passes.score_pass import OneByOne, PassContext, Scorer
from pipeline.selection.columns import Column, owned


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
        found = getattr(run_source(module, source), name, None)
    except (Exception, SystemExit) as error:  # whatever a user's module raises
        raise ConfigError(f"--pass {kind}: {in_words(error)}") from error
    if found is None:
        raise ConfigError(f"--pass {kind}: the module {module} has no class {name}")
    if not isinstance(found, type):
        raise ConfigError(f"--pass {kind}: {name} is {type(found).__name__} {found!r:.100}; give the name of a class")
    return found


def in_words(error: BaseException) -> str:
    """What a user's own code raised, and where."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if OWN_FILE in (frame.filename or "")]
    place = f" ({own[-1].filename.removeprefix(OWN_FILE)}, line {own[-1].lineno})" if own else ""
    said = str(error).replace(OWN_FILE, "") if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {said}{place}"


def load_pass(spec: PassSpec, context: PassContext) -> Scorer:
    """Make a pass.

    Raises: ConfigError: it refuses its options, or is no pass.
    """
    made_by = class_of(spec.kind, spec.source)
    given = {"options": spec.options, "context": context}
    try:
        wanted = {name: value for name, value in given.items() if name in inspect.signature(made_by).parameters}
        made = made_by(**wanted)
        is_scorer = _has(made, "score_all")
        parts = ("columns", "needs_image", "device_kind") if is_scorer else ("columns", "score")
        if lacking := [name for name in parts if not _has(made, name)]:
            raise ConfigError(f"--pass {spec.kind}: {made_by.__name__} has no `{lacking[0]}`; see CONTRIBUTING.md")
        scorer: Scorer = made if is_scorer else OneByOne(made)
        columns = tuple(scorer.columns)
        if foreign := [column for column in columns if not isinstance(column, Column)]:
            raise TypeError(f"its columns have {foreign[0]!r:.100}; give `Score` or `Text` of pipeline.selection")
        if not columns:
            raise ValueError("it has no columns, so it would add nothing")
        owned(columns, context.name)
    except PipelineError:
        raise
    except (Exception, SystemExit) as error:
        if not is_own(spec.kind) and not isinstance(error, ValueError | TypeError | AttributeError):
            raise
        raise ConfigError(f"--pass {spec.kind}: {in_words(error)}") from error
    return scorer


def try_out(spec: PassSpec, context: PassContext) -> None:
    """Let a pass refuse, on the driver and before any work, what takes too long to find out in every replica.

    Raises: ConfigError: it refuses.
    """
    made_by = class_of(spec.kind, spec.source)
    if hasattr(made_by, "try_out"):
        made_by.try_out(spec.options, context)


def said(hook: str, spec: PassSpec, context: PassContext) -> dict[str, str]:
    """What a static method of the pass says, if it has one.

    Raises: ConfigError: it fails, or says something else than texts.
    """
    made_by = class_of(spec.kind, spec.source)
    try:
        answer = getattr(made_by, hook)(spec.options, context) if hasattr(made_by, hook) else {}
        if not all(isinstance(text, str) for pair in answer.items() for text in pair):
            raise TypeError(f"it gave {answer!r:.200}, not texts to texts")
    except PipelineError:
        raise
    except (Exception, SystemExit) as error:
        if is_own(spec.kind):
            raise ConfigError(f"--pass {spec.kind}: its `{hook}` failed: {in_words(error)}") from error
        raise
    return dict(answer)


def _has(made: object, name: str) -> bool:
    """Does it have an attribute of this name? Properties are not asked: that of the device would load a network."""
    try:
        inspect.getattr_static(made, name)
    except AttributeError:
        return False
    return True
