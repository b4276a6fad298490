"""Predict a folder of photos with the pipeline's replicas, then measure the maps and scores of the candidates.

The run in OUT/run is an ordinary run: it can be stopped, killed and resumed, and it has a release. A run of single
ensemble members has none, and its maps have no scores: these compare members.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from model.config import MAX_IMAGE_PIXELS
from model.seeds import key_of
from pipeline.collection.config import InputConfig
from pipeline.config import ReleaseConfig, RunConfig
from pipeline.errors import SampleError
from pipeline.evaluation.config import EvaluationConfig
from pipeline.evaluation.evaluate import Evaluation, gather, measure_all
from pipeline.evaluation.grey import decode_file
from pipeline.evaluation.outcomes import Failed, How, Outcome, measure_map
from pipeline.evaluation.pairs import Pair
from pipeline.evaluation.pass_scores import scores_of_passes
from pipeline.files import storage, urls
from pipeline.files.tars import encode_json
from pipeline.model_at_hand import with_model_here
from pipeline.records import ShardRecord
from pipeline.run import predict, resolved, run
from pipeline.runs.candidates import read_maps, read_rows
from pipeline.runs.commits import committed_shards, read_shard_record, read_shard_records
from pipeline.runs.fingerprint import fingerprint
from pipeline.runs.machine import made_on
from pipeline.runs.run_file import read_run
from pipeline.selection.columns import table_with

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardMaps:
    """The maps that one task measures: those of a committed shard."""

    run: str
    shard: str
    pairs: Mapping[str, Pair]
    """Key → photo and mask."""
    how: How
    added: Mapping[str, Mapping[str, float | None]]
    """Key → the scores that the run's passes have added."""


def evaluate_model(pairs: Sequence[Pair], out: str, how: How, config: EvaluationConfig) -> Evaluation:
    """Predict the photos that have no prediction yet, then measure all; scores of the run's passes count too.

    Args:   pairs: photos of one folder with their masks.
            out: folder of this evaluation, which contains the run.
    Raises: CollectionError: no image can be measured. Also whatever `pipeline.run.run` raises.
    """
    keyed = {f"{number:012d}": pair for number, pair in _numbered(pairs)}
    url = urls.absolute(run_url(out))
    annotations = storage.join(urls.absolute(out), "images.json")
    storage.publish(annotations, encode_json(annotations_of(pairs, config.max_image_pixels)))
    requested = with_model_here(resolved(_run_config(pairs, annotations, url, config)))
    if requested.ensemble.members > 1:
        run(requested)
    else:
        log.info("one ensemble member has no variance, so there are no scores, no risk-coverage and no release")
        predict(requested)
    records = read_shard_records(url, sorted(committed_shards(url)))
    added = scores_of_passes(url, records)
    shards = [_shard_maps(url, record, keyed, how, added.values) for record in records.values()]
    outcomes = measure_all(measure_shard, shards, config.cluster, len(pairs))
    return gather(outcomes, table_with(added.columns), requested.policy)


def check_model(pairs: Sequence[Pair], config: EvaluationConfig) -> None:
    """Refuse a model that can't predict the pairs, before anything is written.

    Raises: ConfigError: the configured weights do not exist.
    """
    fingerprint(with_model_here(resolved(_run_config(pairs, config.out, config.out, config))))


def run_url(out: str) -> str:
    """Name the folder of an evaluation's run."""
    return storage.join(out, "run")


def made_with(out: str) -> dict[str, str]:
    """Read what the maps were made with: the run's fingerprint and the kind of device."""
    return {**read_run(run_url(out))[0], **made_on(run_url(out))}


def annotations_of(pairs: Sequence[Pair], max_pixels: int = MAX_IMAGE_PIXELS) -> dict[str, list[dict[str, str | int]]]:
    """Describe the photos as COCO annotations without objects; an id is the number that `model.seeds.key_of` gives."""
    images: list[dict[str, str | int]] = []
    for number, pair in _numbered(pairs):
        width, height = _size_px(pair, max_pixels)
        images.append({"id": number, "file_name": pair.photo.name, "width": width, "height": height})
    return {"images": images}


def _numbered(pairs: Sequence[Pair]) -> Iterator[tuple[int, Pair]]:
    """Each pair with its image id: the one whose key `sod predict` predicts this photo with.

    Of two names with one number (1.png and 01.png) the second gets the next free number.
    """
    taken: set[int] = set()
    for pair in pairs:
        number = int(key_of(pair.photo.stem))
        while number in taken:
            number += 1
        taken.add(number)
        yield number, pair


def measure_shard(shard: ShardMaps) -> list[Outcome]:
    """Measure the maps of one task."""
    record = read_shard_record(shard.run, shard.shard)
    rows = {row.key: row for row in read_rows(shard.run, record)}
    outcomes: list[Outcome] = [
        Failed(name=shard.pairs[key].name, reason=f"{row.reason}: {row.detail}")
        for key, row in rows.items()
        if row.status == "failed"
    ]
    for key, maps in read_maps(shard.run, record):
        of_members = rows[key].scores if rows[key].members > 1 else {}
        scores = {**of_members, **shard.added.get(key, {})}
        outcomes.append(measure_map(shard.pairs[key], maps.saliency, scores, shard.how))
    return outcomes


def _size_px(pair: Pair, max_pixels: int) -> tuple[int, int]:
    """Width and height from the header of a photo. If it has none, the run reports what is wrong."""
    try:
        return decode_file(pair.photo, lambda image: image.size, max_pixels)
    except SampleError:
        return 1, 1


def _run_config(pairs: Sequence[Pair], annotations: str, url: str, config: EvaluationConfig) -> RunConfig:
    return RunConfig(
        out=url,
        input=InputConfig(
            images=str(pairs[0].photo.parent), annotations=annotations, max_image_pixels=config.max_image_pixels
        ),
        model=config.model,
        ensemble=config.ensemble,
        cluster=config.cluster,
        release=ReleaseConfig(allow_empty=True),  # only its maps are measured
        shard_size=config.shard_size,
        keep_members=config.keep_members,
    )


def _shard_maps(
    url: str,
    record: ShardRecord,
    keyed: Mapping[str, Pair],
    how: How,
    added: Mapping[str, Mapping[str, float | None]],
) -> ShardMaps:
    keys = [row.key for row in read_rows(url, record)]
    return ShardMaps(
        run=url,
        shard=record.shard,
        pairs={key: keyed[key] for key in keys},
        how=how,
        added={key: added[key] for key in keys if key in added},
    )
