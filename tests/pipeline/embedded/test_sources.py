"""Sources: the list itself, and the way from a source to material. Nothing is fetched."""

import io
import re
import subprocess
import zipfile

import numpy as np
import pytest
from PIL import Image

from pipeline.embedded.material import SourceError
from pipeline.embedded.sources import BACKBONE, SOURCES, backbone_weights, fetch


def make_png(level=0):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(level).integers(0, 256, (160, 160, 4), dtype=np.uint8)
    y, x = np.mgrid[:160, :160]
    pixels[..., 3] = np.where((x - 80) ** 2 + (y - 80) ** 2 < 72**2, 255, 0)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def make_fetched(folder, name, members):
    """The cache as it is after fetching a package with these members."""
    (folder / "archives" / name).mkdir(parents=True)
    with zipfile.ZipFile(folder / "archives" / name / "things.zip", "w") as archive:
        for path, content in members.items():
            archive.writestr(path, content)


@pytest.fixture
def no_client(monkeypatch):
    monkeypatch.setattr(subprocess, "run", None)


def test_every_source_has_a_name_of_its_own_and_a_pattern():
    assert len({source.name for source in SOURCES}) == len(SOURCES)
    assert all(re.compile(source.files) for source in SOURCES)
    assert {source.kind for source in SOURCES if source.permissive} >= {"cutout", "photo", "texture"}


@pytest.mark.parametrize("author", ["Wine_by", "friends_by", "seeding_by", "Picture_0B_by"])
def test_no_wallpaper_of_the_sample_is_taken(author):
    assert not any(re.search(source.files, f"usr/share/backgrounds/{author}_x.jpg") for source in SOURCES)


@pytest.mark.usefixtures("no_client")
def test_fetching_reads_what_is_there_without_doubles_and_runs_no_client(tmp_path, make_source, told):
    make_fetched(tmp_path, "npm-some-things", {"a.png": make_png(), "b.png": make_png(), "c.png": make_png(1)})
    material = fetch(tmp_path, [make_source()])
    assert [len(group.pictures) for group in material.groups] == [2]
    assert told.lines == ["things: 2 of 3 files"]


@pytest.mark.usefixtures("no_client")
def test_a_group_tells_its_archive_and_its_checksum(tmp_path, make_source):
    make_fetched(tmp_path, "npm-some-things", {"a.png": make_png()})
    group = fetch(tmp_path, [make_source()]).groups[0]
    assert (group.archive, len(group.sha256)) == ("things.zip", 64)


@pytest.mark.usefixtures("no_client")
def test_a_source_without_a_usable_picture_is_an_error(tmp_path, make_source):
    make_fetched(tmp_path, "npm-some-things", {"a.png": make_png()})
    with pytest.raises(SourceError, match="no usable picture"):
        fetch(tmp_path, [make_source(min_px=1000)])


@pytest.mark.usefixtures("no_client")
def test_the_backbone_is_the_one_file_of_its_package(tmp_path):
    make_fetched(tmp_path, f"pip-{BACKBONE.package}", {"weights/lite2.pth": b"weights", "setup.py": b""})
    assert backbone_weights(tmp_path).read_bytes() == b"weights"


@pytest.mark.usefixtures("no_client")
def test_a_package_with_two_backbones_is_refused(tmp_path):
    make_fetched(tmp_path, f"pip-{BACKBONE.package}", {"a.pth": b"a", "b.pth": b"b"})
    with pytest.raises(SourceError, match="expected one"):
        backbone_weights(tmp_path)
