"""The scores that passes have added to a run."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.errors import ConfigError, RunMismatchError
from pipeline.files import storage, urls
from pipeline.passes.folder import passes_of, read_pass
from pipeline.records import ShardRecord
from pipeline.selection.columns import scores_of
from pipeline.selection.scores import SCORES, Score
from pipeline.shown import printable

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassScores:
    """What the complete passes of a run have measured."""

    columns: tuple[Score, ...]
    values: Mapping[str, Mapping[str, float | None]]
    """Key → score → value; None for an image that could not be scored."""


def require_scores(out: str, names: Sequence[str]) -> None:
    """Check that an evaluation's run will have these scores, of predictions or of its passes.

    Raises: ConfigError: it won't.
    """
    run = storage.join(urls.absolute(out), "run")
    added = [score.name for found in passes_of(run).values() for score in scores_of(found.columns)]
    for name in names:
        if name not in (*SCORES, *added):
            raise ConfigError(
                f"--combine {name}: there is no such score; there are {', '.join((*SCORES, *added))}. Evaluate without "
                f"--fit-combination, add scores with sod score {printable(out)}/run --pass NAME, then fit"
            )


def scores_of_passes(run: str, records: Mapping[str, ShardRecord]) -> PassScores:
    """Read the scores of every complete pass of a run; one that has images left to score is named and left out.

    Args:   records: the run's shards → their records.
    Raises: StorageError: a file of a pass can't be read.
    """
    columns: list[Score] = []
    values: dict[str, dict[str, float | None]] = {}
    for name in passes_of(run):
        try:
            found = read_pass(run, name, records)
        except RunMismatchError as error:
            log.warning("the scores of the pass %s are left out: %s", name, error)
            continue
        added = scores_of(found.stated.document.columns)
        columns += added
        for key, row in found.rows.items():
            own = values.setdefault(key, {})
            for score in added:
                value = row.values.get(score.name)
                own[score.name] = None if value is None else float(value)
        log.info("scores of the pass %s: %s", name, ", ".join(score.name for score in added) or "none")
    return PassScores(columns=tuple(columns), values=values)
