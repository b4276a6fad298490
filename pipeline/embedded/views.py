"""Random views of training pairs: crops, mirror images, other colours, blur and noise, anew at every step.

Which crop and which colours follows from a generator on the CPU, so it is the same on every device.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional
from torchvision.ops import roi_align

from pipeline.embedded.data import Pairs
from pipeline.embedded.effects import GREY

MIN_VIEW = 0.6
"""Smallest side of a view, as a share of the pair's side."""
MIN_KEPT = 0.7
"""Share of a mask that a crop must keep: people may not call salient what remains of a cut object."""
CROP_ATTEMPTS = 8
PLAIN_SHARE = 0.4
"""Share of views that keep their pair's colours and sharpness."""
_CELLS = 32
"""Rows and columns of the grid on which crops and masks are compared."""
_BLUR_REACH_PX = 4
_SAMPLES = 2
"""Places per pixel and axis that are averaged, enough for crops that are made smaller by up to two thirds."""

Crop = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""


@dataclass(frozen=True, slots=True)
class Folder:
    """Pairs that views are drawn from."""

    pairs: Pairs
    share: float
    """Of all that is drawn, among other folders' shares."""


class Views:
    """Views of the pairs of several folders.

    Args: folders: pairs of one folder have one size; all are on one device.
    """

    def __init__(self, folders: Sequence[Folder]) -> None:
        self._folders = tuple(folders)
        self._occupied = [_sums(folder.pairs) for folder in folders]

    def draw(
        self, count: int, side_px: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "b 3 p p"], Float[Tensor, "b 1 p p"]]:
        """Draw `count` views with repetition, resized to `side_px`; values in [0, 1].

        Args: generator: on the CPU.
        """
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        shares = np.array([folder.share for folder in self._folders])
        counts = rng.multinomial(count, shares / shares.sum())
        drawn = [
            self._draw_from(number, folder_count, side_px, rng)
            for number, folder_count in enumerate(counts.tolist())
            if folder_count
        ]
        order = torch.from_numpy(rng.permutation(count)).to(drawn[0][0].device)
        images, masks = (torch.cat(parts)[order] for parts in zip(*drawn, strict=True))
        return _disturbed(images, rng), masks

    def _draw_from(self, number: int, count: int, side_px: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        pairs, occupied = self._folders[number].pairs, self._occupied[number]
        places = rng.integers(len(pairs), size=count)
        images, masks = pairs.at(places.tolist())
        crops = np.array([_draw_crop(occupied[place], rng, images.shape[1]) for place in places], np.float32)
        mirrored = torch.from_numpy(rng.random(count) < 0.5).to(images.device)[:, None, None, None]
        cut = [
            _cut(values.permute(0, 3, 1, 2), torch.from_numpy(crops).to(values.device), side_px)
            for values in (images, masks[..., None])
        ]
        shown, target = (torch.where(mirrored, values.flip(-1), values) for values in cut)
        return shown, target


def _sums(pairs: Pairs) -> Float[np.ndarray, "n c c"]:
    """Per mask, how much of it is above and left of each node of a grid."""
    pooled = [functional.adaptive_avg_pool2d(masks.float(), _CELLS).cpu() for _, masks in pairs.parts()]
    return functional.pad(torch.cat(pooled).cumsum(1).cumsum(2), (1, 0, 1, 0)).numpy()


def _draw_crop(sums: Float[np.ndarray, "c c"], rng: np.random.Generator, px: int) -> Crop:
    """A crop that keeps most of the mask; the whole pair if none is found."""
    for _ in range(CROP_ATTEMPTS):
        height, width = (round(_CELLS * float(rng.uniform(MIN_VIEW, 1))) for _ in range(2))
        top, left = int(rng.integers(_CELLS - height + 1)), int(rng.integers(_CELLS - width + 1))
        bottom, right = top + height, left + width
        kept = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
        if kept >= MIN_KEPT * sums[-1, -1]:
            cell_px = px / _CELLS
            return left * cell_px, top * cell_px, right * cell_px, bottom * cell_px
    return 0.0, 0.0, float(px), float(px)


def _cut(values: UInt8[Tensor, "b c px px"], crops: Float[Tensor, "b 4"], side_px: int) -> Float[Tensor, "b c p p"]:
    """Every image's crop, resized to a square; values in [0, 1].

    One call for all: on a GPU, a call for each image took a fourth of the time of a step.
    """
    boxes = torch.cat([torch.arange(len(values), device=values.device)[:, None], crops], 1)
    cut: Tensor = roi_align(values.float(), boxes, side_px, sampling_ratio=_SAMPLES, aligned=True)
    return cut.clamp_(0, 255).div_(255)


def _disturbed(images: Float[Tensor, "b 3 h w"], rng: np.random.Generator) -> Float[Tensor, "b 3 h w"]:
    """Other saturation, contrast, white balance, sharpness and gamma, and noise, as lights and cameras do."""
    count = len(images)
    changed = rng.random(count) >= PLAIN_SHARE

    def drawn(values: npt.NDArray[np.floating], plain: float, *shape: int) -> Tensor:
        kept = np.where(changed.reshape(count, *(1,) * (values.ndim - 1)), values, plain)
        return torch.from_numpy(kept.astype(np.float32)).reshape(count, *shape).to(images.device)

    saturation = np.where(rng.random(count) < 0.06, 0, np.exp(rng.normal(-0.08, 0.3, count)))
    gains = np.exp(rng.normal(0, 0.16, (count, 1)) + rng.normal(0, 0.07, (count, 3)))
    contrast, gamma = np.exp(rng.normal(0, 0.15, count)), np.exp(rng.normal(0, 0.18, count))
    sharp = rng.choice(3, count, p=[0.4, 0.5, 0.1])
    radii = np.choose(sharp, [np.zeros(count), rng.uniform(0.2, 0.9, count), rng.uniform(0.9, 1.8, count)])
    noise = np.clip(rng.lognormal(0.9, 0.7, count), 0, 14) / 255

    grey = torch.einsum("bchw,c->bhw", images, torch.from_numpy(GREY).to(images.device))[:, None]
    images = (grey + (images - grey) * drawn(saturation, 1, 1, 1, 1)).clamp(0, 1)
    images = ((images - 0.5) * drawn(contrast, 1, 1, 1, 1) + 0.5) * drawn(gains, 1, 3, 1, 1)
    images = _blurred(images.clamp(0, 1), drawn(radii, 0, 1) * images.shape[-1] / 192)
    source = torch.Generator(images.device).manual_seed(int(rng.integers(2**62)))
    normal = torch.randn(images.shape, generator=source, device=images.device)
    images = (images + drawn(noise, 0, 1, 1, 1) * normal).clamp(1e-4, 1)
    return images.pow(drawn(gamma, 1, 1, 1, 1))


def _blurred(images: Float[Tensor, "b 3 h w"], radii: Float[Tensor, "b 1"]) -> Float[Tensor, "b 3 h w"]:
    """A Gaussian of its own for each image, radius in pixels; 0 leaves it as it is."""
    count, channels, height, width = images.shape
    reach = torch.arange(-_BLUR_REACH_PX, _BLUR_REACH_PX + 1, device=images.device)
    weights = torch.exp(-(reach**2) / (2 * radii.clamp(min=0.05) ** 2))
    weights = (weights / weights.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    stacked = images.reshape(1, count * channels, height, width)
    for kernel, pad in (
        (weights[:, None, :, None], (0, 0, _BLUR_REACH_PX, _BLUR_REACH_PX)),
        (weights[:, None, None, :], (_BLUR_REACH_PX, _BLUR_REACH_PX, 0, 0)),
    ):
        stacked = functional.conv2d(functional.pad(stacked, pad, mode="replicate"), kernel, groups=count * channels)
    return stacked.reshape(images.shape)
