"""A user's score pass in a module of its own, runs to score, and sessions of passes."""

import shutil
from dataclasses import fields
from pathlib import Path

from pipeline.config import ClusterConfig
from pipeline.passes.config import PassConfig
from pipeline.passes.folder import pass_folder, read_document
from pipeline.passes.known import source_of
from pipeline.passes.loading import class_of
from pipeline.passes.rows import read_rows
from pipeline.passes.score import score_run
from pipeline.run import predict
from pipeline.runs.commits import committed_shards, read_shard_records
from tests.pipeline.make import lasting_tree, make_config, tree

KIND = "own_pass:Brightness"
SOURCE = '''"""How bright an image is; can be told to answer wrongly, to be slow, and to die."""

import os
import time
from dataclasses import dataclass

from pipeline.selection.columns import Text
from pipeline.selection.scores import Score


class Brightness:
    """Fulfils `ScorePass`."""

    answers = {}
    """Key → what is answered instead; set by tests."""
    seen = []
    """Keys in the order in which they were scored."""

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Options of the user's own."""

        scale: float = 1.0
        """What brightness is multiplied by."""
        die_at: str = ""
        """Key at which to end the process."""
        sleep_s: float = 0.0
        """Seconds to wait per image."""

        def __post_init__(self):
            if not 0 < self.scale <= 1:
                raise ValueError(f"scale is {self.scale}; it must be above 0 and at most 1")

    def __init__(self, options, context):
        self.options, self.name = options, context.name

    @property
    def columns(self):
        return (
            Score(name=f"{self.name}_mean", meaning="mean of all pixels, 0 to 1", worse_when="low", rankable=True),
            Text(name=f"{self.name}_note", meaning="which image it was"),
        )

    def score(self, sample, image, candidate):
        if sample.key == self.options.die_at:
            os._exit(17)
        time.sleep(self.options.sleep_s)
        self.seen.append(sample.key)
        mean = float(image[candidate.mask].mean()) / 255 * self.options.scale if candidate.mask.any() else None
        found = {f"{self.name}_mean": mean, f"{self.name}_note": f"image {sample.key}"}
        answer = self.answers.get(sample.key, found)
        if isinstance(answer, BaseException):
            raise answer
        return answer
'''
LEAST = """from pipeline.selection.scores import Score


class Zero:
    columns = (Score(name="zero", meaning="always nothing", worse_when="low"),)

    def score(self, sample, image, candidate):
        return {"zero": 0}
"""
"""The least that a pass can be."""


def write_module(folder, source=SOURCE, name="own_pass"):
    """A user's module in their working folder."""
    (Path(folder) / f"{name}.py").write_text(source)


def own_class(kind=KIND):
    """The class that passes of this process are made by."""
    return class_of(kind, source_of(kind))


def make_run(inputs, out, **options):
    """Candidates without a release, in shards of three images."""
    config = make_config(inputs, out, **options)
    predict(config)
    return config.out


def score(run, kind=KIND, *, options=None, **given):
    """A session of a pass in this process. Args: given: fields of `PassConfig`, and options of the user's pass."""
    own = {name: given.pop(name) for name in list(given) if name not in {field.name for field in fields(PassConfig)}}
    given = {"batch_images": 2, "cluster": ClusterConfig(engine="inline", live_every_s=0)} | given
    if options is None and kind == KIND:
        options = own_class().Options(**own)
    return score_run(PassConfig(run=str(run), kind=kind, **given), options)


def values_of(run, name="brightness"):
    """Key → row of everything that a pass has committed."""
    folder = pass_folder(str(run), name)
    columns, records = read_document(str(run), name).columns, read_shard_records(folder, list(committed_shards(folder)))
    return {row.key: row for record in records.values() for row in read_rows(folder, record, columns)}


def pass_tree(run, name="brightness"):
    """All files of a pass that last."""
    return lasting_tree(Path(run) / "passes" / name)


def without_passes(run):
    """All files of a run but those of its passes."""
    return {name: content for name, content in tree(run).items() if not name.startswith("passes/")}


def copy_of(run, folder):
    """The same run elsewhere, to be disturbed."""
    return str(shutil.copytree(run, folder))
