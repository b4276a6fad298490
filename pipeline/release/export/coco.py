"""COCO's layout: `SPLIT/KEY.jpg`, and `annotations/instances_SPLIT.json` whose file names are those of the images."""

from pathlib import Path

from pipeline.release.export.layout import write
from pipeline.release.opened import OpenedRelease, ReleasedSample


class CocoFolders:
    """The release's own COCO files beside its images, where tools for COCO's format look for both."""

    def __init__(self, folder: Path, opened: OpenedRelease) -> None:
        self._folder, self._opened = folder, opened

    def add(self, sample: ReleasedSample) -> None:
        """Write the photo."""
        write(self._folder / sample.row["split"] / f"{sample.key}.jpg", sample.members["jpg"])

    def close(self) -> None:
        """Write the annotations."""
        for split in sorted(self._opened.stated.splits):
            (self._folder / split).mkdir(exist_ok=True)
            content = self._opened.content(f"annotations/{split}.json")
            write(self._folder / "annotations" / f"instances_{split}.json", content)
