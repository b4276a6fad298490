"""Runs of the scenarios: their images in the object store, what is committed, and whether it is all there, once."""

import functools
import hashlib
from collections import Counter
from dataclasses import dataclass, replace

import s3fs

from pipeline.runs.candidates import read_rows
from pipeline.runs.check import verify_run
from pipeline.runs.commits import read_shard_record
from tests.cluster import store
from tests.pipeline.make import make_collection

IMAGES = 120
SHARD_SIZE = 8
SLEEP_S = 0.3
"""Of the stand-in, per image."""


@dataclass(frozen=True)
class Collection:
    """Images and annotations at an address."""

    images: str
    annotations: str
    count: int

    def at(self, images):
        """The same images at another address."""
        return replace(self, images=str(images))

    def options(self, model=f"fake:sleep_s={SLEEP_S}", *more):
        return (
            "--images", self.images, "--annotations", self.annotations, "--model", model,
            "--shard-size", SHARD_SIZE, "--batch-images", 4, "--ensemble-size", 3, *more,
        )  # fmt: skip


@functools.cache
def there():
    """The object store, as it is now. One client for all looks: it takes time to make one."""
    return s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)


def upload(folder, count=IMAGES):
    """Make a collection and put it into the store."""
    inputs = make_collection(folder, count)
    folder = f"{store.BUCKET}/in-{count}"
    fs = there()
    fs.put(str(inputs.images), f"{folder}/images", recursive=True)
    fs.put(str(inputs.annotations), f"{folder}/annotations.json")
    return Collection(f"s3://{folder}/images", f"s3://{folder}/annotations.json", count)


def committed(out):
    """Names of the shards that are committed."""
    fs = there()
    return sorted(name.rpartition("/")[2].removesuffix(".json") for name in fs.find(f"{out}/commits"))


def digests(out):
    """Path → SHA-256 of every file of the candidates and the release of a run."""
    fs = there()
    root = out.removeprefix("s3://")
    return {
        path.removeprefix(f"{root}/"): hashlib.sha256(fs.cat_file(path)).hexdigest()
        for folder in ("candidates", "commits", "release")
        for path in fs.find(f"{root}/{folder}")
    }


def rows_of(out):
    """All rows of a run, after its check found it whole and every image in it once."""
    check = verify_run(out)
    assert (check.problems, check.left) == ((), 0), check
    rows = [row for name in committed(out) for row in read_rows(out, read_shard_record(out, name))]
    counts = Counter(row.key for row in rows)
    assert max(counts.values()) == 1
    return rows


def failures_of(rows):
    """Key → reason of the failed images."""
    return {row.key: row.reason for row in rows if row.status == "failed"}


def written_by(out):
    """How many objects are below an address."""
    return len(there().find(out))


def assert_whole(out, undisturbed):
    """Every image is there once, none failed, and the bytes are those of a run that nothing happened to."""
    assert failures_of(rows_of(out)) == {}
    assert digests(out) == undisturbed
