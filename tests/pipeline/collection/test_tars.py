"""Tars of images: what webdataset and img2dataset write goes in as it is, and what else is in a tar costs one image."""

import hashlib
import io
import json
import os
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st

from pipeline.collection import tar_index
from pipeline.collection.collection import license_of
from pipeline.collection.config import InputConfig
from pipeline.collection.gather import read_collection
from pipeline.collection.kept import Kept
from pipeline.collection.stores import READERS, read_bytes
from pipeline.collection.tar_index import key_and_extension
from pipeline.errors import CollectionError, RunMismatchError, SampleError, StorageError
from pipeline.files.pictures import size_in_start
from pipeline.run import run
from tests.pipeline.files.test_tar_headers import make_tar
from tests.pipeline.make import make_collection, make_config, make_jpeg, open_images, read_samples, tree

WRITTEN = Path(__file__).parent / "img2dataset"


def jpeg(number):
    return make_jpeg(number, 20 + number, 16)


def write_tar(path, members, **options):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(make_tar(members, **options))
    return str(path)


def read_all(images, kept=None):
    return read_collection(InputConfig(images=str(images)), kept).samples


def contents(samples):
    """Name → bytes of those that can be read."""
    return {sample.file_name: read_bytes(sample) for sample in samples if not sample.problem}


def problems(samples):
    return {sample.file_name: (sample.problem, sample.problem_detail) for sample in samples if sample.problem}


def in_tars(inputs, folder, images_per_tar=3):
    """The images of a collection in tars as webdataset writes them."""
    folder.mkdir(exist_ok=True)
    entries = inputs.entries
    for start in range(0, len(entries), images_per_tar):
        with webdataset.TarWriter(str(folder / f"{start // images_per_tar:05d}.tar")) as tar:
            for entry in entries[start : start + images_per_tar]:
                key, _, extension = entry["file_name"].partition(".")
                tar.write({"__key__": key, extension: inputs.file(entry["id"]).read_bytes(), "cls": b"1"})
    return folder


# Names and samples

PART = st.text("ab.-1", min_size=1, max_size=6)


@given(st.lists(PART, min_size=1, max_size=3).map("/".join))
def test_members_are_grouped_as_webdataset_groups_them(name):
    expected = webdataset.tariterators.base_plus_ext(name)
    if not name.rpartition("/")[2].startswith("."):  # hidden files are no samples here
        assert key_and_extension(name) == (expected if expected[0] else ("", ""))


def test_tars_of_webdataset_give_every_image_once_with_its_bytes_and_size(tmp_path):
    inputs = make_collection(tmp_path, 7)
    samples = read_all(in_tars(inputs, tmp_path / "tars"))
    expected = {
        f"{number // 3:05d}/{entry['file_name']}": inputs.file(entry["id"]).read_bytes()
        for number, entry in enumerate(inputs.entries)
    }
    assert contents(samples) == expected
    sizes = [(entry["width"], entry["height"]) for entry in inputs.entries]
    assert [(sample.width, sample.height) for sample in samples] == sizes


def test_names_and_keys_stay_when_tars_are_added(tmp_path):
    write_tar(tmp_path / "1.tar", {"a.jpg": jpeg(1)})
    before = read_all(tmp_path)
    for stem in ("0", "2"):
        write_tar(tmp_path / f"{stem}.tar", {"a.jpg": jpeg(2)})
    after = read_all(tmp_path)
    assert [sample.file_name for sample in after] == ["0/a.jpg", "1/a.jpg", "2/a.jpg"]
    assert before[0] == after[1]


def test_annotations_find_images_by_the_names_of_members(tmp_path):
    inputs = make_collection(tmp_path, 7)
    samples = read_samples(inputs.annotations, in_tars(inputs, tmp_path / "tars")).samples
    assert contents(samples) == {entry["file_name"]: inputs.file(entry["id"]).read_bytes() for entry in inputs.entries}


