"""The list of a release's files, compared with the files of real releases."""

import pytest

from pipeline.release.check.verify import verify_release
from pipeline.release.contents import CONTENTS, content_of, is_described


@pytest.fixture(scope="module")
def compared(released, release_of):
    """A release that was compared with another one, so that it has every kind of file."""
    return release_of(released.inputs, released.config.out, version="20.0.0", previous=str(released.folder))


def names_of(release):
    return {path.relative_to(release.folder).as_posix() for path in release.folder.rglob("*") if path.is_file()}


def test_every_file_of_a_release_is_in_the_list_and_every_entry_has_a_file(released, compared):
    always = {one for one in CONTENTS if not one.of_pass}  # for those of passes: test_duplicates.py
    assert {content_of(name) for name in names_of(compared)} == always
    assert {content_of(name) for name in names_of(released)} == {one for one in always if not one.only_if_compared}


def test_the_check_knows_every_file_of_the_list(compared):
    assert verify_release(str(compared.folder)).problems == ()


def test_croissant_describes_data_and_nothing_else(compared):
    described = {name for name in names_of(compared) if is_described(name)}
    tar = "data/test/test-00000-of-00001.tar"
    assert described == {"annotations/test.json", tar, "licenses.csv", "manifest.parquet"}


@pytest.mark.parametrize("name", ["other", "manifest.parquet.tmp", "data/test.tar", "annotations/a.txt", "x/README.md"])
def test_other_files_are_not_in_the_list(name):
    assert content_of(name) is None
