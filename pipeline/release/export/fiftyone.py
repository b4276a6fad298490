"""For FiftyOne: photos, full-size masks and maps, scores in `samples.json`, and a script that makes a dataset of them.

FiftyOne's own format on disk is a dump of its database and changes with it. The script uses its public interface only.
"""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from pipeline.release.croissant_texts import pictures_of
from pipeline.release.export.layout import write
from pipeline.release.manifest import schema_of
from pipeline.release.opened import OpenedRelease, ReleasedSample

SCRIPT = "load_in_fiftyone.py"
_LEFT_OUT = (
    *("verdict", "reason", "detail", "tar", "sample_offset", "sample_bytes", "split", "mask_sha256", "maps_sha256"),
)


class FiftyOneFolder:
    """Pictures in folders of their kind, and one list of samples."""

    def __init__(self, folder: Path, opened: OpenedRelease) -> None:
        self._folder, self._opened = folder, opened
        self._places = {
            extension: f"{name}/{{}}.{extension.rpartition('.')[2]}"
            for extension, (name, _) in pictures_of(opened.stated.release).items()
        }
        self._fields = [name for name in schema_of(opened.stated.columns).names if name not in _LEFT_OUT]
        self._samples: list[dict[str, Any]] = []

    def add(self, sample: ReleasedSample) -> None:
        """Write the pictures, and remember the rest."""
        pictures = {}
        for extension, place in self._places.items():
            pictures[place.partition("/")[0]] = place.format(sample.key)
            write(self._folder / place.format(sample.key), sample.members[extension])
        fields = {name: sample.row.get(name) for name in self._fields}
        self._samples.append({"pictures": pictures, "split": sample.row["split"], "fields": fields})

    def close(self) -> None:
        """Write the list of samples, and the script."""
        document = {"name": self._opened.title.replace(" ", "-"), "samples": self._samples}
        write(self._folder / "samples.json", json.dumps(document, indent=1, allow_nan=False).encode())
        write(self._folder / SCRIPT, (files("pipeline.release.export") / SCRIPT).read_bytes())
