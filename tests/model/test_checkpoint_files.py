"""Reading other people's files: what was saved comes back, everything else is refused by name, nothing in them runs."""

import pickle
import tempfile
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from model.checkpoint_files import CheckpointError, check_same, read_tensors
from tests.golden.official_files import Unpickled

few = settings(deadline=None, max_examples=40)
many = settings(deadline=None, max_examples=3 * settings().max_examples)

names = st.text("abc.01", min_size=1, max_size=6)
shapes = st.lists(st.integers(0, 3), max_size=3)
dtypes = st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.int64])
states = st.dictionaries(names, st.tuples(shapes, dtypes), min_size=1, max_size=4).map(
    lambda forms: {
        name: torch.arange(torch.Size(shape).numel()).reshape(shape).to(d) for name, (shape, d) in forms.items()
    }
)


def save_torch(state, file):
    torch.save(state, file)


def save_old_torch(state, file):
    torch.save(state, file, _use_new_zipfile_serialization=False)


FORMATS = {".pth": save_torch, ".pkl": save_old_torch, ".safetensors": save_file}
each_format = pytest.mark.parametrize("suffix", FORMATS)


def bytes_of(state, suffix):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"file{suffix}"
        FORMATS[suffix](state, file)
        return file.read_bytes()


def read(content, suffix):
    """What is read from a file with that content, or the message that refuses it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"file{suffix}"
        file.write_bytes(content)
        try:
            return {name: value.clone() for name, value in read_tensors(file).items()}
        except CheckpointError as error:
            return str(error)


# Properties


@few
@given(states, st.sampled_from(sorted(FORMATS)))
def test_what_is_saved_is_read(state, suffix):
    again = read(bytes_of(state, suffix), suffix)
    assert again.keys() == state.keys()
    for name, value in state.items():
        assert again[name].dtype == value.dtype
        assert torch.equal(again[name], value)


@many
@given(states, st.sampled_from(sorted(FORMATS)), st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_is_refused_with_its_name_and_size(state, suffix, kept):
    whole = bytes_of(state, suffix)
    cut = whole[: int(kept * len(whole))]
    message = read(cut, suffix)
    assert isinstance(message, str)
    assert f"/file{suffix} ({len(cut):,} bytes) is " in message


@many
@given(states, st.sampled_from(sorted(FORMATS)), st.data())
def test_a_file_with_a_wrong_byte_is_refused_or_still_tensors_and_never_another_error(state, suffix, data):
    content = bytearray(bytes_of(state, suffix))
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    found = read(bytes(content), suffix)
    assert isinstance(found, str) or all(isinstance(value, torch.Tensor) for value in found.values())


@many
@given(st.binary(max_size=200), st.sampled_from(sorted(FORMATS)))
@example(b"\x80\x02}q\x00.", ".pth")  # an empty dict in a pickle of its own
@example(b"\n", ".pth")
def test_any_other_bytes_are_refused(content, suffix):
    assert isinstance(read(content, suffix), str)


@few
@given(states, st.data())
def test_tensors_that_are_lost_added_or_changed_are_counted_and_named(expected, data):
    some = st.sets(st.sampled_from(sorted(expected)))
    lost, changed = data.draw(some), data.draw(some)
    found = {name: value for name, value in expected.items() if name not in lost}
    found |= {name: found[name][None] for name in changed - lost}
    found["added"] = torch.ones(2)
    with pytest.raises(CheckpointError) as raised:
        check_same(found, expected, "the file")
    message = str(raised.value)
    assert message.startswith("the file does not hold the expected tensors")
    assert "1 unknown (added float32 [2])" in message
    assert (f"{len(lost)} missing" in message) == bool(lost)
    assert (f"{len(changed - lost)} of another form" in message) == bool(changed - lost)
    assert message.count(" is ") == min(3, len(changed - lost))
    assert message.count("…") == (len(lost) > 3) + (len(changed - lost) > 3)
    check_same(dict(expected), expected, "the file")


def test_a_difference_is_told_with_both_forms():
    with pytest.raises(CheckpointError, match=r"1 of another form \(a is int64 \[3\], expected float32 \[1, 3\]\)$"):
        check_same({"a": torch.arange(3)}, {"a": torch.ones(1, 3)}, "the file")


# Files that hold something else


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([torch.ones(1)], "holds list of 1, not a dict"),
        (torch.ones(1), "holds a tensor (torch.strided, cpu), not a dict"),
        (None, "holds NoneType, not a dict"),
        ({"a": torch.ones(1), "epoch": 3}, "'epoch': int (1 of 2 entries)"),
        ({"model": {"a": torch.ones(1)}}, "'model': dict of 1 (1 of 1 entries)"),
        ({1: torch.ones(1)}, "1: a tensor (torch.strided, cpu)"),
        ({"a": torch.ones(2, 2).to_sparse()}, "'a': a tensor (torch.sparse_coo, cpu)"),
        ({"a": torch.ones(2, device="meta")}, "'a': a tensor (torch.strided, meta)"),
        ({str(i): i for i in range(5)}, "'0': int, '1': int, '2': int (5 of 5 entries)"),
    ],
)
def test_a_file_of_more_than_names_and_tensors_is_refused_with_what_it_holds(tmp_path, content, said):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(CheckpointError) as raised:
        read_tensors(tmp_path / "a.pth")
    assert said in str(raised.value)
    assert "a.pth" in str(raised.value)


@pytest.mark.parametrize("key", ["model", "state_dict"])
def test_tensors_under_a_key_are_found_where_that_is_allowed(tmp_path, key):
    torch.save({key: {"a": torch.ones(1)}, "epoch": 3}, tmp_path / "a.pth")
    assert read_tensors(tmp_path / "a.pth", inside=("model", "state_dict")) == {"a": torch.ones(1)}


def test_parameters_count_as_tensors(tmp_path):
    torch.save({"a": nn.Parameter(torch.ones(1))}, tmp_path / "a.pth")
    assert read_tensors(tmp_path / "a.pth")["a"] == torch.ones(1)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"\(0 bytes\) is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "is a Git LFS pointer"),
        (b"<html>not found</html>", "is torn or not a file of tensors"),
    ],
)
@each_format
def test_what_stands_in_the_place_of_a_download_is_refused(tmp_path, content, suffix, said):
    file = tmp_path / f"a{suffix}"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=said):
        read_tensors(file)


@each_format
def test_a_missing_file_and_a_folder_are_refused(tmp_path, suffix):
    for file in (tmp_path / f"absent{suffix}", tmp_path):
        with pytest.raises(CheckpointError, match=f"there is no file {file}"):
            read_tensors(file)


@pytest.mark.parametrize("name", ["a", "archive/data.pkl"])
def test_a_zip_of_something_else_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr(name, b"something")
    with pytest.raises(CheckpointError, match=r"a\.pth \(\d+ bytes\) is torn or not a file of tensors"):
        read_tensors(tmp_path / "a.pth")


@pytest.mark.parametrize(
    "save", [save_torch, save_old_torch, lambda content, file: file.write_bytes(pickle.dumps(content))]
)
def test_code_in_a_file_is_refused_and_not_run(tmp_path, save):
    proof, file = tmp_path / "unpickled", tmp_path / "a.pth"
    save({"a": Unpickled(proof)}, file)
    with pytest.raises(CheckpointError, match=r"a\.pth .*: Unsupported (global|operand)") as raised:
        read_tensors(file)
    assert "weights_only" not in str(raised.value)  # torch's own message advises to run it
    assert not proof.exists()
    pickle.loads(pickle.dumps(Unpickled(proof)))
    assert proof.exists()  # it would have shown
