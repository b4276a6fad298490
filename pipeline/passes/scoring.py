"""The errand of a score pass: read what a shard's candidates are, measure each image, commit the rows.

`replicas/shards.py` has the timeline. An image that can't be scored becomes a failed row; its candidate stays as it is.
"""

import numbers
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from model.config import ModelConfig
from model.prediction import ModelMemoryError, ModelOutputError
from pipeline.errors import ModelError, PipelineError, SampleError
from pipeline.passes.known import PassSpec
from pipeline.passes.loading import in_words, load_pass, said
from pipeline.passes.rows import commit_rows, read_rows
from pipeline.passes.score_pass import Candidate, Item, PassContext, Scorer, Values
from pipeline.records import PassRow, Sample, ShardRecord, ShardSpec
from pipeline.replicas.proof import Expected, prove
from pipeline.replicas.reading import ReadImage, cut_into_batches, read_image
from pipeline.replicas.seat import Seat
from pipeline.replicas.shard_work import ShardWork
from pipeline.replicas.shards import ShardResult, Shared, carry_out
from pipeline.replicas.suspects import Caution
from pipeline.replicas.usage import ReplicaUsage, Stopwatch
from pipeline.replicas.weights import Weights, at_seat
from pipeline.runs.candidates import read_members
from pipeline.runs.candidates import read_rows as read_candidate_rows
from pipeline.runs.commits import is_committed, read_shard_record
from pipeline.runs.machine import settle_machine
from pipeline.selection.columns import Column, Vector
from pipeline.selection.scores import Score

Found = Values | SampleError


@dataclass(frozen=True, slots=True, kw_only=True)
class PassSetup:
    """What a replica of a score pass is made of; fulfils `Setup`."""

    spec: PassSpec
    context: PassContext
    work: ShardWork
    """`run` is the folder of the pass."""
    needed: Mapping[str, Sequence[Column]]
    """Folder of each pass that this one needs → its columns."""
    builds_on: Mapping[str, str] = field(default_factory=dict)
    """Shard → see `ShardRecord`."""
    expected: Expected = field(default_factory=Expected)
    """What every replica on a cluster proves to have."""
    weights: Weights | None = None
    """Of the model that the pass loads; None if it loads none."""

    @property
    def model(self) -> ModelConfig:
        """Device and threads."""
        return self.context.model

    def on(self, device: str) -> "PassSetup":
        """See `Setup`."""
        if self.model.device != "auto":
            return self
        return replace(self, context=replace(self.context, model=replace(self.model, device=device)))

    def load(self, seat: Seat | None = None) -> "Scoring":
        """Make the pass, with what it takes time to load, on the kind of machine that it was begun on.

        Args, Raises: as `ReplicaSetup.load`.
        """
        context = self.context
        if seat:
            context = replace(context, model=at_seat(self.weights, self.model, seat))
            device = self.model.device if self.weights else "cpu"
            prove(self.expected, self.work, seat, device, said("made_with", self.spec, context))
        scorer = load_pass(self.spec, context)
        settle_machine(self.work.run, scorer.device_kind, accept_mixed=self.work.accept_mixed)
        return Scoring(scorer, self)


class Scoring:
    """A pass that is ready to work; fulfils `Loaded`."""

    def __init__(self, scorer: Scorer, setup: PassSetup) -> None:
        self._scorer, self._setup, self._watch = scorer, setup, Stopwatch()

    @property
    def device_kind(self) -> str:
        """The pass's kind of device."""
        return self._scorer.device_kind

    def process(self, spec: ShardSpec, caution: Caution, shared: Shared) -> ShardResult:
        """Score and commit one shard."""
        return carry_out(spec, _Score(spec, self._scorer, self._setup, self._watch), self._setup.work, caution, shared)

    def usage(self) -> ReplicaUsage:
        """What it has used so far."""
        return self._watch.usage()


