"""What people are shown: URLs without passwords and signatures, and texts without control characters.

For messages, logs, cards and records. `shown` takes one URL, `without_secrets` any text with URLs in it. Hidden are
user and password, the values of parameters whose names say that they open something, and values that look like nothing
else. `printable` also escapes what a terminal, a browser or a spreadsheet would obey.
"""

import logging
import re
from urllib.parse import unquote

HIDDEN = "(hidden)"

_PROTOCOL = r"[A-Za-z][A-Za-z0-9+.-]*"
_LINKS = re.compile(rf"::(?={_PROTOCOL}(?:::|://))")
_WITHOUT_PASSWORD = re.compile(r"(\[[^\]@]*\]|arn:[^@]*|[^:@]*)(:[0-9]*)?(::[^@]*)?")
"""A host with its port, or a bucket."""
_NAMED_BEFORE_AT = ("abfs", "abfss")
"""Azure's URLs are abfs://CONTAINER@ACCOUNT: what stands before "@" is no secret unless it has a colon."""
_PARAMETER = re.compile(r"([?&;#])([^=&;#\s'\"<>]*)=([^&;#\s'\"<>\\]*)")
_LONE_VALUE = re.compile(r"(?<=[?&;#])[^=&;#\s'\"<>\\]+(?=[&;#\s'\"<>\\]|$)")
_URL = re.compile(rf"{_PROTOCOL}://(?:[^\s'\"<>\\]|\\(?!['\"]))+")
_LOOSE_PASSWORD = re.compile(rf"\b({_PROTOCOL}://)[^/?#\n]*:[^/?#\n]*@")
"""A password with spaces or quotes, in a text."""
_TOKENS = (
    (re.compile(r"\b(?:hf|api_org)_(?:[a-z]+_)?[A-Za-z0-9]{16}[\w.-]*"), HIDDEN),
    (re.compile(r"\b(Bearer|Basic) +[A-Za-z0-9+/=_.~-]{8,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
)

_SECRET_NAMES = frozenset({"sig", "sas", "auth", "key", "jwt", "pass", "pw", "pwd", "psw"})
_IN_SECRET_NAMES = (
    "signature", "token", "secret", "passw", "passphrase", "credential", "authoriz", "session", "bearer", "accesskey",
    "accessid", "keyid", "keypair", "apikey", "privatekey",
)  # fmt: skip
_SECRET_ENDS = ("key", "sig", "auth")
_LIKE_A_SECRET = re.compile(r"[A-Za-z0-9+/=_%-]{40,}")


_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
"""Control characters (C0, DEL, C1), marks and overrides of direction, separators of lines, halves of characters."""


def shown(url: str) -> str:
    """A path or URL as people may see it; a local path and a URL without secrets stay as they are."""
    return "::".join(_shown_link(link) for link in _LINKS.split(url))


def without_secrets(text: str) -> str:
    """The text with the secrets of all its URLs hidden, of those without a host too: /object?X-Amz-Signature=…"""
    if "://" in text:
        text = _URL.sub(lambda found: shown(found[0]), text)
        text = _LOOSE_PASSWORD.sub(_loose, text)
    if "=" in text:
        text = _PARAMETER.sub(_parameter, text)
    for token, instead in _TOKENS:
        text = token.sub(instead, text)
    return text


def printable(text: str, kept: str = "") -> str:
    """The text without secrets, and with control characters as escapes such as \\x1b.

    Args: kept: control characters that stay, such as the line breaks of a page.
    """
    return _OBEYED.sub(lambda found: found[0] if found[0] in kept else _escaped(found[0]), without_secrets(text))


def text_as_utf8(text: str) -> str:
    """The text with whatever UTF-8 can't hold written as backslash escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def indented(text: str) -> str:
    """The text with every line but the first indented, so that a name with line breaks can't pose as a line."""
    return text.replace("\n", "\n  ")


class ShownFormatter(logging.Formatter):
    """Formats log records as people may see them."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record; lines after its first are indented."""
        return indented(printable(super().format(record), kept="\n"))


def _escaped(character: str) -> str:
    return ascii(character)[1:-1]


def _shown_link(link: str) -> str:
    protocol, separator, rest = link.partition("://")
    if not separator or not re.fullmatch(_PROTOCOL, protocol):
        return link
    rest = _LONE_VALUE.sub(_lone_value, _PARAMETER.sub(_parameter, _without_user(protocol.lower(), rest)))
    return f"{protocol}://{rest}"


def _without_user(protocol: str, rest: str) -> str:
    """What follows "://", without user and password.

    A password may have "/", "?" or "@" in it, although it should not: then everything up to the last "@" is hidden.
    """
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" not in rest or _WITHOUT_PASSWORD.fullmatch(authority):
        return rest
    user, _, host = authority.rpartition("@")
    if user and ":" not in user:
        return rest if protocol in _NAMED_BEFORE_AT else f"{HIDDEN}@{host}{rest[len(authority) :]}"
    return f"{HIDDEN}@{rest.rpartition('@')[2]}"


def _parameter(found: re.Match[str]) -> str:
    mark, name, value = found.groups()
    nested = unquote(value)
    is_secret = _opens_something(name) or _LIKE_A_SECRET.fullmatch(value) or ("://" in nested and _hides(nested))
    return f"{mark}{name}={HIDDEN}" if value and is_secret else found[0]


def _lone_value(found: re.Match[str]) -> str:
    return HIDDEN if _LIKE_A_SECRET.fullmatch(found[0]) else found[0]


def _hides(url: str) -> bool:
    return shown(url) != url


def _opens_something(name: str) -> bool:
    plain = "".join(letter for letter in unquote(name).lower() if letter.isalnum())
    return plain in _SECRET_NAMES or plain.endswith(_SECRET_ENDS) or any(part in plain for part in _IN_SECRET_NAMES)


def _loose(found: re.Match[str]) -> str:
    return found[0] if HIDDEN in found[0] else f"{found[1]}{HIDDEN}@"
