"""A release made once for the tests of this folder, which only read it."""

import io
import json
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.config import RunConfig
from pipeline.run import run
from tests.pipeline.make import Inputs, make_collection, make_config, renumber


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """A run's inputs and configuration, and the folder of its release."""

    inputs: Inputs
    config: RunConfig
    folder: Path

    def manifest(self):
        return pq.read_table(self.folder / "manifest.parquet").to_pylist()

    def release_json(self):
        return json.loads((self.folder / "release.json").read_text())

    def tars(self):
        return sorted((self.folder / "data" / "test").glob("*.tar"))

    def samples(self):
        """Key → extension → content, for every sample, tar after tar."""
        found = {}
        for path in self.tars():
            with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as tar:
                for member in tar:
                    key, _, extension = member.name.partition(".")
                    found.setdefault(key, {})[extension] = tar.extractfile(member).read()
        return found


@pytest.fixture(scope="session")
def release_of():
    """A function that makes a release from inputs, in a folder, with options."""

    def make(inputs, out, **options):
        config = make_config(inputs, out, **options)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", lambda _: None)
            return Released(inputs=inputs, config=config, folder=Path(run(config).release))

    return make


@pytest.fixture(scope="session")
def released(tmp_path_factory, release_of):
    """A release of ten images: 2, 4, 6, 8 and 10 are accepted, 3 has failed, the others are rejected."""
    inputs = make_collection(tmp_path_factory.mktemp("inputs") / "in", 10)
    inputs.file(3).write_bytes(b"no image")
    return release_of(inputs, tmp_path_factory.mktemp("released"))


@pytest.fixture(scope="session")
def renumbered(tmp_path_factory, release_of):
    """A release whose files are named like keys: that of image n is n + 2. Image 2 has no other's name as its key."""
    inputs = renumber(make_collection(tmp_path_factory.mktemp("inputs") / "in", 10), lambda number: number + 2)
    return release_of(inputs, tmp_path_factory.mktemp("renumbered"))


@pytest.fixture(scope="session")
def permuted(tmp_path_factory, release_of):
    """A release in which every key is another accepted image's file name, so that no set of such names tells."""
    inputs = renumber(
        make_collection(tmp_path_factory.mktemp("inputs") / "in", 10), lambda number: (number + 1) % 10 + 1
    )
    return release_of(inputs, tmp_path_factory.mktemp("permuted"))
