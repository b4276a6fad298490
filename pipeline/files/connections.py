"""Why the server behind a URL can't be reached, in words. Clients of stores wrap the reason, or hide it.

fsspec says "file not found" when a web server refuses the connection; botocore's errors are not even OSErrors. The
reason is in what they were raised from.
"""

import contextlib
import socket
import ssl
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from pipeline.errors import PipelineError, StorageRefusedError, StorageUnavailableError
from pipeline.files import urls
from pipeline.files.away import causes_of

_DENIED = (401, 403, 407)
_NO_CREDENTIALS = (
    *("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"),
    *("SSOTokenLoadError", "UnauthorizedSSOTokenError", "TokenRetrievalError"),
    "DefaultCredentialsError",  # google-auth
)
_AFTER_RETRIES = 500
_TOO_MANY = 429


@contextlib.contextmanager
def connected(what: str, fs: Any) -> Iterator[None]:
    """Turn the error of a server that can't be reached into one that says so; all others pass.

    Args:   what: what was to be read, for the message. fs: the file system it is on.
    Raises: StorageRefusedError: the server does not let us in. StorageUnavailableError: it can't be reached.
    """
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        words = "" if isinstance(fs, LocalFileSystem) else failure_in_words(error)
        if not words:
            raise
        if is_refusal(error):
            raise StorageRefusedError(f"{what}: {words}") from error
        raise StorageUnavailableError(f"{what}: {words}, then run the same command again") from error


def require_reachable(url: str) -> None:
    """Ask for a file that was not found, as a refused connection looks like a missing file to fsspec.

    Raises: StorageUnavailableError: the server of the URL can't be reached.
    """
    fs, path = urls.resolve(url)
    if not isinstance(fs, LocalFileSystem):
        with contextlib.suppress(OSError), connected(url, fs):
            fs.info(path)


def is_refusal(error: BaseException) -> bool:
    """Has the server answered that it lets nobody in, or were there no credentials to show?"""
    for cause in causes_of(error):  # the outermost that says anything decides
        if _is_denial(cause) or type(cause).__name__ in _NO_CREDENTIALS:
            return True
        if _of(cause):
            return False
    return False


def failure_in_words(error: BaseException) -> str:
    """Why a connection failed, and what to check; "" if that is not what the error is about."""
    chain = list(causes_of(error))
    for cause in chain:
        if words := _of(cause):
            said = next((str(one) for one in chain if " " in str(one)), str(cause))
            return words.format(said=said[:300])
    return ""


def _of(cause: BaseException) -> str:
    status = _status(cause)
    if type(cause).__name__ in _NO_CREDENTIALS:
        return "no credentials were found ({said}). Set them, as environment variables for example"
    if _is_denial(cause):
        answer = f"the server answers {status}, access denied" if status in _DENIED else "access denied ({said})"
        return f"{answer}. Check credentials and permissions"
    if isinstance(status, int) and (status == _TOO_MANY or status >= _AFTER_RETRIES):
        return f"the server answers {status}. Wait until it responds"
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused ({said}): nothing listens there. Check host and port, and that the server runs"
    if isinstance(cause, socket.gaierror):
        return "the host's name is not known ({said}). Check its spelling and the network"
    if isinstance(cause, ssl.SSLError):
        return "no encrypted connection could be made ({said}). Check whether the address is https and its certificate"
    if isinstance(cause, TimeoutError):
        return "the server does not answer ({said}). Check host, port and firewall"
    if isinstance(cause, ConnectionError):
        return "the connection broke ({said}). Check the network"
    return ""


def _is_denial(cause: BaseException) -> bool:
    is_of_gcs = isinstance(cause, OSError) and str(cause).startswith("Forbidden")  # a plain OSError
    return isinstance(cause, PermissionError) or is_of_gcs or _status(cause) in _DENIED


def _status(cause: BaseException) -> Any:
    """The status of a server's answer, as aiohttp, httpx, gcsfs and botocore have it; None without."""
    response = getattr(cause, "response", None)
    if isinstance(response, Mapping):
        response = SimpleNamespace(status_code=response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
    known = (getattr(cause, "status", None), getattr(response, "status_code", None), vars(cause).get("code"))
    return next((status for status in known if isinstance(status, int)), None)
