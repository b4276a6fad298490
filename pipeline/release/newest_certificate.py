"""Reads what the newest certificate of a release states. `sod release verify` checks whether it is right."""

from model.documents import parse_object
from pipeline.errors import CollectionError
from pipeline.files import storage
from pipeline.release.annex import Annex, annexes_of
from pipeline.release.certified import CERTIFICATE, KIND, StatedCertificate


def newest_certificate(release: str, sha256: str) -> StatedCertificate | None:
    """Read the certificate with the highest number; of its annex only `certificate.json`, whose sum is compared.

    Args:    release: folder or URL. sha256: of its `release.json`.
    Returns: None if the release has none.
    Raises:  CollectionError: an annex is malformed, or belongs to another release. StorageError: the file is torn.
    """
    annexes = [annex for annex in annexes_of(release) if annex.kind == KIND]
    if not annexes:
        return None
    newest, place = annexes[-1], f"{release}/{annexes[-1].name}"
    if newest.release["sha256"] != sha256:
        raise CollectionError(
            f"{place} belongs to {newest.release['name']} {newest.release['version']}, another release: remove it"
        )
    try:
        return _stated(newest, storage.read_checked(f"{place}/{CERTIFICATE}", newest.files[CERTIFICATE]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CollectionError(
            f"{place}/{CERTIFICATE} is malformed ({type(error).__name__}: {str(error)[:200]}); "
            "sod release verify lists every problem"
        ) from error


def _stated(annex: Annex, content: bytes) -> StatedCertificate:
    """Raises: ValueError, KeyError, TypeError, AttributeError: it is no certificate."""
    stated = parse_object(content)
    return StatedCertificate(
        annex=annex.number,
        sha256=annex.sha256,
        sentence=stated["sentence"],
        confidence=stated["confidence"],
        population=stated["population"],
        pixel_error=stated.get("mean_pixel_error", {}).get("upper"),
    )
