"""Which score passes of a run a release has: those that are asked for, and those whose scores the policy names.

The policy's combination of scores stands among them, as a pass that needs no images.
"""

import hashlib
from collections.abc import Mapping, Sequence

from pipeline.config import RunConfig
from pipeline.errors import ConfigError
from pipeline.passes.folder import PassDocument, PassValues, StatedPass, passes_of, read_pass
from pipeline.records import CandidateRow, PassRow, ShardRecord
from pipeline.runs.candidates import read_rows
from pipeline.selection.columns import Column, Text, table_with
from pipeline.selection.combination import NAME, SCORE, parse_combination
from pipeline.selection.policy import check_scores, named_scores
from pipeline.selection.scores import SCORE_TABLE


def wanted_passes(config: RunConfig) -> dict[str, PassDocument]:
    """Name → document of each pass that the release is to have, in alphabetical order.

    Raises: ConfigError: there is no such pass, or the policy names a score that neither every run nor a pass has, or
            can accept no image.
    """
    alternatives, policy = config.release.alternatives, config.policy
    asked = (*config.release.passes, *([alternatives] if alternatives else []))
    # A release that needs no pass reads none: one that is damaged is no business of it.
    needs_some = asked or not {*named_scores(policy), policy.rank_by} <= SCORE_TABLE.keys()
    there = passes_of(config.out) if needs_some else {}
    for name in asked:
        option = "passes" if name in config.release.passes else "alternatives"
        if name not in there:
            raise ConfigError(
                f"{option} has {name!r}, which is no score pass of {config.out} (there: {', '.join(there) or 'none'}). "
                f"Run sod score {config.out} --pass {name} after the run, then make the release"
            )
    if alternatives:
        require_second_masks(alternatives, there[alternatives].columns)
    try:
        check_scores(policy, table_with(column for found in there.values() for column in found.columns))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    named = set(named_scores(policy))
    return {
        name: found
        for name, found in there.items()
        if name in asked or any(column.name in named for column in found.columns)
    }


def require_second_masks(name: str, columns: Sequence[Column]) -> None:
    """Check that a score pass has the second masks that alternatives need.

    Raises: ConfigError: it has none.
    """
    if not any(column.name == f"{name}_second_mask" and isinstance(column, Text) for column in columns):
        raise ConfigError(
            f"alternatives is {name!r}, a score pass without second masks: give one of kind `modes` "
            "(sod score RUN --pass modes)"
        )


def read_passes(
    config: RunConfig, records: Mapping[str, ShardRecord], rows: Sequence[CandidateRow] | None = None
) -> tuple[PassValues, ...]:
    """Read the passes that the release is to have.

    Args:   records: every shard of the run → its record.
            rows: those of all shards, if they have been read.
    Raises: ConfigError: see `wanted_passes`. RunMismatchError: a pass has images left to score.
    """
    passes = [read_pass(config.out, name, records) for name in wanted_passes(config)]
    if config.policy.combination:
        if rows is None:
            rows = [row for record in records.values() for row in read_rows(config.out, record)]
        passes.append(combine(config.policy.combination, rows, passes))
    return tuple(sorted(passes, key=lambda found: found.stated.name))


def combine(combination: tuple[str, ...], rows: Sequence[CandidateRow], passes: Sequence[PassValues]) -> PassValues:
    """The score that a policy makes of others, as what a pass has found out.

    Args: combination: see `PolicyConfig`.
          passes: those that have scores it is made of, and others.
    """
    parsed = parse_combination(combination)
    found: dict[str, PassRow] = {}
    for row in rows:
        scores: dict[str, float | None] = dict(row.scores)
        for other in passes:
            added = other.rows[row.key].values if row.key in other.rows else {}
            scores |= {name: value for name, value in added.items() if not isinstance(value, str | bytes)}
        value = parsed.value(scores) if row.status == "done" else None
        found[row.key] = PassRow(
            key=row.key, status="done", reason="", detail="", candidate_sha256="", values={NAME: value}
        )
    bad = (
        "" if parsed.iou_below is None else f" (its intersection over union with the truth is below {parsed.iou_below})"
    )
    document = PassDocument(
        kind=NAME,
        fingerprint={str(place): text for place, text in enumerate(combination, start=1)},
        columns=(SCORE,),
        about={
            "How it is computed": "z = intercept + the sum of weight × score; combination = 1 / (1 + exp(-z)), or with "
            "points the linear interpolation between them. The coefficients below are those of the policy, which "
            f"were fitted before. It estimates how likely a mask is bad{bad} on photos like those of the fit."
        },
    )
    digest = hashlib.sha256("".join(f"{key} {row.values[NAME]!r}\n" for key, row in found.items()).encode())
    return PassValues(stated=StatedPass(name=NAME, document=document, digest=digest.hexdigest()), rows=found)
