"""timm's Swin Transformer changed to match the reference on images and maps that are not whole patches and windows.

At 384 px all are whole, and nothing here has an effect; at other sizes the order of steps matters.
"""

from typing import Any

from jaxtyping import Float
from timm.layers import PatchEmbed
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


def take_any_size(backbone: nn.Module) -> None:
    """Let the Swin layers of a backbone take images and maps of any size, as the reference's do.

    Images are filled up with zeros to whole patches, which timm refuses, and maps to whole windows before they are
    shifted; timm offers no choice of the block's class.
    """
    for layer in backbone.modules():
        as_any: Any = layer
        if type(layer) is SwinTransformerBlock:
            as_any.__class__ = PaddedSwinBlock
            as_any.dynamic_mask = True
        elif isinstance(layer, PatchEmbed):
            as_any.strict_img_size, as_any.dynamic_img_pad = False, True
