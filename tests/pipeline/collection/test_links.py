"""Symbolic links in a folder of images: inside it they are read, those that lead out only on demand."""

import json
import os

import pytest

from pipeline.collection.config import InputConfig
from pipeline.collection.gather import read_collection
from pipeline.collection.stores import open_store, read_bytes
from pipeline.errors import CollectionError, SampleError
from tests.pipeline.make import make_jpeg, make_sample


@pytest.fixture
def hub(tmp_path):
    """A cache of the Hugging Face Hub: a snapshot whose files are links to blobs beside it."""
    (tmp_path / "blobs").mkdir()
    snapshot = tmp_path / "snapshots/main"
    snapshot.mkdir(parents=True)
    for number in (2, 4, 6):
        blob = tmp_path / "blobs" / f"{number:064d}"
        blob.write_bytes(make_jpeg(number, 8, 6))
        (snapshot / f"{number}.jpg").symlink_to(f"../../blobs/{blob.name}")
    return snapshot


def open_links(images, *wanted, follow=False):
    return open_store(InputConfig(images=str(images), follow_links=follow), wanted)


def read(store, name):
    return read_bytes(make_sample(location=store.locate(name)))


def names_of(images, *, follow):
    return sorted(open_links(images, follow=follow).names())


def problem_of(store, name):
    with pytest.raises(SampleError) as caught:
        store.locate(name)
    return caught.value


def test_a_cache_of_the_hub_is_read_on_demand(hub):
    store = open_links(hub, "2.jpg", "4.jpg", follow=True)
    assert read(store, "2.jpg") == make_jpeg(2, 8, 6)
    assert store.found == "a folder, in which 3 files were listed, 3 of them symbolic links"
    error = problem_of(open_links(hub, "2.jpg"), "2.jpg")
    assert error.reason == "unsafe_path"
    assert error.detail.endswith("is a link that leads out of the images folder; --follow-links reads it")


def test_a_cache_of_the_hub_is_a_collection_without_annotations(hub):
    collection = read_collection(InputConfig(images=str(hub), follow_links=True))
    assert [(sample.file_name, sample.width, sample.problem) for sample in collection.samples] == [
        ("2.jpg", 8, ""),
        ("4.jpg", 8, ""),
        ("6.jpg", 8, ""),
    ]


def test_a_link_out_costs_one_image(hub):
    (hub / "own.jpg").write_bytes(make_jpeg(1, 8, 6))
    samples = read_collection(InputConfig(images=str(hub))).samples
    assert {sample.file_name: sample.problem for sample in samples} == {
        "own.jpg": "", **dict.fromkeys(("2.jpg", "4.jpg", "6.jpg"), "unsafe_path"),
    }  # fmt: skip


@pytest.fixture
def linked(tmp_path):
    """A folder with a linked folder outside, one inside, and links that go round."""
    outside, images = tmp_path / "outside/deep", tmp_path / "images"
    outside.mkdir(parents=True)
    (outside / "far.jpg").write_bytes(b"far")
    (images / "real").mkdir(parents=True)
    (images / "real/near.jpg").write_bytes(b"near")
    (images / "out").symlink_to(tmp_path / "outside")
    (images / "again").symlink_to("real")
    (images / "loop").symlink_to(".")
    (images / "up").symlink_to("..")
    (outside / "back").symlink_to("..")
    (images / "round").symlink_to("round")
    return images


def test_a_linked_folder_outside_is_read_on_demand_whatever_goes_round(linked):
    assert names_of(linked, follow=True) == ["out/deep/far.jpg", "real/near.jpg", "round"]
    store = open_links(linked, "out/deep/far.jpg", "again/near.jpg", follow=True)
    assert (read(store, "out/deep/far.jpg"), read(store, "again/near.jpg")) == (b"far", b"near")


def test_links_to_overlapping_folders_are_all_read_in_whatever_order(linked):
    (linked / "a").symlink_to("../outside/deep")
    (linked / "z").symlink_to("../outside/deep")
    found = names_of(linked, follow=True)
    assert found == ["a/far.jpg", "out/deep/far.jpg", "real/near.jpg", "round", "z/far.jpg"]


def test_a_linked_folder_outside_is_left_out_and_the_log_says_how_to_read_it(linked, caplog):
    assert names_of(linked, follow=False) == ["real/near.jpg", "round"]
    (said,) = caplog.messages
    assert "2 links lead to folders outside of" in said
    assert said.endswith("not followed, 'out' for example; --follow-links follows them")


def test_an_image_in_a_linked_folder_outside_is_unsafe_and_no_other_is_taken_for_it(linked):
    (linked / "real/far.jpg").write_bytes(b"another")
    error = problem_of(open_links(linked, "out/deep/far.jpg"), "out/deep/far.jpg")
    assert (error.reason, "--follow-links" in error.detail) == ("unsafe_path", True)


def test_an_image_in_a_linked_folder_inside_is_read_beside_one_that_is_found_by_its_end(linked):
    store = open_links(linked, "again/near.jpg", "x/far.jpg", follow=True)
    assert (read(store, "again/near.jpg"), read(store, "x/far.jpg")) == (b"near", b"far")


@pytest.mark.parametrize("follow", [False, True])
def test_a_link_that_leads_nowhere_or_round_is_missing(linked, follow):
    (linked / "dangling.jpg").symlink_to("nowhere.jpg")
    for name in ("dangling.jpg", "round"):
        assert problem_of(open_links(linked, name, follow=follow), name).reason == "missing"


def test_a_folder_that_may_not_be_listed_is_left_out_unless_images_are_in_it(tmp_path, caplog, monkeypatch):
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "a.jpg").write_bytes(make_jpeg(1, 8, 6))
    scandir = os.scandir

    def refuse(path):  # the user of the tests may be root, who may list everything
        if path.endswith("lost+found/"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert names_of(tmp_path, follow=False) == ["a.jpg"]
    assert "the folder 'lost+found/' can't be listed and is left out: Permission denied" in caplog.text
    with pytest.raises(CollectionError, match="Permission denied"):
        open_links(tmp_path, "lost+found/b.jpg")


def test_the_option_does_not_change_what_the_plan_holds(hub, tmp_path):
    for number in (2, 4, 6):
        (tmp_path / f"plain/{number}.jpg").parent.mkdir(exist_ok=True)
        (tmp_path / f"plain/{number}.jpg").write_bytes(make_jpeg(number, 8, 6))
    samples = [
        [
            (sample.key, sample.image_id, sample.file_name, sample.width, sample.height)
            for sample in read_collection(InputConfig(images=str(images), follow_links=True)).samples
        ]
        for images in (hub, tmp_path / "plain")
    ]
    assert samples[0] == samples[1]


def test_annotated_images_behind_links_are_read(hub, tmp_path):
    entries = [{"id": number, "file_name": f"main/{number}.jpg", "width": 8, "height": 6} for number in (2, 4)]
    (tmp_path / "labels.json").write_text(json.dumps({"images": entries}))
    inputs = InputConfig(images=str(hub), annotations=str(tmp_path / "labels.json"), follow_links=True)
    assert [sample.problem for sample in read_collection(inputs).samples] == ["", ""]
