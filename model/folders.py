"""Model folders: saved whole or not at all, with their origin and checksums; nothing of the user's is removed."""

import contextlib
import glob
import hashlib
import json
import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from diffusers import ModelMixin

from model.checkpoint_facts import INDEX
from model.checkpoint_files import CheckpointError
from model.diffusion import SODDiffusionPipeline
from model.disk import sync_folder, with_room
from model.documents import DocumentError, parse_object, read_document
from model.weights import weight_files

SUMS = "SHA256SUMS"
_ORIGIN = "origin.json"

_log = logging.getLogger(__name__)


def require_free(out: Path) -> None:
    """Refuse a target that holds something.

    Raises: CheckpointError: `out` is a file, or a folder with something in it.
    """
    if out.exists() and not (out.is_dir() and next(out.iterdir(), None) is None):
        raise CheckpointError(f"{out} already exists and is not an empty folder; give another one")


def require_writable(folder: Path) -> None:
    """Refuse a folder that can't be written to or created; leave no trace of the attempt.

    Raises: CheckpointError: nothing can be written there.
    """
    folder = folder.absolute()
    try:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        tempfile.TemporaryDirectory(prefix=".trial-", dir=existing).cleanup()
    except OSError as error:
        raise CheckpointError(f"{folder}: nothing can be written there ({error.strerror or error})") from error


def require_replaceable(folder: Path, kind: str) -> None:
    """Refuse to replace a folder that holds anything but what `save_pipeline` wrote with that `kind` of origin.

    Raises: CheckpointError: it does, or one of its files has been changed since; the message names the first such file.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise CheckpointError(f"{folder} is not a folder and would be replaced; move it away, or give another one")
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    if not files:
        return
    origin, stated = folder / _ORIGIN, _stated_sums(folder)
    ours = {name for name in files if name in stated and _fingerprint(folder / name)["sha256"] == stated[name]}
    foreign = sorted({*files} - ours - {SUMS})
    if not foreign and not (origin.is_file() and _kind_of(origin) == kind):
        foreign = [files[0]]
    if foreign:
        raise CheckpointError(
            f"{folder} would be replaced, but {foreign[0]} in it is not what a training wrote; move the folder away, "
            "or give another one"
        )


def give_back(out: Path) -> None:
    """Return its name to a model that a killed session had set aside, if its successor did not get that name."""
    aside = [path for path in out.parent.glob(f".{glob.escape(out.name)}.*.replaced") if path.is_dir()]
    if aside and not out.exists():
        os.rename(max(aside, key=lambda path: path.stat().st_ctime_ns), out)  # renaming sets this time
        _log.warning("a session was killed while it replaced %s: %s is back as it was before", out, out)


def sums_with(folder: Path, name: str, content: bytes) -> bytes:
    """What `SHA256SUMS` of a saved folder has to be once one of its files has another content."""
    return _sums((_stated_sums(folder) | {name: hashlib.sha256(content).hexdigest()}).items())


def _stated_sums(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file by `SHA256SUMS`, if the folder has that."""
    sums = folder / SUMS
    lines = os.fsdecode(sums.read_bytes()).splitlines() if sums.is_file() else []
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _sums(digests: Iterable[tuple[str, str]]) -> bytes:
    return os.fsencode("".join(f"{digest}  {name}\n" for name, digest in digests))


def _kind_of(origin: Path) -> object:
    try:
        return parse_object(read_document(origin)).get("kind")
    except DocumentError:
        return None


