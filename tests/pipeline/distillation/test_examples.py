"""Batches are those that a generator draws, wherever the examples are, and nobody waits for a GPU."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.distillation import examples
from pipeline.distillation.examples import drawn_batch, placed
from pipeline.distillation.labelled import Labelled
from pipeline.embedded.loop import step_generator

CPU = torch.device("cpu")


def parts_of(*counts):
    return [
        Labelled(torch.full((count, 4, 2, 2), float(number)).half(), torch.rand(count, 16, 16).half())
        for number, count in enumerate(counts)
    ]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(1, 6), st.integers(0, 2**32))
def test_a_batch_is_float32_of_one_part_and_follows_from_the_generator(counts, count, seed):
    parts = parts_of(*counts)
    batches = [drawn_batch(parts, count, torch.Generator().manual_seed(seed), CPU) for _ in range(2)]
    (latents, maps), (again, _) = batches
    assert torch.equal(latents, again)
    assert latents.dtype == maps.dtype == torch.float32
    assert len(latents) == len(maps) == count
    (number,) = {int(value) for value in latents.unique()}
    rows = (maps[:, None] == parts[number].maps.float()[None]).all((2, 3))
    assert rows.any(1).all()


def test_on_a_cpu_examples_stay_where_they_are():
    parts = parts_of(3, 2)
    assert placed(parts, CPU) is parts


@pytest.mark.gpu
@pytest.mark.parametrize("free_share", [examples._SHARE_OF_FREE, 0.0])
def test_on_a_gpu_batches_are_the_same_and_nobody_waits_for_them(monkeypatch, free_share):
    monkeypatch.setattr(examples, "_SHARE_OF_FREE", free_share)
    parts, gpu = parts_of(5, 3, 4), torch.device("cuda")
    held = placed(parts, gpu)
    assert {values.device.type for part in held for values in (part.latents, part.maps)} == (
        {"cuda"} if free_share else {"cpu"}
    )
    found = []
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(5):
            found.append(drawn_batch(held, 3, step_generator(0, "any", step), gpu))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for step, batch in enumerate(found):
        expected = drawn_batch(parts, 3, step_generator(0, "any", step), CPU)
        assert all(torch.equal(one.cpu(), other) for one, other in zip(batch, expected, strict=True))
