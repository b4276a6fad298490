"""What a replica runs on, as far as it decides bytes: kind of device, instruction set and library versions.

RUN/device.json    what the first replica ran on; the others, on every node and in every session, must be equal
RUN/mixed/         what others ran on that were accepted although they differ; one file each, named by content

Only a replica knows: `--device auto` and the versions on its node are not the driver's. Another instruction set (AVX2
instead of AVX-512) or another pyarrow changes bytes without changing a configuration.
"""

import functools
import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping
from contextlib import suppress

from model.documents import parse_json
from model.processor import processor_flags
from pipeline.errors import RunMismatchError, StorageError, StorageUnavailableError
from pipeline.files import storage
from pipeline.files.tars import encode_json
from pipeline.made_with import differences, refusal
from pipeline.records import Problem
from pipeline.runs.commits import is_pass

_PLUG_INS = ("pillow-heif", "pillow-jxl-plugin")
"""Of Pillow; which formats are read depends on them."""
LIBRARIES = ("diffusers", "numpy", "pillow", *_PLUG_INS, "pyarrow", "timm", "torch")
"""Their versions decide bytes."""
_INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve", "sve2", "bf16")
"""Of those that PyTorch, oneDNN, OpenBLAS and NumPy choose their kernels by."""
DEVICE = "device.json"
_MIXED = "mixed"


def library_versions() -> dict[str, str]:
    """Library → version, of those that decide bytes; "" for a plug-in that is not installed."""
    return {name: _version(name) for name in LIBRARIES}


@functools.cache
def _version(name: str) -> str:
    """Looked up once: it is read from a file of its package, which took a tenth of a small run."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        if name in _PLUG_INS:
            return ""
        raise


def instruction_set() -> str:
    """The processor's architecture and those of its extensions that kernels are chosen by."""
    flags = processor_flags()
    return " ".join([platform.machine(), *(name for name in _INSTRUCTIONS if name in flags)])


def settle_machine(run: str, kind: str, *, accept_mixed: bool = False) -> None:
    """Fix what a run is computed on: the first replica decides.

    Args:   kind: as `SaliencyModel.device_kind`.
            accept_mixed: note a machine that differs beside the first one's, instead of refusing it.
    Raises: RunMismatchError: the run was begun on something else, whose last bits differ.
    """
    mine = {"device": kind, "instructions": instruction_set(), **library_versions()}
    url = storage.join(run, DEVICE)
    # It is settled before the first commit: without it, nobody knows what committed shards ran on. Commits may be many,
    # so they are listed only then.
    is_lost = not storage.exists(url) and bool(storage.list_names(storage.join(run, "commits")))
    if not is_lost and storage.create(url, encode_json(mine)):
        return
    begun_on = settled_machine(run)
    # A run of an earlier version says less.
    found = differences(begun_on, {name: value for name, value in mine.items() if name in begun_on})
    if not found:
        return
    if accept_mixed:
        note_mixed(run, {difference.name: str(difference.requested) for difference in found})
        return
    another = "--name" if is_pass(run) else "--out"
    advice = f"Use machines of one kind, accept different last bits with --accept-mixed, or give another {another}"
    if begun_on["device"] != kind:
        device, _, without = begun_on["device"].partition(" ")
        remedy = (
            f"Give --device {device}" if kind.split()[0] != device else f"Have replicas {without or 'with one'} only"
        )
        advice = f"{remedy}, accept different last bits with --accept-mixed, or give another {another}"
    raise RunMismatchError(refusal(f"{run} was begun on another kind of machine than this replica's", found, advice))


def settled_machine(run: str) -> dict[str, str]:
    """Read what a run was begun on.

    Raises: StorageError: `device.json` is missing or damaged.
    """
    url = storage.join(run, DEVICE)
    advice = f"sod run verify {run} --repair restores it from a release of the run; without one, give another --out"
    if is_pass(run):
        advice = f"remove {run} and run the pass again, or give another --name"
    if not storage.exists(url):
        raise StorageError(f"{url} is missing: {advice}")
    try:
        values = parse_json(storage.read(url))
        if isinstance(values["device"], str) and all(isinstance(value, str) for value in values.values()):
            return dict(values)
        raise ValueError(f"it holds {values!r}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StorageError(f"{url} does not say what the run is computed on ({str(error)[:200]}): {advice}") from error


def restore_machine(run: str) -> bool:
    """Write `device.json` anew, from what a release of the run says that it was made on.

    Returns: False if no release says so; nothing changes then.
    """
    folder = storage.join(run, "release")
    for name in storage.list_names(folder):
        with suppress(StorageError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            stated = parse_json(storage.read(storage.join(folder, name, "release.json")))["made_from"]["fingerprint"]
            names = ("device", "instructions", *LIBRARIES)
            # A release of an earlier version does not name the plug-ins.
            found = {name: str(stated[name]) for name in names if name in stated or name not in _PLUG_INS}
            storage.publish(storage.join(run, DEVICE), encode_json(found))
            return True
    return False


def made_on(run: str) -> dict[str, str]:
    """What the images of a run were computed on, for its releases: the kind of device and the instruction set, and, as
    `mixed`, every other machine that was accepted.

    Raises: StorageError: see `settled_machine`; or a note of such a machine is damaged.
    """
    settled = settled_machine(run)
    found: dict[str, str] = {name: settled[name] for name in ("device", "instructions") if name in settled}
    others = [_noted(run, name) for name in _mixed(run)]
    if others:
        found["mixed"] = "; ".join(
            ", ".join(f"{name} {value} instead of {settled.get(name)}" for name, value in sorted(other.items()))
            for other in others
        )
    return found


def note_mixed(run: str, other: Mapping[str, str]) -> None:
    """Note in which ways a session or replica differs from what the run was begun on."""
    content = encode_json(dict(other))
    storage.create(storage.join(run, *_note_name(content).split("/")), content)


def mixed_problems(run: str) -> list[Problem]:
    """The notes of other machines that are damaged: a release can't say what they held."""
    problems = []
    for name in _mixed(run):
        try:
            _noted(run, name)
        except StorageUnavailableError:
            raise
        except StorageError as error:
            problems.append(Problem(where=name, what=str(error)))
    return problems


def _mixed(run: str) -> list[str]:
    """The notes of other machines, relative to the run."""
    return [f"{_MIXED}/{name}" for name in storage.list_names(storage.join(run, _MIXED)) if name.endswith(".json")]


def _noted(run: str, name: str) -> dict[str, str]:
    url = storage.join(run, *name.split("/"))
    content = storage.read(url)
    if name != _note_name(content):
        raise StorageError(
            f"{url}, which says what else the run was computed on, does not have the content that its name stands "
            "for: put back a copy of it; without one, give another --out"
        )
    return dict(parse_json(content))


def _note_name(content: bytes) -> str:
    return f"{_MIXED}/{hashlib.sha256(content).hexdigest()[:16]}.json"
