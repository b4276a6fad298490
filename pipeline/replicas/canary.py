"""A canary for every node, before any work: does it see the images, the run's folder and the model, and has it room?

A canary loads nothing: neither torch nor diffusers; of a model it computes the digest. What canaries find on all nodes
becomes one table: node, what it lacks, what to do. Nodes that lack something are left out; if all do, the run is
refused before anything is computed.

The driver writes a mark into the run's folder, which a canary must find there: a folder of the same path on the node's
own disk would take commits that nobody else sees.

    with canary_request(setup) as request:
        findings = [...]                  # look(request, node) on every node that could hold a replica, for example as
                                          # Ray tasks; `no_answer(node, why)` for one that failed or did not answer
    refuse_if_none(findings)              # ConfigError with the table, if no node is fit
    aside = lacking(findings)             # node → reason; warns once, with the table
"""

import contextlib
import io
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from model.config import ModelConfig
from pipeline.errors import ConfigError, PipelineError, StorageUnavailableError
from pipeline.files import local_disk, patience, storage, urls
from pipeline.files.model_cache import digest_in, entry, models_folder
from pipeline.replicas.probes import REMEDY, Probe, problems
from pipeline.replicas.proof import REMEDY_OF_OUT, Expected, other_software
from pipeline.replicas.setup import Setup
from pipeline.replicas.weights import Weights
from pipeline.shown import printable, shown

log = logging.getLogger(__name__)