def origins(files: Mapping[str, list[Path]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Names without folders, sizes and SHA-256 of the files that each part was read from."""
    return {part: {path.name: _fingerprint(path) for path in paths} for part, paths in files.items()}


def save_pipeline(
    pipeline: SODDiffusionPipeline, out: Path, origin: Mapping[str, Any], *, replace: bool = False
) -> None:
    """Save the pipeline with `origin.json` and `SHA256SUMS`; rename it to `out` once everything is on disk.

    Args:   replace: a model of the same kind of origin in `out` makes way for the new one.
    Raises: CheckpointError: `out` holds something else; it stays as it is.
    """

    def write(partial: Path) -> None:
        pipeline.save_pretrained(partial, safe_serialization=True)
        stated = {"dtype": str(pipeline.unet.dtype).removeprefix("torch."), **origin}
        (partial / _ORIGIN).write_text(json.dumps(stated, indent=2) + "\n")

    _save_whole(out, write, str(origin["kind"]) if replace else None)


def save_with_network(source: Path, name: str, network: ModelMixin, out: Path) -> None:
    """Copy a saved pipeline's weights and configurations byte by byte, with one more network; whole or not at all.

    Args:   name: of the network among the pipeline's, and of its folder.
    Raises: CheckpointError: `out` holds something; it stays as it is.
    """

    def write(partial: Path) -> None:
        for file in weight_files(source):
            copy = partial / file.relative_to(source)
            if copy.relative_to(partial).parts[0] == name:
                continue  # an earlier network of this name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        network.save_pretrained(partial / name, safe_serialization=True)
        index = partial / INDEX
        fields = parse_object(read_document(index)) | {name: [type(network).__module__, type(network).__name__]}
        index.write_text(json.dumps(dict(sorted(fields.items())), indent=2) + "\n")

    _save_whole(out, write)


def _save_whole(out: Path, write: Callable[[Path], None], replaced_kind: str | None = None) -> None:
    """Have a folder written beside `out`, with checksums; rename it once everything is on disk."""
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(out, "partial")
    partial.mkdir()
    try:
        write(partial)
        files = sorted(path for path in partial.rglob("*") if path.is_file())
        digests = ((path.relative_to(partial).as_posix(), _fingerprint(path)["sha256"]) for path in files)
        (partial / SUMS).write_bytes(_sums(digests))
        # A power cut after the renaming must not leave a complete-looking folder of empty files.
        for path in [*files, partial / SUMS]:
            with path.open("rb") as file:
                os.fsync(file.fileno())
        for folder in (partial, *(path for path in partial.rglob("*") if path.is_dir())):
            sync_folder(folder)
        with contextlib.nullcontext() if replaced_kind is None else _set_aside(out, replaced_kind):
            require_free(out)
            os.replace(partial, out)
            sync_folder(out.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


@contextlib.contextmanager
def _set_aside(out: Path, kind: str) -> Iterator[None]:
    """Give a folder that may be replaced another name for the block; then remove it, or give it back after an error.

    If the session is killed in the block, `give_back` does so in the next one.
    Raises: CheckpointError: it may not be replaced.
    """
    require_replaceable(out, kind)
    if not out.exists():
        yield
        return
    aside = _beside(out, "replaced")
    os.rename(out, aside)
    try:
        require_replaceable(aside, kind)  # again: under this name, nobody adds a file at the last moment
        yield
    except BaseException as error:
        _put_back(aside, out)
        if isinstance(error, CheckpointError):
            require_replaceable(out, kind)  # names the file where the user finds it
        raise
    removed = _beside(out, "removed")  # a part of it must not be given back
    with contextlib.suppress(OSError):
        os.rename(aside, removed)
    shutil.rmtree(removed, ignore_errors=True)
    for stays in filter(Path.exists, (aside, removed)):  # on NFS, as long as a process has one of its files open
        _log.warning("the model that %s replaced can't be removed now: delete %s later", out, stays)


def _put_back(aside: Path, out: Path) -> None:
    try:
        os.rename(aside, out)
    except OSError as error:
        _log.warning("the model that was in %s stays in %s: %s", out, aside, error)


def _beside(out: Path, purpose: str) -> Path:
    ending = f".{uuid.uuid4().hex}.{purpose}"
    return out.with_name(f".{with_room(out.name, 1 + len(ending))}{ending}")


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
