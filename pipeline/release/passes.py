"""Which score passes of a run a release has: those that are asked for, and those whose scores the policy names."""

from collections.abc import Mapping, Sequence

from pipeline.config import RunConfig
from pipeline.errors import ConfigError
from pipeline.passes.folder import PassDocument, PassValues, passes_of, read_pass
from pipeline.records import ShardRecord
from pipeline.selection.columns import Column, Text, table_with
from pipeline.selection.policy import check_scores, named_scores


def wanted_passes(config: RunConfig) -> dict[str, PassDocument]:
    """Name → document of each pass that the release is to have, in alphabetical order.

    Raises: ConfigError: there is no such pass, or the policy names a score that neither every run nor a pass has, or
            can accept no image.
    """
    there = passes_of(config.out)
    alternatives = config.release.alternatives
    for name in (*config.release.passes, *([alternatives] if alternatives else [])):
        option = "passes" if name in config.release.passes else "alternatives"
        if name not in there:
            raise ConfigError(
                f"{option} has {name!r}, which is no score pass of {config.out} (there: {', '.join(there) or 'none'}). "
                f"Run jobs/score_run.py {config.out} --pass {name} after the run, then make the release"
            )
    if alternatives:
        require_second_masks(alternatives, there[alternatives].columns)
    try:
        check_scores(config.policy, table_with(column for found in there.values() for column in found.columns))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    named = set(named_scores(config.policy))
    return {
        name: found
        for name, found in there.items()
        if name in (*config.release.passes, alternatives) or any(column.name in named for column in found.columns)
    }


def require_second_masks(name: str, columns: Sequence[Column]) -> None:
    """Check that a score pass has the second masks that alternatives need.

    Raises: ConfigError: it has none.
    """
    if not any(column.name == f"{name}_second_mask" and isinstance(column, Text) for column in columns):
        raise ConfigError(
            f"alternatives is {name!r}, a score pass without second masks: give one of kind `modes` "
            "(jobs/score_run.py RUN --pass modes)"
        )


def read_passes(config: RunConfig, records: Mapping[str, ShardRecord]) -> tuple[PassValues, ...]:
    """Read the passes that the release is to have.

    Args:   records: every shard of the run → its record.
    Raises: ConfigError: see `wanted_passes`. RunMismatchError: a pass has images left to score.
    """
    return tuple(read_pass(config.out, name, records) for name in wanted_passes(config))
