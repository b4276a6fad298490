"""A table of addresses: CSV, JSON lines or parquet, with a row per image and a column of paths or URLs.

A path is relative to the table's folder, or absolute below it: no name leads out. http and https addresses are read by
`files/web.py`, those of stores (s3, gs, abfs, hf) as any file.
"""

import os
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from pipeline.collection.address_tables import AddressTable, read_address_table
from pipeline.collection.collection import About
from pipeline.collection.columns import LONGEST_CELL
from pipeline.collection.config import InputConfig
from pipeline.collection.folders import Folder, open_folder, read_file
from pipeline.collection.names import safe_name, short
from pipeline.collection.places import Place
from pipeline.collection.rows import RowNames, in_words
from pipeline.collection.table_files import TableFile
from pipeline.collection.telling import LONGEST_TEXT, about_of
from pipeline.errors import PipelineError, SampleError
from pipeline.files import urls, web
from pipeline.records import Location
from pipeline.shown import shown, without_secrets

_WEB = ("http://", "https://")
_FILE = "file://"
_ASKED_HOSTS = 5
_NO_ADDRESS = {"ValueError", "NotImplementedError", "ParamValidationError"}
"""What clients of stores raise for an address that can't be one of theirs; the last one is botocore's."""


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Images whose addresses are in tables."""

    tables: Sequence[AddressTable]
    table_ends: tuple[int, ...]
    names_of_rows: RowNames
    inputs: InputConfig
    holds_images_only = True

    @property
    def found(self) -> str:
        """As `ImageStore.found`."""
        hosts = {_host(address) for address in self._all() if _is_web(address)}
        at = f" on {len(hosts)} hosts" if hosts else ""
        columns = in_words(sorted({table.column for table in self.tables}))
        return f"a table of {len(self.names_of_rows.rows)} addresses{at}, in column {columns}"

    def names(self) -> Iterable[str]:
        """As `ImageStore.names`."""
        return self.names_of_rows.rows.keys()

    def locate(self, file_name: str) -> Location:
        """As `ImageStore.locate`; also raises `unsafe_address`."""
        table, row = self._row(self.names_of_rows.find(file_name))
        address = table.addresses[row]
        where = f"file_name {short(file_name)}"
        if not address:
            raise SampleError("missing", f"{where}: its row has no address")
        if address[:5].lower() == "data:" and "," in address:
            raise SampleError("unsafe_address", f"{where}: data: addresses are not read; store the image as a file")
        if len(address) > LONGEST_CELL or not address.isprintable():
            raise SampleError("unsafe_address", f"{where}: its address is too long, or has control characters")
        if _is_web(address):
            return self._on_web(address)
        if _is_url(address):
            if _parts(address).scheme not in urls.PROTOCOLS or urls.is_chained(address):
                known = ", ".join(urls.PROTOCOLS)
                raise SampleError("unsafe_address", f"{where}: its address must be a path, or a URL of {known}")
            return Location(path=address, reader="address")
        name = _relative(address, table.folder)
        if name is None:
            raise SampleError(
                "unsafe_path",
                f"{where}: its address is a path outside the table's folder. Put the table into a folder above its "
                "images",
            )
        return self._in_folder(table, name)

    def about(self, name: str) -> About:
        """As `ImageStore.about`: what other columns say; without a source, the URL itself."""
        table, row = self._row(self.names_of_rows.rows[name])
        said = {field: column[row] for field, column in table.about.items()}
        if not said.get("source") and _is_url(table.addresses[row]):
            said["source"] = shown(table.addresses[row])[:LONGEST_TEXT]
        return about_of(said)

    def hosts(self, limit: int) -> list[str]:
        """Some of the hosts that images are on."""
        found: dict[str, None] = {}
        for address in self._all():
            if _is_web(address) and (host := _host(address)):
                found[host] = None
                if len(found) == limit:
                    break
        return list(found)

    def _all(self) -> Iterator[str]:
        return chain.from_iterable(table.addresses for table in self.tables)

    def _row(self, number: int) -> tuple[AddressTable, int]:
        at = bisect_right(self.table_ends, number)
        return self.tables[at], number - (self.table_ends[at - 1] if at else 0)

    def _on_web(self, address: str, *more: str) -> Location:
        return Location(path=address, reader="address", part=" ".join((*self.inputs.allow_hosts, *more)))

    def _in_folder(self, table: AddressTable, name: str) -> Location:
        if urls.is_local(table.path):
            return self._folders[table.folder].locate(name)
        if _is_web(table.path):
            return self._on_web(urljoin(table.path, quote(safe_name(name))), _host(table.path))
        return Location(path=f"{table.folder}/{safe_name(name)}")

    @cached_property
    def _folders(self) -> dict[str, Folder]:
        """The folders of local tables, listed once, and only where images are."""
        wanted: dict[str, list[str]] = {}
        for table in self.tables:
            paths = (address for address in table.addresses if not _is_web(address))
            names = (_relative(path, table.folder) for path in paths)
            wanted.setdefault(table.folder, []).extend(name for name in names if name)
        return {folder: open_folder(Place.of(folder), names, self.inputs) for folder, names in wanted.items()}


def open_addresses(files: Sequence[TableFile], wanted: Collection[str], inputs: InputConfig) -> Addresses:
    """Read tables of addresses whole, but for columns that are not needed.

    Raises: CollectionError: one is no table, or has no column of addresses. StorageUnavailableError: the images are on
            the web, and this machine has no network.
    """
    names = RowNames(wanted)
    tables = []
    for file in files:
        where = f"images {shown(file.path)!r}"
        table = read_address_table(file, inputs, where)
        names.add(table.name, _names(table, inputs))
        tables.append(table)
    found = Addresses(
        tables=tables,
        table_ends=tuple(accumulate(len(table.addresses) for table in tables)),
        names_of_rows=names,
        inputs=inputs,
    )
    web.require_network(found.hosts(_ASKED_HOSTS))
    return found


def read_address(location: Location, label: str, max_bytes: int, first: int | None = None) -> bytes:
    """Read an image at a URL. As the readers of `stores.READERS`; also raises `unsafe_address` and `opted_out`."""
    if _is_web(location.path):
        return web.fetch(location.path, label, most_bytes=max_bytes, first=first, allowed=location.part.split())
    try:
        return read_file(location, label, max_bytes, first)
    except PermissionError as error:  # of a folder, that concerns the whole run; a table may name any bucket
        raise SampleError("unreadable", f"{label}: its store denies access") from error
    except Exception as error:
        if isinstance(error, PipelineError | OSError) or not _NO_ADDRESS & {
            one.__name__ for one in type(error).__mro__
        }:
            raise
        said = " ".join(without_secrets(str(error)).split())[:200]
        raise SampleError("unsafe_address", f"{label}: its store has no such addresses: {said}") from error


def _names(table: AddressTable, inputs: InputConfig) -> Iterator[str | None]:
    """What each row is called: by the column of names, but a path is its own name unless that column was asked for."""
    for row, address in enumerate(table.addresses):
        said = table.names[row].strip() if table.names else ""
        if said and (inputs.name_column or _is_url(address)):
            yield said
        elif _is_web(address):
            yield unquote(_parts(address).path).lstrip("/")
        elif _is_url(address):
            yield address.partition("://")[2].partition("/")[2]
        else:
            yield _relative(address, table.folder)


def _relative(address: str, folder: str) -> str | None:
    """A path as it is called in the table's folder; None if it is absolute and not below it."""
    path = address[len(_FILE) :] if address.lower().startswith(_FILE) else address
    if not path.startswith("/"):
        return path
    below = os.path.relpath(path, folder) if urls.is_local(folder) else ".."
    return None if below.split("/")[0] == ".." else below


def _is_url(address: str) -> bool:
    """Is it the address of something that is not on the local disk?"""
    return "://" in address and not address.lower().startswith(_FILE)


def _is_web(address: str) -> bool:
    return address[:8].lower().startswith(_WEB)


def _host(address: str) -> str:
    return _parts(address).hostname or ""


def _parts(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError:  # reading it says so
        return SplitResult("", "", "", "", "")
