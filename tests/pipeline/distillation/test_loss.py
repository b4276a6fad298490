"""The loss is nothing for the VAE's own map, and for values beyond it where the VAE was clipped."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.distillation.loss import distillation_loss


def maps_of(seed, low=-0.5, high=1.5):
    """Saliency maps with clipped places, and the values that they were clipped from."""
    raw = low + (high - low) * torch.rand(2, 9, 7, generator=torch.Generator().manual_seed(seed))
    return raw.clamp(0, 1), (raw * 2 - 1)[:, None]


@given(st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_the_vaes_values_cost_nothing_before_and_after_clipping(seed):
    maps, painted = maps_of(seed)
    assert distillation_loss(painted, maps).item() < 1e-5
    assert distillation_loss(painted.clamp(-1, 1), maps).item() < 1e-5


@given(st.integers(0, 2**32), st.floats(0.05, 2))
@settings(max_examples=30, deadline=None)
def test_values_that_are_off_cost_something_and_are_pulled_back_however_far_they_are(seed, shift):
    maps, painted = maps_of(seed, low=0.1, high=0.9)
    off = (painted + 4 * shift).requires_grad_()
    loss = distillation_loss(off, maps)
    loss.backward()
    assert loss.item() > shift
    assert off.grad.sum() > 0
