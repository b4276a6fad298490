"""Does a release load in the libraries of its users? Tried last in a check, when every byte was found to be right.

Each library has a process of its own: they leave files open, start threads, read settings when they are imported, and
may crash or never end over a file that somebody made for that. What they write goes to a folder that is removed. They
get little of this process's environment, no pickles, no network, and no more than `time_limit_s`.

What is bounded: `datasets` and `mlcroissant` get the first tar of each split, all of the card and of the manifest. Of a
release at a URL that is all that is copied, and webdataset gets no more either.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pipeline
from pipeline.errors import StorageError, StorageUnavailableError
from pipeline.files import storage
from pipeline.release.check.loaders_child import LoaderAnswer, LoaderTask
from pipeline.release.check.record import StatedRelease
from pipeline.release.croissant import CROISSANT, tars_by_split
from pipeline.release.manifest import MANIFEST
from pipeline.runs.check import Problem

TIME_LIMIT_S = 600.0
"""Seconds for one library, and again for every GB of the tars that it gets. On two busy cores mlcroissant took 119 s
for 0.9 GB and 100,000 rows, webdataset 91 s, datasets 29 s."""
_BEGINS_WITH = {"webdataset": "data", "datasets": "README.md", "pycocotools": "annotations", "mlcroissant": CROISSANT}
"""Library → what it reads first: named when it has a problem with no file in particular."""
_CHILD = (sys.executable, "-P", "-m", "pipeline.release.check.loaders_child")
"""-P: a module that lies in the working directory is not imported."""
_KEPT_SETTINGS = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT")
_LONGEST = 600
"""Characters of what a library says that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderCheck:
    """What the libraries made of a release."""

    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    """What was not tried, or not whole, and what to do about it."""


def loader_problems(
    release: str,
    stated: StatedRelease,
    keys: Mapping[str, Sequence[str]],
    rows: int,
    time_limit_s: float = TIME_LIMIT_S,
) -> LoaderCheck:
    """Load a release, in which nothing else was found wrong, with the libraries of its users.

    Args:    release: folder or URL; nothing is written there.
             keys: tar → keys that were found in it, in order.
             rows: of the manifest.
             time_limit_s: seconds for each library and for each GB; one that takes longer is a problem.
    Raises:  StorageUnavailableError, OSError: a file can't be read now.
    """
    task = _task(release, stated, keys, rows)
    notes: list[str] = []
    problems: list[Problem] = []
    with tempfile.TemporaryDirectory(prefix="loaders-") as temporary:
        if "://" in release:
            if any(len(names) > 1 for names in task.tars.values()):
                notes.append("of a release at a URL, loaders are given the first tar of each split only")
            firsts = {split: names[:1] for split, names in task.tars.items()}
            task = replace(task, tars=firsts, folder=str(Path(temporary, "release")))
            problems += _copy(release, stated, task)
        tar_bytes = sum(stated.files[name].file_bytes for names in task.tars.values() for name in names)
        for loader in () if problems else _BEGINS_WITH:
            answer = _answer(replace(task, loader=loader), temporary, time_limit_s * (1 + tar_bytes / 1e9))
            problems += [
                Problem(where=_shown(where), what=_shown(f"{loader}: {what}")) for where, what in answer.problems
            ]
            if answer.missing:
                notes.append(f"not tried with {loader} ({_shown(answer.missing)}): pip install {loader}")
    return LoaderCheck(problems=tuple(problems), notes=tuple(notes))


def _task(release: str, stated: StatedRelease, keys: Mapping[str, Sequence[str]], rows: int) -> LoaderTask:
    """All of a release at once, for any loader."""
    tars = tars_by_split(list(stated.files.values()))
    images = {split: sum(len(keys.get(name, ())) for name in tars.get(split, ())) for split in sorted(stated.splits)}
    return LoaderTask(
        loader="",
        folder=storage.absolute(release),
        tars=tars,
        keys=keys,
        annotated={f"annotations/{split}.json": count for split, count in images.items()},
        embedded=stated.release.embed_images,
        rows=rows,
        sums={name: file.sha256 for name, file in stated.files.items()},
    )


def _copy(release: str, stated: StatedRelease, task: LoaderTask) -> Iterator[Problem]:
    """Copy what the task is about into its folder; what can't be copied is a problem."""
    wanted = {
        "README.md",
        MANIFEST,
        CROISSANT,
        *task.annotated,
        *(name for names in task.tars.values() for name in names),
    }
    for name in sorted(wanted & stated.files.keys()):
        path = Path(task.path(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.write_bytes(storage.read_checked(storage.join(release, name), stated.files[name]))
        except StorageUnavailableError:
            raise
        except StorageError as error:
            yield Problem(where=name, what=str(error))


def _answer(task: LoaderTask, temporary: str, time_limit_s: float) -> LoaderAnswer:
    """What a library made of the release; that it ended its process, or did not end, is an answer as well."""
    begins_with = _BEGINS_WITH[task.loader]
    scratch = Path(temporary, task.loader)
    scratch.mkdir()
    said = scratch / "stderr"
    with said.open("wb") as stderr, _started(scratch, stderr.fileno()) as child:
        try:
            output, _ = child.communicate(json.dumps(asdict(task)).encode(), timeout=time_limit_s)
        except subprocess.TimeoutExpired:
            return LoaderAnswer(problems=((begins_with, f"did not end within {time_limit_s:.1f} s"),))
    try:
        return LoaderAnswer(**json.loads(output))
    except (ValueError, TypeError, RecursionError):
        last_words = said.read_bytes()[-_LONGEST // 2 :].decode(errors="replace")
        what = f"ended with exit code {child.returncode} and without an answer; its last words: {last_words}"
        return LoaderAnswer(problems=((begins_with, what),))


@contextlib.contextmanager
def _started(scratch: Path, stderr: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own: neither it nor anything that it starts outlives the block."""
    child = subprocess.Popen(
        _CHILD,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        cwd=scratch,
        env=_settings(scratch),
        start_new_session=True,
    )
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.communicate()


def _settings(scratch: Path) -> dict[str, str]:
    """Few of this process's (some are secrets), and a folder that is removed for whatever libraries keep."""
    kept = {name: os.environ[name] for name in _KEPT_SETTINGS if name in os.environ}
    folders = ("HOME", "HF_HOME", "XDG_CACHE_HOME", "CROISSANT_CACHE", "TMPDIR")
    return kept | {
        **dict.fromkeys(folders, str(scratch)),
        "PYTHONPATH": str(Path(pipeline.__file__).parent.parent),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


def _shown(text: str) -> str:
    """What a library said, fit for a terminal: it may quote the release."""
    return "".join(character if character.isprintable() else " " for character in text)[:_LONGEST]
