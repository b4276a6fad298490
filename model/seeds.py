"""Seeds for the noise of ensemble members, from the run's seed, the image's key and the member's number.

They are equal on every machine, in every batch and in every order, so a result never depends on scheduling.
"""

import hashlib


def member_seed(run_seed: int, key: str, member: int) -> int:
    """A 63-bit seed for one ensemble member of one image.

    It comes from the first eight bytes of SHA-256 over the three values, so neighbouring seeds, keys and members are
    unrelated. torch's CPU generator uses only the lower 32 bits: of a million members, about a hundred share their
    noise with a member of another image, which does no harm; none of 123,000 images had two equal members of its own.
    """
    digest = hashlib.sha256(f"{run_seed}/{key}/{member}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
