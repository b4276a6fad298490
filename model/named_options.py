"""Options given by name in Python: unknown names and wrong values are refused with what was probably meant."""

from collections.abc import Collection, Mapping
from dataclasses import fields
from difflib import get_close_matches
from numbers import Integral
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from model.config import EnsembleConfig

T = TypeVar("T")
_OF_RUNS = ("adaptive", "batch_images", "seed")
"""Fields of `EnsembleConfig` that mean nothing where a generator draws the noise of all images together."""


def require_known(names: Collection[str], known: Collection[str], what: str = "option") -> None:
    """Refuse names that are not known.

    Raises: TypeError: one is not; the message has the closest known one, or else all of them.
    """
    for name in names:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            raise TypeError(
                f"there is no {what} {name!r}" + (f"; did you mean {close[0]!r}?" if close else f": {', '.join(known)}")
            )


def made_of(kind: type[T], given: Mapping[str, Any]) -> T:
    """An instance of a dataclass, from values of fields that it has.

    Raises: ValueError: a value is of another type, or out of its bounds; the message has its name.
    """
    hints = get_type_hints(kind)
    for name, value in given.items():
        if not _fits(value, hints[name]):
            raise ValueError(f"{name} is {value!r}; it must be {_in_words(hints[name])}{_meant(value, hints[name])}")
    return kind(**given)


def ensemble_of(others: Any, **named: Any) -> EnsembleConfig:
    """The options of a call; `None` stands for the default.

    Raises: TypeError, ValueError: there is no such option, it has a parameter of its own, or its value is wrong.
    """
    if not isinstance(others, Mapping):
        raise TypeError(f"ensembling_kwargs is {others!r}; give a dictionary, such as {{'reduction': 'median'}}")
    known = [field.name for field in fields(EnsembleConfig) if field.name not in (*named, *_OF_RUNS)]
    require_known(others, known, "field of ensembling_kwargs")
    return made_of(EnsembleConfig, {**{name: value for name, value in named.items() if value is not None}, **others})


def _meant(value: Any, hint: Any) -> str:
    known = get_args(hint) if get_origin(hint) is Literal else ()
    close = get_close_matches(str(value), known, n=1)
    return f". Did you mean {close[0]!r}?" if close else ""


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if hint is int:
        return isinstance(value, Integral) and not isinstance(value, bool)
    return isinstance(value, hint)


def _in_words(hint: Any) -> str:
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_in_words(one) for one in get_args(hint))
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    return {int: "a whole number", bool: "True or False", str: "a string", type(None): "None"}[hint]
