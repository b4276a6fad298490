"""Which decoder paints the masks: the VAE's own, or a mask decoder distilled from it; light to import.

A mask decoder lies in the model folder's `mask_decoder/`. Its configuration says how well it agrees with the VAE:

    "agreement": {"iou": 0.9961, "mae": 0.0012, "s_measure": 0.9958, "maps": 256}
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from model.config import ModelConfig, WantedDecoder
from model.documents import parse_json, read_document

MASK_DECODER = "mask_decoder"
"""Its folder, and its name among a pipeline's networks."""
LEAST_IOU = 0.995
"""`auto` takes a mask decoder whose masks agree with the VAE's at least so well."""

UsedDecoder = Literal["vae", "mask"]
_MEASURES = ("iou", "mae", "s_measure")


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How a mask decoder's maps compare with the VAE's own, as means over held-out maps; each from 0 to 1."""

    iou: float
    """Of the two masks at 0.5; 1 where neither has an object."""
    mae: float
    """Mean absolute difference of the maps."""
    s_measure: float
    """Of the two masks; 1 where they are equal."""
    maps: int
    """How many maps were compared."""

    @staticmethod
    def of(fields: object) -> "Agreement":
        """Read what a configuration says.

        Raises: ValueError: a measure is missing or out of its range, or there is another field.
        """
        if not isinstance(fields, Mapping) or set(fields) != {*_MEASURES, "maps"}:
            raise ValueError(f"agreement must have exactly the fields {', '.join((*_MEASURES, 'maps'))}")
        for name in _MEASURES:
            value = fields[name]
            if type(value) not in (int, float) or not (math.isfinite(value) and 0 <= value <= 1):
                raise ValueError(f"agreement: {name} is {str(value)[:40]}; it must be from 0 to 1")
        if type(fields["maps"]) is not int or not 1 <= fields["maps"] <= 10**9:
            raise ValueError(f"agreement: maps is {str(fields['maps'])[:40]}; it must be a whole number above 0")
        return Agreement(**{name: float(fields[name]) for name in _MEASURES}, maps=fields["maps"])

    @property
    def is_close(self) -> bool:
        """Whether `auto` takes the decoder."""
        return self.iou >= LEAST_IOU

    def as_fields(self) -> dict[str, Any]:
        """The form in which a configuration has it."""
        return asdict(self)


def choose(wanted: WantedDecoder, *, exists: bool, agreement: Agreement | None, place: str) -> UsedDecoder:
    """Settle `auto`.

    Args:   exists: is there a mask decoder? agreement: its own, if it was measured. place: the model, for the message.
    Raises: ValueError: a mask decoder is wanted where there is none.
    """
    if wanted == "vae":
        return "vae"
    if wanted == "mask":
        if not exists:
            raise ValueError(
                f"decoder is 'mask', and {place} holds no {MASK_DECODER}: give --decoder vae, or distil one with "
                "sod distil --model MODEL --out FOLDER"
            )
        return "mask"
    return "mask" if exists and agreement is not None and agreement.is_close else "vae"


def decoder_of(config: ModelConfig) -> UsedDecoder:
    """Which decoder the model on this machine that `config` names will use.

    Raises: ValueError: it has no mask decoder and one is wanted, or that decoder's configuration can't be read.
            OSError: the file can't be read.
    """
    if config.is_fake:
        return choose(config.decoder, exists=False, agreement=None, place=config.model)
    place = config.folder / MASK_DECODER / "config.json"
    exists, agreement = place.is_file(), None
    if exists and config.decoder == "auto":
        try:
            fields = parse_json(read_document(place))
            stated = fields.get("agreement") if isinstance(fields, dict) else None
            agreement = None if stated is None else Agreement.of(stated)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
    return choose(config.decoder, exists=exists, agreement=agreement, place=str(config.folder))
