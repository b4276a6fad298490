"""What --images may name: a file, a folder, or several files at once by a pattern."""

import uuid

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.collection.patterns import head_of, is_pattern, without_braces
from pipeline.collection.places import Place
from pipeline.errors import CollectionError


@pytest.fixture(params=["local", "remote"])
def root(request, tmp_path):
    """A folder with some files, as a path and as a URL of another file system."""
    if request.param == "local":
        yield str(tmp_path)
        return
    url = f"memory://{uuid.uuid4().hex}"
    yield url
    fsspec.filesystem("memory").rm(url, recursive=True)


def write(root, *names):
    for name in names:
        with fsspec.open(f"{root}/{name}", "wb", auto_mkdir=True) as file:
            file.write(name.encode())


def found(given, *suffixes):
    return [file.name for file in Place.of(given).files(*suffixes or (".tar",))]


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 6))
def test_a_range_in_braces_names_every_number_with_its_zeros(first, last, width):
    low, high = min(first, last), max(first, last)
    expected = [f"s/{number:0{width}d}.tar" for number in range(low, high + 1)]
    assert without_braces(f"s/{{{low:0{width}d}..{high:0{width}d}}}.tar") == expected


@pytest.mark.parametrize(
    ("given", "head"),
    [
        ("shards/{00..11}.tar", "shards/"),
        ("s3://bucket/a/{x,y}/*.tar", "s3://bucket/a/"),
        ("https://host/a/{0..3}.tar?sig=1", "https://host/a/"),
        ("*.tar", ""),
        ("/data/a?/b.tar", "/data/"),
    ],
)
def test_a_pattern_begins_with_a_folder(given, head):
    assert is_pattern(given)
    assert head_of(given) == head


@pytest.mark.parametrize("given", ["shards/{a}.tar", "a/b.tar", "https://host/a.tar?sig=1", "s3://bucket/a.tar"])
def test_what_names_one_file_is_no_pattern(given):
    assert not is_pattern(given)


def test_a_pattern_names_files_in_order_with_their_sizes_and_paths(root):
    write(root, "b-1.tar", "b-0.tar", "b-2.tar", "c.tar", "b-0.txt")
    assert found(f"{root}/b-*.tar") == found(f"{root}/b-{{0..2}}.tar") == ["b-0.tar", "b-1.tar", "b-2.tar"]
    assert found(f"{root}/{{c,b-?}}.tar") == ["c.tar", "b-0.tar", "b-1.tar", "b-2.tar"]
    (file,) = Place.of(f"{root}/c*.tar").files(".tar")
    assert file.file_bytes == len("c.tar")
    assert fsspec.open(file.own_path).open().read() == b"c.tar"


def test_patterns_reach_into_folders(root):
    write(root, "train/0.tar", "val/0.tar", "val/1.tar")
    assert found(f"{root}/{{train,val}}/0.tar") == ["train/0.tar", "val/0.tar"]
    assert found(f"{root}/*/*.tar") == ["train/0.tar", "val/0.tar", "val/1.tar"]


def test_a_folder_has_its_own_files_not_those_below_it_and_a_file_has_itself(root):
    write(root, "1.tar", "0.TAR", "0.txt", ".hidden.tar", "below/2.tar")
    assert found(root) == ["0.TAR", "1.tar"]
    assert Place.of(root).names == ("0.TAR", "0.txt", "1.tar")
    assert found(f"{root}/1.tar") == ["1.tar"]
    assert Place.of(f"{root}/1.tar").names == ()
    assert Place.of(root).has_below(".tar")
    assert not Place.of(root).has_below(".txt")


def test_a_path_that_exists_is_no_pattern(tmp_path):
    odd = tmp_path / "{a,b}[1]*"
    odd.mkdir()
    write(odd, "0.tar")
    assert Place.of(str(odd)).type == "directory"
    assert found(str(odd)) == ["0.tar"]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("{0..2}.tar", "2.tar"),
        ("x*.tar", "no file fits the pattern"),
        ("{0..1}{.tar", "Unbalanced braces"),
    ],
)
def test_a_pattern_that_names_what_is_not_there_is_refused(tmp_path, pattern, said):
    write(tmp_path, "0.tar", "1.tar")
    with pytest.raises((OSError, ValueError), match=said):
        Place.of(f"{tmp_path}/{pattern}").files(".tar")


def test_braces_that_name_too_many_files_are_refused_before_all_are_written_down(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.collection.patterns.MOST_FILES", 10)
    write(tmp_path, *(f"{number}.tar" for number in range(10)))
    assert len(found(f"{tmp_path}/{{0..9}}.tar")) == 10
    with pytest.raises(ValueError, match="its braces name more than 10 files"):
        Place.of(f"{tmp_path}/{{0..9999999999}}.tar").files(".tar")
    with pytest.raises(ValueError, match="its braces name more than 10 files"):
        Place.of(f"{tmp_path}/{{0..3}}{{0..2}}.tar").files(".tar")


def test_the_signature_of_a_url_is_no_part_of_a_name():
    memory = fsspec.filesystem("memory")
    for number in range(2):
        memory.pipe_file(f"/signed/{number}.tar?sig=secret", b"1")
    for url in ("memory://signed/{0..1}.tar?sig=secret", "memory://signed/0.tar?sig=secret"):
        files = Place.of(url).files(".tar")
        assert [file.name for file in files] == ["0.tar", "1.tar"][: len(files)]
        assert all(file.own_path.endswith("?sig=secret") for file in files)
    memory.rm("/signed", recursive=True)


def test_a_changed_file_has_another_stamp(tmp_path):
    write(tmp_path, "0.tar")
    before = Place.of(str(tmp_path)).files(".tar")
    assert before == Place.of(str(tmp_path)).files(".tar")
    (tmp_path / "0.tar").write_bytes(b"other")
    assert before[0].stamp != Place.of(str(tmp_path)).files(".tar")[0].stamp


def test_files_at_a_chained_url_have_no_urls_of_their_own(tmp_path):
    write(tmp_path, "0.tar")
    with pytest.raises(CollectionError, match=r"chained URL of a folder; give the folder's own URL"):
        Place.of(f"simplecache::file://{tmp_path}").files(".tar")
