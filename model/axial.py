"""Parallel axial attention: the encoder and decoder that turn backbone features into the conditioner's map.

Owns only the layers; `model/conditioner.py` chooses the backbone and uses the map.
Source: Kim, Lee and Kim 2021, "UACANet", arXiv:2107.02368, in the form that SOD-diffusion uses.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class ConvNorm(nn.Module):
    """A bias-free convolution that keeps height and width, then batch norm.

    Inside `image_statistics` it normalises each image by its own mean and variance instead of the trained ones.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int | tuple[int, int], dilation: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding="same", dilation=dilation, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.image_statistics = False

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """Convolve and normalise."""
        x = self.conv(x)
        if self.image_statistics:  # equals batch norm in training mode on each image alone
            return functional.instance_norm(x, weight=self.bn.weight, bias=self.bn.bias, eps=self.bn.eps)
        return self.bn(x)  # type: ignore[no-any-return]


@contextmanager
def image_statistics(network: nn.Module, wanted: bool) -> Iterator[None]:
    """If `wanted`, let the axial layers of `network` normalise by each image's own statistics inside the block.

    The released SOD-diffusion predicts this way: its branch stays in training mode and sees one image at a time.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, ConvNorm)]
    for layer in layers:
        layer.image_statistics = wanted
    try:
        yield
    finally:
        for layer in layers:
            layer.image_statistics = False


class AxialAttention(nn.Module):
    """Self-attention between the rows, or between the columns, of a feature map.

    Queries and keys have 1/8 of the channels. As in the reference, the map `[B, C, H, W]` is *viewed* as `[B, -1, H]`
    or `[B, -1, W]` without a permutation: for the column axis this mixes positions in an unusual order, and on maps
    that are not square the row axis mixes too. Trained weights depend on it, so it stays.
    """

    def __init__(self, channels: int, axis: Literal["height", "width"]) -> None:
        super().__init__()
        self.axis = axis
        self.query = ConvNorm(channels, channels // 8, 1)
        self.key = ConvNorm(channels, channels // 8, 1)
        self.value = ConvNorm(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))  # the layer starts as the identity

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Add `gamma` times the attended values to `x`."""
        positions = x.shape[2] if self.axis == "height" else x.shape[3]
        query, key, value = (
            layer(x).reshape(x.shape[0], -1, positions).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )  # [B, positions, features]
        # Not F.scaled_dot_product_attention: this softmax is over the plain products, without 1/sqrt(d).
        weights = torch.softmax(query @ key.transpose(1, 2), dim=-1)  # [B, positions, positions]
        attended = (weights @ value).transpose(1, 2).reshape(x.shape)
        result: Tensor = self.gamma * attended + x
        return result


class AxialKernel(nn.Module):
    """One branch of the encoder: a receptive field of `size` from a row, a column and axial attention."""

    def __init__(self, inputs: int, channels: int, size: int) -> None:
        super().__init__()
        self.reduce = ConvNorm(inputs, channels, 1)
        self.row = ConvNorm(channels, channels, (1, size))
        self.column = ConvNorm(channels, channels, (size, 1))
        self.attend_height = AxialAttention(channels, "height")
        self.attend_width = AxialAttention(channels, "width")
        self.dilated = ConvNorm(channels, channels, 3, dilation=size)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """Reduce, convolve along both axes, attend along both axes, widen."""
        x = self.column(self.row(self.reduce(x)))
        return self.dilated(self.attend_height(x) + self.attend_width(x))  # type: ignore[no-any-return]


class AxialEncoder(nn.Module):
    """Encodes one backbone feature map to `channels` channels, through four parallel branches and a residual."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.point = ConvNorm(inputs, channels, 1)
        self.kernels = nn.ModuleList(AxialKernel(inputs, channels, size) for size in (3, 5, 7))
        self.merge = ConvNorm(4 * channels, channels, 3)
        self.residual = ConvNorm(inputs, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """Encode the map; values are non-negative (ReLU)."""
        branches = torch.cat([self.point(x), *(kernel(x) for kernel in self.kernels)], dim=1)
        return functional.relu(self.merge(branches) + self.residual(x))


class AxialDecoder(nn.Module):
    """Merges encoded maps of strides 32, 16 and 8 into one map at stride 8 and its one-channel side output."""

    def __init__(self, channels: int, maps: int = 3) -> None:
        super().__init__()
        self.merge = ConvNorm(maps * channels, channels, 3)
        self.attend_height = AxialAttention(channels, "height")
        self.attend_width = AxialAttention(channels, "width")
        self.refine = nn.Sequential(*(ConvNorm(channels, channels, 3) for _ in range(3)))
        self.side = nn.Conv2d(channels, 1, 3, padding="same", bias=False)

    def forward(
        self, encoded: Sequence[Float[Tensor, "b c _h _w"]]
    ) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b 1 h w"]]:
        """Merge the maps, given coarse first; the result has the last one's height and width.

        Returns: the feature map, and the side output (unbounded logits).
        """
        height_width = encoded[-1].shape[2:]
        resized = [
            functional.interpolate(x, size=height_width, mode="bilinear", align_corners=True) for x in encoded[:-1]
        ]
        x = self.merge(torch.cat([*resized, encoded[-1]], dim=1))
        features = self.refine(self.attend_height(x) + self.attend_width(x))
        return features, self.side(features)
