"""Properties and pinned values of the seeds of ensemble members."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from model.seeds import key_of, member_seed

ROOT = Path(__file__).parents[2]

triples = st.tuples(
    st.integers(0, 2**63 - 1) | st.integers(0, 20),
    # Keys that look like the rest of the text that is hashed.
    st.text("0123/", min_size=1, max_size=6) | st.text(max_size=6),
    st.integers(0, 2000) | st.integers(0, 20),
)


@given(triples, triples)
@example((1, "23", 4), (12, "3", 4))
@example((1, "2/3", 4), (1, "2", 34))
def test_seeds_are_equal_exactly_when_run_key_and_member_are(one, other):
    assert (member_seed(*one) == member_seed(*other)) == (one == other)


@given(triples, st.binary(max_size=6))
@example((0, "b", 0), "caf\u00e9".encode("latin-1"))
def test_a_key_may_be_the_name_of_any_file_and_a_valid_one_keeps_its_seed(triple, name):
    run_seed, key, member = triple
    digest = hashlib.sha256(f"{run_seed}/{key}/{member}".encode()).digest()
    assert member_seed(*triple) == int.from_bytes(digest[:8]) >> 1
    of_file = os.fsdecode(name)
    assert (member_seed(run_seed, of_file, member) == member_seed(*triple)) == (of_file == key)


@given(triples)
def test_a_seed_is_one_that_generators_take_and_tell_apart_from_its_neighbour(triple):
    seed = member_seed(*triple)
    assert 0 <= seed < 2**63
    draws = [torch.rand(2, generator=torch.Generator().manual_seed(value)) for value in (seed, seed ^ 1)]
    assert not torch.equal(*draws)


def test_no_two_of_200_000_members_share_a_seed():
    seeds = {member_seed(0, f"{image_id:012d}", member) for image_id in range(20_000) for member in range(10)}
    assert len(seeds) == 200_000


def test_the_members_of_an_image_differ_in_the_32_bits_that_torchs_generator_takes():
    for image_id in range(20_000):
        assert len({member_seed(0, f"{image_id:012d}", member) % 2**32 for member in range(10)}) == 10


@pytest.mark.parametrize(
    ("triple", "seed"),
    [
        ((0, "000000000139", 0), 7737635347492552930),
        ((0, "000000000139", 1), 524817079724231297),
        ((0, "000000000285", 0), 7147739134301038054),
        ((1, "000000000139", 0), 6889031864662000008),
        ((2**63 - 1, "000000581929", 9), 8108618907009096546),
    ],
)
def test_known_seeds_never_change_since_releases_depend_on_them(triple, seed):
    assert member_seed(*triple) == seed


def test_a_seed_is_the_same_in_another_process_and_after_other_seeds():
    script = "from model.seeds import key_of, member_seed as s; print([s(3, 'b', 1), s(3, 'a', 0)])"
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == str([member_seed(3, "b", 1), member_seed(3, "a", 0)])


@pytest.mark.parametrize(
    ("name", "key"),
    [("000000000139", "000000000139"), ("139", "000000000139"), ("0", "000000000000"), ("im002", "397131839426")],
)
def test_a_name_that_is_a_number_is_the_key_of_an_image_with_that_id(name, key):
    assert key_of(name) == key


@given(st.text())
def test_every_name_has_a_key_of_12_digits(name):
    assert re.fullmatch("[0-9]{12}", key_of(name))
