"""What a labelling tool is asked of one image, and how its labels are called."""

from dataclasses import dataclass

from pycocotools import mask as coco_mask

from pipeline.audit.answers import VERDICTS
from pipeline.passes.mask_text import Rle
from pipeline.release.coco_json import CATEGORY

OBJECT = str(CATEGORY["name"])
"""The label of masks; each verdict is a label of its own name."""
LABELS = (OBJECT, *VERDICTS)
IMAGES = "images"
"""The folder of an export that has the images."""
HOW_TO_ANSWER = f"""\
Give every image one verdict:

- `right`: no pixel that matters is wrong.
- `fix`: the right object, and you have changed the mask `{OBJECT}` to what it should be.
- `wrong_object`: something else is salient. `nothing_salient`: nothing is. `ambiguous`: several would be as good.
- `skip`: you can't tell; somebody else decides.

The masks that are there are the release's. An image without a verdict has no answer, whatever its mask is.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """An image to judge."""

    key: str
    image_id: int
    """Its number in the release's annotations."""
    file_name: str
    """In the folder `IMAGES`."""
    height: int
    width: int
    mask: Rle
    """The release's."""

    @property
    def has_object(self) -> bool:
        """Has the mask a pixel? That of an empty scene has none, and tools know no empty masks."""
        return bool(coco_mask.area(self.mask))


@dataclass(frozen=True, slots=True, kw_only=True)
class Titled:
    """What the tasks are of."""

    title: str
    """Name and version of the release."""
    plan: str
    """SHA-256 of the audit's plan."""
