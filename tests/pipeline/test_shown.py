"""What people are shown: no URL shows its password or signature, and nothing that a terminal would obey stays."""

import json
import unicodedata

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from pipeline.shown import HIDDEN, printable, shown, without_secrets

SECRET = "hunter2.Zq"
PARAMETERS = (
    "X-Amz-Signature", "x-amz-signature", "X-Amz-Credential", "X-Amz-Security-Token", "X%2DAmz%2DSignature",
    "AWSAccessKeyId", "Signature", "sig", "sas", "token", "access_token", "id-token", "access_key", "accessKey",
    "api_key", "apikey", "key", "secret", "client_secret", "password", "passwd", "pwd", "X-Goog-Signature",
    "GoogleAccessId", "Key-Pair-Id", "session", "authorization", "credential",
)  # fmt: skip
HARMLESS = ("page", "author", "versionId", "design", "keyword", "width", "se", "sp", "sv", "file", "sacred")
WORDS = st.text("abz019._-~ é", max_size=8)
PROTOCOLS = st.sampled_from(["s3", "gs", "abfs", "hf", "http", "https", "S3", "memory", "ftp"])
HOSTS = st.sampled_from(["host", "bucket", "host:9000", "host.example.org", "[1fff:0:a88]:80"])
PASSWORDS = st.sampled_from([SECRET, f"a/{SECRET}", f"{SECRET}@x", f"a?{SECRET}", f"{SECRET}%40", f"a#{SECRET}/b@c"])
CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A))]


# URLs


@given(PROTOCOLS, st.sampled_from(["", "user", "AKIA0123"]), PASSWORDS, HOSTS, WORDS)
@example("https", "", SECRET, "host", "")
def test_no_password_is_shown_in_a_url_or_in_a_text_around_it(protocol, user, password, host, path):
    url = f"{protocol}://{user}:{password}@{host}/{path}"
    assert SECRET not in shown(url)
    assert shown(url).endswith(f"{HIDDEN}@{host}/{path}")
    for text in (f"can't read {url!r}: no such host", f"chain simplecache::{url}", json.dumps({"out": url})):
        assert SECRET not in without_secrets(text)


@given(PROTOCOLS, st.sampled_from(PARAMETERS), st.lists(st.sampled_from(HARMLESS), max_size=2), st.data())
def test_no_value_of_a_parameter_that_opens_something_is_shown(protocol, name, others, data):
    parameters = data.draw(st.permutations([f"{name}={SECRET}", *(f"{other}=dog7" for other in others)]))
    url = f"{protocol}://host/a/b.json{data.draw(st.sampled_from('?#;'))}{'&'.join(parameters)}"
    for found in (shown(url), without_secrets(f"GET {url} failed"), shown(f"simplecache::{url}")):
        assert SECRET not in found
        assert f"{name}={HIDDEN}" in found
        assert found.count("dog7") == len(others)
    assert SECRET not in without_secrets(f"Max retries exceeded with url: /a/b.json?{'&'.join(parameters)} (Caused")


@given(PROTOCOLS, HOSTS, WORDS, st.sampled_from(HARMLESS), st.text("abz019", max_size=20))
@example("abfs", "container@account.dfs.core.windows.net", "data", "sp", "r")
@example("hf", "datasets", "org/name@main/data", "page", "1")
@example("s3", "arn:aws:s3:eu-west-1:123456789012:accesspoint/name", "a@b", "versionId", "12")
@example("http", "farm5.staticflickr.com", "4136/4930150541_fbb1b7b4dd_z.jpg", "zz", "1")
def test_a_url_without_secrets_is_shown_as_it_is(protocol, host, path, name, value):
    assume(not value.isdigit() or len(value) < 40)
    url = f"{protocol}://{host}/{path}?{name}={value}"
    assert shown(url) == without_secrets(url) == url


@given(st.text(max_size=40))
def test_what_is_shown_once_is_shown_the_same_again(text):
    assert without_secrets(without_secrets(text)) == without_secrets(text)
    assert shown(shown(text)) == shown(text)


@given(st.text("abz019._-~# é/%:*", max_size=20).map(lambda text: f"/{text}"))
def test_a_local_path_is_shown_as_it_is(path):
    assume("://" not in path)
    assert shown(path) == path


def test_tokens_without_a_url_are_hidden():
    text = f"Authorization: Bearer {'a' * 20}, then hf_{'Ab1' * 8}"
    assert without_secrets(text) == f"Authorization: Bearer {HIDDEN}, then {HIDDEN}"


@given(st.dictionaries(st.text("ab", max_size=3), st.text(max_size=10) | st.just(f"https://u:{SECRET}@host/x'\\\"y")))
def test_a_line_of_json_stays_json(values):
    assert json.loads(printable(json.dumps(values))).keys() == values.keys()


# Texts


@given(st.text(st.sampled_from([*CONTROLS, "\ud800", "a", "é", "漢", " "]), max_size=20))
@example("".join(CONTROLS))
def test_no_character_that_is_obeyed_stays_and_each_is_told_by_its_escape(text):
    found = printable(text)
    assert not {*found} & {*CONTROLS, "\ud800"}
    assert all(unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp") for character in found)
    assert found == "".join(ascii(c)[1:-1] if c in CONTROLS or c == "\ud800" else c for c in text)


@pytest.mark.parametrize("kept", ["\n", "\n\t"])
def test_line_breaks_stay_where_they_are_asked_for_and_nothing_else(kept):
    found = printable("".join(CONTROLS), kept=kept)
    assert {*found} & {*CONTROLS} == {*kept}
