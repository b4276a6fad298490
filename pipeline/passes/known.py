"""The passes that come with the project, and where a user's own is: `module:Class`.

To add a pass, add a module with its class, its options to `options.py`, and its line to `PASSES`. This module and
`options.py` are light to import, since `--help` must be instant; `loading.py` makes a pass.
"""

import hashlib
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError
from pipeline.passes.options import DuplicatesOptions, EmbeddingsOptions, FlipOptions

_OWN = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPass:
    """A pass that comes with the project."""

    meaning: str
    """What it finds out, for `--help`."""
    made_by: str
    """`module:Class`."""
    options: type
    """The dataclass of its options."""
    code: tuple[str, ...]
    """Modules of `pipeline/` that decide its values, besides those that decide candidates."""
    predicts: bool = False
    """Does it load a saliency model? Then `--model` and `--dtype` belong to what it is made with."""
    needs: tuple[str, ...] = ()
    """Passes whose values it builds on."""
    looks_back: bool = False
    """Does an image's row depend on those of images in earlier shards too?"""


_EMBEDDINGS_CODE = (
    "passes/embeddings.py",
    "passes/encoders.py",
    "passes/overlay.py",
    "passes/thumbnails.py",
    "passes/vectors.py",
)
PASSES: Mapping[str, KnownPass] = {
    "flip": KnownPass(
        meaning="does the model give the same mask for the mirrored image?",
        made_by="pipeline.passes.flip:Flip",
        options=FlipOptions,
        code=("passes/flip.py", "passes/agreement.py"),
        predicts=True,
    ),
    "embeddings": KnownPass(
        meaning="what does the image look like? (for duplicates)",
        made_by="pipeline.passes.embeddings:Embeddings",
        options=EmbeddingsOptions,
        code=_EMBEDDINGS_CODE,
    ),
    "duplicates": KnownPass(
        meaning="is it nearly the same image as an earlier one, or as one of a test set? (needs embeddings)",
        made_by="pipeline.passes.duplicates:Duplicates",
        options=DuplicatesOptions,
        code=(*_EMBEDDINGS_CODE, "passes/against.py", "passes/duplicates.py", "passes/join.py", "passes/nearest.py"),
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
        return path.read_text()
    except (ImportError, OSError, ValueError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--pass {kind}: no module {module} in this folder or where Python looks for modules ({error})"
        ) from error
