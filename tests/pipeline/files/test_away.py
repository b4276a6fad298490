"""What is worth another try: no answer, not an answer that somebody dislikes."""

import errno
import os
import socket
import ssl
from types import SimpleNamespace

import aiohttp
import httpx2 as httpx
import pytest
from botocore import exceptions as botocore
from hypothesis import given
from hypothesis import strategies as st
from s3fs.errors import ERROR_CODE_TO_EXCEPTION, translate_boto_error

from pipeline.files.away import is_away

REQUEST = httpx.Request("GET", "https://huggingface.co/x")


def of_number(number):
    return OSError(number, os.strerror(number))


def of_s3(code, status):
    response = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return translate_boto_error(botocore.ClientError(response, "PutObject"))


def of_web(status):
    return aiohttp.ClientResponseError(SimpleNamespace(real_url="https://h/x"), (), status=status)


def of_hub(status):
    return httpx.HTTPStatusError("said", request=REQUEST, response=httpx.Response(status, request=REQUEST))


def caused(error, cause):
    error.__cause__ = cause
    return error


LOST = [
    *map(of_number, (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE)),
    *map(of_number, (errno.ENETUNREACH, errno.EHOSTUNREACH)),
    TimeoutError(),
    ConnectionError("closed"),
    socket.gaierror(socket.EAI_AGAIN, "temporary failure in name resolution"),
    ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
    botocore.EndpointConnectionError(endpoint_url="http://h"),
    botocore.ReadTimeoutError(endpoint_url="http://h"),
    botocore.ConnectTimeoutError(endpoint_url="http://h"),
    botocore.ConnectionClosedError(endpoint_url="http://h"),
    botocore.ResponseStreamingError(error="cut"),
    botocore.IncompleteReadError(actual_bytes=1, expected_bytes=2),
    aiohttp.ServerDisconnectedError(),
    aiohttp.ClientPayloadError("cut"),
    httpx.ConnectError("refused"),
    httpx.ReadTimeout("slow"),
    *(of_s3(code, status) for code, status in (("SlowDown", 503), ("InternalError", 500), ("503", 503), ("500", 500))),
    *(of_s3(code, status) for code, status in (("RequestTimeout", 400), ("ConditionalRequestConflict", 409))),
    *map(of_web, (500, 502, 503, 504, 429, 408)),
    *map(of_hub, (500, 503, 429)),
    caused(FileNotFoundError("https://h/x"), aiohttp.ServerDisconnectedError()),  # what fsspec says of a web server
    caused(OSError("the server answers with status 503"), of_web(503)),
]
ANSWERED = [
    *map(of_number, (errno.ENOENT, errno.EEXIST, errno.EACCES, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE)),
    of_s3("AccessDenied", 403),
    of_s3("InvalidAccessKeyId", 403),
    of_s3("NoSuchKey", 404),
    of_s3("NoSuchBucket", 404),
    of_s3("PreconditionFailed", 412),
    of_s3("SomethingNew", 400),  # s3fs makes EIO of it
    of_s3("NotImplemented", 501),
    *map(of_web, (401, 403, 404, 410, 416)),
    *map(of_hub, (401, 404)),
    ssl.SSLCertVerificationError(1, "certificate verify failed"),
    botocore.NoCredentialsError(),
    ValueError("no number"),
    NotImplementedError(),
    MemoryError(),
]


@pytest.mark.parametrize("error", LOST, ids=repr)
def test_a_storage_that_gives_no_answer_is_away(error):
    assert is_away(error)
    assert is_away(caused(OSError("in other words"), error))


@pytest.mark.parametrize("error", ANSWERED, ids=repr)
def test_an_answer_is_final(error):
    assert not is_away(error)


@given(st.sampled_from(sorted(ERROR_CODE_TO_EXCEPTION)), st.sampled_from([400, 401, 403, 404, 405, 411, 412, 416]))
def test_refusals_of_a_request_are_final_whatever_number_the_client_makes_of_them(code, status):
    waits = {"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "OperationAborted", "IncompleteBody"}
    assert is_away(of_s3(code, status)) == (code in waits)


def test_what_was_handled_before_the_call_is_no_cause():
    def fail_twice():
        try:
            raise ConnectionResetError
        except ConnectionResetError as before:
            try:
                raise ValueError("of its own")
            except ValueError as error:
                return error, before

    error, before = fail_twice()
    assert is_away(error)
    assert not is_away(error, before)


def test_a_missing_file_that_was_looked_for_in_two_ways_is_missing():
    def look():
        try:
            raise aiohttp.ServerDisconnectedError
        except aiohttp.ServerDisconnectedError:
            raise FileNotFoundError("k")  # noqa: B904 (as clients do)

    with pytest.raises(FileNotFoundError) as raised:
        look()
    assert not is_away(raised.value)


def test_a_circle_of_causes_has_an_end():
    one, other = ValueError(), ValueError()
    one.__cause__, other.__cause__ = other, one
    assert not is_away(one)
