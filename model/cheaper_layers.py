"""Cheaper layers for inference: the same results as the layers they replace, up to rounding."""

from typing import Any

import torch
from diffusers.models.upsampling import Upsample2D
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

# Which rows (and columns) of a 3 x 3 kernel meet the same source row once the image is doubled by repetition: even rows
# of the result see (i-1, i, i), odd ones (i, i, i+1).
_MERGED = (((1.0, 0.0, 0.0), (0.0, 1.0, 1.0)), ((1.0, 1.0, 0.0), (0.0, 0.0, 1.0)))


class MergedUpsample(nn.Module):
    """Replace doubling by repetition and a 3 x 3 convolution by 2 x 2 convolutions of the small map (4/9 of the work).

    Each of the four output places of a source pixel sees only 2 x 2 different source pixels.
    Source: the sub-pixel convolution of Shi et al. 2016, arXiv:1609.05158, with weights that reproduce the repetition.
    """

    def __init__(self, plain: Upsample2D) -> None:
        super().__init__()
        self.plain = plain
        self.free()

    @staticmethod
    def can_replace(module: nn.Module) -> bool:
        """Whether this class can replace the module."""
        return (
            isinstance(module, Upsample2D)
            and module.use_conv
            and module.interpolate
            and module.norm is None
            and module.name == "conv"
            and (module.conv.kernel_size, module.conv.stride, module.conv.padding) == ((3, 3), (1, 1), (1, 1))
        )

    def free(self) -> None:
        """Free the merged weights."""
        self.weight = torch.empty(0)
        self.bias: Tensor | None = None

    def merge_weights(self) -> None:
        """Merge the current weights."""
        weight: Tensor = self.plain.conv.weight.detach()
        rows = torch.tensor(_MERGED, device=weight.device)  # [2 places, 2 source rows, 3 rows of the kernel]
        merged = torch.einsum("pak,qbl,oikl->pqoiab", rows, rows, weight.float())
        self.weight = merged.flatten(0, 2).to(weight.dtype).contiguous(memory_format=_format_of(weight))  # [4*O,I,2,2]
        bias: Tensor | None = self.plain.conv.bias
        self.bias = None if bias is None else bias.detach().repeat(4)

    def forward(self, x: Float[Tensor, "b i h w"], output_size: Any = None, *_: Any) -> Float[Tensor, "b o h2 w2"]:
        """Do what `Upsample2D` does; leave any output size other than the double to it."""
        batch, height, width = len(x), x.shape[2], x.shape[3]
        if output_size is not None and tuple(output_size) != (2 * height, 2 * width):
            return self.plain(x, output_size)  # type: ignore[no-any-return]
        windows = functional.conv2d(x, self.weight, self.bias, padding=1)  # [B, 4*O, h+1, w+1]
        channels = windows.shape[1] // 4
        result = torch.empty(
            (batch, channels, 2 * height, 2 * width), dtype=x.dtype, device=x.device, memory_format=_format_of(x)
        )
        for place, own in enumerate(torch.split(windows, channels, dim=1)):
            row, column = divmod(place, 2)
            result[:, :, row::2, column::2] = own[:, :, row : row + height, column : column + width]
        return result


class WideGroupNorm(nn.Module):
    """Replace a group norm of 16-bit values by one that computes in float32, where torch's own is slow.

    That is on a CPU, for channels_last maps of fewer than 1024 pixels, for which ATen has a kernel of its own: ten maps
    of 24 x 24 x 48 in 16 groups took 0.9 instead of 2.9 ms (one core of an AMD EPYC, Zen 4). Denoising by the
    embedded model takes 0.87 to 0.92 of the time in bfloat16.
    """

    _LARGE_PIXELS = 1024

    def __init__(self, plain: nn.GroupNorm) -> None:
        super().__init__()
        self.plain = plain

    def merge_weights(self) -> None:
        """Do nothing: the weights are few, and used as they are."""

    def free(self) -> None:
        """Do nothing: it has nothing of its own."""

    def forward(self, x: Float[Tensor, "b c *_hw"]) -> Float[Tensor, "b c *_hw"]:
        """Do what the plain norm does."""
        plain = self.plain
        if x.dtype == torch.float32 or x.device.type != "cpu" or x[0, 0].numel() >= self._LARGE_PIXELS:
            return plain(x)  # type: ignore[no-any-return]
        weight, bias = plain.weight.float(), plain.bias.float()
        return functional.group_norm(x.float(), plain.num_groups, weight, bias, plain.eps).to(x.dtype)


class MeanConv(nn.Module):
    """Replace a convolution and the average over its output channels by one convolution with the mean weights."""

    def __init__(self, plain: nn.Conv2d) -> None:
        super().__init__()
        self.plain = plain
        self.free()

    def free(self) -> None:
        """Free the merged weights."""
        self.weight = torch.empty(0)
        self.bias: Tensor | None = None

    def merge_weights(self) -> None:
        """Merge the current weights."""
        weight = self.plain.weight.detach()
        self.weight = weight.float().mean(0, keepdim=True).to(weight.dtype)
        bias = self.plain.bias
        self.bias = None if bias is None else bias.detach().float().mean(0, keepdim=True).to(bias.dtype)

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b 1 h w"]:
        """The mean over the output channels."""
        return functional.conv2d(x, self.weight, self.bias, padding=self.plain.padding)


class SplitConv(nn.Module):
    """A convolution of two maps joined along the channels, the first of which stays: its share is computed once."""

    def __init__(self, plain: nn.Conv2d) -> None:
        super().__init__()
        self.plain = plain
        self.free()

    def merge_weights(self) -> None:
        """Do nothing yet: `set_first` reads the weights."""

    def free(self) -> None:
        """Free the share of the first maps."""
        self._share = self._weight = torch.empty(0)

    def set_first(self, first: Float[Tensor, "n c h w"]) -> None:
        """Set the maps that stay, one for each of N images."""
        own = first.shape[1]
        self._weight = self.plain.weight[:, own:].contiguous()
        self._share = functional.conv2d(first, self.plain.weight[:, :own], self.plain.bias, padding=self.plain.padding)

    def forward(self, second: Float[Tensor, "m c h w"]) -> Float[Tensor, "m o h w"]:
        """Convolve both maps, for M second maps; those of one image are adjacent."""
        result = functional.conv2d(second, self._weight, padding=self.plain.padding)
        members = len(second) // len(self._share)
        return result + self._share.repeat_interleave(members, 0)


def _format_of(x: Tensor) -> torch.memory_format:
    channels_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if channels_last else torch.contiguous_format
