"""What a file from elsewhere says of an image, and the answer that follows. Pure.

    verdict    mask                       answer
    right      none, or the release's     right
    right      another one                fix: what was drawn tells more, and promises less; refused without a pixel
    right      polygons                   right: a tool that turns masks into polygons moves their edges by a pixel
    fix        another one                fix
    fix        none, or the release's     refused: nobody has fixed anything
    any other  any                        that verdict; the mask is what was there before
    none       another one                fix; without a pixel nothing_salient
    none       the release's              right
    none       none                       none

The last three are of files that know no verdicts, such as a folder of masks. Where a rater can give verdicts, an image
without one has no answer: its mask may be the exported one, which nobody has looked at. Datumaro 1.13 makes polygons of
it, whose IoU with it was .89 to .99 on twenty images: each would have been an answer.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from pycocotools import mask as coco_mask

from pipeline.audit.answers import VERDICTS, AnswerVerdict, Asked
from pipeline.audit.outcomes import iou_of
from pipeline.passes.mask_text import Rle
from pipeline.release.image_names import ImageNames, without_suffix
from pipeline.shown import printable

_SHOWN = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a file says of one image of the sample."""

    key: str
    says: str = ""
    """Its verdict; "" if it says none."""
    mask: Rle | None = None
    """The object's pixels, at the image's size; None if it says nothing of them."""
    is_exact: bool = True
    """Is the mask given pixel by pixel, and not by polygons?"""
    seconds: float = 0.0
    answered: str = ""
    """When; "" if it does not say."""
    digest: str = ""
    """SHA-256 of the image's own file; "" if all are in one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a file says of all images."""

    given: tuple[Given, ...]
    has_verdicts: bool
    """Could a rater give verdicts? A mask alone says nothing then."""
    left_out: tuple[str, ...] = ()
    """Files of a folder that are of other images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """The images that answers may be about, and how files name them."""

    plan: str
    """SHA-256 of the audit's plan."""
    sizes: Mapping[str, tuple[int, int]]
    """Key of each image of the sample → its height and width in pixels."""
    names: ImageNames
    """Of all images of the release."""

    def find(self, file_names: Iterable[str], *, are_keys: bool = False) -> dict[str, str]:
        """Find the images that the file names of one source mean: by key in any folder, or as in the collection.

        Args:    are_keys: does the source say that it is of this audit? Then they are keys, as in what was exported.
        Returns: name → key of an image of the sample; the other names are of none.
        Raises:  ValueError: it is unclear which one a name means; the message says what to do.
        """
        spelled = {name: (without_suffix(name),) for name in file_names}
        return self.names.find(spelled, self.sizes.keys(), are_keys=are_keys)

    def find_all(self, file_names: Sequence[object], *, are_keys: bool = False) -> dict[str, str]:
        """As `find`, of names in somebody's file, each of which has to be of an image of the sample.

        Raises: ValueError: one is not, or it is unclear which one it means.
        """
        plain = [_file_name(name) for name in file_names]
        found = self.find(plain, are_keys=are_keys)
        for name in plain:
            if name not in found:
                raise ValueError(f"{quoted(name)} is no image of the sample")
        return found

    def require_size(self, key: str, height: object, width: object) -> None:
        """Compare a stated size with the image's.

        Raises: ValueError: it is another one.
        """
        if (height, width) != self.sizes[key]:
            real_height, real_width = self.sizes[key]
            raise ValueError(
                f"{key} is said to have {quoted(width)} x {quoted(height)} px; it has {real_width} x {real_height}"
            )

    def require_plan(self, stated: object) -> None:
        """Compare a stated plan with the audit's; a file that states none may be of this one.

        Raises: ValueError: it is another one.
        """
        if stated not in (None, "", self.plan):
            raise ValueError(f"it belongs to another audit, whose plan is {quoted(stated)} instead of {self.plan}")


def images_of(asked: Asked, file_names: Mapping[str, str]) -> Images:
    """The images of a sample.

    Args: file_names: key → name of the file in the collection, of all images of the release's manifest.
    """
    return Images(plan=asked.plan, sizes=asked.sizes, names=ImageNames(file_names))


def answer_of(given: Given, released: Rle, *, has_verdicts: bool) -> tuple[AnswerVerdict, Rle | None] | None:
    """The answer that follows, by the table above.

    Args:    released: the release's mask.
    Returns: verdict, and the mask of a `fix`; None if nothing was answered.
    Raises:  ValueError: it contradicts itself.
    """
    is_changed = given.mask is not None and iou_of(given.mask, released) < 1
    is_empty = given.mask is None or not coco_mask.area(given.mask)
    says = verdict_of(given)
    if says == "fix" and (not is_changed or is_empty):
        raise ValueError(
            f"{given.key} is to be fixed, but its mask is {'empty' if is_empty else 'still the one of the release'}: "
            "draw what it should be, or give another verdict"
        )
    if says == "right" and not given.is_exact:
        return "right", None
    if says == "right" and is_changed and is_empty:
        raise ValueError(f"{given.key} is right, but its mask was erased: give another verdict, or restore the mask")
    if says and says not in ("right", "fix"):
        return says, None
    if not says and (has_verdicts or given.mask is None):
        return None
    if not is_changed:
        return "right", None
    return ("nothing_salient", None) if is_empty else ("fix", given.mask)


def verdict_of(given: Given) -> AnswerVerdict | None:
    """The verdict that a file gives an image; None if it gives none.

    Raises: ValueError: it is not a verdict.
    """
    if not given.says:
        return None
    for verdict in VERDICTS:
        if verdict == given.says:
            return verdict
    raise ValueError(f"{given.key} has the verdict {quoted(given.says)}; there are {', '.join(VERDICTS)}")


def one_of(key: str, verdicts: set[str]) -> str:
    """The verdict that a file gives an image, wherever it gives it.

    Raises: ValueError: it gives several.
    """
    found = sorted(verdict for verdict in verdicts if verdict)
    if len(found) > 1:
        raise ValueError(f"{key} has several verdicts: {', '.join(map(quoted, found))}. Leave one")
    return found[0] if found else ""


def united(masks: list[Rle]) -> Rle | None:
    """All pixels of some masks of one image; None if there are none."""
    if len(masks) < 2:
        return masks[0] if masks else None
    union = coco_mask.merge(masks)
    return Rle(size=list(masks[0]["size"]), counts=union["counts"].decode("ascii"))


def _file_name(name: object) -> str:
    if not isinstance(name, str):
        raise ValueError(f"{quoted(name)} is no file name")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise ValueError(f"{quoted(name)} is a path that leads elsewhere, and no image of the sample")
    return name


def quoted(value: object) -> str:
    """What stands in somebody's file, short and without what a terminal would obey."""
    return printable(repr(value)[:_SHOWN])
