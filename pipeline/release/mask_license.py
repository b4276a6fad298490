"""The licence of what a release adds to its images: masks, maps and scores. `LICENSE` names it and its limits.

The notices have the wording that Creative Commons' own licence chooser gives; the licences are behind the addresses.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.config import MaskLicense, ReleaseConfig

LICENSE = "LICENSE"


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenseText:
    """A licence as texts name it."""

    name: str
    url: str
    hub: str
    """Its name on the Hugging Face Hub."""
    is_dedication: bool = False
    """The work is given to the public domain; nobody has to be named."""


LICENSES: Mapping[MaskLicense, LicenseText] = {
    "CC-BY-4.0": LicenseText(name="CC BY 4.0", url="https://creativecommons.org/licenses/by/4.0/", hub="cc-by-4.0"),
    "CC-BY-SA-4.0": LicenseText(
        name="CC BY-SA 4.0", url="https://creativecommons.org/licenses/by-sa/4.0/", hub="cc-by-sa-4.0"
    ),
    "CC-BY-NC-4.0": LicenseText(
        name="CC BY-NC 4.0", url="https://creativecommons.org/licenses/by-nc/4.0/", hub="cc-by-nc-4.0"
    ),
    "CC0-1.0": LicenseText(
        name="CC0 1.0", url="https://creativecommons.org/publicdomain/zero/1.0/", hub="cc0-1.0", is_dedication=True
    ),
}


def license_of_masks(release: ReleaseConfig) -> LicenseText | None:
    """The licence that a release names; None if it names none, as releases before format 6."""
    return LICENSES.get(release.mask_license)


def license_files(release: ReleaseConfig) -> dict[str, bytes]:
    """Encode `LICENSE`; nothing if the release names no licence."""
    found = license_of_masks(release)
    return {LICENSE: _encoded(release, found)} if found else {}


def _encoded(release: ReleaseConfig, found: LicenseText) -> bytes:
    if found.is_dedication:
        notice = f"This work is marked {found.name}. To view a copy of this mark, visit\n{found.url}"
    else:
        notice = f"This work is licensed under {found.name}. To view a copy of this license, visit\n{found.url}"
    return f"""{release.name} {release.version}: masks, maps, scores and texts

{notice}

SPDX-License-Identifier: {release.mask_license}
{"" if found.is_dedication else _attribution(release)}
This covers masks, maps, scores and texts. It does not cover the images: every image keeps the licence of its owner,
which licenses.csv lists and NOTICE sums up. Nor does it cover the scripts in page/, of which page/vendor/ has a licence
of its own. The licence of an image may also bind what is made from it; nobody has checked that.
""".encode()


def _attribution(release: ReleaseConfig) -> str:
    where = f", {release.homepage}" if release.homepage else ""
    publisher = f" by {release.creator}" if release.creator else ""
    return f"\nAttribution: {release.name}, version {release.version}{publisher}{where}\n"
