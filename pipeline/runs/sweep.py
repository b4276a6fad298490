"""Removes what killed and late writers left in a run: unfinished files, and candidates that no record names.

A writer that was paused may still be about to create a record that names such candidates. So before they are removed,
the record of their shard is created once more under the next number, the one that the late writer would have to claim.
Candidates of a shard without a record stay: whoever commits it may name them.
"""

import re
from collections.abc import Mapping

from pipeline.files import storage
from pipeline.records import ShardRecord
from pipeline.runs.commits import create_again

FOLDERS = ("commits", "plan", "journal", "mixed", "live")
"""Folders of a run or score pass, beside that of its candidates or scores."""
_IN_THE_RUN = (".probe.", ".run.", ".pass.", ".device.", ".contact_sheet.")
"""How names of unfinished files in the run's own folder begin; a dry run may be using a folder of its own there."""
_CANDIDATE = re.compile(r"(\w+)(\.\w+)?\.(tar|parquet)")


def sweep(run: str, records: Mapping[str, ShardRecord], files: str = "candidates") -> tuple[str, ...]:
    """Remove what is stray, while this session holds the run.

    Args:    run: the folder of a run, or of a score pass.
             records: shard → the record that counts.
             files: the folder that has the files that records name.
    Returns: the removed files, relative to the run.
    """
    found = {folder: storage.list_names(storage.join(run, folder), hidden=True) for folder in (files, *FOLDERS)}
    strays = [f"{folder}/{name}" for folder, names in found.items() for name in names if storage.is_unfinished(name)]
    own = [name for name in storage.list_names(run, hidden=True) if name.startswith(_IN_THE_RUN)]
    strays += [name for name in own if storage.is_unfinished(name)]
    strays += [f"journal/{name}" for name in found["journal"] if name.removesuffix(".json") in records]
    named = {file.name for record in records.values() for file in record.files}
    unnamed: dict[str, list[str]] = {}
    for name in found[files]:
        match = _CANDIDATE.fullmatch(name)
        if match and match[1] in records and name not in named:
            unnamed.setdefault(match[1], []).append(f"{files}/{name}")
    for shard, names in unnamed.items():
        if create_again(run, records[shard]):  # else another session has committed it anew: those may be its files
            strays += names
    return tuple(name for name in strays if storage.remove(storage.join(run, name)))
