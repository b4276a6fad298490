"""Score passes: add scores to a run that is there, without touching its candidates."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, make_dataclass
from inspect import cleandoc
from pathlib import Path
from typing import Annotated, Any, get_type_hints

sys.path[0] = str(Path(__file__).resolve().parents[1])

import tyro

from jobs.ahead import begun, command, next_steps
from jobs.command_line import DONE, SOME_FAILED, answer, parse_config, report, run_job, value_of
from jobs.commands import COMMANDS
from pipeline.errors import ConfigError
from pipeline.options import option_types
from pipeline.passes.config import PassConfig
from pipeline.passes.known import PASSES, is_own, source_of
from pipeline.passes.options import WitnessOptions


@dataclass(frozen=True, kw_only=True)
class Arguments(PassConfig):
    """Add the scores of a pass to a run. Run the same command again to resume, or after the run has grown.

    Passes that come with the project:
    PASSES
    `--pass NAME --help` lists the options of a pass too.
    """

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of the run; a path or an fsspec URL."""
    kind: Annotated[str, tyro.conf.arg(name="pass", metavar="NAME")]
    """Which pass: one of those above, or your own as `module:Class`."""
    config: str = ""
    """TOML file with any of these options but --pass (underscores for dashes). The command line takes precedence."""


def main() -> int:
    """Score, then print one JSON line on stdout that says how it ended."""
    config, options = parse(sys.argv[1:])
    from pipeline.preconditions import require_model

    require_model(config.model, engine=config.cluster.engine)
    if isinstance(options, WitnessOptions):
        options.check()
    with begun(f"scoring {config.run} with the pass {config.called}"):
        from pipeline.passes.folder import first_failure
        from pipeline.passes.score import score_run

    found = score_run(config, options)
    report(f"{found.name}: {found.scored} images scored, {found.failed} failed; columns: {', '.join(found.columns)}")
    if found.not_predicted:
        report(f"{found.not_predicted} images are not predicted yet. Finish the run, then run this command again")
    elif found.scored:
        next_steps(
            "release the scores with: "
            f"{command('release build', config.run, '--version')} VERSION --passes {shlex.quote(found.name)}"
        )
    answer(asdict(found))
    if found.scored:
        return DONE
    report(f"no image was scored. The first, {first_failure(config.run, found.name)}")
    return SOME_FAILED


def parse(arguments: Sequence[str]) -> tuple[PassConfig, Any]:
    """Combine the TOML file if one is given and the command line. Exits with 2 if an option is wrong.

    Returns: the options of every pass, and those of this one: an instance of its dataclass of options, or None.
    Raises:  ConfigError: there is no such pass.
    """
    kind = value_of(arguments, "--pass")
    group = _GROUP.format(kind.rpartition(":")[2].lower())
    wanted = _arguments(group, _options_of(kind) if kind else None)
    parsed: Any = parse_config(wanted, arguments, COMMANDS["score"])
    names = [option.name for option in fields(PassConfig)]
    given = {name: getattr(parsed, name) for name in names}
    from pipeline.files import urls

    for name in ("run", "images", "annotations"):
        given[name] = urls.absolute(given[name]) if given[name] else ""
    options: Any = getattr(parsed, group, None)
    if hasattr(options, "resolved"):  # workers of a cluster have other working folders
        options = options.resolved()
    try:
        return PassConfig(**given), options
    except ValueError as error:
        raise ConfigError(f"{error}") from error


_GROUP = "{}_pass"
"""What `--help` calls the options of a pass."""


def _options_of(kind: str) -> type | None:
    """The dataclass of a pass's options.

    Raises: ConfigError: there is no such pass, or its options can't be those of a command line.
    """
    if not is_own(kind):
        return PASSES[kind].options
    from pipeline.passes.loading import class_of

    options: type | None = getattr(class_of(kind, source_of(kind)), "Options", None)
    if options is None:
        return None
    if not (isinstance(options, type) and is_dataclass(options)):
        raise ConfigError(f"--pass {kind}: its Options are no dataclass")
    types = get_type_hints(options)
    for option in fields(options):
        option.type = types[option.name]  # a text, if the module has `from __future__ import annotations`
    if taken := sorted(types.keys() & option_types(Arguments).keys()):
        raise ConfigError(f"--pass {kind}: every pass has an option {taken[0]} already; rename that of its Options")
    return options


def _arguments(group: str, options: type | None) -> type:
    """`Arguments`, with the options of a pass."""
    listed = "\n".join(f"  {name}: {known.meaning}" for name, known in PASSES.items())
    added = [(group, options, field(default_factory=options))] if options else []
    made = make_dataclass("Arguments", added, bases=(Arguments,), frozen=True, kw_only=True)
    made.__doc__ = cleandoc(Arguments.__doc__ or "").replace("PASSES", listed)
    return made


if __name__ == "__main__":
    run_job(main)
