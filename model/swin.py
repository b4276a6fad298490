"""timm's Swin Transformer as the reference has it, for feature maps that are no multiple of the window.

At 384 px all maps are whole windows and nothing here changes anything; at other sizes the order matters.
"""

from typing import Any

from jaxtyping import Float
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn
from torch.nn import functional


class PaddedSwinBlock(SwinTransformerBlock):  # type: ignore[misc]
    """A Swin block that fills its map up to whole windows first and shifts them then; timm shifts first.

    Shifted first, the zeros stand in the middle of the map's torus, and other positions share a window.
    """

    def _attn(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
        _, height, width, _ = x.shape
        below, beside = -height % self.window_size[0], -width % self.window_size[1]
        if below or beside:
            x = functional.pad(x, (0, 0, 0, beside, 0, below))
        attended: Tensor = super()._attn(x)
        return attended[:, :height, :width]


def pad_before_shift(backbone: nn.Module) -> None:
    """Make all Swin blocks of a backbone pad before they shift; timm builds them with a class of its own choice."""
    for block in backbone.modules():
        if type(block) is SwinTransformerBlock:
            as_any: Any = block
            as_any.__class__ = PaddedSwinBlock
