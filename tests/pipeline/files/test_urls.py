"""What counts as a path and what as a URL: properties, examples, and what is refused."""

import os
import string
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import assume, example, given
from hypothesis import strategies as st

from pipeline.collection.coco import read_annotation_bytes
from pipeline.collection.config import InputConfig
from pipeline.errors import AnnotationError, CollectionError, UsageError
from pipeline.extras import extra_command
from pipeline.files import storage, urls
from pipeline.release.check.verify import verify_release
from pipeline.shown import shown
from tests.pipeline.make import open_images

ROOT = Path(__file__).resolve().parents[3]
TEXT = st.text("ab.:/~#?%*\\ SCé", min_size=1, max_size=12) | st.text(min_size=1, max_size=12)
ANY_TEXT = TEXT.filter(lambda text: "\0" not in text)
PROTOCOLS = st.sampled_from(["s3", "memory", "gs", "a+b", "h2.x", "nonsense"])


# Properties


def begins_with_protocols(text):
    """The rule in other words: links that are protocols, up to the first one with "://"."""
    for link in text.split("::"):
        protocol, found, _ = link.partition("://")
        is_protocol = len(protocol) > 1 and protocol[0] in string.ascii_letters
        if not is_protocol or set(protocol) - set(string.ascii_letters + string.digits + "+.-"):
            return False
        if found:
            return True
    return False


FOLDERS = st.lists(st.sampled_from(["a", "b", "..", ".", "a b"]), max_size=4).map("/".join)


@given(FOLDERS, FOLDERS, st.sampled_from(["/x/y", "s3://bucket/y", "memory://y"]))
def test_a_place_is_within_the_folders_above_it_and_within_no_other(inner, outer, top):
    folder = os.path.normpath(f"/1/2/3/4/{outer}")
    place = os.path.normpath(f"/1/2/3/4/{inner}")
    expected = place == folder or place.startswith(f"{folder}/")
    assert urls.is_within(f"{top}/1/2/3/4/{inner}", f"{top}/1/2/3/4/{outer}/") == expected
    assert not urls.is_within(f"{top}/1/2/3/4/{inner}", f"gs://bucket/1/2/3/4/{outer}")


@given(ANY_TEXT)
@example("~/run")
@example("a::b")
@example("aa::bb")
@example("C:\\run")
@example("C://run")
@example("./s3://run")
@example("aa::s3://run")
@example("s3:/run")
def test_text_is_a_local_path_unless_it_begins_with_a_protocol(text):
    assume(not text.lower().startswith("file://"))
    assert urls.is_local(text) is not begins_with_protocols(text)
    if urls.is_local(text):
        fs, path = urls.resolve(text)
        assert isinstance(fs, LocalFileSystem)
        assert path == urls.absolute(text) == os.path.abspath(text)


@given(PROTOCOLS, ANY_TEXT)
def test_text_behind_a_protocol_is_never_a_local_path_and_stays_as_it_is(protocol, text):
    assert not urls.is_local(f"{protocol}://{text}")
    assert urls.absolute(f"{protocol}://{text}") == f"{protocol}://{text}"
    assert urls.absolute(f"{protocol.upper()}://{text}") == f"{protocol}://{text}"


@given(ANY_TEXT.map(lambda text: f"/{text}"))
@example("/a::b")
@example("/a%20b")
@example("/~/x")
@example("//x")
@example("/s3://x")
def test_a_file_url_of_an_absolute_path_names_what_the_path_names(path):
    for protocol in ("file", "FILE"):
        assert urls.absolute(f"{protocol}://{path}") == urls.absolute(path) == os.path.abspath(path)
        assert urls.resolve(f"{protocol}://{path}") == urls.resolve(path)
        assert not urls.is_chained(f"{protocol}://{path}")


@given(ANY_TEXT | st.builds("{}://{}".format, PROTOCOLS, ANY_TEXT))
def test_making_a_path_or_url_absolute_twice_changes_nothing_more(text):
    try:
        place = urls.absolute(text)
    except UsageError:
        return
    assert urls.absolute(place) == place
    assert urls.is_local(place) == urls.is_local(text) == place.startswith("/")


@given(ANY_TEXT)
def test_an_unknown_protocol_is_refused_by_name_whatever_follows(text):
    with pytest.raises(UsageError) as refused:
        urls.resolve(f"nonsense://{text}")
    assert repr(shown(f"nonsense://{text}")) in str(refused.value)


# Examples


def test_a_relative_path_starts_at_the_working_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert urls.absolute("out/run") == str(tmp_path / "out" / "run")
    assert urls.absolute("./out/../run/") == str(tmp_path / "run")
    assert urls.absolute("/out/run") == "/out/run"
    assert urls.absolute("s3://bucket/run") == "s3://bucket/run"


@pytest.mark.parametrize("url", ["memory://place/a#b?c", "Memory://place/a#b?c"])
def test_a_url_is_resolved_by_fsspec(url):
    fs, path = urls.resolve(url)
    assert isinstance(fs, MemoryFileSystem)
    assert path == "/place/a#b?c"


