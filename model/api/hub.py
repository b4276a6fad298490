"""Fetch a model from the Hugging Face Hub: safetensors and JSON only, so that nothing that could run is fetched."""

import re
from pathlib import Path

from huggingface_hub import snapshot_download

FETCHED = ("*.safetensors", "*.json")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def is_repository(name: str) -> bool:
    """Can it be the name of a repository, `organisation/name`?"""
    return bool(_REPOSITORY.fullmatch(name)) and not name.startswith((".", "-"))


def fetched(repository: str, revision: str | None) -> Path:
    """The folder of a repository's files; those that were fetched before are taken from the cache.

    Raises: ValueError: there is no such repository or revision, it needs a login, or the Hub can't be reached.
    """
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(FETCHED)))
    except (OSError, ValueError) as error:
        at = f" at revision {revision}" if revision else ""
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"there is no folder {repository!r} here, and the Hub does not give a repository of that name{at}: "
            f"{type(error).__name__}: {reason}"
        ) from error
