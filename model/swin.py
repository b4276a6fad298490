"""timm's Swin Transformer changed to match the reference on feature maps that are not a multiple of the window.

At 384 px all maps consist of whole windows and nothing here has an effect; at other sizes the order of steps matters.
"""

from typing import Any

from jaxtyping import Float
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn
from torch.nn import functional


class PaddedSwinBlock(SwinTransformerBlock):  # type: ignore[misc]
    """A Swin block that pads its map to whole windows before shifting; timm shifts first.

    If the shift comes first, the zeros end up in the middle of the map's torus, and other positions share a window.
    """

    def _attn(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
        _, height, width, _ = x.shape
        below, beside = -height % self.window_size[0], -width % self.window_size[1]
        if below or beside:
            x = functional.pad(x, (0, 0, 0, beside, 0, below))
        attended: Tensor = super()._attn(x)
        return attended[:, :height, :width]


def pad_before_shift(backbone: nn.Module) -> None:
    """Make all Swin blocks of a backbone pad before they shift; timm offers no choice of the block's class."""
    for block in backbone.modules():
        if type(block) is SwinTransformerBlock:
            as_any: Any = block
            as_any.__class__ = PaddedSwinBlock