def test_a_chained_url_reads_an_input_whose_configuration_allows_it(tmp_path):
    fsspec.filesystem("memory").pipe_file("/inputs/annotations.json", b"content")
    assert read_annotation_bytes("simplecache::memory://inputs/annotations.json") == b"content"
    assert urls.is_chained("simplecache::memory://inputs/annotations.json")
    assert not urls.is_chained("memory://inputs/annotations.json")
    assert not urls.is_chained("simplecache::inputs")  # a local name


def test_a_file_url_and_a_path_name_the_same_files(tmp_path):
    storage.publish(f"file://{tmp_path}/a b%20#/file", b"content")
    assert storage.read(f"{tmp_path}/a b%20#/file") == b"content"
    assert storage.create(f"FILE://{tmp_path}/a b%20#/file", b"other") is False
    assert storage.list_names(f"file://{tmp_path}") == ["a b%20#"]


# Faults


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "the path is empty"),
        ("a\0b", "NUL"),
        ("s3://a\0b", "NUL"),
        ("file://data/run", "a file:// URL must be absolute, file:///data/run for example"),
        ("file://~/run", "must be absolute"),
        ("nonsense://x", "the protocol 'nonsense' can't be used; give a local path, or a URL that begins with one of "),
        ("simplecache::nonsense://x", "the protocol 'nonsense' can't be used"),
        ("nonsense::memory://x", "the protocol 'nonsense' can't be used"),
        ("gs://bucket/run", "gs:// needs a package that can't be imported; run pip install gcsfs"),
        ("simplecache::gs://bucket/run", "run pip install gcsfs"),
        ("local:///folder", "the protocol 'local' can't be used"),
    ],
)
def test_a_place_that_can_not_be_resolved_is_refused_by_name_everywhere(url, said):
    for error, use in (
        (UsageError, urls.resolve),
        (AnnotationError, read_annotation_bytes),
        (CollectionError, lambda url: open_images(url, allow_chained_urls=True)),
    ):
        with pytest.raises(error) as refused:
            use(url)
        assert said in str(refused.value)
        assert str(refused.value).count(repr(url)) == 1


@pytest.mark.parametrize("url", ["simplecache::memory://run", "zip://run::memory://x.zip", "memory://a::memory://b"])
@pytest.mark.parametrize(
    "use", [storage.read, storage.exists, storage.remove_tree, lambda url: storage.create(url, b"")]
)
def test_a_run_or_release_is_never_at_a_chained_url(url, use):
    with pytest.raises(UsageError, match="can only be read as an input"):
        use(url)


# A name with an underscore is no protocol: such text is a local path.
KNOWN_TO_FSSPEC = {protocol for protocol in fsspec.available_protocols() if "_" not in protocol}


@pytest.mark.parametrize("protocol", sorted(KNOWN_TO_FSSPEC - {*urls.PROTOCOLS, "memory"}))
@pytest.mark.parametrize("form", ["{}://place/x", "{}::memory://x", "simplecache::{}://x", "memory://x::{}://y"])
def test_protocols_that_are_not_on_the_list_are_refused_with_the_list(protocol, form):
    url = form.format(protocol)
    if "::" in form and protocol in ("simplecache", "filecache", "blockcache", "zip"):
        return  # these have a meaning in a chain
    for capitals in (url, url.upper()):
        with pytest.raises(UsageError, match="file, s3, gs, abfs, hf, http, https") as refused:
            urls.resolve(capitals, chained=True)
        assert "memory" not in str(refused.value).replace(repr(capitals), "")


@pytest.mark.parametrize("option", ["images", "annotations"])
def test_inputs_are_at_chained_urls_only_with_the_option_for_it(option):
    places = {"images": "i", "annotations": "a", option: "simplecache::s3://key:hunter2@bucket/x.zip"}
    assert InputConfig(**places, allow_chained_urls=True)
    with pytest.raises(ValueError, match="--allow-chained-urls") as refused:
        InputConfig(**places)
    assert "hunter2" not in str(refused.value)


def test_annotations_to_check_a_release_with_are_not_at_a_chained_url(tmp_path):
    (tmp_path / "release.json").write_text("{}")
    with pytest.raises(UsageError, match="a chained URL"):
        verify_release(str(tmp_path), "simplecache::memory://a.json")


WITHOUT_S3FS = """
import sys
sys.modules["s3fs"] = None
from pipeline.errors import UsageError
from pipeline.files import storage
try:
    storage.read("s3://bucket/run/run.json")
except UsageError as error:
    print(error)
"""


def test_without_s3fs_the_error_has_the_command_that_installs_it():
    done = subprocess.run([sys.executable, "-c", WITHOUT_S3FS], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "'s3://bucket/run/run.json': s3:// needs a package" in done.stdout
    assert extra_command("s3") in done.stdout
