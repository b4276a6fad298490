"""Properties, examples and faults of tars whose bytes depend on nothing but their samples."""

import io
import json
import tarfile
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from webdataset import TarWriter
from webdataset.tariterators import group_by_keys, tar_file_expander

from pipeline.errors import StorageError
from pipeline.files.tars import SampleTar, encode_json, samples_of
from tests.pipeline.make import make_key

EXTENSIONS = ("jpg", "mask.png", "json")
MEMBERS = st.fixed_dictionaries({extension: st.binary(max_size=700) for extension in EXTENSIONS})
SAMPLES = st.dictionaries(st.integers(0, 10**12 - 1).map(make_key), MEMBERS, max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=8,
)


def tar_of(samples):
    file = io.BytesIO()
    tar = SampleTar(file)
    for key, members in samples:
        tar.add(key, members)
    tar.close()
    return file.getvalue()


def members_of(number):
    return {extension: f"{number} {extension}".encode() for extension in EXTENSIONS}


# Properties


@given(SAMPLES)
def test_webdataset_reads_back_what_was_written_in_the_order_of_writing(samples):
    stream = io.BytesIO(tar_of(samples.items()))
    found = list(group_by_keys(tar_file_expander([{"url": "test.tar", "stream": stream}])))
    assert [(sample["__key__"], {name: sample[name] for name in EXTENSIONS}) for sample in found] == [*samples.items()]


@settings(max_examples=30)
@given(SAMPLES)
def test_the_bytes_equal_those_of_webdatasets_own_writer(samples):
    file = io.BytesIO()
    with TarWriter(file, user="", group="", mode=0o644, mtime=0, encoder=False) as writer:
        for key, members in samples.items():
            writer.write({"__key__": key, **members})
    assert tar_of(samples.items()) == file.getvalue()


@settings(max_examples=30)
@given(SAMPLES, st.randoms())
def test_bytes_depend_on_the_members_and_not_on_their_order(samples, random):
    def shuffled(members):
        names = list(members)
        random.shuffle(names)
        return {name: members[name] for name in names}

    assert tar_of((key, shuffled(members)) for key, members in samples.items()) == tar_of(samples.items())


@settings(max_examples=30)
@given(st.dictionaries(st.text(), JSON, min_size=2))
def test_json_is_read_back_and_does_not_depend_on_the_order_of_keys(value):
    content = encode_json(value)
    assert json.loads(content) == value
    assert encode_json(dict(reversed(value.items()))) == content


# Examples


def test_the_same_samples_give_the_same_bytes_at_any_time(monkeypatch):
    samples = [(make_key(number), members_of(number)) for number in range(3)]
    today = tar_of(samples)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    assert tar_of(samples) == today


def test_nothing_of_this_machine_is_in_a_tar():
    with tarfile.open(fileobj=io.BytesIO(tar_of([("1", members_of(1))]))) as tar:
        facts = {(file.mtime, file.uid, file.gid, file.uname, file.gname, file.mode) for file in tar}
    assert facts == {(0, 0, 0, "", "", 0o644)}


def test_closing_the_tar_leaves_the_file_open():
    file = io.BytesIO()
    SampleTar(file).close()
    assert not file.closed
    with tarfile.open(fileobj=io.BytesIO(file.getvalue())) as tar:
        assert tar.getnames() == []


# Faults


@pytest.mark.parametrize("key", ["0.1", ".", "a/b", "/1", "1"])
def test_a_key_with_a_dot_or_slash_or_a_duplicate_is_refused_by_name(key):
    tar = SampleTar(io.BytesIO())
    tar.add("1", members_of(1))
    tar.add("2", members_of(2))  # readers notice doubles only if they follow each other
    with pytest.raises(StorageError, match=repr(key)):
        tar.add(key, members_of(3))


@pytest.mark.parametrize("extensions", [EXTENSIONS[:2], (*EXTENSIONS, "txt"), ("png", *EXTENSIONS[1:]), ()])
def test_a_sample_with_other_members_than_the_first_is_refused_by_name(extensions):
    tar = SampleTar(io.BytesIO())
    tar.add("1", members_of(1))
    with pytest.raises(StorageError, match="sample 2 has members"):
        tar.add("2", dict.fromkeys(extensions, b""))


def test_a_refused_sample_leaves_no_trace():
    file = io.BytesIO()
    tar = SampleTar(file)
    tar.add("1", members_of(1))
    with pytest.raises(StorageError):
        tar.add("2", {"jpg": b""})
    tar.add("2", members_of(2))
    tar.close()
    assert file.getvalue() == tar_of([("1", members_of(1)), ("2", members_of(2))])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_can_not_hold_is_refused(value):
    with pytest.raises(ValueError, match="JSON compliant"):
        encode_json({"score": value})


def test_a_sample_whose_members_lie_apart_is_refused():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name in ("a.json", "a.png", "b.json", "b.png", "a.jpg"):
            tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(ValueError, match=r"'a\.jpg' .* apart from its sample"):
        list(samples_of(file.getvalue()))
