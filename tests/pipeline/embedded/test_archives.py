"""Archives: what is unpacked, what is refused, and what a client's failure leaves. Nothing is fetched."""

import io
import re
import shutil
import struct
import subprocess
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.embedded import archives
from pipeline.embedded.archives import fetch_archive, read_archive, require_clients, safe_path, unpack
from pipeline.embedded.material import SourceError
from pipeline.errors import ConfigError

ANY = re.compile(".")


def make_tar(path, *names, mode="w:gz", link=None, link_type=tarfile.SYMTYPE):
    with tarfile.open(path, mode) as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))
        if link:
            member = tarfile.TarInfo(link)
            member.type, member.linkname = link_type, "/etc/passwd"
            tar.addfile(member)
    return path


def make_rcc(name, content, flags=0):
    """A Qt resource file of version 1 with one file in its root."""
    data = struct.pack(">I", len(content)) + content
    table = struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
    root = struct.pack(">IHII", 0, 2, 1, 1)
    file = struct.pack(">IHHHI", 0, flags, 0, 0, 0)
    data_at, names_at = 20, 20 + len(data)
    return b"qres" + struct.pack(">IIII", 1, names_at + len(table), data_at, names_at) + data + table + root + file


def make_zip(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@given(st.lists(st.sampled_from(["..", "a", "b.png", ".", "~", ""]), min_size=1, max_size=5), st.booleans())
def test_an_unpacked_path_never_leaves_its_folder(parts, absolute):
    name = ("/" if absolute else "") + "/".join(parts)
    try:
        path = safe_path(name)
    except SourceError:
        return
    folder = Path("/folder")
    assert folder in (folder / path).resolve().parents


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/etc/x.png", "a\\..\\x.png", "a\0.png", "."])
def test_a_path_out_of_the_folder_is_refused(name):
    with pytest.raises(SourceError, match="leaves its folder"):
        safe_path(name)


@pytest.mark.parametrize("kind", ["tgz", "zip", "rcc"])
def test_unpacking_refuses_a_member_that_climbs_out(tmp_path, kind):
    archive = tmp_path / ("a.tgz" if kind == "tgz" else "a.zip")
    if kind == "tgz":
        make_tar(archive, "good.png", "../bad.png")
    else:
        bad = {"../bad.png": b"bad"} if kind == "zip" else {"a.rcc": make_rcc("../../bad.png", b"bad")}
        make_zip(archive, {"good.png": b"good"} | bad)
    with pytest.raises(SourceError, match="leaves its folder"):
        unpack(archive, tmp_path / "deep" / "folder", ANY)
    assert not list(tmp_path.rglob("bad.png"))


@pytest.mark.parametrize(
    "link_type", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE], ids=["soft", "hard", "fifo"]
)
def test_unpacking_refuses_a_link_or_device_in_a_tar(tmp_path, link_type):
    archive = make_tar(tmp_path / "a.tgz", "good.png", link="bad.png", link_type=link_type)
    with pytest.raises(SourceError, match="link or device"):
        unpack(archive, tmp_path / "folder", ANY)


def test_unpacking_refuses_a_link_in_a_zip(tmp_path):
    link = zipfile.ZipInfo("bad.png")
    link.external_attr = 0o120777 << 16
    make_zip(tmp_path / "a.whl", {link: "/etc/passwd"})
    with pytest.raises(SourceError, match="link"):
        unpack(tmp_path / "a.whl", tmp_path / "folder", ANY)


def test_a_refused_archive_is_refused_again(tmp_path):
    archive = make_tar(tmp_path / "a.tgz", "good.png", link="bad.png")
    for _ in range(2):
        with pytest.raises(SourceError, match="link"):
            unpack(archive, tmp_path / "folder", ANY)


def test_a_link_that_is_not_wanted_does_no_harm(tmp_path):
    archive = make_tar(tmp_path / "a.tgz", "good.png", link="bad.txt")
    assert [path.name for path in unpack(archive, tmp_path / "folder", re.compile("png$"))] == ["good.png"]


def test_a_folder_that_somebody_else_made_is_refused_and_stays(tmp_path):
    archive = make_tar(tmp_path / "a.tgz", "good.png")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine.png").write_bytes(b"")
    with pytest.raises(SourceError, match="was not unpacked here: move it away"):
        unpack(archive, tmp_path / "folder", ANY)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["mine.png"]


def test_an_unpacking_that_fails_leaves_nothing_behind(tmp_path):
    archive = make_tar(tmp_path / "a.tgz", "good.png", link="bad.png")
    with pytest.raises(SourceError, match="link"):
        unpack(archive, tmp_path / "folder", ANY)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tgz"]


