"""Files of a result: checked before the first is written, and each there as a whole or not at all."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from model.disk import with_room


def path_of(given: str | os.PathLike[str]) -> Path:
    """The path to save at.

    Raises: ValueError: it is empty, or no file can have that name.
    """
    text = os.fspath(given)
    if not text:
        raise ValueError("path is ''; give a file that ends in .png, or a folder: '.' is the current one")
    if "\0" in text:
        raise ValueError(f"path is {text!r}, which has a NUL character; give one without")
    return Path(text)


def save(contents: Mapping[Path, bytes], *, overwrite: bool) -> None:
    """Write files; their folders are made.

    Raises: FileExistsError: one is there, or a link that leads nowhere. NotADirectoryError, IsADirectoryError,
                ValueError: one can't be there. Nothing is written then.
            OSError: it can't be written.
    """
    for file in contents:
        _require_place(file, overwrite=overwrite)
    for file, content in contents.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        _put(file, content, overwrite=overwrite)


def _require_place(file: Path, *, overwrite: bool) -> None:
    folder = next(parent for parent in file.parents if os.path.lexists(parent) or parent == parent.parent)
    _refuse_link_to_nothing(folder)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file, not a folder; give another path")
    _refuse_link_to_nothing(file)
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder; give another path, or one of a file in it")
    if file.exists() and not file.is_file():
        raise ValueError(f"{file} is no plain file; give another path")
    if file.exists() and not overwrite:
        raise _is_there(file)


def _refuse_link_to_nothing(path: Path) -> None:
    if path.is_symlink() and not path.exists():
        raise FileExistsError(f"{path} is a link to nothing; remove it, or give another path")


def _is_there(file: Path) -> FileExistsError:
    return FileExistsError(f"{file} is there already; give another path, or overwrite=True to replace it")


def _put(file: Path, content: bytes, *, overwrite: bool) -> None:
    target = Path(os.path.realpath(file))  # a link stays, and leads to the new file
    ending = f".{uuid4().hex[:8]}.tmp"
    draft = target.with_name(f"{with_room(target.name, len(ending))}{ending}")
    try:
        _write(draft, content)
        if overwrite:
            os.replace(draft, target)
        else:
            _rename_to_free_name(draft, target)
    except FileExistsError as error:
        raise _is_there(file) from error
    finally:
        draft.unlink(missing_ok=True)


def _rename_to_free_name(draft: Path, target: Path) -> None:
    """Give the draft its name unless a file has it by now, which a plain rename would replace."""
    try:
        os.link(draft, target)
        return
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links, such as exFAT or a mounted Google Drive
        pass
    with target.open("xb"):
        pass
    try:
        os.replace(draft, target)  # of the empty file that was just made here
    except OSError:
        with suppress(OSError):
            target.unlink()
        raise


def _write(draft: Path, content: bytes) -> None:
    with draft.open("xb") as stream:
        stream.write(content)
