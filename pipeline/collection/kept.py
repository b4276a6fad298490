"""RUN/plan/index/: what listings of large files found, so that the next session need not read their headers again.

A listing belongs to one state of a file: whoever stores it puts a digest of name, size and stamp (ETag, or time of the
last change) into each row, and finds nothing for a file that has changed. It saves reading and decides nothing: what an
image is read from is checked when it is read. An index that can't be read is therefore left aside.
"""

import hashlib
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.errors import StorageError, StorageUnavailableError
from pipeline.files import storage

if TYPE_CHECKING:
    import pyarrow

log = logging.getLogger(__name__)


class Kept:
    """The index of one run. `write` is for the session that holds the run's lock; all others only read."""

    def __init__(self, run: str = "") -> None:
        """Args: run: path or URL of the run; "": nothing is kept."""
        self._folder = storage.join(run, "plan", "index") if run else ""
        self._added: list[tuple[str, pyarrow.Table]] = []

    def tables(self, kind: str, schema: "pyarrow.Schema") -> Iterator["pyarrow.Table"]:
        """What earlier sessions stored of one kind of file.

        Raises: StorageUnavailableError: the storage does not respond.
        """
        import pyarrow as pa

        from pipeline.files.parquet import read_parquet

        for name in storage.list_names(self._folder) if self._folder else ():
            if name.startswith(f"{kind}-"):
                url = storage.join(self._folder, name)
                try:
                    yield read_parquet(storage.read(url), schema)
                except StorageUnavailableError:
                    raise
                except (pa.ArrowInvalid, StorageError) as error:
                    log.warning("%s can't be read and is left aside: %s", url, error)

    def add(self, kind: str, table: "pyarrow.Table") -> None:
        """Have a table stored by `write`."""
        self._added.append((kind, table))

    def write(self) -> None:
        """Store what was added; under a name from its content, so that nothing is ever replaced."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        for kind, table in self._added if self._folder else ():
            file = pa.BufferOutputStream()
            pq.write_table(table, file, compression="zstd")
            content = file.getvalue().to_pybytes()
            name = f"{kind}-{hashlib.sha256(content).hexdigest()[:16]}.parquet"
            storage.create(storage.join(self._folder, name), content)
        self._added.clear()
