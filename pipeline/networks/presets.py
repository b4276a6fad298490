"""What published networks expect and give: one preset per family; light to import.

A preset saves the user from looking these facts up, and from a witness that sees wrongly scaled colours and still gives
plausible masks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

White = Literal["1", "255", "brightest"]
"""What a white channel is before mean and deviation: 1, 255, or 1 for the brightest value of the image."""
MapValues = Literal["probabilities", "logits", "stretched"]
"""What a network's map holds: values in [0, 1]; the logits of such values; or values of any scale that are stretched
until the least is 0 and the greatest is 1."""
PresetName = Literal["none", "u2net", "isnet", "birefnet", "rmbg"]
Three = tuple[float, float, float]

_IMAGENET_MEAN: Three = (0.485, 0.456, 0.406)
_IMAGENET_STD: Three = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """How a network wants an image, and where and how it gives the map."""

    height_px: int = 0
    """Of its input; 0: as the file fixes it."""
    width_px: int = 0
    mean: Three = (0.0, 0.0, 0.0)
    """Subtracted from red, green and blue, in units of `white`."""
    std: Three = (1.0, 1.0, 1.0)
    """What the rest is divided by."""
    white: White = "1"
    output: str = "first"
    """Which output is the map: `first`, `last`, or its name."""
    values: MapValues = "probabilities"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A family of networks."""

    signature: Signature
    trained_on: str
    """What its authors say that it was trained on."""


PRESETS: Mapping[str, Preset] = {
    # Qin et al. 2020, arXiv:2005.09007, section 4.1: DUTS-TR. github.com/xuebinqin/U-2-Net: u2net_test.py takes the
    # first of seven outputs, which are probabilities, and stretches it; data_loader.py divides by the image's maximum.
    "u2net": Preset(
        signature=Signature(
            height_px=320,
            width_px=320,
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            white="brightest",
            values="stretched",
        ),
        trained_on="DUTS-TR",
    ),
    # Qin et al. 2022, arXiv:2203.03041: DIS-TR. github.com/xuebinqin/DIS: IS-Net/Inference.py; its README says nothing
    # about what the weights for general use have seen.
    "isnet": Preset(
        signature=Signature(height_px=1024, width_px=1024, mean=(0.5, 0.5, 0.5), values="stretched"),
        trained_on="DIS5K-TR; the weights for general use also on images that their authors do not name",
    ),
    # Zheng et al. 2024, arXiv:2401.03407; preprocessing, `preds[-1].sigmoid()` and the training sets of the weights for
    # general use: model cards huggingface.co/ZhengPeng7/BiRefNet and BiRefNet-legacy.
    "birefnet": Preset(
        signature=Signature(
            height_px=1024, width_px=1024, mean=_IMAGENET_MEAN, std=_IMAGENET_STD, output="last", values="logits"
        ),
        trained_on="DIS5K-TR, DIS-TEs, DUTS-TR_TE, HRSOD-TR_TE, UHRSD-TR_TE, HRS10K-TR_TE",
    ),
    # Model card huggingface.co/briaai/RMBG-1.4 and its preprocessor_config.json.
    "rmbg": Preset(
        signature=Signature(height_px=1024, width_px=1024, mean=(0.5, 0.5, 0.5), values="stretched"),
        trained_on="over 12,000 images licensed by BRIA AI, which are not published",
    ),
}
