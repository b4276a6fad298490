"""A run that everything happens to: its processes are killed or paused, the storage fails, images are poison."""

import io
import itertools
import os
import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import psutil
import pyarrow.parquet as pq

from pipeline.files import storage
from pipeline.files.tars import samples_of
from pipeline.replicas.local_ray import LocalRay
from pipeline.runs.candidates import read_members, read_rows
from pipeline.runs.commits import committed_shards, read_shard_record
from tests.end_to_end.submitting import kill, submit_script
from tests.pipeline.make import make_key

IMAGES = 200 if "CHAOS_FAULTS" in os.environ else 96
SHARD_SIZE = 8
UNDECODABLE = (17, 69)
DEADLY = (44, 91) if "CHAOS_FAULTS" in os.environ else (44,)
"""Images at which the process dies, whoever works on them."""
OPTIONS = ("--shard-size", str(SHARD_SIZE), "--batch-images", "4", "--ensemble-size", "3", "--max-failed-share", "0.5")
FAULTS = (
    "replica killed",
    "driver killed",
    "job stopped",
    "head killed",
    "storage failed",
    "replica paused",
    "driver paused",
)
STORAGE_FAULTS = ("throttled", "failed", "reset", "answer lost")
STORAGE_REQUESTS = 30
"""So many requests in a row may be hit, each with a probability of a half."""
SESSION_TIMEOUT_S = 180


@dataclass
class Chaos:
    """Runs on an object store, begun anew whenever something ended them, until enough faults were injected."""

    inputs: object
    s3: object
    tally: object
    seed: int
    injected: Counter = field(default_factory=Counter)
    sessions: int = 0
    head: LocalRay | None = None

    def __post_init__(self):
        self.random = random.Random(self.seed)
        self.s3.fault_of = self._storage_fault
        self._storage_fails_for = 0

    def carry_out(self, out, faults):
        """One run to its end, while so many faults befall it, one of each kind first; sessions end as they may."""
        rounds = (self.random.sample(FAULTS, len(FAULTS)) for _ in itertools.count())
        coming = list(itertools.islice(itertools.chain.from_iterable(rounds), faults))
        while not self._session(out, coming):
            pass
        return faults - len(coming)

    def close(self):
        if self.head is not None:
            self.head.stop()
            self.head = None

    def _session(self, out, coming):
        """Submit the job and disturb it; was it its last session?"""
        if self.head is None:
            self.head = LocalRay(cpus=2)
            self.head.wait_until_ready()
        model = f"fake:sleep_s=0.05,tally={self.tally},die_at={'+'.join(map(make_key, DEADLY))}"
        inputs = ("--images", str(self.inputs.images), "--annotations", str(self.inputs.annotations))
        command = ["python", "jobs/coco_pseudolabel.py", *inputs, "--out", out, "--model", model, *OPTIONS]
        job = submit_script(self.head, command)
        self.sessions += 1
        seen, deadline = False, time.monotonic() + SESSION_TIMEOUT_S
        while self.head is not None and (job.driver() or not seen):
            assert time.monotonic() < deadline, job.logs()
            # Before there are replicas there is little to be disturbed.
            seen = seen or bool(job.replicas()) or (bool(job.driver()) and self.random.random() < 0.02)
            if seen and coming:
                time.sleep(self.random.uniform(0.2, 2.0))
                self._inject(coming, job)
            time.sleep(0.4)  # each look goes through all processes of the machine
            if not seen and job.driver() == [] and job.status() in ("FAILED", "SUCCEEDED", "STOPPED"):
                break
        if self.head is None:
            return False
        status = job.wait()
        logs = job.logs()
        assert "Traceback" not in logs, logs
        return status == "SUCCEEDED"

    def _inject(self, coming, job):
        kind = coming[0]
        if kind == "replica killed":
            with suppress(AssertionError, IndexError):
                kill([self.random.choice(job.replicas())])
                self.injected[coming.pop(0)] += 1
            return
        if kind.endswith("paused"):
            processes = job.replicas() if kind == "replica paused" else job.driver()
            if processes:
                self._pause(self.random.choice(processes))
                self.injected[coming.pop(0)] += 1
            return
        if kind == "driver killed":
            with suppress(AssertionError):
                job.kill_driver()
                self.injected[coming.pop(0)] += 1
            return
        if not job.driver():
            return
        self.injected[coming.pop(0)] += 1
        if kind == "storage failed":
            self._storage_fails_for = STORAGE_REQUESTS
        elif kind == "job stopped":
            job.stop()
        else:
            kill(self.head.processes())
            self.close()

    def _pause(self, process):
        """As a suspended machine: it knows of nothing afterwards."""
        with suppress(psutil.NoSuchProcess):
            process.suspend()
            time.sleep(self.random.uniform(0.5, 3.0))
            process.resume()

    def _storage_fault(self, _number):
        if self._storage_fails_for <= 0:
            return None
        self._storage_fails_for -= 1
        return self.random.choice(STORAGE_FAULTS) if self.random.random() < 0.5 else None


@dataclass(frozen=True)
class Result:
    """What a run left: by key, so that lost, doubled and changed images can be counted."""

    rows: Counter
    """Key → rows of it."""
    reasons: dict
    """Key → why it failed; only of those that did."""
    contents: dict
    """Key → its row, the members of its candidate and of its sample in the release."""
    shards: dict
    """Shard → digests of its files."""


def result_of(out):
    """Read a finished run back."""
    rows, reasons, contents, shards = Counter(), {}, {}, {}
    for name in sorted(committed_shards(out)):
        record = read_shard_record(out, name)
        shards[name] = (record.tar.sha256, record.rows.sha256)
        for row in read_rows(out, record):
            rows[row.key] += 1
            contents[row.key] = {"row": row}
            if row.reason:
                reasons[row.key] = row.reason
        for key, members in read_members(out, record).items():
            contents[key] |= {f"candidate.{extension}": content for extension, content in members.items()}
    release = storage.join(out, "release", "sod-benchmark-1.0.0")
    manifest = pq.read_table(io.BytesIO(storage.read(storage.join(release, "manifest.parquet")))).to_pylist()
    for entry in manifest:
        assert "manifest" not in contents[entry["key"]], f"{entry['key']} is twice in the manifest"
        del entry["sample_offset"]  # an image before it in the tar may have killed its process here
        contents[entry["key"]]["manifest"] = entry
    tars = storage.join(release, "data", "test")
    for name in [name for name in storage.list_names(tars) if name.endswith(".tar")]:
        for key, members in samples_of(storage.read(storage.join(tars, name))):
            assert "release.json" not in contents[key], f"{key} is twice in the release"
            contents[key] |= {f"release.{extension}": content for extension, content in members.items()}
    return Result(rows=rows, reasons=reasons, contents=contents, shards=shards)
