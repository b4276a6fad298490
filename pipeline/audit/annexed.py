"""The files of a certificate's annex, as bytes. Writes nothing.

plan.json, answers/RATER.jsonl     what everything else follows from, with the release
certificate.json, certificate.md   what they prove
README.md, croissant.json          the release's own, rendered anew with the certificate in them
policy.toml                        the release's policy with the bound that the certificate advises, if it advises one
index.html, page/…                 every audited image with both masks
certificate.js                     what the page of the release says of it
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.audit.audited.page import chunks_of, page_files, previews
from pipeline.audit.certificate import make_certificate
from pipeline.audit.certificate_text import render_certificate
from pipeline.audit.judged import Judged
from pipeline.audit.labour import work_of
from pipeline.audit.plan import PLAN
from pipeline.files import storage
from pipeline.files.parquet import read_parquet
from pipeline.progress.stages import stage
from pipeline.progress.words import amount
from pipeline.release.certified import CERTIFICATE, Certified, CertifiedShare
from pipeline.release.check.limits import most_rows
from pipeline.release.contents import card, is_described
from pipeline.release.croissant import CROISSANT, croissant, tars_by_split
from pipeline.release.croissant_texts import CroissantAbout
from pipeline.release.identity import texts_digest
from pipeline.release.manifest import MANIFEST
from pipeline.release.page.data import call
from pipeline.selection.policy import RECOMMENDED, PolicyConfig
from pipeline.selection.policy import stated as stated_policy

POLICY, SCRIPT = "policy.toml", "certificate.js"
_RELEASE = "../../"
"""The release, seen from an annex."""


def derived_certificate(judged: Judged, *, missing_as_failures: bool = False) -> dict[str, Any]:
    """What `certificate.json` has: what the answers prove, and the digests of the answers themselves.

    Raises: ConfigError: some outcomes are unknown, and may not count as failures.
    """
    audited, plan = judged.audited, judged.plan
    certificate = make_certificate(
        plan,
        audited.rows,
        audited.stated.table,
        judged.outcomes,
        judged.pairs,
        work_of(judged.answers),
        missing_as_failures=missing_as_failures,
    )
    return certificate | {"answers": answer_digests(judged.files)}


def answer_digests(files: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    """How many answers there are in each file, and their digests: with them a check can say what was done to a file."""
    return {
        name: {
            "answers": content.count(b"\n"),
            "sha256": hashlib.sha256(content).hexdigest(),
            "sha256_of_sorted_lines": hashlib.sha256(b"".join(sorted(content.splitlines(keepends=True)))).hexdigest(),
        }
        for name, content in files.items()
    }


def certificate_files(judged: Judged, certificate: Mapping[str, Any]) -> dict[str, bytes]:
    """Encode all files of the annex.

    Args:    certificate: as `derived_certificate` made it.
    Returns: name relative to the annex → content, in the order in which they are to be written: with `certificate.js`
             last, the page of the release says nothing of half an annex.
    Raises:  StorageError: the manifest or a tar of the release differs from what is stated.
    """
    texts = certificate_texts(judged, certificate)
    with stage(f"making previews of {amount(len(judged.plan.sample), 'images')}"):
        return dict(previews(judged)) | texts


def certificate_texts(judged: Judged, certificate: Mapping[str, Any]) -> dict[str, bytes]:
    """Encode all files of the annex but previews; the same everywhere for equal answers.

    Raises: StorageError: the manifest of the release differs from what is stated.
    """
    found = certified_of(certificate)
    policy = policy_file(judged.audited.stated.policy, certificate.get("advice"))
    return {
        PLAN: judged.plan.encode(),
        **judged.files,
        CERTIFICATE: json.dumps(certificate, indent=1, sort_keys=True, allow_nan=False).encode() + b"\n",
        "certificate.md": render_certificate(certificate),
        "README.md": _card(judged, found),
        CROISSANT: _croissant(judged, found),
        **({POLICY: policy} if policy else {}),
        **page_files(judged),
        SCRIPT: call(
            "certificate",
            {
                **{name: certificate["release"][name] for name in ("name", "version", "sha256")},
                "sentence": found.sentence,
                "images": found.images,
                "population": found.population,
                "chunks": chunks_of(judged),
            },
        ),
    }


def texts_version() -> str:
    """SHA-256 of the code and templates that write an annex; tells versions of this tool apart."""
    return texts_digest("pipeline.audit")


def certified_of(certificate: Mapping[str, Any]) -> Certified:
    """What the texts of a release say of a certificate."""
    return Certified(
        sentence=certificate["sentence"],
        population=certificate["population"],
        images=certificate["images"],
        raters=certificate["raters"],
        judged_twice=certificate["counts"]["for_two_raters"],
        confidence=certificate["confidence"],
        shares=[
            CertifiedShare(iou=row["iou"], good=row["good"], at_least=row["at_least_share"])
            for row in certificate["shares"]
        ],
        sources=_sources(certificate["work"]["by"]),
    )


def _sources(work: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Where the answers of all raters together come from."""
    found = Counter[str]()
    for one in work:
        found.update(one["sources"])
    return dict(sorted(found.items()))


def policy_file(policy: PolicyConfig, advice: Mapping[str, Any] | None) -> bytes:
    """The policy of the release with the advised bound, as `publish_release.py build RUN --policy FILE` takes it.

    Returns: b"" if no bound is advised.
    """
    if not advice or not advice["bound"]:
        return b""
    lines = [
        "The policy of the release, with the bound that its certificate advises.",
        f"Of the images within it, at least {advice['share']:.1%} have an IoU of at least {advice['iou']}.",
    ]
    if policy.target_images:
        lines.append(
            "target_images chooses the best of more images. With the bound, images may come in that were not accepted "
            "before: nothing is promised of those"
        )
    options = stated_policy(
        PolicyConfig(**{**stated_policy(policy), "thresholds": (*policy.thresholds, advice["bound"])})
    )
    defaults = stated_policy(PolicyConfig())
    # The bounds on the variance in any case: what counts without them depends on the weights of a run.
    given = {name: value for name, value in options.items() if value != defaults.get(name) or name in RECOMMENDED}
    return "\n".join(
        [*(f"# {line}" for line in lines), *(f"{name} = {json.dumps(value)}" for name, value in given.items()), ""]
    ).encode()


def _card(judged: Judged, found: Certified) -> bytes:
    about_release = judged.audited.stated
    content = storage.read_checked(storage.join(judged.audited.folder, MANIFEST), about_release.files[MANIFEST])
    rows = read_parquet(content, most_rows=most_rows(content)).to_pylist()
    splits = list(tars_by_split(list(about_release.files.values())))
    return card(
        about_release.release, about_release.policy, rows, about_release.made_with, splits, about_release.passes, found
    )


def _croissant(judged: Judged, found: Certified) -> bytes:
    about_release = judged.audited.stated
    about = CroissantAbout(
        release=about_release.release,
        policy=about_release.policy,
        counts=about_release.counts,
        made_with=about_release.made_with,
        passes=about_release.passes,
        certificate=found,
    )
    described = [file for name, file in sorted(about_release.files.items()) if is_described(name)]
    return croissant(about, described, release=_RELEASE)
