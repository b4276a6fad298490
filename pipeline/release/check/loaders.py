"""Loads a release with the libraries of its users; the last step of a check, once every byte is known to be right.

Each library runs in a process of its own: libraries leave files open, start threads, read settings at import, and may
crash or hang on a malicious file. Their output goes to a temporary folder. They get little of this process's
environment, no pickles, no network, and at most `time_limit_s`.

The work is bounded: `datasets` and `mlcroissant` get the first tar of each split, and all of the card and manifest. Of
a release at a URL nothing more is copied, so webdataset gets no more either.
"""

import contextlib
import importlib.util
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
from pipeline.files import storage, urls
from pipeline.progress.stages import stage
from pipeline.records import Problem
from pipeline.release.check.loaders_child import LoaderAnswer, LoaderTask
from pipeline.release.check.release_json import StatedRelease
from pipeline.release.croissant import CROISSANT, tars_by_split
from pipeline.release.croissant_texts import pictures_of
from pipeline.release.manifest import MANIFEST

TIME_LIMIT_S = 600.0
"""Seconds per library, plus as many for every GB of tars that it gets. On two busy cores mlcroissant took 119 s for
0.9 GB and 100,000 rows, webdataset 91 s, datasets 29 s."""
_BEGINS_WITH = {"webdataset": "data", "datasets": "README.md", "pycocotools": "annotations", "mlcroissant": CROISSANT}
"""Library → what it reads first; named when a problem belongs to no file in particular."""
_CHILD = (sys.executable, "-P", "-m", "pipeline.release.check.loaders_child")
"""-P keeps modules in the working directory from being imported."""
_KEPT_SETTINGS = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT")
_LONGEST = 600
"""Characters shown of what a library said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderCheck:
    """What the libraries made of a release."""

    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    """What was not tried, or only in part, and what to do about it."""


def missing_loaders() -> list[str]:
    """Libraries that are not installed here; each name is also that of its package."""
    return [name for name in _BEGINS_WITH if importlib.util.find_spec(name) is None]


def check_with_loaders(
    release: str,
    stated: StatedRelease,
    keys: Mapping[str, Sequence[str]],
    rows: int,
    time_limit_s: float = TIME_LIMIT_S,
) -> LoaderCheck:
    """Load a release in which nothing else is wrong with the libraries of its users.

    Args:    release: folder or URL; nothing is written there.
             keys: tar → the keys found in it, in order.
             rows: number of manifest rows.
             time_limit_s: seconds per library and per GB; a library that takes longer is a problem.
    Raises:  StorageUnavailableError, OSError: a file can't be read now.
    """
    task = _task(release, stated, keys, rows)
    notes: list[str] = []
    problems: list[Problem] = []
    with tempfile.TemporaryDirectory(prefix="loaders-") as temporary:
        if not urls.is_local(release):
            if any(len(names) > 1 for names in task.tars.values()):
                notes.append("the release is at a URL, so loaders got only the first tar of each split")
            firsts = {split: names[:1] for split, names in task.tars.items()}
            task = replace(task, tars=firsts, folder=str(Path(temporary, "release")))
            problems += _copy(release, stated, task)
        tar_bytes = sum(stated.files[name].file_bytes for names in task.tars.values() for name in names)
        for loader in _each(() if problems else list(_BEGINS_WITH)):
            answer = _answer(replace(task, loader=loader), temporary, time_limit_s * (1 + tar_bytes / 1e9))
            problems += [
                Problem(where=_shown(where), what=_shown(f"{loader}: {what}")) for where, what in answer.problems
            ]
            if answer.missing:
                notes.append(f"not loaded with {loader} ({_shown(answer.missing)}): pip install {loader}")
    return LoaderCheck(problems=tuple(problems), notes=tuple(notes))


def _each(loaders: Sequence[str]) -> Iterator[str]:
    """Pass the names of libraries on, and show which is at work."""
    with stage("loading the release with the libraries of its users", len(loaders), "libraries") as loading:
        for loader in loaders:
            loading.note(loader)
            yield loader
            loading.advance()
        loading.note("")


def _task(release: str, stated: StatedRelease, keys: Mapping[str, Sequence[str]], rows: int) -> LoaderTask:
    """The task for the whole release, without the name of a loader."""
    tars = tars_by_split(list(stated.files.values()))
    images = {split: sum(len(keys.get(name, ())) for name in tars.get(split, ())) for split in sorted(stated.splits)}
    return LoaderTask(
        loader="",
        folder=urls.absolute(release),
        tars=tars,
        keys=keys,
        annotated={f"annotations/{split}.json": count for split, count in images.items()},
        pictures=list(pictures_of(stated.release)),
        rows=rows,
        sums={name: file.sha256 for name, file in stated.files.items()},
    )


def _copy(release: str, stated: StatedRelease, task: LoaderTask) -> Iterator[Problem]:
    """Copy the files that the task needs into its folder; a file that can't be copied is a problem."""
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
            yield Problem(where=name, what=f"changed or went away during the check: {error}")


def _answer(task: LoaderTask, temporary: str, time_limit_s: float) -> LoaderAnswer:
    """What a library made of the release; a crash or a hang is an answer too."""
    begins_with = _BEGINS_WITH[task.loader]
    scratch = Path(temporary, task.loader)
    scratch.mkdir()
    said = scratch / "stderr"
    with said.open("wb") as stderr, _started(scratch, stderr.fileno()) as child:
        try:
            output, _ = child.communicate(json.dumps(asdict(task)).encode(), timeout=time_limit_s)
        except subprocess.TimeoutExpired:
            return LoaderAnswer(problems=((begins_with, f"did not finish within {time_limit_s:.1f} s"),))
    try:
        return LoaderAnswer(**json.loads(output))
    except (ValueError, TypeError, RecursionError):
        last_words = said.read_bytes()[-_LONGEST // 2 :].decode(errors="replace")
        what = f"ended with exit code {child.returncode} without an answer; its last words: {last_words}"
        return LoaderAnswer(problems=((begins_with, what),))


@contextlib.contextmanager
def _started(scratch: Path, stderr: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a child in its own session, so that neither it nor anything it starts outlives the block."""
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
    """The child's environment: little of this process's, which has secrets, and `scratch` for what libraries keep."""
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
    """What a library said, made safe for a terminal: it may quote the release."""
    return "".join(character if character.isprintable() else " " for character in text)[:_LONGEST]
