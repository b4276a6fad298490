"""Properties, examples and faults of a release's tars and of its `release.json`."""

import gc
import hashlib
import io
import json
import tarfile
import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.errors import StorageError
from pipeline.files import storage
from pipeline.files.maps import decode_png
from pipeline.release import tar_series
from pipeline.release.tar_series import plan_tars, tar_member_bytes
from pipeline.runs.candidates import read_maps
from pipeline.runs.commits import read_shard_record
from pipeline.selection import policy
from pipeline.selection.policy import PolicyConfig
from pipeline.selection.scores import SCORES
from tests.pipeline.make import LICENSES, make_collection, make_key

ACCEPTED = [2, 4, 6, 8, 10]
KEYS = [make_key(number) for number in ACCEPTED]
MEMBERS = {"jpg", "mask.png", "saliency.png", "variance.png", "json"}


def facts_of(sample):
    return json.loads(sample["json"])


def types_of(value):
    """A copy of the value with every leaf replaced by its type."""
    return {name: types_of(inner) for name, inner in value.items()} if isinstance(value, dict) else type(value)


def stored_maps(config):
    """Key → candidate maps, over all shards."""
    shards = [name.removesuffix(".json") for name in storage.list_names(storage.join(config.out, "commits"))]
    return dict(pair for shard in shards for pair in read_maps(config.out, read_shard_record(config.out, shard)))


# The samples


def test_tars_have_every_accepted_image_in_key_order_with_the_same_members(released):
    samples = released.samples()
    assert list(samples) == KEYS
    for sample in samples.values():
        assert sample.keys() == MEMBERS


def test_images_are_the_original_bytes(released):
    for number, sample in zip(ACCEPTED, released.samples().values(), strict=True):
        assert sample["jpg"] == released.inputs.file(number).read_bytes()


def test_maps_are_those_of_the_candidates_and_have_the_size_of_the_image(released):
    candidates = stored_maps(released.config)
    for key, sample in released.samples().items():
        width, height = Image.open(io.BytesIO(sample["jpg"])).size
        facts = facts_of(sample)
        assert (facts["width"], facts["height"]) == (width, height)
        for name in ("saliency", "variance"):
            found = decode_png(sample[f"{name}.png"])
            assert found.shape == (height, width)
            assert np.array_equal(found, getattr(candidates[key], name))


def test_a_mask_is_255_where_the_saliency_is_at_least_one_half_and_0_elsewhere(released):
    for sample in released.samples().values():
        mask, saliency = decode_png(sample["mask.png"]), decode_png(sample["saliency.png"])
        assert set(np.unique(mask)) == {0, 255}
        assert np.array_equal(mask == 255, saliency / 255 >= 0.5)


def test_the_json_of_every_sample_has_the_same_keys_with_the_same_types(released):
    types = [types_of(facts_of(sample)) for sample in released.samples().values()]
    assert types == [types[0]] * len(ACCEPTED)
    assert types[0]["scores"] == dict.fromkeys(SCORES, float)


def test_the_json_agrees_with_manifest_and_annotations(released):
    rows = {row["key"]: row for row in released.manifest()}
    entries = {entry["id"]: entry for entry in released.inputs.entries}
    licenses = {entry["id"]: entry for entry in LICENSES}
    for key, sample in released.samples().items():
        facts, row = facts_of(sample), rows[key]
        scores = facts.pop("scores")
        assert scores == {name: row[name] for name in SCORES}
        assert facts == {name: row[name] for name in facts}
        entry = entries[facts["image_id"]]
        assert (facts["file_name"], facts["license_id"]) == (entry["file_name"], entry["license"])
        assert facts["license_name"] == licenses[entry["license"]]["name"]
        assert facts["license_url"] == licenses[entry["license"]]["url"]
        assert facts["image_sha256"] == hashlib.sha256(sample["jpg"]).hexdigest()


def test_samples_keep_their_types_when_the_annotations_lack_a_licence_or_its_name(tmp_path, release_of):
    inputs = make_collection(tmp_path / "in", 4)
    entries = [entry | {"license": None} if entry["id"] == 2 else entry for entry in inputs.entries]
    inputs.annotations.write_text(json.dumps({"images": entries, "licenses": [{"id": 1}]}))
    first, second = map(facts_of, release_of(inputs, tmp_path / "out").samples().values())
    assert types_of(first) == types_of(second)
    assert (first["license_id"], first["license_name"], first["license_url"]) == (0, "", "")


# What the manifest says about them


def test_the_manifest_has_every_input_once_and_places_accepted_images_only(released):
    rows = released.manifest()
    assert [row["key"] for row in rows] == [make_key(number) for number in range(1, 11)]
    assert [row["image_id"] for row in rows if row["tar"]] == ACCEPTED
    assert [row["image_id"] for row in rows if row["verdict"] == "failed"] == [3]


def test_the_manifest_has_the_digest_of_each_mask(released):
    samples = released.samples()
    for row in released.manifest():
        mask = samples[row["key"]]["mask.png"] if row["tar"] else None
        assert row["mask_sha256"] == (hashlib.sha256(mask).hexdigest() if mask else "")


