"""Why none of the annotated images is there: compares the names in the annotations with those of the files.

The first explanation that fits is told, with what to do. Nothing here decides which file an image is.
"""

import os
import posixpath
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from urllib.parse import unquote

from pipeline.collection.config import InputConfig
from pipeline.collection.names import in_form, short
from pipeline.collection.stores import names_in
from pipeline.collection.zips import ENCODINGS
from pipeline.errors import PipelineError

_MOST_FILES = 20_000
"""Names that are compared; the first ones show what is wrong with all."""
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")


def why_none(inputs: InputConfig, wanted: Sequence[str]) -> str:
    """Explain, in a sentence or two, why the place of the images, which can be opened, has none of these files."""
    try:
        there = names_in(inputs, _MOST_FILES)
    except (OSError, PipelineError) as error:
        return f"Its files can't be listed ({error}). Give the folder of the images"
    return explained(inputs.images, wanted, there)


def explained(images: str, wanted: Sequence[str], there: Sequence[str]) -> str:
    """As `why_none`, for the names of the files that are there."""
    if not there:
        return "It holds no files. Give the folder of the images"
    known = {in_form(name): name for name in wanted}
    for rule in (_too_low, _other_folder, _other_spelling, _other_encoding, _archives):
        if words := rule(images, known, there):
            return words
    more = f" and {len(there) - 1} more" if len(there) > 1 else ""
    return (
        f"It holds {short(there[0])}{more}, which no name in the annotations resembles. Give the folder of the images"
    )


def _too_low(images: str, known: dict[str, str], there: Sequence[str]) -> str:
    """The names begin with a folder that is the given one, or is not there."""
    files = {in_form(name) for name in there}
    folders = Counter(folder for name in known for folder, rest in _splits(name) if rest in files).most_common(1)
    if not folders:
        return ""
    folder = folders[0][0]
    given = images.rstrip("/")
    if in_form(given).endswith(f"/{folder}") or given == folder:
        return (
            f"Each file_name begins with {short(folder + '/')}, which is the folder given: give the folder above it, "
            f"--images {given.removesuffix(folder).rstrip('/') or '.'}"
        )
    return (
        f"Each file_name begins with {short(folder + '/')}, and the files lie in the folder given without it. Move "
        f"them into a folder {short(folder)} there, or remove it from each file_name"
    )


def _other_spelling(_: str, known: dict[str, str], there: Sequence[str]) -> str:
    """The names differ in something that people do not see as a difference."""
    spellings: tuple[tuple[str, str, Callable[[str], str]], ...] = (
        ("capital and small letters", "Rename the files, or correct file_name", str.casefold),
        ("the escapes of a URL (%20)", "Rename the files, or correct file_name", unquote),
        ("spaces at an end", "Correct file_name", lambda name: "/".join(map(str.strip, name.split("/")))),
        ("the suffix", "Correct file_name, or give the folder with the right files", _without_suffix),
        ("a second suffix", "Rename the files", lambda name: _without_suffix(_without_suffix(name))),
        ("leading zeros", "Rename the files, or correct file_name", _without_zeros),
    )
    for what, advice, spelled in spellings:
        for part in (str, posixpath.basename):
            names = {spelled(part(name)): original for name, original in known.items()}
            for name in there:
                if (original := names.get(spelled(part(in_form(name))))) is not None:
                    return (
                        f"Names differ in {what}: {short(original)} in the annotations, {short(name)} there. {advice}"
                    )
    return ""


def _other_folder(_: str, known: dict[str, str], there: Sequence[str]) -> str:
    """Files of the same names lie in another folder."""
    names = {posixpath.basename(name): original for name, original in known.items()}
    for name in there:
        if (original := names.get(posixpath.basename(in_form(name)))) is not None:
            return (
                f"A file of this name lies in another folder: {short(original)} in the annotations, {short(name)} "
                "there. Rename the folder, or correct file_name"
            )
    return ""


def _other_encoding(_: str, known: dict[str, str], there: Sequence[str]) -> str:
    """The names were written in one encoding and read in another."""
    for name in there:
        for encoding, said in () if name.isascii() else _read_again(name):
            if (original := known.get(in_form(said)) or known.get(in_form(posixpath.basename(said)))) is not None:
                return (
                    f"Names were written in the encoding {encoding} and read in another: {short(name)} there is "
                    f"{short(original)} in the annotations. Unpack the archive again, with unzip -O {encoding} for "
                    "example, or rename the files with convmv"
                )
    odd = next((name for name in there if not name.isascii()), None)
    if odd is not None and not all(map(str.isascii, known)):
        return (
            f"Names there may be in an encoding that is not known, {odd!a} for example. Make the archive again "
            "with names in UTF-8, or rename the files"
        )
    return ""


def _archives(images: str, _: dict[str, str], there: Sequence[str]) -> str:
    packed = [name for name in there if name.lower().endswith(_ARCHIVES)]
    if not packed:
        return ""
    where = posixpath.join(images.rstrip("/"), packed[0])
    advice = f"give --images {where}" if os.path.isfile(where) and where.endswith(".zip") else "unpack it first"
    return f"It holds an archive, {short(packed[0])}: {advice}"


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """Every way to cut a name into a folder and the rest."""
    parts = posixpath.normpath(name).split("/")
    for count in range(1, len(parts)):
        yield "/".join(parts[:count]), "/".join(parts[count:])


def _without_suffix(name: str) -> str:
    return posixpath.splitext(name)[0]


def _without_zeros(name: str) -> str:
    folder, base = posixpath.split(name)
    return posixpath.join(folder, base.lstrip("0"))


def _read_again(name: str) -> Iterable[tuple[str, str]]:
    """What the bytes of a name say in other encodings."""
    for written in ("utf-8", *ENCODINGS):
        for read in ("utf-8", "cp437", "cp1252", "latin-1"):
            if written != read:
                try:
                    yield written, name.encode(read, "surrogateescape").decode(written)
                except UnicodeError:
                    continue
