"""The folders that toolboxes for salient object detection read: `Image/KEY.jpg`, `GT/KEY.png`, `splits/SPLIT.txt`."""

from pathlib import Path

from pipeline.files.csv_keys import key_in_csv
from pipeline.files.tables import CsvTable
from pipeline.release.export.layout import write
from pipeline.release.opened import OpenedRelease, ReleasedSample


class SodFolders:
    """Photos and masks under the same name, as DUTS, ECSSD and HKU-IS have them; and the keys of each split.

    A release of masks alone gives `GT` and `images.csv`, which has the name of each image in the collection.
    """

    def __init__(self, folder: Path, opened: OpenedRelease) -> None:
        self._folder = folder
        self._keys: dict[str, list[str]] = {split: [] for split in sorted(opened.stated.splits)}
        self._has_photos = opened.stated.release.embed_images
        self._names = CsvTable(("key", "file_name"))

    def add(self, sample: ReleasedSample) -> None:
        """Write photo and mask."""
        if self._has_photos:
            write(self._folder / "Image" / f"{sample.key}.jpg", sample.members["jpg"])
        else:
            self._names.add((key_in_csv(sample.key), sample.row["file_name"]))
        write(self._folder / "GT" / f"{sample.key}.png", sample.members["mask.png"])
        self._keys[sample.row["split"]].append(sample.key)

    def close(self) -> None:
        """Write the lists of keys."""
        for split, keys in self._keys.items():
            write(self._folder / "splits" / f"{split}.txt", "".join(f"{key}\n" for key in keys).encode())
        if not self._has_photos:
            write(self._folder / "images.csv", self._names.encode())
