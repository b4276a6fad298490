"""The passes that come with the project, and where a user's own is: `module:Class`.

To add a pass, add a module with its class, its options to `options.py`, and its line to `PASSES`. This module and
`options.py` are light to import, since `--help` must be instant; `loading.py` makes a pass.
"""

import hashlib
import importlib.util
import linecache
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.errors import ConfigError
from pipeline.passes.options import (
    DuplicatesOptions,
    EmbeddingsOptions,
    EmptyOptions,
    FlipOptions,
    VotesOptions,
    WitnessOptions,
)

OWN_FILE = "--pass "
"""How the file names of users' modules begin in tracebacks."""
_OWN = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPass:
    """A pass that comes with the project."""

    meaning: str
    """What it finds out, for `--help`."""
    made_by: str
    """`module:Class`."""
    options: type | None
    """The dataclass of its options; None if it has none."""
    code: tuple[str, ...]
    """Modules of `pipeline/` that decide its values, besides those that decide candidates."""
    predicts: bool = False
    """Does it load a saliency model? Then `--model` and `--dtype` belong to what it is made with."""
    needs: tuple[str, ...] = ()
    """Passes whose values it builds on."""
    needs_option: str = ""
    """The option that names further ones."""
    looks_back: bool = False
    """Does an image's row depend on those of images in earlier shards too?"""

    def needed(self, options: Any) -> tuple[str, ...]:
        """The names of the passes whose values it builds on."""
        return (*self.needs, *(getattr(options, self.needs_option) if self.needs_option else ()))


_EMBEDDINGS_CODE = (
    "passes/duplicates/embeddings.py",
    "passes/duplicates/encoders.py",
    "passes/duplicates/overlay.py",
    "passes/duplicates/thumbnails.py",
    "passes/duplicates/vectors.py",
)
PASSES: Mapping[str, KnownPass] = {
    "flip": KnownPass(
        meaning="does the model give the same mask for the mirrored image, and for other views of it?",
        made_by="pipeline.passes.flip:Flip",
        options=FlipOptions,
        code=("passes/flip.py", "passes/views.py", "passes/agreement.py"),
        predicts=True,
    ),
    "witness": KnownPass(
        meaning="does another model see the same object?",
        made_by="pipeline.passes.witness.witness:Witness",
        options=WitnessOptions,
        code=(
            "passes/agreement.py",
            "collection/outlines.py",
            "passes/mask_text.py",
            "networks/images.py",
            "networks/onnx_files.py",
            "networks/onnx_network.py",
            "passes/witness/witness.py",
        ),
    ),
    "votes": KnownPass(
        meaning="how many witnesses agree with the mask? (--votes-of names their passes)",
        made_by="pipeline.passes.witness.votes:Votes",
        options=VotesOptions,
        code=("passes/agreement.py", "collection/outlines.py", "passes/mask_text.py", "passes/witness/votes.py"),
        needs_option="votes_of",
    ),
    "modes": KnownPass(
        meaning="do the members see different things? (of runs with --keep-members)",
        made_by="pipeline.passes.modes:ModesPass",
        options=None,
        code=(
            "passes/agreement.py",
            "passes/clusters.py",
            "collection/outlines.py",
            "passes/mask_text.py",
            "passes/modes.py",
        ),
    ),
    "empty": KnownPass(
        meaning="is there no salient object in the image?",
        made_by="pipeline.passes.empty:Empty",
        options=EmptyOptions,
        code=("passes/empty.py",),
        needs_option="witnesses",
    ),
    "embeddings": KnownPass(
        meaning="what does the image look like? (for duplicates)",
        made_by="pipeline.passes.duplicates.embeddings:Embeddings",
        options=EmbeddingsOptions,
        code=_EMBEDDINGS_CODE,
    ),
    "duplicates": KnownPass(
        meaning="is it nearly the same image as an earlier one, or as one of a test set? (needs embeddings)",
        made_by="pipeline.passes.duplicates.duplicates:Duplicates",
        options=DuplicatesOptions,
        code=(
            *_EMBEDDINGS_CODE,
            "passes/duplicates/against.py",
            "passes/duplicates/duplicates.py",
            "passes/duplicates/join.py",
            "passes/duplicates/nearest.py",
        ),
        needs=("embeddings",),
        looks_back=True,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PassSpec:
    """Which pass, with which options; small enough to send to a worker."""

    kind: str
    """A name of `PASSES`, or `module:Class`."""
    options: Any
    """An instance of the pass's dataclass of options; None if it has none."""
    source: str = ""
    """The source of a user's own module, so that workers need no copy of its file."""

    @property
    def source_sha256(self) -> str:
        """SHA-256 of that source."""
        return hashlib.sha256(self.source.encode()).hexdigest()

    def __reduce__(self) -> tuple[Any, ...]:
        """Have a user's module run where this is unpickled, before its class of options is looked up there.

        Pickled by default, the options would name a module that no worker has.
        """
        return _unpickled, (_Ran(self.kind, self.source), self.options)


@dataclass(frozen=True, slots=True)
class _Ran:
    """A user's module, which is run when this is unpickled."""

    kind: str
    source: str

    def __reduce__(self) -> tuple[Any, ...]:
        return _ran, (self.kind, self.source)


def _ran(kind: str, source: str) -> _Ran:
    if source:
        run_source(kind.partition(":")[0], source)
    return _Ran(kind, source)


def _unpickled(ran: _Ran, options: Any) -> PassSpec:
    return PassSpec(kind=ran.kind, options=options, source=ran.source)


def run_source(name: str, source: str) -> ModuleType:
    """Run a user's module, once in a process, under a name of its own, so that it hides no other module.

    Raises: whatever it raises.
    """
    own_name = f"_pass_{hashlib.sha256(source.encode()).hexdigest()[:16]}_{name.replace('.', '_')}"
    if own_name not in sys.modules:
        module, file = ModuleType(own_name), f"{OWN_FILE}{name.replace('.', '/')}.py"
        sys.modules[own_name] = module  # dataclasses look their module up
        # tyro reads the docstrings of options from the source, which tracebacks show too.
        module.__file__, linecache.cache[file] = file, (len(source), None, source.splitlines(keepends=True), file)
        try:
            exec(compile(source, file, "exec"), module.__dict__)
        except BaseException:
            del sys.modules[own_name]
            raise
    return sys.modules[own_name]


def is_own(kind: str) -> bool:
    """Is it a user's own pass?"""
    return kind not in PASSES


def source_of(kind: str) -> str:
    """Read the source of a user's own pass, from the working folder or wherever Python finds its module.

    Raises: ConfigError: there is no such module.
    """
    if not (match := _OWN.fullmatch(kind)):
        raise ConfigError(
            f"--pass {kind}: there is no such pass; give {', '.join(PASSES)}, or your own as module:Class"
        )
    module = match[1]
    here = Path.cwd() / f"{module.replace('.', '/')}.py"
    try:
        spec = None if here.is_file() else importlib.util.find_spec(module)
        path = here if here.is_file() else Path(spec.origin if spec and spec.origin else "")
        return path.read_text(encoding="utf-8")
    except (ImportError, OSError, ValueError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--pass {kind}: no module {module} in this folder or where Python looks for modules ({error})"
        ) from error
