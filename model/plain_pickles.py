"""Look through a torch file before torch reads it: no pickle in it may name code, nor ask for more than the file holds.

`torch.load(weights_only=True)` runs no foreign code, but what it permits is enough to be asked for gigabytes:
`bytearray(5_000_000_000)` takes 32 bytes. Here the pickle's instructions are read, and none is carried out.
"""

import io
import pickletools
import zipfile
from pathlib import Path
from typing import Any

_MAGIC = 0x1950A86A20F9469CFC6C
"""The number that a torch file of the old form begins with."""
_PICKLES_OF_OLD_FORM = 5  # magic number, version, system, content, keys of the storages that follow
_MOST_PICKLE_BYTES = 64 << 20  # names and shapes, not values
_HARMLESS = frozenset(
    {
        ("collections", "OrderedDict"),
        ("torch._utils", "_rebuild_tensor_v2"),
        ("torch._utils", "_rebuild_tensor"),
        ("torch._utils", "_rebuild_parameter"),
        ("torch._utils", "_rebuild_parameter_with_state"),
        ("torch._utils", "_rebuild_sparse_tensor"),
        ("torch._utils", "_rebuild_meta_tensor_no_storage"),
        ("torch.serialization", "_get_layout"),
        ("torch", "Size"),
        ("torch", "device"),
    }
)
"""What a pickle of tensors may name besides classes of storages and dtypes."""
_NUMBERS = frozenset({"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"})
_REMEMBERING = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"})
_HIDING = frozenset({"INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4", "POP", "POP_MARK", "DUP"})
_KINDS = ("Storage", "float", "bfloat", "int", "uint", "bool", "complex", "half", "double", "long", "short")


class UnsafePickleError(ValueError):
    """A pickle names something else than tensors, or asks for more memory than its file has bytes."""


def require_plain(file: Path) -> None:
    """Refuse a torch file whose pickles do more than put tensors together.

    Raises: UnsafePickleError: one of them does. ValueError, zipfile.BadZipFile, OSError: the file is torn.
    """
    file_bytes = file.stat().st_size
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise UnsafePickleError("its members are compressed, and torch's are not")
            if sum(member.file_size for member in members) > file_bytes:
                raise UnsafePickleError("its members claim more bytes than the file has")
            for member in members:
                if member.filename.endswith(".pkl"):
                    _require_small(member.file_size)
                    _Reader(archive.read(member), file_bytes).read(1)
        return
    with file.open("rb") as stream:  # the storages follow the pickles, and can be gigabytes
        _Reader(stream.read(min(file_bytes, _MOST_PICKLE_BYTES)), file_bytes).read(_PICKLES_OF_OLD_FORM)


def _require_small(pickle_bytes: int) -> None:
    if pickle_bytes > _MOST_PICKLE_BYTES:
        raise UnsafePickleError(f"its pickle has {pickle_bytes:,} bytes, and names and shapes never need as many")


class _Reader:
    """Reads the instructions of pickles; `io.BytesIO` gives no more than it has, whatever a length claims."""

    def __init__(self, content: bytes, file_bytes: int) -> None:
        self._stream = io.BytesIO(content)
        self._left_bytes = 4 * file_bytes
        """Elements that storages may still claim. Each has a byte at least; but tensors can share a storage, and the
        largest number before a storage, which counts, may be of the tensor before it."""
        self._file_bytes = file_bytes

    def read(self, pickles: int) -> None:
        """Read that many pickles, or up to the first one that is the whole file's only one."""
        for number in range(pickles):
            first = self._read_one()
            if number == 0 and pickles > 1 and first != _MAGIC:
                return  # not torch's old form: torch refuses it

    def _read_one(self) -> Any:
        """The first value of the next pickle. Instructions that hide from a reader are refused; torch writes none."""
        first = before = None
        largest = 0
        for instruction, argument, _ in pickletools.genops(self._stream):
            name = instruction.name
            if name == "GLOBAL":
                self._require_harmless(*str(argument).split(" ", 1))
            elif name in _HIDING or (name in _REMEMBERING and before in _NUMBERS):
                raise UnsafePickleError(f"Unsupported operand {name}; torch does not write it there")
            elif name in ("BINPERSID", "PERSID"):
                self._claim(largest)
                largest = 0
            elif name in _NUMBERS:
                largest = max(largest, int(argument or 0))
            if first is None and name not in ("PROTO", "FRAME"):
                first = argument
            before = name
        return first

    def _require_harmless(self, module: str, name: str) -> None:
        is_kind = module == "torch" and (name.endswith("Storage") or name.rstrip("0123456789").startswith(_KINDS))
        if not is_kind and (module, name) not in _HARMLESS:
            raise UnsafePickleError(f"Unsupported global: {module}.{name}; only tensors are loaded, and no code")

    def _claim(self, elements: int) -> None:
        self._left_bytes -= elements
        if self._left_bytes < 0:
            raise UnsafePickleError(f"its tensors claim more elements than the file of {self._file_bytes:,} bytes has")
