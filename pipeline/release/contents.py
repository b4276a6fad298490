"""The files of a release: the one list of them, and the bytes of all that are neither pictures nor tars.

To add a file: list it in `CONTENTS`, make its bytes in `texts_of` (usually with a new module beside this one), and
compare it with the other files in `check/`. The card lists whatever is in `CONTENTS`, `croissant.json` what has data.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config import ReleaseConfig, RunConfig
from pipeline.passes.duplicates.contamination import PICTURE, TABLE
from pipeline.passes.folder import StatedPass
from pipeline.records import StoredFile
from pipeline.release.card import CardFiles, render_card
from pipeline.release.certified import Certified
from pipeline.release.changes import CHANGELOG, CHANGES, Earlier, change_files, changes_since
from pipeline.release.coco_json import CocoAnnotations
from pipeline.release.croissant import CROISSANT
from pipeline.release.duplicates import DUPLICATES, duplicate_files, has_duplicates
from pipeline.release.identity import RELEASE_JSON
from pipeline.release.licenses import LicenseTable, is_listed, notice
from pipeline.release.manifest import MANIFEST, SCENE, added_columns, encode_manifest
from pipeline.release.mask_license import LICENSE, license_files, license_of_masks
from pipeline.release.page.files import page_about, page_files
from pipeline.release.source import ReleaseSource
from pipeline.release.survey import Surveyed
from pipeline.release.tar_series import ReleasedTar, wids_index
from pipeline.selection.policy import PolicyConfig

SUMS = "SHA256SUMS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A file of a release, or all files of one kind."""

    name: str
    """Relative to the release. SPLIT stands for the name of a split, * for any characters."""
    meaning: str
    """What it is for, in Markdown; the card says so."""
    is_described: bool = False
    """Does `croissant.json` describe it? It describes data, not what is made for people."""
    only_if_compared: bool = False
    """Only in a release that is compared with an earlier one?"""
    only_if_licensed: bool = False
    """Only in a release that names a licence of its masks?"""
    of_pass: str = ""
    """Only in a release that has a score pass of this kind."""


CONTENTS = (
    Content(name="README.md", meaning="This card."),
    Content(
        name="data/SPLIT/*.tar",
        meaning="The accepted images of a split, as samples in webdataset format.",
        is_described=True,
    ),
    Content(name="data/SPLIT/index.json", meaning="An index of these tars for random access with `wids`."),
    Content(name=MANIFEST, meaning="One row for every input image, accepted or not.", is_described=True),
    Content(
        name="annotations/SPLIT.json",
        meaning="The masks of a split in COCO format, with the image ids of the manifest. `file_name` is an image's "
        "name after its tar is extracted, `collection_file_name` that in the collection.",
        is_described=True,
    ),
    Content(
        name="licenses.csv",
        meaning="Licence, author and source of every image of which this release has pixels or a mask; "
        "`key` begins with `key-`, so that no program takes it for a number.",
        is_described=True,
    ),
    Content(
        name=LICENSE,
        meaning="The licence of masks, maps and scores, and what it does not cover.",
        only_if_licensed=True,
    ),
    Content(name="NOTICE", meaning="How many images there are of each licence."),
    Content(
        name=TABLE,
        meaning="Every image that nearly equals an earlier one, or one of a test set; keys as in `licenses.csv`.",
        of_pass=DUPLICATES,
    ),
    Content(
        name=PICTURE,
        meaning="The pairs that are most alike, side by side; photos of test sets are not shown.",
        of_pass=DUPLICATES,
    ),
    Content(name="index.html", meaning="A page for browsing all images and scores; it needs no network."),
    Content(name="page/*", meaning="Scripts, styles and thumbnails of that page."),
    Content(
        name=CHANGELOG, meaning="What differs from the earlier release, in numbers and reasons.", only_if_compared=True
    ),
    Content(
        name=CHANGES,
        meaning="Every image that was added, removed or changed; keys as in `licenses.csv`.",
        only_if_compared=True,
    ),
    Content(name=CROISSANT, meaning="A description of the data for programs (Croissant 1.0)."),
    Content(name=SUMS, meaning="SHA-256 of every file except itself and `release.json`, for `sha256sum --check`."),
    Content(
        name=RELEASE_JSON,
        meaning="What this release was made from, and size and SHA-256 of every other file; written last.",
    ),
)
"""Every file that a release can have, in the order of the card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What is known about the images of a release once its tars are written."""

    rows: Sequence[Mapping[str, Any]]
    """Manifest rows, in the order of the source's images."""
    surveyed: Mapping[str, Surveyed]
    """Key → findings, for every predicted image."""
    tars: Mapping[str, Sequence[ReleasedTar]]
    """Split → its tars, in order."""


