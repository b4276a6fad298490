"""Checks that refuse a request before any work, in well under a second: what it reads, where it writes, with what.

Nothing here loads torch or Ray, and nothing is written for good.
"""

import os
import tempfile
from pathlib import Path

from model.config import EnsembleConfig, ModelConfig, check_together
from model.decoder_choice import decoder_of
from pipeline.devices import require_device, require_known_device
from pipeline.errors import CollectionError, ConfigError
from pipeline.shown import shown


def require_target(path: Path, option: str) -> None:
    """Check that a folder exists or can be created, and that files can be written to it; leave no trace.

    Raises: ConfigError: nothing can be written there; the message names the option and the folder.
    """
    try:
        existing = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
        tempfile.TemporaryDirectory(prefix=".trial-", dir=existing).cleanup()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"{option} {path}: nothing can be written there ({reason}); give another one") from error


def require_place(url: str, option: str) -> None:
    """Check that files can be written below a path or URL; leave no trace.

    Raises: ConfigError: they can't. UsageError: it is no path and no URL. StorageUnavailableError: the storage does not
            respond.
    """
    from pipeline.files import urls
    from pipeline.files.trials import require_bucket

    if urls.is_local(url):
        require_target(Path(urls.absolute(url)), option)
    else:
        require_bucket(urls.absolute(url))


def require_apart(out: str, images: str, option: str, *, may_be_inside: bool = False) -> None:
    """Refuse to write into the folder of the images: whoever ran it again would get pictures of its own pictures.

    Args:   may_be_inside: whoever reads the images leaves this folder out, if it lies inside theirs.
    Raises: ConfigError: it is the same folder, or inside it. UsageError: one of them is no path and no URL.
    """
    from pipeline.files import urls

    if urls.is_local(images) and not Path(urls.absolute(images)).is_dir():
        return
    is_same = urls.is_within(images, out)
    if urls.is_within(out, images) and (is_same or not may_be_inside):
        other = f"another one, {out.rstrip('/')}/masks for example" if may_be_inside else "a folder outside it"
        raise ConfigError(
            f"{option} {shown(out)} is {'' if is_same else 'inside '}the folder of the images {shown(images)}, so the "
            f"next run would take what this one writes for images; give {other}"
        )


def require_outside(out: str, release: str, option: str) -> None:
    """Refuse to write into a release: its check would find files that are not of it.

    Raises: ConfigError: the place is inside. UsageError: one of them is no path and no URL.
    """
    from pipeline.files import urls

    if urls.is_within(out, release):
        raise ConfigError(
            f"{option} {shown(out)} is inside the release {shown(release)}, which never changes; give a folder "
            "outside it"
        )


def require_there(place: str | Path, option: str) -> None:
    """Check that a file or folder exists, if it is on this machine.

    Raises: CollectionError: it does not. UsageError: it is no path and no URL.
    """
    from pipeline.files import urls

    if urls.is_local(str(place)) and not Path(urls.absolute(str(place))).exists():
        raise CollectionError(f"{option} {place}: there is no such file or folder")


def require_new_folder(path: Path, option: str) -> None:
    """Check that a folder is new or empty, and can be written to; leave no trace.

    Raises: ConfigError: it is not.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise ConfigError(f"{option} {path} exists and is not an empty folder; give another one")
    require_target(path, option)


def require_model(model: ModelConfig, ensemble: EnsembleConfig | None = None, engine: str = "inline") -> None:
    """Check that the weights of a model are there, and its device if this machine is to work.

    Args:   ensemble: what it is to predict; None if that has a check of its own.
            engine: see `ClusterConfig`. The machines of a cluster are asked once they are known.
    Raises: ConfigError: one of them is not, a mask decoder is wanted that the model lacks or that is another VAE's, or
                the options contradict each other. UsageError, StorageUnavailableError: as `model_urls.require_url`.
    """
    try:
        check_together(model, ensemble or EnsembleConfig())
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if model.is_url:
        from pipeline.files.model_urls import require_url

        require_url(model.model)
    elif model.is_folder and not (model.folder / "model_index.json").is_file():
        found = "there is no such folder" if not model.folder.exists() else "it has no model_index.json"
        raise ConfigError(f"--model {model.model}: {found}; give `nano` or a folder saved by save_pretrained")
    if not model.is_url:
        _require_decoder(model, ensemble)
    require_known_device(model.device)
    if not model.is_fake and (engine == "inline" or not has_cluster()):
        require_device(model.device)


def _require_decoder(model: ModelConfig, ensemble: EnsembleConfig | None) -> None:
    try:
        decoder_of(model, None if ensemble is None else ensemble.processing_res)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--model {model.model}: {error}") from error


def ray_address() -> str:
    """Where the Ray cluster is, by RAY_ADDRESS; `local`: nowhere, and one is started on this machine.

    Raises: ConfigError: it is the address at which jobs are submitted, or that of Ray's client.
    """
    address = os.environ.get("RAY_ADDRESS") or "local"
    if "://" in address:
        raise ConfigError(
            f"RAY_ADDRESS is {shown(address)}, which is no address of a head (HOST:PORT). To submit a job, set "
            "RAY_API_SERVER_ADDRESS and use ray job submit; RAY_ADDRESS=local starts Ray on this machine"
        )
    return address


def has_cluster() -> bool:
    """Is there a Ray cluster to connect to? Otherwise one is started on this machine. Raises: as `ray_address`."""
    return ray_address() != "local"
