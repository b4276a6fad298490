"""Seeds for the noise of ensemble members, from the run's seed, the image's key and the member's number.

They are equal on every machine, in every batch and in every order, so a result never depends on scheduling.
"""

import hashlib

_KEYS = 10**12
"""As many as there are 12-digit keys."""


def key_of(name: str) -> str:
    """The key of an image that has a name instead of a number, so that whoever predicts it gives it the same noise.

    Args:    name: of its file, without the suffix.
    Returns: 12 digits: the name's own if it is a number of at most 12, as names in COCO are; else from its SHA-256.
    """
    if name.isascii() and name.isdecimal() and len(name) <= 12:
        return name.zfill(12)
    return f"{int.from_bytes(hashlib.sha256(name.encode('utf-8', 'surrogateescape')).digest()[:8]) % _KEYS:012d}"


def member_seed(run_seed: int, key: str, member: int) -> int:
    """A 63-bit seed for one ensemble member of one image.

    It comes from the first eight bytes of SHA-256 over the three values, so neighbouring seeds, keys and members are
    unrelated. torch's CPU generator uses only the lower 32 bits: of a million members, about a hundred share their
    noise with a member of another image, which does no harm; none of 123,000 images had two equal members of its own.
    """
    digest = hashlib.sha256(f"{run_seed}/{key}/{member}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") >> 1
