"""A folder of photos through the pipeline's replicas; the maps and scores of the run's candidates are measured.

The run is one like any other, in OUT/run: it is stopped, killed and gone on with like any other, and has its release.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.collection.config import InputConfig
from pipeline.config import RunConfig
from pipeline.errors import SampleError
from pipeline.evaluation.config import EvaluationConfig
from pipeline.evaluation.evaluate import Evaluation, gather, measure_all
from pipeline.evaluation.grey import decode_file
from pipeline.evaluation.outcomes import Failed, How, Outcome, measure_map
from pipeline.evaluation.pairs import Pair
from pipeline.files import storage
from pipeline.files.tars import encode_json
from pipeline.records import CandidateRow
from pipeline.run import resolved, run
from pipeline.runs.candidates import committed_shards, read_maps, read_record, read_rows
from pipeline.runs.fingerprint import fingerprint, settled_device


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardMaps:
    """The work of one task: a committed shard, whose maps are measured."""

    run: str
    shard: str
    pairs: Mapping[str, Pair]
    """Key → photo and mask."""
    how: How


def evaluate_model(pairs: Sequence[Pair], out: str, how: How, config: EvaluationConfig) -> Evaluation:
    """Predict the photos of the pairs, or what is left of them, then measure.

    Args:   pairs: photos of one folder with their masks.
            out: folder of this evaluation; the run is in it.
    Raises: as `pipeline.run.run`, and CollectionError if not one image can be measured.
    """
    keyed = {f"{number:012d}": pair for number, pair in enumerate(pairs, start=1)}
    url = storage.absolute(run_url(out))
    annotations = storage.join(storage.absolute(out), "images.json")
    storage.publish(annotations, encode_json(annotations_of(pairs)))
    run(resolved(_run_config(pairs, annotations, url, config)))
    shards = [_shard_maps(url, shard, keyed, how) for shard in sorted(committed_shards(url))]
    return gather(measure_all(measure_shard, shards, config.cluster, len(pairs)))


def check_model(pairs: Sequence[Pair], config: EvaluationConfig) -> None:
    """Refuse a model that can't predict the pairs, before anything is written.

    Raises: ConfigError: the configured weights do not exist.
    """
    fingerprint(resolved(_run_config(pairs, "", "", config)))


def run_url(out: str) -> str:
    """Where the run of an evaluation lies."""
    return storage.join(out, "run")


def made_with(out: str) -> dict[str, str]:
    """What the maps were made with: the run's fingerprint, and the kind of device."""
    stored = json.loads(storage.read(storage.join(run_url(out), "run.json")))
    return {**stored["fingerprint"], "device": settled_device(run_url(out))}


def annotations_of(pairs: Sequence[Pair]) -> dict[str, list[dict[str, str | int]]]:
    """The photos as COCO annotations without objects; ids from 1 in the order of the names."""
    images: list[dict[str, str | int]] = []
    for number, pair in enumerate(pairs, start=1):
        width, height = _size_px(pair)
        images.append({"id": number, "file_name": pair.source.name, "width": width, "height": height})
    return {"images": images}


def measure_shard(shard: ShardMaps) -> list[Outcome]:
    """What one task does."""
    record = read_record(shard.run, shard.shard)
    rows = {row.key: row for row in read_rows(shard.run, record)}
    outcomes: list[Outcome] = [_failed(row, shard.pairs[key]) for key, row in rows.items() if row.status == "failed"]
    for key, maps in read_maps(shard.run, record):
        outcomes.append(measure_map(shard.pairs[key], maps.saliency, rows[key].scores, shard.how))
    return outcomes


def _size_px(pair: Pair) -> tuple[int, int]:
    """Width and height by the header of a photo; of one that has none, the run says what is wrong with it."""
    try:
        return decode_file(pair.source, lambda image: image.size)
    except SampleError:
        return 1, 1


def _run_config(pairs: Sequence[Pair], annotations: str, url: str, config: EvaluationConfig) -> RunConfig:
    return RunConfig(
        out=url,
        input=InputConfig(images=str(pairs[0].source.parent), annotations=annotations),
        model=config.model,
        ensemble=config.ensemble,
        cluster=config.cluster,
        shard_size=config.shard_size,
    )


def _shard_maps(url: str, shard: str, keyed: Mapping[str, Pair], how: How) -> ShardMaps:
    keys = [row.key for row in read_rows(url, read_record(url, shard))]
    return ShardMaps(run=url, shard=shard, pairs={key: keyed[key] for key in keys}, how=how)


def _failed(row: CandidateRow, pair: Pair) -> Failed:
    return Failed(name=pair.name, reason=f"{row.reason}: {row.detail}")
