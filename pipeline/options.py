"""Options: the fields of a configuration class and its parts, as given in a TOML file or on the command line.

All names share one namespace. The classes define the options; this module knows none of them.
"""

import difflib
import math
import re
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

from model.config import REFERENCE_MODEL, REFERENCE_PRESET
from model.documents import DocumentError, parse_toml, read_document
from pipeline.errors import ConfigError

_MOST_BYTES = 1 << 20  # 1 MiB, of a file of options
_LIKE_AN_OPTION = re.compile("[a-z][a-z_-]{0,39}")


def read_toml(path: str, kind: type, named_by: str) -> dict[str, Any]:
    """Read the options of a TOML file, as on the command line of the job that takes `kind`: flat, or in sections that
    are called as the parts of `kind`.

    The file may not be the one that was meant, so nothing of it is quoted but values of known options, and names that
    look like options.

    Args:   named_by: the option that names the file, for messages.
    Raises: ConfigError: the file is missing or not TOML, an option is unknown, or a value has the wrong type or is out
            of bounds.
    """
    where = f"{named_by} {path}"
    try:
        document = parse_toml(read_document(Path(path), _MOST_BYTES))
    except (OSError, DocumentError) as error:
        raise ConfigError(f"{where}: {error}") from error
    # What is annotated is a place on the command line, which has no name there.
    known = {name: wanted for name, wanted in option_types(kind).items() if get_origin(wanted) is not Annotated}
    options = _without_sections(document, kind, where)
    for name, value in options.items():
        if name not in known:
            said = f" {name!r}.{did_you_mean(name, known)}" if _LIKE_AN_OPTION.fullmatch(name) else "."
            raise ConfigError(f"{where}: unknown option{said} Options are {', '.join(sorted(known))}")
        options[name] = _taken(where, name, value, known[name])
    try:
        from_options(kind, options, missing="")
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error
    return options


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean X?` if a known word is near; else nothing."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.75)
    return f" Did you mean {near[0]}?" if near else ""


def with_preset(options: Mapping[str, Any], reference: bool) -> dict[str, Any]:
    """Add the reference preset to flat options if requested; the given options take precedence."""
    preset = (
        {name: option.value for name, option in {**REFERENCE_PRESET, **REFERENCE_MODEL}.items()} if reference else {}
    )
    return {**preset, **options, "reference": reference}


def option_types(config: type) -> dict[str, Any]:
    """List the options of a configuration class and its parts: name → type."""
    types: dict[str, Any] = {}
    for option in fields(config):
        if is_dataclass(option.type):
            types |= option_types(option.type)  # type: ignore[arg-type]
        else:
            types[option.name] = option.type
    return types


def from_options(config: type, options: Mapping[str, Any], missing: Any) -> Any:
    """Build a configuration and its parts from flat options; absent required ones become `missing`."""
    values: dict[str, Any] = {}
    for option in fields(config):
        if is_dataclass(option.type):
            values[option.name] = from_options(option.type, options, missing)  # type: ignore[arg-type]
        elif option.name in options:
            values[option.name] = options[option.name]
        elif option.default is MISSING:
            values[option.name] = missing
    return config(**values)


def section_of(part: Field[Any]) -> str:
    """What a section of a file, and `--help`, call a part of a configuration: `other_model` for an OtherModelConfig."""
    name = str(getattr(part.type, "__name__", ""))
    if not name.endswith("Config"):
        return part.name
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.removesuffix("Config")).lower()


def as_arguments(part: Any) -> list[str]:
    """The options by which an instance differs from its defaults, as on a command line."""
    found = []
    for option in fields(part):
        value, name = getattr(part, option.name), option.name.replace("_", "-")
        if value == option.default:
            continue
        if isinstance(value, bool):
            found.append(f"--{'' if value else 'no-'}{name}")
        else:
            found += [f"--{name}", *map(str, value if isinstance(value, tuple) else [value])]
    return found


def require_positive(config: Any, *names: str) -> None:
    """Check that fields of a configuration are above 0.

    Raises: ValueError: a field is not; the message names it with its value.
    """
    for name in names:
        if not getattr(config, name) > 0:  # NaN isn't either
            raise ValueError(f"{name} is {getattr(config, name)}; it must be above 0")


def require_finite(config: Any) -> None:
    """Check that no number of a configuration and its parts is NaN or infinite: NaN passes most bounds, and no record
    can hold either.

    Raises: ConfigError: one is; the message names its option.
    """
    for option in fields(config):
        value = getattr(config, option.name)
        if is_dataclass(value):
            require_finite(value)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                raise ConfigError(f"--{option.name.replace('_', '-')} is {number}; give a finite number")


def _without_sections(document: Mapping[str, Any], kind: type, where: str) -> dict[str, Any]:
    """The options of a file, from their sections or from above them. A section is a part of the configuration."""
    parts = {
        section_of(option): set(option_types(option.type))  # type: ignore[arg-type]
        for option in fields(kind)
        if is_dataclass(option.type)
    }
    options: dict[str, Any] = {}
    for name, value in document.items():
        if not isinstance(value, dict):
            options[name] = value
            continue
        if name not in parts:
            said = f" [{name}].{did_you_mean(name, parts)}" if _LIKE_AN_OPTION.fullmatch(name) else "."
            raise ConfigError(f"{where}: unknown section{said} Sections are {', '.join(sorted(parts))}")
        for of_part, given in value.items():
            if of_part in options:
                raise ConfigError(f"{where}: {of_part} is given twice; remove one of them")
            if of_part not in parts[name] and of_part in option_types(kind):
                to = "".join(f"to [{section}], or " for section, others in parts.items() if of_part in others)
                raise ConfigError(f"{where}: {of_part} is in section [{name}]; move it {to}above all sections")
            options[of_part] = given
    return options


def _taken(where: str, name: str, value: Any, wanted: Any) -> Any:
    """The value of an option in a file, as the command line would give it."""
    if isinstance(wanted, UnionType):  # `int | None`: TOML has no None; leave the option out for it
        (wanted,) = (kind for kind in get_args(wanted) if kind is not type(None))
    if get_origin(wanted) is tuple:
        kind = get_args(wanted)[0]
        if not isinstance(value, list):
            said = "values" if get_origin(kind) is Literal else kind.__name__
            raise ConfigError(f"{where}: {name} is {reprlib.repr(value)}; it must be a list of {said}")
        return tuple(_taken(where, f"a value of {name}", item, kind) for item in value)
    if get_origin(wanted) is Literal:
        if value not in get_args(wanted):
            found = reprlib.repr(value)
            raise ConfigError(f"{where}: {name} is {found}; it must be one of {', '.join(map(str, get_args(wanted)))}")
        return value
    allowed = (int, float) if wanted is float else wanted
    if not isinstance(value, allowed) or (isinstance(value, bool) and wanted is not bool):
        raise ConfigError(f"{where}: {name} is {reprlib.repr(value)}; it must be {wanted.__name__}")
    return float(value) if wanted is float else value  # 1 and 1.0 mean the same, so store them alike