# release.json


def test_release_json_names_every_other_file_with_its_size_and_digest(released):
    found = {}
    for path in released.folder.rglob("*"):
        if path.is_file() and path.name != "release.json":
            content = path.read_bytes()
            found[path.relative_to(released.folder).as_posix()] = (len(content), hashlib.sha256(content).hexdigest())
    files = released.release_json()["files"]
    assert {file["name"]: (file["file_bytes"], file["sha256"]) for file in files} == found
    assert [file["name"] for file in files] == sorted(found)


def test_release_json_says_what_the_release_was_made_from_and_counts_its_images(released):
    stated = released.release_json()
    assert (stated["name"], stated["version"], stated["format"]) == ("sod-benchmark", "1.0.0", 6)
    assert stated["counts"] == {"accepted": 5, "failed": 1, "rejected": 4}
    assert stated["made_from"]["policy"] == json.loads(json.dumps(policy.stated(PolicyConfig())))
    assert stated["made_from"]["fingerprint"]["device"] == "cpu"
    assert stated["made_from"]["fingerprint"]["ensemble_size"] == "3"


def test_no_path_of_this_machine_is_in_a_release(released):
    for path in released.folder.rglob("*"):
        if path.is_file():
            assert str(released.inputs.images).encode() not in path.read_bytes()


# Several tars


@settings(max_examples=10)
@given(st.integers(1, 60_000))
def test_wherever_a_tar_ends_the_samples_are_the_same_and_the_manifest_names_their_tar(
    released, release_of, tmp_path_factory, tar_bytes
):
    split = release_of(released.inputs, tmp_path_factory.mktemp("split"), tar_bytes=tar_bytes)
    assert split.samples() == released.samples()
    tars = split.tars()
    assert [path.name for path in tars] == [f"test-{n:05d}-of-{len(tars):05d}.tar" for n in range(len(tars))]
    # A tar is written in blocks of 10 KiB and ends with an empty one; a sample has five members of a few hundred bytes.
    assert all(path.stat().st_size >= tar_bytes for path in tars[:-1])
    assert all(path.stat().st_size <= tar_bytes + 3 * 10_240 for path in tars)
    for row in split.manifest():
        if row["tar"]:
            assert f"{row['key']}.jpg".encode() in (split.folder / row["tar"]).read_bytes()


def test_a_tar_ends_with_the_sample_that_brings_it_to_its_size():
    tars = plan_tars("test", [(make_key(number), 100_000) for number in range(7)], tar_bytes=250_000)
    assert [[int(key) for key in tar.keys] for tar in tars] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [tar.name for tar in tars] == [f"data/test/test-0000{number}-of-00003.tar" for number in range(3)]


@given(st.lists(st.integers(0, 5000), max_size=8))
def test_the_plan_knows_the_size_of_a_member_in_a_tar(sizes):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number, size in enumerate(sizes):
            member = tarfile.TarInfo(f"{make_key(number)}.saliency.png")
            member.size = size
            tar.addfile(member, io.BytesIO(bytes(size)))
        assert buffer.tell() == sum(tar_member_bytes(size) for size in sizes)


# Faults


def test_a_release_without_accepted_images_has_everything_but_tars(released, release_of, tmp_path):
    empty = release_of(released.inputs, tmp_path, min_area=0.9)
    names = [file["name"] for file in empty.release_json()["files"]]
    assert not [name for name in names if name.endswith(".tar")]
    assert len([name for name in names if name != "index.html" and not name.startswith("page/")]) == 9
    assert empty.release_json()["counts"] == {"failed": 1, "rejected": 9}
    assert {row["tar"] for row in empty.manifest()} == {""}
    assert json.loads((empty.folder / "annotations" / "test.json").read_text())["images"] == []


@pytest.mark.parametrize("tar_bytes", [1, 1_000_000])
def test_an_assembly_that_fails_leaves_no_record_no_temporary_folder_and_no_open_file(
    tmp_path, release_of, monkeypatch, tar_bytes
):
    inputs = make_collection(tmp_path / "in", 6)
    release_of(inputs, tmp_path / "out")
    inputs.file(6).write_bytes(b"another image")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with pytest.raises(StorageError, match=make_key(6)):
        release_of(inputs, tmp_path / "out", version="2", tar_bytes=tar_bytes)
    assert list(temporary.iterdir()) == []
    assert not (tmp_path / "out" / "release" / "sod-benchmark-2" / "release.json").exists()
    gc.collect()  # a file that is still open warns now


def test_a_full_disk_raises_its_own_error_and_leaves_nothing_behind(tmp_path, release_of, monkeypatch):
    inputs = make_collection(tmp_path / "in", 6)

    class FullTar(tar_series.SampleTar):
        def add(self, key, members):
            if key == make_key(4):
                raise OSError(28, "No space left on device")
            super().add(key, members)

    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(tar_series, "SampleTar", FullTar)
    with pytest.raises(OSError, match="No space left"):
        release_of(inputs, tmp_path / "out")
    assert list(temporary.iterdir()) == []
    gc.collect()
