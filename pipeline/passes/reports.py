"""What a pass writes for people, besides its rows: RUN/passes/NAME/report/, made anew after each session.

A pass that has a report has a static method `report(options, context, rows, photo_of)`, which gives its files: name →
content. `rows` have `key` and the columns of the pass, `photo_of` gives the pixels of a key's image, or None.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.files import storage
from pipeline.passes.known import PassSpec
from pipeline.passes.loading import class_of
from pipeline.passes.rows import read_rows
from pipeline.passes.score_pass import PassContext, Photo
from pipeline.records import ShardRecord, ShardSpec
from pipeline.replicas.reading import read_image
from pipeline.replicas.shard_work import ShardWork
from pipeline.selection.columns import Column

FOLDER = "report"


def write_report(
    spec: PassSpec,
    context: PassContext,
    columns: Sequence[Column],
    records: Mapping[str, ShardRecord],
    images: Sequence[ShardSpec],
    work: ShardWork,
) -> None:
    """Write the report of a pass, if it has one.

    Args: records: shard → record of what is scored.
          images: the shards with the places of their images.
          work: how images are read; its `run` is the folder of the pass.
    """
    made_by = class_of(spec.kind, spec.source)
    if not hasattr(made_by, "report"):
        return
    samples = {sample.key: sample for shard in images for sample in shard.samples}
    rows: list[dict[str, Any]] = [
        {"key": row.key, **row.values} for record in records.values() for row in read_rows(work.run, record, columns)
    ]

    def photo_of(key: str) -> Photo:
        return read_image(samples[key], work).pixels

    files: Mapping[str, bytes] = made_by.report(spec.options, context, rows, photo_of)
    for name, content in files.items():
        storage.publish(storage.join(work.run, FOLDER, name), content)
