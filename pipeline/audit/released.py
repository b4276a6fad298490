"""A release as an audit sees it: the kinds of its accepted images, and its scores."""

import numpy as np

from pipeline.release.manifest import SCENE, considered_of
from pipeline.release.opened import OpenedRelease, open_release
from pipeline.selection.scores import Score


class AuditedRelease(OpenedRelease):
    """A release of which a sample is judged."""

    __slots__ = ()

    def strata(self, by: str) -> dict[str, str]:
        """Key → stratum of every accepted image.

        Args:   by: `none`, `size`, `supercategory`, `split`, or a score, whose quarters are the strata.
        Raises: ValueError: it is none of these.
        """
        if by == "none":
            return dict.fromkeys(self.rows, "all")
        if by == "size":
            return {key: considered_of(row, ("area",)).stratum[1] for key, row in self.rows.items()}
        if by in ("supercategory", "split"):
            return {key: row[by] or "unknown" for key, row in self.rows.items()}
        score = self.score(by)
        values = np.array([np.nan if row[by] is None else row[by] for row in self.rows.values()], dtype=np.float64)
        if np.isnan(values).all():
            return dict.fromkeys(self.rows, f"{score.name} unknown")
        ends = np.nanquantile(values, (0.25, 0.5, 0.75))
        names = [f"{score.name} quarter {place}" for place in (1, 2, 3, 4)]
        return {
            key: f"{score.name} unknown" if np.isnan(value) else names[int(np.searchsorted(ends, value))]
            for key, value in zip(self.rows, values, strict=True)
        }

    def score(self, name: str) -> Score:
        """What is known of a score of this release.

        Raises: ValueError: it has no such score.
        """
        if name not in self.stated.table:
            raise ValueError(f"{self.title} has no score {name}; it has {', '.join(self.stated.table)}")
        return self.stated.table[name]

    def is_empty_scene(self, key: str) -> bool:
        """Is this image kept as a scene without a salient object, with an empty mask?"""
        return self.rows[key].get(SCENE.name) == "empty"


def read_audited(release: str) -> AuditedRelease:
    """Read what an audit needs of a release; see `open_release`."""
    opened = open_release(release)
    return AuditedRelease(
        folder=opened.folder,
        sha256=opened.sha256,
        stated=opened.stated,
        rows=opened.rows,
        file_names=opened.file_names,
    )
