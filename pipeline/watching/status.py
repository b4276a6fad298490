"""How far a run or a score pass is, from what is in its folder: commits, who holds it, what its session said last.

Reads only. Works while a session works, after it has ended, and after it has died; runs of earlier versions have
commits alone.
"""

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from model.documents import parse_json
from pipeline.errors import CollectionError, StorageError, StorageUnavailableError
from pipeline.files import storage
from pipeline.release.identity import RELEASE_JSON
from pipeline.runs.commits import committed_shards
from pipeline.runs.holder import Holder
from pipeline.runs.lease import BEAT_S, session_of
from pipeline.runs.run_file import newest_document
from pipeline.watching.files import FOLDER, PAGE, POST_MORTEM, STATUS
from pipeline.watching.summary import FORMAT

_MOST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Who works, or worked last."""

    host: str
    pid: int
    started: float
    """As in `Holder`."""
    is_alive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A run or a score pass at one moment."""

    folder: str
    images: int
    shards: int
    images_committed: int
    shards_committed: int
    session: Session | None
    """Who holds it now; None: nobody does."""
    said: Mapping[str, Any] | None
    """What the newest session with a live page said last, see `summary.document`; None if there is none."""
    age_s: float | None
    """Seconds since it said so, by the clock of this machine."""
    page: str
    """Of the newest session; "" if there is none."""
    post_mortems: tuple[str, ...]
    """One per session, oldest first."""
    releases: tuple[str, ...]
    """Of the run, whole ones; a score pass has none."""

    @property
    def is_said_before(self) -> bool:
        """Did another session say what was said, before the one that holds the run now?"""
        said, session = self.said or {}, self.session
        return session is not None and any(
            name in said and said[name] != getattr(session, name) for name in ("host", "pid", "started")
        )

    @property
    def is_done(self) -> bool:
        """Are all shards committed?"""
        return self.shards_committed >= self.shards

    @property
    def state(self) -> str:
        """`running`, `finished`, `ended` (it said why), `died` (it said nothing), or `idle` (no session is known)."""
        if self.session and self.session.is_alive:
            return "running"
        if self.is_done:
            return "finished"
        if self.session:
            return "died"
        if self.said is None:
            return "idle"
        return "ended" if self.said["ended_s"] is not None else "died"


def status_of(run: str, folder: str = "", patience_s: float = 3 * BEAT_S) -> Status:
    """How far a run is, or a score pass of it.

    Args:   folder: of the pass; "": the run itself.
            patience_s: how long a session of another machine is watched for a sign of life.
    Raises: CollectionError: there is no such run. StorageError: its plan can't be read.
    """
    planned = images_by_shard(run)
    there = committed_shards(run).keys() & planned.keys()
    if folder:  # a pass works on what the run has committed
        planned = {shard: planned[shard] for shard in there}
        there = committed_shards(folder).keys() & planned.keys()
    folder = folder or run
    names = storage.list_names(storage.join(folder, FOLDER))
    said = _said(folder) if STATUS in names else None
    held = session_of(folder, patience_s)
    return Status(
        folder=folder,
        images=sum(planned.values()),
        shards=len(planned),
        images_committed=sum(planned[shard] for shard in there),
        shards_committed=len(there),
        session=_session(*held) if held else None,
        said=said,
        age_s=max(0.0, time.time() - said["at_s"]) if said else None,
        page=storage.join(folder, FOLDER, PAGE) if PAGE in names else "",
        post_mortems=tuple(storage.join(folder, FOLDER, name) for name in names if name.startswith(POST_MORTEM)),
        releases=releases_of(run) if folder == run else (),
    )


def releases_of(run: str) -> tuple[str, ...]:
    """Folders of the releases of a run that are whole, by name."""
    folder = storage.join(run, "release")
    found = (storage.join(folder, name) for name in storage.list_names(folder))
    return tuple(release for release in found if storage.exists(storage.join(release, RELEASE_JSON)))


def passes_of(run: str) -> dict[str, str]:
    """Name → folder of each score pass of a run."""
    folder = storage.join(run, "passes")
    return {name: storage.join(folder, name) for name in storage.list_names(folder)}


def images_by_shard(run: str) -> dict[str, int]:
    """Shard → its images, by the plan of a run; only the column that says so is decoded.

    Raises: CollectionError: there is no run. StorageError: its plan can't be read.
    """
    is_folder = not storage.is_file(run)  # a file is listed as if it were in itself
    number, _, parts = newest_document(run) if is_folder else (-1, {}, [])
    if number < 0:
        raise CollectionError(f"{run} is not a run: it has no run.json. Give the --out of a run")
    counts: dict[str, int] = {}
    for part in parts:
        url = storage.join(run, "plan", part)
        content = storage.read(url)
        try:
            shards = pq.read_table(io.BytesIO(content), columns=["shard"]).column("shard")
            counts |= {f"{found['values']:06d}": found["counts"] for found in shards.value_counts().to_pylist()}
        except (OSError, ValueError, KeyError, TypeError) as error:  # pyarrow's errors are some of these
            raise StorageError(
                f"{url} can't be read ({str(error)[:200]}): sod run verify {run} says what is wrong"
            ) from error
    return counts


def _session(holder: Holder, is_alive: bool) -> Session:
    return Session(host=holder.host, pid=holder.pid, started=holder.started, is_alive=is_alive)


def _said(folder: str) -> dict[str, Any] | None:
    """What the newest session said; None if that is torn, or of a version that says other things."""
    try:
        said = parse_json(storage.read(storage.join(folder, FOLDER, STATUS), _MOST_BYTES))
        return dict(said) if said["format"] == FORMAT and isinstance(said["at_s"], float) else None
    except StorageUnavailableError:
        raise
    except (StorageError, ValueError, KeyError, TypeError):
        return None