@pytest.mark.parametrize(
    "name", ["train/a.jpg", "./train/a.jpg", "train\\a.jpg", "coco/train/a.jpg", "a.jpg", "https://host/train/a.jpg"]
)
def test_other_spellings_of_a_name_are_found_as_in_a_zip(tmp_path, name):
    write_tar(tmp_path / "0.tar", {"train/a.jpg": b"1", "train/b.jpg": b"2"})
    with zipfile.ZipFile(tmp_path / "0.zip", "w") as archive:
        archive.writestr("train/a.jpg", b"1")
        archive.writestr("train/b.jpg", b"2")
    store = open_images(tmp_path / "0.tar", [name])
    assert store.locate(name).part == "train/a.jpg"
    assert open_images(tmp_path / "0.zip", [name]).locate(name).reader == "zip"


def test_a_name_that_two_tars_have_needs_the_tar(tmp_path):
    for stem in ("x", "y"):
        write_tar(tmp_path / f"{stem}.tar", {"./a.jpg": stem.encode(), "é.jpg": stem.encode()})
    store = open_images(tmp_path, ["a.jpg", "x/a.jpg", "y/a.jpg", "y/é.jpg"])
    assert store.locate("x/a.jpg").part == "a.jpg"
    assert store.locate("y/a.jpg").path == store.locate("y/é.jpg").path == str(tmp_path / "y.tar")
    with pytest.raises(SampleError, match=r"ambiguous, 2 members match: \['x/a.jpg', 'y/a.jpg'\]"):
        store.locate("a.jpg")
    for name in ("b.jpg", "../a.jpg"):
        with pytest.raises(SampleError):
            store.locate(name)


@pytest.mark.parametrize(
    ("members", "chosen", "problem"),
    [
        (["k.jpg", "k.json", "k.txt"], "k.jpg", ""),
        (["k.mask.png", "k.jpg", "k.edges.png"], "k.jpg", ""),
        (["k.original.JPG", "k.cls"], "k.original.JPG", ""),
        (["k.jpg", "k.png"], "k.jpg", "2 members of its sample are images, ['k.jpg', 'k.png']"),
        (["k.a.png", "k.b.png"], "k.a.png", "2 members of its sample are images, ['k.a.png', 'k.b.png']"),
    ],
)
def test_a_sample_has_one_image(tmp_path, members, chosen, problem):
    write_tar(tmp_path / "0.tar", {name: jpeg(1) for name in members})
    (sample,) = read_all(tmp_path)
    assert sample.file_name == f"0/{chosen}"
    assert sample.problem == ("unreadable" if problem else "")
    assert problem in sample.problem_detail


def test_one_tar_a_pattern_and_a_folder_give_the_same_samples(tmp_path):
    write_tar(tmp_path / "s/0.tar", {"a.jpg": jpeg(1)})
    write_tar(tmp_path / "s/1.tar", {"b.jpg": jpeg(2)})
    in_folder = read_all(tmp_path / "s")
    assert read_all(tmp_path / "s/{0..1}.tar") == read_all(tmp_path / "s/*.tar") == in_folder
    assert read_all(tmp_path / "s/1.tar") == in_folder[1:]
    renamed = tmp_path / "s/without-suffix"
    (tmp_path / "s/1.tar").rename(renamed)
    assert [sample.file_name for sample in read_all(renamed)] == ["without-suffix/b.jpg"]


@pytest.mark.parametrize("name", ["b.jpg", "train2017/b.jpg"])
def test_a_tar_beside_images_or_their_folder_makes_no_collection_of_tars(tmp_path, name):
    write_tar(tmp_path / "0.tar", {"a.jpg": jpeg(1)})
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(jpeg(2))
    (tmp_path / "logs").mkdir()
    assert [sample.file_name for sample in read_all(tmp_path)] == [name]


