"""What a whole ensemble is trained by: members denoised as in use, and a score that wants them to differ."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.ensemble_training import denoised, ensemble_loss


def maps(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@given(seed=st.integers(0, 1 << 40), members=st.integers(2, 5))
def test_the_loss_does_not_depend_on_the_order_of_members_or_images(seed, members):
    found, masks = maps(2, members, 12, 10, seed=seed), maps(2, 1, 12, 10, seed=seed + 1).round()
    loss = ensemble_loss(found, masks)
    torch.testing.assert_close(ensemble_loss(found.flip(1), masks), loss)
    torch.testing.assert_close(ensemble_loss(found.flip(0), masks.flip(0)), loss)


@given(seed=st.integers(0, 1 << 40))
def test_members_that_are_the_mask_cost_nothing_and_all_others_something(seed):
    masks = maps(1, 1, 12, 10, seed=seed).round()
    assert ensemble_loss(masks.expand(-1, 3, -1, -1), masks).item() == pytest.approx(0, abs=1e-6)
    assert ensemble_loss(maps(1, 3, 12, 10, seed=seed + 1), masks) > 0.01


def test_where_masks_are_doubtful_members_that_differ_are_better_than_equal_ones():
    """Half of the masks are full, half are empty: draws from both cost less than grey, or than one of the two."""
    masks = torch.cat([torch.ones(8, 1, 6, 6), torch.zeros(8, 1, 6, 6)])
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(2, (400, 16, 4, 1, 1), generator=generator).float().expand(-1, -1, -1, 6, 6)
    # Of the loss, the score alone: the IoU of an empty mask says something else.
    score = [ensemble_loss(members, masks) - iou(members, masks) for members in drawn]
    grey, one = torch.full((16, 4, 6, 6), 0.5), torch.ones(16, 4, 6, 6)
    for equal in (grey, one):
        assert torch.stack(score).mean() < 0.8 * (ensemble_loss(equal, masks) - iou(equal, masks))


def iou(members, masks):
    mean = members.mean(1, keepdim=True)
    shared, union = (mean * masks).sum((1, 2, 3)), (mean + masks - mean * masks).sum((1, 2, 3))
    return (1 - (shared + 1) / (union + 1)).mean()


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_members_are_denoised_as_they_are_in_use(own_tiny, steps):
    """The pipeline takes members of one image together; here each brings its own image latents and context."""
    generator = torch.Generator().manual_seed(0)
    noise, image = torch.randn(4, 4, 8, 8, generator=generator), torch.randn(2, 4, 8, 8, generator=generator)
    context = torch.randn(2, 64, 64, generator=generator)
    expected = own_tiny.denoise(noise, image, context, steps)
    each = (values.repeat_interleave(2, 0) for values in (image, context))
    torch.testing.assert_close(denoised(own_tiny, noise, *each, steps), expected, rtol=0, atol=1e-4)


def test_a_gradient_goes_through_every_step(own_tiny):
    generator = torch.Generator().manual_seed(0)
    noise, image, context = (
        torch.randn(shape, generator=generator) for shape in ((2, 4, 8, 8), (2, 4, 8, 8), (2, 64, 64))
    )
    noise.requires_grad_()
    denoised(own_tiny, noise, image, context, 3).sum().backward()
    assert noise.grad is not None
    assert noise.grad.abs().sum() > 0