class _Score:
    """Fulfils `Errand`."""

    def __init__(self, spec: ShardSpec, scorer: Scorer, setup: PassSetup, watch: Stopwatch) -> None:
        self._spec, self._scorer, self._work, self._watch = spec, scorer, setup.work, watch
        self._name, run = setup.context.name, setup.context.run
        record = read_shard_record(run, spec.name)
        self._scored = record.rows.sha256
        members = read_members(run, record)
        earlier = _values_of(spec, setup.needed)
        self._candidates = {
            row.key: Candidate(row=row, files=members[row.key], earlier=earlier.get(row.key, {}))
            for row in read_candidate_rows(run, record)
            if row.status == "done"
        }
        folder = setup.work.run
        self._before = read_shard_record(folder, spec.name) if is_committed(folder, spec.name) else None
        self._builds_on = setup.builds_on.get(spec.name, "")

    def kept(self) -> dict[str, PassRow]:
        """Rows of the batches whose images are all scored, on the candidates as they are now."""
        if self._before is None or self._before.builds_on != self._builds_on:
            return {}
        rows = {row.key: row for row in read_rows(self._work.run, self._before, self._scorer.columns)}
        kept: dict[str, PassRow] = {}
        for samples in cut_into_batches(self._spec.samples, self._work.batch_images):
            batch = [rows[sample.key] for sample in samples]
            if all(map(self._is_settled, batch)):
                kept |= {row.key: row for row in batch}
        return kept

    def _is_settled(self, row: PassRow) -> bool:
        candidate = self._candidates.get(row.key)
        if candidate is None:
            return row.reason == "no_candidate"
        is_same = row.candidate_sha256 == candidate.sha256
        return is_same and (row.status == "done" or not self._work.retry_failed)

    def read(self, sample: Sample) -> ReadImage:
        """The image as it was predicted, in the frame of its maps; nothing if the pass needs none."""
        candidate = self._candidates.get(sample.key)
        if candidate is None:
            problem = SampleError("no_candidate", "the run has no maps of this image: it failed there")
            return ReadImage(sample=sample, sha256="", image_bytes=0, decoded=None, problem=problem)
        if not self._scorer.needs_image:
            return ReadImage(sample=sample, sha256="", image_bytes=0, decoded=None, problem=None)
        read = read_image(sample, replace(self._work, default_frame=candidate.row.frame or self._work.default_frame))
        if read.problem is None and read.sha256 != candidate.row.image_sha256:
            detail = f"its SHA-256 was {candidate.row.image_sha256} when it was predicted, and is {read.sha256} now"
            return replace(read, decoded=None, problem=SampleError("image_changed", detail))
        return read

    def find(self, batch: Sequence[ReadImage]) -> list[Found]:
        """Values of each image, or why it has none."""
        items = [
            Item(sample=read.sample, image=read.pixels, candidate=self._candidates[read.sample.key])
            for read in batch
            if read.problem is None
        ]
        with self._watch.working():
            answers = iter(self._score(items))
        return [read.problem if read.problem is not None else next(answers) for read in batch]

    def _score(self, items: Sequence[Item]) -> list[Found]:
        """If the whole batch fails, each image is tried alone."""
        if not items:
            return []
        keys = ", ".join(item.sample.key for item in items)
        try:
            answers = list(self._scorer.score_all(items))
        except (ModelOutputError, ModelMemoryError) as error:
            if len(items) > 1:
                return [found for item in items for found in self._score([item])]
            reason = "model_memory" if isinstance(error, ModelMemoryError) else "model_output"
            return [SampleError(reason, f"key {keys}: {error}")]
        except (PipelineError, OSError, MemoryError):
            raise
        except (Exception, SystemExit) as error:  # a bug, of a user's own pass for example: it would come again
            if hasattr(error, "ray_terminate_msg"):  # Ray ends this worker, for SIGTERM on a drained node for example
                raise
            raise ModelError(f"the score pass {self._name} failed at the keys {keys}: {in_words(error)}") from error
        if len(answers) != len(items):
            raise ModelError(f"the score pass {self._name} gave {len(answers)} answers for {len(items)} images: {keys}")
        return [_checked(values, self._scorer.columns) for values in answers]

    def encode(self, read: ReadImage, found: Found) -> PassRow:
        """The image's row."""
        candidate = self._candidates.get(read.sample.key)
        failed = isinstance(found, SampleError)
        return PassRow(
            key=read.sample.key,
            status="failed" if failed else "done",
            reason=found.reason if isinstance(found, SampleError) else "",
            detail=found.detail if isinstance(found, SampleError) else "",
            candidate_sha256=candidate.sha256 if candidate else "",
            values={} if isinstance(found, SampleError) else found,
        )

    def commit(self, computed: Mapping[str, PassRow]) -> tuple[ShardRecord, tuple[PassRow, ...]]:
        """Commit the rows, or put them in the place of those that were committed before."""
        rows = tuple(computed[sample.key] for sample in self._spec.samples)
        record = commit_rows(
            self._work.run,
            self._spec.name,
            rows,
            self._scorer.columns,
            scored=self._scored,
            made_with=self._work.made_with,
            builds_on=self._builds_on,
            before=self._before,
        )
        return record, rows