def test_tars_beside_other_folders_are_a_collection_of_tars(tmp_path):
    write_tar(tmp_path / "0.tar", {"a.jpg": jpeg(1)})
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/1.txt").write_text("done")
    assert [sample.file_name for sample in read_all(tmp_path)] == ["0/a.jpg"]


# What img2dataset says


def test_what_img2dataset_writes_goes_straight_in():
    samples = read_all(WRITTEN)
    names = ["00000/000000.jpg", "00000/000001.jpg", "00000/000002.jpg", "00001/000010.jpg"]
    assert [sample.file_name for sample in samples] == names
    assert [sample.width for sample in samples] == [50, 53, 57, 60]
    store = open_images(WRITTEN)
    assert [store.about(name).license for name in names] == ["CC BY 0", "CC BY 1", "CC BY 2", "CC BY 3"]
    assert store.about(names[3]).author == "Ann 3"
    assert store.about(names[3]).source.endswith("/3.jpg")
    collection = read_collection(InputConfig(images=str(WRITTEN)))
    assert [license_of(sample, collection.licenses).name for sample in samples] == [f"CC BY {n}" for n in range(4)]
    assert [collection.origins[sample.key].author for sample in samples] == [f"Ann {n}" for n in range(4)]


def test_members_say_the_same_as_the_parquet_beside_the_tar(tmp_path):
    names = [sample.file_name for sample in read_all(WRITTEN)]
    for tar in WRITTEN.glob("*.tar"):
        (tmp_path / tar.name).write_bytes(tar.read_bytes())
    from_json, from_parquet = open_images(tmp_path), open_images(WRITTEN)
    assert [from_json.about(name) for name in names] == [from_parquet.about(name) for name in names]


def test_the_sum_of_img2dataset_is_not_that_of_the_image():
    """Why it is not compared: it is of what was fetched, and the image was encoded again."""
    with tarfile.open(WRITTEN / "00001.tar") as tar:
        said = json.load(tar.extractfile("000010.json"))
        assert said["sha256"] != hashlib.sha256(tar.extractfile("000010.jpg").read()).hexdigest()


@pytest.mark.parametrize("content", [b"{", b"[1]", b'{"url": 3, "license": null}', b"[" * 10_000, b'{"url": NaN}'])
def test_json_that_says_nothing_costs_nothing(tmp_path, content):
    write_tar(tmp_path / "0.tar", {"a.jpg": jpeg(1), "a.json": content})
    (sample,) = read_all(tmp_path)
    assert not sample.problem
    assert open_images(tmp_path).about("0/a.jpg").source == ""


def test_a_torn_parquet_beside_a_tar_is_refused_by_name(tmp_path):
    write_tar(tmp_path / "0.tar", {"a.jpg": jpeg(1)})
    (tmp_path / "0.parquet").write_bytes(b"PAR1")
    with pytest.raises(CollectionError, match=r"0\.parquet, which describes the tar beside it, can't be read"):
        read_all(tmp_path)


# Faults


def test_what_is_no_plain_image_costs_one_image(tmp_path):
    members = {"ok.jpg": jpeg(1), "link.jpg": b"", "../up.jpg": jpeg(2), "/root.jpg": jpeg(3), "empty.jpg": b""}
    members |= {"text.jpg": b"no image", "z.jpg": jpeg(4)}
    write_tar(tmp_path / "0.tar", members, kinds={"link.jpg": tarfile.SYMTYPE})
    samples = read_all(tmp_path)
    assert contents(samples).keys() == {"0/ok.jpg", "0/z.jpg"}
    found = problems(samples)
    assert found["0/link.jpg"] == ("unreadable", "file_name '0/link.jpg': it is a symbolic link")
    assert (found["0/../up.jpg"][0], found["0//root.jpg"][0]) == ("unsafe_path", "unsafe_path")
    assert {"0/empty.jpg", "0/text.jpg"} <= found.keys()
    assert len(samples) == len(members)