LEAST_FREE_BYTES = 256 << 20
"""256 MiB: what must be free where candidates are written, if that is a disk: a shard or two."""
MOST_PATIENCE_S = 120.0
"""Less than a canary may take: the others wait for the slowest one."""
_TABLE_COLUMNS = 120
_NAMED = 6
"""Nodes that are named in a row of the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryRequest:
    """What a canary looks at; small enough to send."""

    out: str
    """Folder in which replicas commit."""
    patience_s: float
    """How long storage that does not respond is waited for."""
    mark: str
    """Name of the driver's file there."""
    probes: tuple[Probe, ...]
    """An image that the driver has read; () if the work needs none."""
    expected: Expected
    weights: Weights | None
    model: ModelConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a canary has found out about its node."""

    node: str
    lacks: Mapping[str, str] = field(default_factory=dict)
    """What it lacks → what to do about it; empty: it is fit."""
    notes: tuple[str, ...] = ()
    """What people should know, though the node can do the work."""


@contextlib.contextmanager
def canary_request(setup: Setup) -> Iterator[CanaryRequest]:
    """What canaries look at before this work; the driver's mark stays for the block.

    Raises: StorageError, OSError: the mark can't be written.
    """
    out, mark = setup.work.run, local_disk.unfinished_name("driver")
    url = storage.join(out, mark)
    storage.publish(url, mark.encode())
    try:
        yield CanaryRequest(
            out=out,
            patience_s=min(setup.work.storage_patience_s, MOST_PATIENCE_S),
            mark=mark,
            probes=setup.work.probes[:1],
            expected=setup.expected,
            weights=setup.weights,
            model=setup.model,
        )
    finally:
        with contextlib.suppress(Exception):  # a sweep removes it later; what the block raised is more important
            storage.remove(url)


def look(request: CanaryRequest, node: str) -> Finding:
    """Look at everything from this node. Raises nothing: whatever fails is a finding."""
    lacks: dict[str, str] = {}
    notes: list[str] = []
    looks = (("software", _software), ("images", _images), ("--out", _out), ("the model", partial(_model, notes=notes)))
    for what, seen in looks:
        try:
            with patience.lasting(request.patience_s):
                lacks |= seen(request)
        except StorageUnavailableError as error:  # the others may not have it either: nothing is concluded
            notes.append(f"{what}: {error}")
        except Exception as error:  # noqa: BLE001 (whatever a file system or a client raises)
            lacks[f"{what}: {_in_words(error)}"] = "Give every node access to it, credentials too"
    return Finding(node=node, lacks=lacks, notes=tuple(notes))


def no_answer(node: str, why: str) -> Finding:
    """The finding of a canary that failed, or did not answer in time."""
    return Finding(node=node, lacks={f"no answer: {why}": "Look at the node's own logs (ray logs)"})


def lacking(findings: Sequence[Finding]) -> dict[str, str]:
    """Node → why it gets no replica, in one line; empty if all nodes are fit. Warns with the table and the notes."""
    unfit = {finding.node: "; ".join(finding.lacks) for finding in findings if finding.lacks}
    if unfit:
        log.warning("%d of %d nodes can't do this work and get none:\n%s", len(unfit), len(findings), table(findings))
    notes = dict.fromkeys(note for finding in findings for note in finding.notes)
    for note in notes:
        nodes = _names([finding.node for finding in findings if note in finding.notes]).replace("\n", ", ")
        log.warning("%s: %s", nodes, note)
    return unfit


def refuse_if_none(findings: Sequence[Finding]) -> None:
    """Refuse the work if all nodes lack something. No node at all may be one that an autoscaler will add.

    Raises: ConfigError: they do; the message has the table.
    """
    if findings and all(finding.lacks for finding in findings):
        raise ConfigError(f"no node of the cluster can do this work:\n{table(findings)}")


def table(findings: Sequence[Finding]) -> str:
    """Node, what it lacks, what to do, as text; nodes that lack the same share a row, and fit ones have none."""
    from rich.box import ASCII
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for finding in findings:
        if finding.lacks:
            rows.setdefault(tuple(finding.lacks.items()), []).append(finding.node)
    drawn = Table(box=ASCII, show_lines=True)
    for heading in ("node", "lacks", "what to do"):
        drawn.add_column(heading, overflow="fold")
    for lacks, nodes in rows.items():
        cells = (
            _names(nodes),
            "\n".join(lack for lack, _ in lacks),
            "\n".join(dict.fromkeys(todo for _, todo in lacks)),
        )
        drawn.add_row(*(Text(printable(cell, kept="\n")) for cell in cells))
    page = io.StringIO()
    Console(file=page, width=_TABLE_COLUMNS, color_system=None).print(drawn)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines())


def _names(nodes: Sequence[str]) -> str:
    more = [f"and {len(nodes) - _NAMED} more"] if len(nodes) > _NAMED else []
    return "\n".join([*nodes[:_NAMED], *more])


def _software(request: CanaryRequest) -> dict[str, str]:
    return other_software(request.expected)


def _images(request: CanaryRequest) -> dict[str, str]:
    return dict.fromkeys(problems(request.probes), REMEDY)


def _out(request: CanaryRequest) -> dict[str, str]:
    """Find the driver's mark, then write a file, and remove it."""
    out = f"--out {shown(request.out)}"
    try:
        is_same = storage.read(storage.join(request.out, request.mark)) == request.mark.encode()
    except StorageUnavailableError:
        raise
    except PipelineError as error:
        if storage.exists(request.out) or not urls.is_local(request.out):
            return {f"{out}: it is not the folder that the driver writes to ({error})": REMEDY_OF_OUT}
        return {f"{out}: there is no such folder": REMEDY_OF_OUT}
    if not is_same:
        return {f"{out}: another file is there than the driver has written": REMEDY_OF_OUT}
    own = storage.join(request.out, local_disk.unfinished_name("canary"))
    try:
        storage.publish(own, b"canary")
        storage.remove(own)
    except StorageUnavailableError:
        raise
    except (PipelineError, OSError) as error:
        return {f"{out}: nothing can be written there ({_in_words(error)})": "Let every node write there"}
    if urls.is_local(request.out) and (free := shutil.disk_usage(Path(request.out)).free) < LEAST_FREE_BYTES:
        return {f"{out}: {free >> 20} MiB are free": f"Free at least {LEAST_FREE_BYTES >> 20} MiB"}
    return {}


def _model(request: CanaryRequest, notes: list[str]) -> dict[str, str]:
    """The model may be fetched, if there is room for it."""
    if request.weights is None:
        return {}
    folder = request.model.folder
    wanted, found = request.weights.sha256, digest_in(folder)
    if found == wanted:
        return {}
    if found:
        notes.append(f"other weights are in {folder} ({found[:12]}, not {wanted[:12]}); they are not used")
    cache = models_folder()
    if entry(wanted):
        return {}
    above = next(folder for folder in (cache, *cache.parents) if folder.exists())
    needed, free = sum(request.weights.files.values()), shutil.disk_usage(above).free
    if free < needed + LEAST_FREE_BYTES:
        lack = f"the model: {free >> 20} MiB are free in {cache}, and it takes {needed >> 20}"
        return {lack: f"Free some space, or have the model at {folder}, or set SOD_CACHE to another folder"}
    if not os.access(above, os.W_OK):
        return {f"the model: it can't be kept in {cache}": "Set SOD_CACHE on the nodes to a folder that can be written"}
    return {}


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
