"""The folder of a distillation: what it was begun with, and what must not be in it. Light to import."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from model.documents import DocumentError, parse_object, read_document
from model.weights import weights_sha256
from pipeline.distillation.config import DistillationConfig
from pipeline.distillation.photographs import choose_photographs, require_photographs
from pipeline.errors import ConfigError, RunMismatchError
from pipeline.extras import require_extra
from pipeline.files.storage import publish
from pipeline.files.tars import encode_json
from pipeline.made_with import differences, refusal
from pipeline.preconditions import require_model, require_target
from pipeline.runs.lease import FOLDER

RECIPE_VERSION = 2  # raise it when the same request gives other weights
_CLAIM, _COMPARED = "distillation.json", "photographs.json"
_DECIDES_NO_WEIGHT = ("out", "model", "photographs", "device", "threads", "workers", "checkpoint_every")


def require_folder(config: DistillationConfig) -> None:
    """Refuse a model that is not there, and a folder that this distillation did not begin; write nothing.

    Raises: ConfigError: a package is missing, there is no such model or device, or OUT can't be written to or holds
                something else.
            CollectionError: there are no photographs, or none that can be read.
            RunMismatchError: OUT was begun with something else.
    """
    require_extra("eval", "py_sod_metrics")
    require_model(config.source)
    require_target(config.out, "--out")
    if config.photographs is not None:
        require_photographs(choose_photographs(config.photographs, config.held_out))
    if config.out.exists() and not config.out.is_dir():
        raise ConfigError(f"--out {config.out} is no folder; give another one")
    # A session that has just begun, or was killed then, has a lease there and no claim yet.
    held = sorted(path.name for path in config.out.iterdir() if path.name != FOLDER) if config.out.exists() else []
    if not held:
        return
    if _CLAIM not in held:
        raise ConfigError(f"--out {config.out} holds {held[0]}, and no distillation began it; give another one")
    _refuse_other(config, _request(config))


def claim(config: DistillationConfig) -> None:
    """Write down what the folder is begun with, or see once more that it is this: call it while the folder is locked.

    Raises: ConfigError, RunMismatchError: as `require_folder`, if another session was faster.
    """
    request = _request(config)
    if (config.out / _CLAIM).exists():
        _refuse_other(config, request)
    else:
        publish(str(config.out / _CLAIM), encode_json(request))


def model_in(out: Path) -> Path:
    """Where the result is."""
    return out / "model"


def worst_in(out: Path) -> Path:
    """Where the picture of the worst held-out maps is."""
    return out / "worst.png"


def compared(out: Path) -> str | None:
    """Digest of the photographs that were compared last; None if there were none, or nobody can tell."""
    with suppress(OSError, DocumentError):
        return parse_object(read_document(out / _COMPARED)).get("sha256")
    return None


def state_compared(out: Path, digest: str) -> None:
    """Write down which photographs were compared, by their digest; "" while it is being stated."""
    publish(str(out / _COMPARED), encode_json({"sha256": digest}))


def _refuse_other(config: DistillationConfig, request: dict[str, Any]) -> None:
    try:
        before = parse_object(read_document(config.out / _CLAIM))
    except (OSError, DocumentError) as error:
        raise ConfigError(f"--out {config.out}: {_CLAIM} can't be read ({error}); give another one") from error
    if found := differences(before, request):
        raise RunMismatchError(refusal(f"{config.out} was begun with something else", found, "Give another --out"))


def _request(config: DistillationConfig) -> dict[str, Any]:
    options = {name: getattr(config, name) for name in config.__slots__ if name not in _DECIDES_NO_WEIGHT}
    return {**options, "recipe": RECIPE_VERSION, "model_sha256": weights_sha256(config.source.folder)}