def test_a_name_that_a_tar_has_twice_is_not_read(tmp_path):
    content = make_tar({"a.jpg": jpeg(1), "b.jpg": jpeg(2)}) + make_tar({"a.jpg": jpeg(3)})
    (tmp_path / "0.tar").write_bytes(content)
    samples = read_all(tmp_path)
    assert contents(samples).keys() == {"0/b.jpg"}
    assert "several members of the tar have this name" in problems(samples)["0/a.jpg"][1]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("0.tar", make_tar({"a.jpg": jpeg(1)})[:900], r"'0.tar', 900 bytes: \d+ bytes at 512 lead beyond its end"),
        ("0.tar", b"\x1f\x8b" + bytes(600), r"'0.tar', 602 bytes \(gzip, unpack it first\): at byte 0 is no header"),
        ("0.tar", b"", "1 of 1 are no whole tars"),
        ("0.tar.gz", b"", r"'0.tar.gz' is compressed, and parts of such a tar can't be read. Unpack it to .tar first"),
        ("0.tar", make_tar({"a.txt": b"1"}), "1 tars with 1 members, none with the suffix of an image"),
    ],
)
@pytest.mark.parametrize("at", ["folder", "file"])
def test_a_tar_that_can_not_be_used_is_refused_by_name(tmp_path, name, content, said, at):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CollectionError, match=said):
        read_all(tmp_path if at == "folder" else tmp_path / name)


def test_every_torn_tar_is_counted(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}.tar").write_bytes(b"x" * 600)
    with pytest.raises(CollectionError, match=r"5 of 5 are no whole tars.*'0.tar'.*'2.tar', 600 bytes.*header$"):
        read_all(tmp_path)


@given(st.integers(0, 3000), st.integers(1, 255))
def test_a_byte_that_changes_after_planning_is_noticed_or_outside_the_image(tmp_path_factory, place, change):
    path = tmp_path_factory.mktemp("tar") / "0.tar"
    content = make_tar({"a.jpg": jpeg(1), "b.jpg": jpeg(2)})
    path.write_bytes(content)
    samples = read_all(path)
    place %= len(content)
    path.write_bytes(content[:place] + bytes([content[place] ^ change]) + content[place + 1 :])
    for sample in samples:
        start, image_bytes, _ = sample.location.place
        if start - 512 <= place < start:
            with pytest.raises(SampleError, match="has the tar changed"):
                read_bytes(sample)
        else:
            changed = read_bytes(sample) != content[start : start + image_bytes]
            assert changed == (start <= place < start + image_bytes)


@given(st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=4), st.sampled_from("gp"))
def test_a_damaged_tar_is_refused_or_costs_the_images_that_are_damaged(tmp_path_factory, changes, form):
    path = tmp_path_factory.mktemp("tar") / "0.tar"
    members = {"a.jpg": jpeg(1), "n" * 120 + ".jpg": jpeg(2), "b.json": b"{}", "b.png": jpeg(3)}
    content = bytearray(make_tar(members, {"g": "gnu", "p": "pax"}[form]))
    for place, value in changes:
        content[place % len(content)] = value
    path.write_bytes(content)
    with suppress(CollectionError):
        for sample in read_all(path):
            assert sample.problem or READERS["tar"](sample.location, "a", 1 << 20)


def test_a_tar_that_was_cut_or_has_other_members_since_is_noticed(tmp_path):
    path = Path(write_tar(tmp_path / "0.tar", {"a.jpg": jpeg(1), "b.jpg": jpeg(2)}))
    first, second = read_all(path)
    write_tar(path, {"c.jpg": jpeg(1), "b.jpg": jpeg(2)})
    with pytest.raises(SampleError, match=r"at 512 is another member than 'a.jpg'; has the tar changed\?"):
        read_bytes(first)
    os.truncate(path, second.location.place[0] + 10)
    with pytest.raises(SampleError, match=r"10 of \d+ bytes, then it ends"):
        read_bytes(second)


