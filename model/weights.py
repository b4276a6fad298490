"""Hash that identifies a model folder; light to import."""

import hashlib
from pathlib import Path

WEIGHT_SUFFIXES = (".safetensors", ".json")


def weights_sha256(folder: Path) -> str:
    """SHA-256 over names and contents of a model folder's weights and configurations, sorted by name.

    Raises: FileNotFoundError: the folder holds no model.
    """
    files = weight_files(folder)
    if not any(p.suffix == ".safetensors" for p in files):
        raise FileNotFoundError(f"{folder} holds no .safetensors file")
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def weight_files(folder: Path) -> list[Path]:
    """The files of a model folder that its digest covers, sorted; nothing else of it is ever loaded or sent."""
    return sorted(p for p in folder.rglob("*") if p.suffix in WEIGHT_SUFFIXES and p.is_file())
