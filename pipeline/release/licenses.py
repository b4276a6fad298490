"""Whose images these are: `licenses.csv`, a row per image of which anything is here, and `NOTICE`, for people."""

import csv
import io
from collections import Counter
from collections.abc import Mapping

from pipeline.coco import License, Origin
from pipeline.records import Sample

COLUMNS = ("key", "image_id", "file_name", "license_id", "license_name", "license_url", "author", "source")
NOBODY = Origin(author="", source="")
_NOTICE = """NOTICE of {name}

The masks, maps and scores of this release were made by a program; see README.md for how.
Every image keeps the licence of its owner. What the annotations of the collection say of each image (licence, author,
source) is in licenses.csv; nothing was added to it, and nobody has checked it. Images that were not accepted are listed
too where the page shows a thumbnail of them. Licences of the images here:

{lines}
"""


class LicenseTable:
    """Collects images in key order."""

    def __init__(self, origins: Mapping[str, Origin]) -> None:
        self._origins = origins
        self._buffer = io.StringIO(newline="")
        self._writer = csv.writer(self._buffer, lineterminator="\r\n")  # RFC 4180; and so fields with either are quoted
        self._writer.writerow(COLUMNS)
        self._counts: Counter[License] = Counter()

    def add(self, sample: Sample, licence: License) -> None:
        """Add an image."""
        origin = self._origins.get(sample.key, NOBODY)
        facts = (sample.key, sample.image_id, sample.file_name, licence.id, licence.name, licence.url)
        self._writer.writerow([*facts, origin.author, origin.source])
        self._counts[licence] += 1

    def encode(self) -> bytes:
        """The CSV."""
        return self._buffer.getvalue().encode()

    def notice(self, name: str) -> bytes:
        """The text for people."""
        lines = []
        for licence, count in sorted(self._counts.items(), key=lambda item: item[0].id):
            named = " ".join(" ".join(part.split()) for part in (licence.name, licence.url) if part)
            lines.append(f"  {count:>9} images   licence {licence.id}: {named or 'not named by the annotations'}")
        return _NOTICE.format(name=name, lines="\n".join(lines) or "  no images").encode()
