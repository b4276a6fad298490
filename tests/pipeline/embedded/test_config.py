"""What can be set about a training, and within which bounds."""

import pytest

from pipeline.embedded.config import EmbeddedTrainingConfig

FIELDS = (
    "conditioner_steps", "vae_steps", "cached_views", "diffusion_steps", "ensemble_steps", "decoders_steps", "workers",
    "threads",
)  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
def test_a_number_below_one_is_refused_by_name_value_and_bound(field):
    with pytest.raises(ValueError, match=f"{field} is 0; it must be at least 1"):
        EmbeddedTrainingConfig(**{field: 0})


@pytest.mark.parametrize("seed", [-1, 1 << 63])
def test_a_seed_out_of_its_bounds_is_refused(seed):
    with pytest.raises(ValueError, match=rf"seed is {seed}; it must be from 0 to 2\^63 - 1"):
        EmbeddedTrainingConfig(seed=seed)


def test_the_largest_seed_is_taken():
    assert EmbeddedTrainingConfig(seed=(1 << 63) - 1).seed == (1 << 63) - 1


@pytest.mark.parametrize("side_px", [0, -32, 16, 250])
def test_a_side_that_the_network_can_t_halve_often_enough_is_refused(side_px):
    with pytest.raises(ValueError, match=f"side_px is {side_px}; it must be a multiple of 32, at least 32"):
        EmbeddedTrainingConfig(side_px=side_px)