def test_another_pattern_unpacks_anew(tmp_path):
    archive = make_tar(tmp_path / "a.tgz", "a.png", "b.txt")
    assert [path.name for path in unpack(archive, tmp_path / "folder", re.compile("png"))] == ["a.png"]
    assert [path.name for path in unpack(archive, tmp_path / "folder", re.compile("txt"))] == ["b.txt"]


def test_an_archive_without_anything_wanted_is_an_error_every_time(tmp_path):
    archive = make_tar(tmp_path / "a.tgz", "good.txt")
    for _ in range(2):
        with pytest.raises(SourceError, match="holds nothing that matches"):
            unpack(archive, tmp_path / "folder", re.compile("png$"))


def test_nested_archives_are_read_with_their_own_path(tmp_path):
    inner = io.BytesIO()
    make_zip(inner, {"chair.png": b"chair"})
    packed = make_zip(tmp_path / "a.zip", {"models.sh3f": inner.getvalue(), "data.rcc": make_rcc("fish.webp", b"fish")})
    members = dict(read_archive(packed, re.compile("(png|webp)$")))
    assert members == {"models.sh3f/chair.png": b"chair", "data.rcc/fish.webp": b"fish"}


def test_compressed_contents_of_a_resource_file_are_inflated(tmp_path):
    content = struct.pack(">I", 4) + zlib.compress(b"fish")
    packed = make_zip(tmp_path / "a.zip", {"data.rcc": make_rcc("fish.webp", content, flags=1)})
    assert dict(read_archive(packed, re.compile("webp$"))) == {"data.rcc/fish.webp": b"fish"}


@pytest.mark.parametrize("content", [b"not one", make_rcc("a.webp", b"x", flags=4)], ids=["not one", "zstd"])
def test_a_resource_file_of_another_kind_is_refused(tmp_path, content):
    packed = make_zip(tmp_path / "a.zip", {"data.rcc": content})
    with pytest.raises(SourceError, match="resource file"):
        list(read_archive(packed, re.compile("webp$")))


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="needs dpkg-deb")
def test_a_debian_package_is_read(tmp_path):
    (tmp_path / "root" / "DEBIAN").mkdir(parents=True)
    (tmp_path / "root" / "DEBIAN" / "control").write_text(
        "Package: a\nVersion: 1\nArchitecture: all\nMaintainer: A <a@a.aa>\nDescription: a\n"
    )
    (tmp_path / "root" / "a.png").write_bytes(b"a")
    command = ["dpkg-deb", "--build", tmp_path / "root", tmp_path / "a.deb"]
    subprocess.run(command, check=True, capture_output=True)
    assert dict(read_archive(tmp_path / "a.deb", re.compile("png$"))) == {"./a.png": b"a"}


def test_a_package_is_fetched_once_and_whole(tmp_path, monkeypatch, make_source):
    commands = iter([["sh", "-c", "echo packed > things.tgz"]])
    monkeypatch.setattr(archives, "_client_command", lambda source: next(commands))
    assert [fetch_archive(tmp_path, make_source()).read_text() for _ in range(2)] == ["packed\n"] * 2


def test_a_missing_client_is_named(tmp_path, monkeypatch, make_source):
    monkeypatch.setattr(archives, "_client_command", lambda source: ["no-such-client-here"])
    with pytest.raises(SourceError, match=r"no-such-client-here.*not installed.*@some/things"):
        fetch_archive(tmp_path, make_source())


def test_missing_programs_are_refused_before_anything_is_fetched(tmp_path, monkeypatch, make_source):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match=r"^things: `npm` is not installed; @some/things needs it$"):
        require_clients(tmp_path, [make_source()])
    (tmp_path / "npm-some-things").mkdir()
    require_clients(tmp_path, [make_source()])  # fetched already


def test_a_debian_package_that_is_fetched_still_has_to_be_unpacked(tmp_path, monkeypatch, make_source):
    monkeypatch.setenv("PATH", "")
    (tmp_path / "apt-things").mkdir()
    with pytest.raises(ConfigError, match="`dpkg-deb` is not installed"):
        require_clients(tmp_path, [make_source(registry="apt", package="things")])


def test_a_failing_client_says_why_and_leaves_no_archive(tmp_path, monkeypatch, make_source):
    monkeypatch.setattr(archives, "_client_command", lambda source: ["sh", "-c", "echo gone >&2; exit 1"])
    with pytest.raises(SourceError, match="gone"):
        fetch_archive(tmp_path, make_source())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("registry", ["pip", "npm"])
def test_exactly_the_listed_version_is_asked_for(make_source, registry):
    command = archives._client_command(make_source(registry=registry))
    assert any(word in ("@some/things==1.0.0", "@some/things@1.0.0") for word in command)


def test_of_pypi_only_wheels_are_fetched_since_pip_runs_code_of_source_archives(make_source):
    command = archives._client_command(make_source(registry="pip"))
    assert command[command.index("--only-binary") + 1] == ":all:"
