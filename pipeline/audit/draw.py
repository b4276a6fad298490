"""Which images are drawn, and who judges which of them: a function of the release's digest, so nobody can choose.

Keys are sorted by the SHA-256 of "DIGEST:BEACON:KEY"; the sample is the beginning of that order. Anybody can repeat it
with `sha256sum`. A larger simple random sample begins with every smaller one, and its order is random too, so methods
that look at one image after the other may use it. Pure.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence


def shuffled(keys: Iterable[str], seed: str) -> list[str]:
    """The keys in the order of the SHA-256 of "SEED:KEY"."""
    return sorted(keys, key=lambda key: (hashlib.sha256(f"{seed}:{key}".encode()).hexdigest(), key))


def drawn(strata: Mapping[str, str], images: int, seed: str) -> list[str]:
    """Draw a sample, in proportion from each stratum.

    Args:    strata: key of each accepted image → its stratum; the same for all in a simple random sample.
             seed: "DIGEST:BEACON".
    Returns: keys in the order of the draw: within a stratum, any beginning is a simple random sample of it.
    """
    members: dict[str, list[str]] = {}
    for key in shuffled(strata, seed):
        members.setdefault(strata[key], []).append(key)
    shares = allocation({stratum: len(keys) for stratum, keys in members.items()}, images)
    chosen = {key for stratum, keys in members.items() for key in keys[: shares[stratum]]}
    return shuffled(chosen, seed)


def allocation(sizes: Mapping[str, int], images: int) -> dict[str, int]:
    """Share a number of images among strata in proportion to their sizes, by largest remainders; at least 1 of each.

    Returns: stratum → images, at most its size. More than `images` in all only if there are more strata than that.
    """
    population = sum(sizes.values())
    images = min(images, population)
    exact = {stratum: images * size / population for stratum, size in sizes.items()}
    shares = {stratum: max(1, int(share)) for stratum, share in exact.items()}
    by_remainder = sorted(sizes, key=lambda stratum: (shares[stratum] - exact[stratum], stratum))
    for stratum in by_remainder[: max(0, images - sum(shares.values()))]:
        shares[stratum] += 1
    while sum(shares.values()) > max(images, len(shares)):  # strata that were raised to 1 take it from the largest
        shares[max(shares, key=lambda stratum: (shares[stratum] > 1, shares[stratum] - exact[stratum], stratum))] -= 1
    return shares


def raters_of(keys: Sequence[str], names: Sequence[str], overlap: float, seed: str) -> dict[str, tuple[str, ...]]:
    """Say who judges which image: shares of equal size, and two raters for a part of the images.

    Args:    keys: the sample. names: the raters. overlap: share of the images that two of them judge.
    Returns: key → its raters, one or two.
    """
    twice = round(overlap * len(keys)) if len(names) > 1 else 0
    found: dict[str, tuple[str, ...]] = {}
    for place, key in enumerate(shuffled(keys, f"{seed}:raters")):
        first = names[place % len(names)]
        # The partner is another one each time round, so that all pairs meet.
        step = 1 + (place // len(names)) % (len(names) - 1) if len(names) > 1 else 0
        found[key] = (first, names[(place + step) % len(names)]) if place < twice else (first,)
    return found