def test_an_image_over_the_limit_is_not_read(tmp_path):
    (sample,) = read_all(write_tar(tmp_path / "0.tar", {"a.jpg": jpeg(1)}))
    size = sample.location.place[1]
    assert read_bytes(sample, max_bytes=size) == jpeg(1)
    with pytest.raises(SampleError, match=rf"{size} bytes; the limit is {size - 1}"):
        read_bytes(sample, max_bytes=size - 1)
    assert READERS["tar"](sample.location, "a", 1 << 20, 100) == jpeg(1)[:100]


# What a run keeps


def counted(patch):
    """The tars whose headers are read from now on."""
    read = []
    list_tar = tar_index.list_tar

    def listing(place, file, **options):
        read.append(file.name)
        return list_tar(place, file, **options)

    patch.setattr("pipeline.collection.tars.list_tar", listing)
    return read


def test_headers_are_read_once_and_again_only_of_tars_that_are_new_or_changed(tmp_path, monkeypatch):
    tars, out = tmp_path / "tars", str(tmp_path / "run")
    for number in range(3):
        members = {"a.jpg": jpeg(number), "b.jpg": jpeg(number), "a.json": b'{"url": "http://x"}'}
        write_tar(tars / f"{number}.tar", members)
    write_tar(tars / "empty.tar", {"a.txt": b"1"})
    read = counted(monkeypatch)
    kept = Kept(out)
    first = read_all(tars, kept)
    assert not os.path.exists(out)
    kept.write()
    assert sorted(read) == ["0.tar", "1.tar", "2.tar", "empty.tar"]
    read.clear()
    assert read_all(tars, Kept(out)) == first
    assert read == []
    assert open_images(tars).about("0/a.jpg").source == "http://x"
    read.clear()
    write_tar(tars / "3.tar", {"c.jpg": jpeg(3)})
    write_tar(tars / "1.tar", {"a.jpg": jpeg(5)})
    kept = Kept(out)
    assert len(read_all(tars, kept)) == 6
    kept.write()
    assert sorted(read) == ["1.tar", "3.tar"]
    read.clear()
    assert len(read_all(tars, Kept(out))) == 6
    assert read == []


def test_a_session_without_annotations_does_not_use_what_one_with_them_kept(tmp_path):
    inputs = make_collection(tmp_path, 2)
    tars, kept = in_tars(inputs, tmp_path / "tars"), Kept(str(tmp_path / "run"))
    read_collection(InputConfig(images=str(tars), annotations=str(inputs.annotations)), kept)
    kept.write()
    assert [sample.problem for sample in read_all(tars, Kept(str(tmp_path / "run")))] == ["", ""]


def test_an_index_that_is_torn_or_leads_out_of_its_tar_is_left_aside(tmp_path, caplog):
    tars, out = tmp_path / "tars", tmp_path / "run"
    write_tar(tars / "0.tar", {"a.jpg": jpeg(1)})
    kept = Kept(str(out))
    samples = read_all(tars, kept)
    kept.write()
    (index,) = (out / "plan/index").iterdir()
    index.write_bytes(index.read_bytes()[:-9])
    assert read_all(tars, Kept(str(out))) == samples
    assert "is left aside" in caplog.text
    listing = tar_index.list_tar(*_place_and_file(tars), looks=True, reads_json=False)
    image = listing.images["a.jpg"]
    wrong = {"a.jpg": image._replace(image_bytes=1 << 40), "b.jpg": image._replace(start=0)}
    table = tar_index.to_table({"digest": tar_index.TarListing(images=wrong, members=2)})
    (found,) = tar_index.from_tables([table], {"digest": 10_240}).values()
    assert found.images == {}


def _place_and_file(tars):
    from pipeline.collection.places import Place

    place = Place.of(str(tars))
    return place, place.files(".tar")[0]


# Runs


