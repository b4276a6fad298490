"""The errand of a run: predict, score and encode the images of a shard. A plain function that any process can call.

`shards.py` has the timeline. What is wrong with one image becomes its row; what is wrong with the machine is raised,
and nothing is committed.
"""

from collections.abc import Mapping, Sequence

from model.prediction import Prediction, SaliencyModel
from pipeline.errors import SampleError
from pipeline.records import CandidateRow, Sample, ShardRecord, ShardSpec
from pipeline.replicas.batches import predict_batch
from pipeline.replicas.reading import ReadImage, cut_into_batches, read_image
from pipeline.replicas.shard_work import ShardWork
from pipeline.replicas.shards import ShardResult, Shared, carry_out
from pipeline.replicas.suspects import Caution
from pipeline.runs.candidates import commit_shard, encode_members, read_members, read_rows
from pipeline.runs.commits import is_committed, read_shard_record
from pipeline.selection.scores import score

Computed = tuple[CandidateRow, dict[str, bytes]]
"""What is stored of an image: its row, and the members of its tar; a failed image has no members."""
Found = Prediction | SampleError


def process_shard(
    spec: ShardSpec,
    model: SaliencyModel,
    work: ShardWork,
    caution: Caution = Caution(),  # noqa: B008 (frozen)
    shared: Shared | None = None,
) -> ShardResult:
    """Predict, score and commit the images of one shard.

    Args, Raises: as `carry_out`.
    """
    return carry_out(spec, _Predict(spec, model, work), work, caution, shared)


class _Predict:
    """Fulfils `Errand`."""

    def __init__(self, spec: ShardSpec, model: SaliencyModel, work: ShardWork) -> None:
        self._spec, self._model, self._work = spec, model, work
        has_record = work.retry_failed and is_committed(work.run, spec.name)
        self._before = read_shard_record(work.run, spec.name) if has_record else None

    def kept(self) -> dict[str, Computed]:
        """Row and tar members of all images in batches without a failed image.

        Whole batches, since the number of images in a batch changes the last bits of all of them.
        """
        if self._before is None:
            return {}
        rows = {row.key: row for row in read_rows(self._work.run, self._before)}
        members = read_members(self._work.run, self._before)
        kept: dict[str, Computed] = {}
        for samples in cut_into_batches(self._spec.samples, self._work.batch_images):
            batch = [sample.key for sample in samples]
            if all(rows[key].status == "done" for key in batch):
                kept |= {key: (rows[key], members[key]) for key in batch}
        return kept

    def read(self, sample: Sample) -> ReadImage:
        return read_image(sample, self._work)

    def find(self, batch: Sequence[ReadImage]) -> list[Found]:
        """One outcome per image of the batch, in order."""
        outcomes: dict[str, Found] = {read.sample.key: read.problem for read in batch if read.problem is not None}
        pixels = {read.sample.key: read.pixels for read in batch if read.pixels is not None}
        outcomes |= predict_batch(self._model, pixels)
        return [outcomes[read.sample.key] for read in batch]

    def encode(self, read: ReadImage, found: Found) -> Computed:
        row = _row(read, found)
        keep = self._work.keep_members
        return row, encode_members(row, found, keep=keep) if isinstance(found, Prediction) else {}

    def commit(self, computed: Mapping[str, Computed]) -> tuple[ShardRecord, tuple[CandidateRow, ...]]:
        """Commit rows and maps, or put them in the place of those that were committed before."""
        rows = tuple(computed[sample.key][0] for sample in self._spec.samples)
        members = [(row.key, computed[row.key][1]) for row in rows if row.status == "done"]
        made_with = self._work.made_with
        record = commit_shard(self._work.run, self._spec.name, rows, members, made_with=made_with, before=self._before)
        return record, rows


def _row(read: ReadImage, outcome: Found) -> CandidateRow:
    failed = isinstance(outcome, SampleError)
    return CandidateRow(
        key=read.sample.key,
        status="failed" if failed else "done",
        reason=outcome.reason if isinstance(outcome, SampleError) else "",
        detail=outcome.detail if isinstance(outcome, SampleError) else "",
        image_sha256=read.sha256,
        image_bytes=read.image_bytes,
        members=0 if isinstance(outcome, SampleError) else len(outcome.members),
        fewer_at_once=0 if isinstance(outcome, SampleError) else outcome.fewer_at_once,
        scores={} if isinstance(outcome, SampleError) else score(outcome),
        frame="" if failed or read.decoded is None else read.decoded.frame,
        exif_orientation=0 if failed or read.decoded is None else read.decoded.exif_orientation,
    )