def _values_of(spec: ShardSpec, needed: Mapping[str, Sequence[Column]]) -> dict[str, Values]:
    """Key → values of the passes that are needed."""
    found: dict[str, Values] = {sample.key: {} for sample in spec.samples}
    for folder, columns in needed.items():
        for row in read_rows(folder, read_shard_record(folder, spec.name), columns):
            found[row.key] = {**found[row.key], **row.values}
    return found


def _checked(values: Found, columns: Sequence[Column]) -> Found:
    """The values in the order of the columns, if the columns can hold them."""
    if isinstance(values, SampleError):
        return values
    if problem := next(_problems(values, columns), None):
        return SampleError("pass_output", problem)
    return {
        column.name: float(value) if isinstance(column, Score) and value is not None else value
        for column in columns
        for value in [values[column.name]]
    }


def _problems(values: Values, columns: Sequence[Column]) -> Iterator[str]:
    if not isinstance(values, Mapping):
        yield f"it gave {_shown(values)}, which is no mapping of columns to values"
        return
    if values.keys() != {column.name for column in columns}:
        names = ", ".join(sorted(map(_shown, values)))
        yield f"it gave {names[:200]}; its columns are {', '.join(sorted(column.name for column in columns))}"
        return
    for column in columns:
        if (value := values[column.name]) is not None and (problem := unfit(column, value)):
            yield f"{column.name} is {_shown(value)}; {problem}"


def _shown(value: object) -> str:
    """A value of a user's pass; its `repr` may be long, or fail as that of a number of 5000 digits does."""
    try:
        return f"{value!r:.100}"
    except Exception:  # noqa: BLE001 (it may be anything)
        return f"{type(value).__name__} that can't be shown"


def unfit(column: Column, value: object) -> str:
    """Why a column can't hold a value that is not None; "" if it can."""
    if isinstance(column, Score):
        with suppress(OverflowError):  # of 10 ** 400
            if isinstance(value, numbers.Real) and column.lowest <= float(value) <= column.highest:  # NaN is not
                return ""
        return f"it must be a number from {column.lowest:g} to {column.highest:g}"
    if isinstance(column, Vector):
        wanted = 2 * column.length
        return "" if isinstance(value, bytes) and len(value) == wanted else f"it must be {wanted} bytes"
    # Half of a surrogate pair is text to Python, and to no file.
    is_text = isinstance(value, str) and not any(0xD800 <= ord(letter) <= 0xDFFF for letter in value)
    return "" if is_text else "it must be a text that UTF-8 can write"
