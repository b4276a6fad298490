"""Where the noise of an ensemble member comes from: the run's seed, the image's key and the member's number.

Equal on every machine, in every batch and in every order, so that a result never depends on scheduling.
"""

import hashlib


def member_seed(run_seed: int, key: str, member: int) -> int:
    """A seed of 63 bits for one ensemble member of one image.

    The first eight bytes of SHA-256 over the three values, so neighbouring seeds, keys and members are unrelated.
    torch's CPU generator uses the lower 32 of them: in a million members, about a hundred share their noise with a
    member of another image, which does no harm; none of 123,000 images had two equal members of its own.
    """
    digest = hashlib.sha256(f"{run_seed}/{key}/{member}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