def texts_of(
    source: ReleaseSource,
    config: RunConfig,
    made_with: Mapping[str, str],
    earlier: Earlier | None,
    outcome: Outcome,
) -> dict[str, bytes]:
    """Encode all files except tars, sheets of tiles, and those that list files: Croissant, sums and `release.json`.

    Args:    made_with: the fingerprint of the run. earlier: the release to compare with, if any.
    Returns: name relative to the release → content.
    """
    release, policy, passes = config.release, config.policy, source.stated_passes
    contents: dict[str, bytes] = {}
    annotations = {split: CocoAnnotations(release, source.licenses) for split in outcome.tars}
    licenses = LicenseTable(source.origins)
    for (sample, _), row in zip(source.images(), outcome.rows, strict=True):
        if row["split"]:
            is_empty = row.get(SCENE.name) == "empty"
            annotations[row["split"]].add(sample, None if is_empty else outcome.surveyed[sample.key].mask)
        if is_listed(row, policy, release.embed_images):
            licenses.add(sample, source.license_of(sample))
    for split, tars in outcome.tars.items():
        contents[f"annotations/{split}.json"] = annotations[split].encode()
        contents[f"data/{split}/index.json"] = wids_index(release.name, tars)
    if earlier:
        masks = {key: image.mask for key, image in outcome.surveyed.items()}
        accepted = sum(row["verdict"] == "accepted" for row in outcome.rows)
        changes = changes_since(earlier, outcome.rows, masks)
        contents |= change_files(release.name, release.version, earlier, changes, accepted)
    if has_duplicates(passes):
        contents |= duplicate_files(source, config, outcome.rows)
    with_tars = [split for split, tars in outcome.tars.items() if tars]
    return contents | {
        MANIFEST: encode_manifest(outcome.rows, made_with.get("mixed", ""), added_columns(passes, policy)),
        "licenses.csv": licenses.encode(),
        **license_files(release),
        "NOTICE": notice(f"{release.name} {release.version}", licenses.counts),
        "README.md": card(release, policy, outcome.rows, made_with, with_tars, passes),
        **page_files(outcome.rows, page_about(release, policy, made_with, passes)),
    }


def card(
    release: ReleaseConfig,
    policy: PolicyConfig,
    rows: Sequence[Mapping[str, Any]],
    made_with: Mapping[str, str],
    splits_with_tars: Sequence[str],
    passes: Sequence[StatedPass] = (),
    certificate: Certified | None = None,
) -> bytes:
    """Encode `README.md`, which lists the files of the release.

    Args: rows: manifest rows.
          made_with: the fingerprint of the run.
          splits_with_tars: the splits that have images.
          passes: the score passes whose columns the manifest has.
          certificate: what the card of an annex states.
    """
    kinds = {"", *(stated.document.kind for stated in passes)}
    listed = [
        (content.name, content.meaning)
        for content in CONTENTS
        if content.of_pass in kinds
        and (release.previous or not content.only_if_compared)
        and (license_of_masks(release) or not content.only_if_licensed)
    ]
    files = CardFiles(listed=listed, splits_with_tars=splits_with_tars)
    return render_card(release, policy, rows, made_with, files, passes, certificate)


def sha256_sums(files: Sequence[StoredFile]) -> bytes:
    """Encode `SHA256SUMS` in the format of `sha256sum --check`."""
    return "".join(f"{file.sha256}  {file.name}\n" for file in files).encode()


def content_of(name: str) -> Content | None:
    """The entry of `CONTENTS` that a file belongs to; None if it is not a file of a release."""
    for content in CONTENTS:
        pattern = re.escape(content.name).replace("SPLIT", "[a-z]+").replace(r"\*", ".+")
        if re.fullmatch(pattern, name):
            return content
    return None


def is_described(name: str) -> bool:
    """Does `croissant.json` describe that file of a release?"""
    content = content_of(name)
    return content is not None and content.is_described