def test_a_run_over_tars_has_the_release_of_one_over_the_folder(tmp_path, fast_disk):
    inputs = make_collection(tmp_path / "in", 7)
    of_folder = run(make_config(inputs, tmp_path / "folder"))
    tars = str(in_tars(inputs, tmp_path / "tars"))
    of_tars = run(make_config(inputs, tmp_path / "run", images=tars))
    assert tree(of_tars.release) == tree(of_folder.release)


def test_a_run_resumes_and_grows_when_tars_are_added(tmp_path, fast_disk):
    inputs = make_collection(tmp_path / "in", 8)
    tars = in_tars(inputs, tmp_path / "tars")
    last = (tars / "00002.tar").rename(tmp_path / "later.tar")
    options = {"images": str(tars), "annotations": ""}
    assert run(make_config(inputs, tmp_path / "run", **options)).computed == 6
    again = run(make_config(inputs, tmp_path / "run", **options))
    assert (again.images, again.computed) == (6, 0)
    last.rename(tars / "00002.tar")
    grown = run(make_config(inputs, tmp_path / "run", version="1.1.0", **options))
    assert (grown.images, grown.computed) == (8, 2)


def test_a_run_whose_tar_has_changed_names_what_has_changed(tmp_path, fast_disk):
    inputs = make_collection(tmp_path / "in", 4)
    tars = in_tars(inputs, tmp_path / "tars")
    config = make_config(inputs, tmp_path / "run", images=str(tars), annotations="")
    run(config)
    write_tar(tars / "00001.tar", {"4.jpg": make_jpeg(9, 77, 16)})
    with pytest.raises(RunMismatchError, match=r"key 00001-4-\w+: width was 36, is 77"):
        run(config)
    (tars / "00001.tar").unlink()
    with pytest.raises(RunMismatchError, match=r"key 00001-4-\w+, 00001/4.jpg: no longer listed"):
        run(config)


def test_an_image_that_has_other_bytes_in_a_later_session_is_named(tmp_path, fast_disk):
    inputs = make_collection(tmp_path / "in", 4)
    tars = in_tars(inputs, tmp_path / "tars")
    options = {"images": str(tars), "annotations": ""}
    run(make_config(inputs, tmp_path / "run", **options))
    for entry in inputs.entries:
        inputs.file(entry["id"]).write_bytes(make_jpeg(9, entry["width"], entry["height"]))
    in_tars(inputs, tars)
    with pytest.raises(StorageError, match=r"key 0000\d-\d-\w+: 0000\d/\d.jpg has changed since it was predicted"):
        run(make_config(inputs, tmp_path / "run", version="1.1.0", **options))


def test_sizes_come_with_the_headers(tmp_path):
    path = write_tar(tmp_path / "0.tar", {"a.jpg": jpeg(3), "b.jpg": b"BM" + bytes(100)})
    store = open_images(path)
    assert store.about("0/a.jpg").size == size_in_start(jpeg(3)) == (23, 16, 1)
    assert store.about("0/b.jpg").size is None


def test_the_log_says_what_is_there(tmp_path):
    write_tar(tmp_path / "0.tar", {"a.jpg": jpeg(1), "a.json": b"{}", "b.txt": b"1"})
    assert open_images(tmp_path).found == "1 webdataset tars, in which 3 members were listed, 1 of them images"


def test_a_tar_of_a_folder_of_files_is_read_as_tar_writes_it(tmp_path):
    """`tar cf x.tar .`: folders are members too, and names begin with "./"."""
    file = io.BytesIO()
    (tmp_path / "in/below").mkdir(parents=True)
    (tmp_path / "in/below/a.jpg").write_bytes(jpeg(1))
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.add(tmp_path / "in", ".")
    (tmp_path / "x.tar").write_bytes(file.getvalue())
    assert contents(read_all(tmp_path / "x.tar")) == {"x/below/a.jpg": jpeg(1)}
