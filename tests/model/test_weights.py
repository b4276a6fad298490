"""Properties, an example and a fault of the hash of a model's files."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.weights import weights_sha256

FILES = {
    "model_index.json": b"{}",
    "unet/config.json": b'{"sample_size": 48}',
    "unet/diffusion_pytorch_model.safetensors": bytes(range(256)) * 5,
    "vae/diffusion_pytorch_model.safetensors": b"",
}


def make_folder(files, folder):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def hash_of(files):
    with tempfile.TemporaryDirectory() as folder:
        return weights_sha256(make_folder(files, Path(folder)))


quick = settings(deadline=None, max_examples=25)
names = st.sampled_from(sorted(FILES))


# Properties


@quick
@given(st.permutations(sorted(FILES)))
def test_neither_the_place_nor_the_order_of_writing_matters(order):
    assert hash_of({name: FILES[name] for name in order}) == hash_of(FILES)


@quick
@given(names, st.binary(max_size=8))
def test_other_content_of_any_file_gives_another_hash(name, content):
    assert (hash_of({**FILES, name: content}) == hash_of(FILES)) == (content == FILES[name])


@quick
@given(names)
def test_a_missing_file_gives_another_hash(name):
    assert hash_of({other: content for other, content in FILES.items() if other != name}) != hash_of(FILES)


@quick
@given(names, st.sampled_from(["a.safetensors", "unet/a.json", os.fsdecode(b"caf\xe9/config.json")]))
def test_another_name_or_a_further_file_gives_another_hash(name, added):
    content = FILES[name]
    renamed = {**{other: kept for other, kept in FILES.items() if other != name}, added: content}
    assert len({hash_of(FILES), hash_of(renamed), hash_of({**FILES, added: content})}) == 3


@quick
@given(st.sampled_from(["README.md", "unet/model.bin", "vae/x.safetensors.tmp", ".gitattributes"]), st.binary())
def test_files_that_are_neither_weights_nor_configuration_do_not_matter(name, content):
    assert hash_of({**FILES, name: content}) == hash_of(FILES)


@quick
@given(st.integers(1, len(FILES["unet/diffusion_pytorch_model.safetensors"]) - 1))
def test_bytes_moved_from_one_file_to_another_give_another_hash(cut):
    whole = FILES["unet/diffusion_pytorch_model.safetensors"]
    moved = {
        "unet/diffusion_pytorch_model.safetensors": whole[:cut],
        "vae/diffusion_pytorch_model.safetensors": whole[cut:],
    }
    assert hash_of({**FILES, **moved}) != hash_of(FILES)


# Example


def test_a_known_hash_never_changes_since_releases_record_it():
    assert hash_of(FILES) == "712ef1c4f08173f164e2455bb0dd1c187cf1a1d099cb72b722414f58ea744763"


# Faults


@pytest.mark.parametrize("files", [{}, {"model_index.json": b"{}"}, {"unet/model.bin": b"x"}])
def test_a_folder_without_weights_is_refused(files, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no \.safetensors file"):
        weights_sha256(make_folder(files, tmp_path))


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        weights_sha256(tmp_path / "absent")
