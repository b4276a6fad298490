"""Tells a storage that does not respond from one that has answered: only the first is worth another try.

Away is what a server or a network does for a while: no connection, one that breaks, no answer in time, an answer of
"not now" (500 and above, 429, SlowDown), and what network file systems say then (EIO, ESTALE, ETIMEDOUT). A missing
file, a refusal (403) and a full disk are answers, and stay what they are.

Clients wrap these reasons in errors of their own, whose classes have no common base, so the chain of causes is looked
through. An HTTP status in it decides: s3fs gives every answer that it does not know the number EIO.
"""

import errno
import ssl
from collections.abc import Iterator, Mapping
from typing import Any

_NUMBERS = frozenset(
    {
        errno.EIO,  # a network file system that gave up; also a broken disk, which is waited for in vain
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.EREMOTEIO,  # s3fs: 500
        errno.EBUSY,  # s3fs: 503, SlowDown, and a file that two create at once
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.ECONNABORTED,
        errno.ENOTCONN,
        errno.EPIPE,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ESHUTDOWN,
    }
)
_CLASSES = frozenset(
    {
        "ConnectionError",  # botocore, requests
        "HTTPClientError",  # botocore: a connection that breaks, no answer in time
        "IncompleteReadError",  # botocore
        "IncompleteRead",  # http.client
        "ClientConnectionError",  # aiohttp
        "ClientPayloadError",  # aiohttp
        "TransportError",  # httpx, which the Hub's client uses; google-auth
        "ServiceRequestError",  # azure
        "ServiceResponseError",  # azure
    }
)
_CODES = frozenset(
    {
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "InternalError",
        "ServiceUnavailable",
        "OperationAborted",
        "ConditionalRequestConflict",
        "IncompleteBody",
    }
)
_STATUSES = frozenset({408, 425, 429})
_FROM_STATUS = 500
_NOT_IMPLEMENTED = 501


def is_away(error: Exception, handled_before: BaseException | None = None) -> bool:
    """Does the error say that a storage does not respond now?

    Args: handled_before: what was being handled when the call began that failed; it is not part of the error's causes.
    """
    causes = list(causes_of(error, handled_before))
    answers = [answer for cause in causes if (answer := _answer(cause)) is not None]
    if answers:
        return answers[-1]
    return any(map(_is_lost_connection, causes))


def _answer(cause: BaseException) -> bool | None:
    """Does the server's answer say "not now"? None: the error is about no answer."""
    response = getattr(cause, "response", None)
    if isinstance(response, Mapping):  # botocore's ClientError
        code = response.get("Error", {}).get("Code")
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return code in _CODES or _is_passing(status)
    of_gcs = getattr(cause, "__dict__", {}).get("code")  # an attribute: as a property of aiohttp's it is deprecated
    for status in (getattr(cause, "status", None), getattr(response, "status_code", None), of_gcs):
        if isinstance(status, int) and 400 < status < 600:  # aiohttp calls it 400 if an answer is torn
            return _is_passing(status)
    return None


def _is_passing(status: Any) -> bool:
    if not isinstance(status, int) or status == _NOT_IMPLEMENTED:
        return False
    return status in _STATUSES or status >= _FROM_STATUS


def _is_lost_connection(cause: BaseException) -> bool:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return False
    if isinstance(cause, FileNotFoundError | FileExistsError | PermissionError):
        return False
    if isinstance(cause, OSError) and cause.errno in _NUMBERS:
        return True
    if isinstance(cause, ConnectionError | TimeoutError | ssl.SSLError) or type(cause).__name__ == "gaierror":
        return True
    return any(base.__name__ in _CLASSES for base in type(cause).__mro__)


def causes_of(error: BaseException, handled_before: BaseException | None = None) -> Iterator[BaseException]:
    """The error and what it was raised from, the outermost first.

    Of a missing file only what it was expressly raised from: some clients look for a file in one way after another, and
    what failed before the last one is no reason of it.
    """
    seen = {id(handled_before)}
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        is_explicit = found.__suppress_context__ or isinstance(found, FileNotFoundError | FileExistsError)
        found = found.__cause__ if found.__cause__ is not None or is_explicit else found.__context__
