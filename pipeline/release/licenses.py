"""Whose images these are: `licenses.csv`, with a row per image in tars or page, and `NOTICE`, a summary for people."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from pipeline.collection.collection import NOBODY, License, Origin
from pipeline.files.csv_keys import key_in_csv
from pipeline.files.tables import CsvTable
from pipeline.records import Sample
from pipeline.selection.policy import PolicyConfig
from pipeline.selection.verdicts import is_allowed
from pipeline.shown import without_secrets

COLUMNS = ("key", "image_id", "file_name", "license_id", "license_name", "license_url", "author", "source")
_NOTICE = """NOTICE of {name}

The masks, maps and scores of this release were made by a program; README.md says how, and under which licence.
Every image keeps the licence of its owner. licenses.csv lists licence, author and source of each image as the
collection gives them; nothing was added, and nobody has checked them. It also lists images that were not
accepted if the page shows a thumbnail of them. Licences of the images in this release:

{lines}
"""


class LicenseTable:
    """Collects the rows of `licenses.csv` in the order they are added."""

    def __init__(self, origins: Mapping[str, Origin]) -> None:
        self._origins = origins
        self._table = CsvTable(COLUMNS)
        self.counts: Counter[License] = Counter()

    def add(self, sample: Sample, licence: License) -> None:
        """Add an image."""
        origin = self._origins.get(sample.key, NOBODY)
        facts = (key_in_csv(sample.key), sample.image_id, sample.file_name, licence.id, licence.name, licence.url)
        self._table.add([*facts, origin.author, origin.source])
        self.counts[licence] += 1

    def encode(self) -> bytes:
        """Encode the CSV."""
        return self._table.encode()


def notice(name: str, counts: Mapping[License, int]) -> bytes:
    """Encode `NOTICE`, which says how many images have which licence."""
    lines = []
    for licence, count in sorted(counts.items(), key=lambda item: item[0].id):
        words = " ".join(f"{licence.name} {licence.url}".split()) or "not named by the collection"
        # Control characters would be obeyed by a terminal.
        shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in without_secrets(words))
        lines.append(f"  {count:>9} images   licence {licence.id}: {shown}")
    return _NOTICE.format(name=name, lines="\n".join(lines) or "  no images").encode()


def is_listed(row: Mapping[str, Any], policy: PolicyConfig, embed_images: bool) -> bool:
    """Does the release contain anything of the image in this manifest row, in a tar or as a thumbnail on the page?"""
    if row["verdict"] == "accepted":
        return True
    shown = embed_images and row["verdict"] != "failed"
    return shown and is_allowed(row["license_id"], row["license_url"], policy)
