"""Which decoder paints the masks: the VAE's own, or a mask decoder distilled from it; light to import.

A mask decoder lies in the model folder's `mask_decoder/`. Its configuration says which VAE it was distilled from
(`model/vae_digest.py`), and how well it agrees with that one at each side that was measured:

    "distilled_from": "0bf7…", "agreement": [
        {"maps_of": "photographs", "side_px": 192, "iou": 0.9961, "mae": 0.0012, "s_measure": 0.9958, "maps": 256}, …]

What the model itself paints of photographs decides where that was measured, or else drawn maps do.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

from model.checkpoint_facts import facts_of
from model.config import ModelConfig, WantedDecoder
from model.documents import parse_object, read_document
from model.vae_digest import digest_of_folder

MASK_DECODER = "mask_decoder"
"""Its folder, and its name among a pipeline's networks."""
LEAST_IOU = 0.995
"""`auto` takes a mask decoder whose masks agree with the VAE's at least so well."""

UsedDecoder = Literal["vae", "mask"]
MapsOf = Literal["drawn", "photographs"]
"""What was decoded: disturbed latents of drawn maps, or members of photographs as the model's own denoising ends."""
_MEASURES = ("iou", "mae", "s_measure")
_LARGEST_SIDE_PX, _MOST_SIDES = 8192, 64
_SHA256 = re.compile("[0-9a-f]{64}")
_DISTIL = "sod distil --model MODEL --out FOLDER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How a mask decoder's maps of one side compare with the VAE's own: means over held-out maps, each from 0 to 1."""

    side_px: int
    """Height and width of the maps, a multiple of 8."""
    iou: float
    """Of the two masks at 0.5; 1 where neither has an object."""
    mae: float
    """Mean absolute difference of the maps."""
    s_measure: float
    """Of the two masks; 1 where they are equal."""
    maps: int
    """How many maps were compared."""
    maps_of: MapsOf = "drawn"

    @staticmethod
    def of(fields: object) -> "Agreement":
        """Read what a configuration says of one side.

        Raises: ValueError: a field is missing or out of its range, or there is another field.
        """
        if not isinstance(fields, Mapping) or set(fields) - {"maps_of"} != {"side_px", *_MEASURES, "maps"}:
            raise ValueError(f"agreement must have exactly the fields side_px, {', '.join(_MEASURES)}, maps, maps_of")
        maps_of = fields.get("maps_of", "drawn")  # files of earlier code have no other
        if maps_of not in get_args(MapsOf):
            raise ValueError(f"agreement: maps_of is {ascii(maps_of)[:40]}; it must be {' or '.join(get_args(MapsOf))}")
        for name in _MEASURES:
            value = fields[name]
            if type(value) not in (int, float) or not (math.isfinite(value) and 0 <= value <= 1):
                raise ValueError(f"agreement: {name} is {str(value)[:40]}; it must be from 0 to 1")
        if type(fields["maps"]) is not int or not 1 <= fields["maps"] <= 10**9:
            raise ValueError(f"agreement: maps is {str(fields['maps'])[:40]}; it must be a whole number above 0")
        side_px = fields["side_px"]
        if type(side_px) is not int or not 8 <= side_px <= _LARGEST_SIDE_PX or side_px % 8:
            raise ValueError(
                f"agreement: side_px is {str(side_px)[:40]}; it must be a multiple of 8 up to {_LARGEST_SIDE_PX}"
            )
        measures = {name: float(fields[name]) for name in _MEASURES}
        return Agreement(side_px=side_px, **measures, maps=fields["maps"], maps_of=maps_of)

    @property
    def is_close(self) -> bool:
        """Whether `auto` takes the decoder at this side."""
        return self.iou >= LEAST_IOU

    def as_fields(self) -> dict[str, Any]:
        """The form in which a configuration has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What a mask decoder's configuration says of it."""

    agreement: Sequence[Agreement] = ()
    """Of drawn maps by side, the smallest first, then of photographs; empty: not measured."""
    distilled_from: str | None = None
    """Digest of the VAE that it was distilled from; None: not known."""

    @staticmethod
    def of(agreement: object, distilled_from: object) -> "Stated":
        """Read both fields; each may be missing, which is None.

        Raises: ValueError: one of them is not what it should be.
        """
        if agreement is None:
            agreement = ()
        if not isinstance(agreement, list | tuple) or len(agreement) > _MOST_SIDES:
            raise ValueError(
                f"agreement must be a list of at most {_MOST_SIDES} objects, one for each side and maps_of"
            )
        found = sorted((Agreement.of(one) for one in agreement), key=_place)
        if any(_place(one) == _place(other) for one, other in pairwise(found)):
            raise ValueError("agreement has the same side_px and maps_of twice")
        if distilled_from is not None and not (isinstance(distilled_from, str) and _SHA256.fullmatch(distilled_from)):
            raise ValueError(f"distilled_from is {ascii(distilled_from)[:40]}; it must be a SHA-256 or null")
        return Stated(agreement=tuple(found), distilled_from=distilled_from)

    @property
    def deciding(self) -> Sequence[Agreement]:
        """What `auto` goes by, the smallest side first."""
        return [one for one in self.agreement if one.maps_of == "photographs"] or self.agreement

    @property
    def is_close(self) -> bool:
        """Whether it is close to the VAE at any side."""
        return any(one.is_close for one in self.deciding)

    def is_close_at(self, side_px: int) -> bool:
        """Whether it is close at that side: at the next measured sides on both, of which one may be the side itself.

        Args: side_px: of the images, which are processed at this side rounded down to a multiple of 8; 0: at their own.
        """
        side_px = side_px // 8 * 8
        below = [one for one in self.deciding if one.side_px <= side_px][-1:]
        above = [one for one in self.deciding if one.side_px >= side_px][:1]
        return bool(below and above) and below[0].is_close and above[0].is_close


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A decoder."""

    used: UsedDecoder
    why: str = ""
    """A sentence for the log where another choice might be expected; "" where there is nothing to say."""


def _place(one: Agreement) -> tuple[str, int]:
    return one.maps_of, one.side_px


def choose(
    wanted: WantedDecoder, stated: Stated | None, vae: Callable[[], str | None], *, side_px: int, place: str
) -> Choice:
    """Settle `auto`, and see that a mask decoder lies beside its own VAE.

    Args:   stated: what is known of the mask decoder; None: there is none.
            vae: finds the digest of the VAE beside it; called only if that matters. It may find None.
            side_px: of the images; 0: their own sizes. place: the model, for messages.
    Raises: ValueError: a mask decoder is wanted where there is none, or that of another VAE.
    """
    if wanted == "vae":
        return Choice(used="vae")
    if stated is None:
        if wanted == "mask":
            raise ValueError(
                f"decoder is 'mask', and {place} holds no {MASK_DECODER}: give --decoder vae, or distil one with "
                f"{_DISTIL}"
            )
        return Choice(used="vae")
    if wanted == "auto" and not stated.is_close:
        return Choice(used="vae")
    doubt = _doubt(stated.distilled_from, vae, wanted, place)
    if wanted == "mask":
        return Choice(used="mask", why=doubt and f"{doubt}; used all the same, as --decoder mask says")
    if not doubt and not stated.is_close_at(side_px):
        sides = ", ".join(f"{one.side_px}{'' if one.is_close else ' (not close)'}" for one in stated.deciding)
        asked = f"at {side_px} px" if side_px else "at images' own sizes"
        doubt = f"how the mask decoder of {place} agrees with the VAE {asked} is not known: measured at {sides} px"
    return Choice(used="vae" if doubt else "mask", why=doubt and f"{doubt}; the VAE decodes instead")


def _doubt(known: str | None, vae: Callable[[], str | None], wanted: WantedDecoder, place: str) -> str:
    """Why a decoder may be that of another VAE; "" if it is not."""
    if known is None:
        return f"the mask decoder of {place} does not say which VAE it was distilled from"
    own = vae()
    if own is None:
        return f"the VAE of {place} is in bfloat16, which does not tell whether the mask decoder is its own"
    if own == known:
        return ""
    other = (
        f"the mask decoder of {place} was distilled from another VAE ({known[:12]}…) than the one beside it "
        f"({own[:12]}…)"
    )
    if wanted == "mask":
        raise ValueError(f"decoder is 'mask', and {other}: give --decoder vae, or distil one from this VAE: {_DISTIL}")
    return other


def decoder_of(config: ModelConfig, processing_res: int | None = None) -> UsedDecoder:
    """Which decoder the model on this machine that `config` names will use.

    Args:   processing_res: as in `EnsembleConfig`.
    Raises: ValueError: it has no mask decoder of its own VAE and one is wanted, or files that this depends on can't be
                read as what they should be.
            OSError: a file can't be read.
    """
    if config.is_fake:
        return choose(config.decoder, None, lambda: None, side_px=0, place=config.model).used
    place, stated, side_px = config.folder / MASK_DECODER / "config.json", None, processing_res or 0
    if place.is_file() and config.decoder != "vae":
        try:
            fields = parse_object(read_document(place))
            stated = Stated.of(fields.get("agreement"), fields.get("distilled_from"))
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
        if processing_res is None and stated.is_close:
            trained_px = facts_of(config).trained_as["processing_res"]
            side_px = trained_px if type(trained_px) is int else 0
    vae = config.folder / "vae"
    return choose(config.decoder, stated, lambda: digest_of_folder(vae), side_px=side_px, place=str(config.folder)).used
