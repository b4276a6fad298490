"""Compare two evaluations of the same images, from the files that they left."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model.documents import DocumentError, parse_object
from pipeline.errors import CollectionError, RunMismatchError, StorageError
from pipeline.evaluation import bootstrap
from pipeline.evaluation.figures import MEANS, OF_CURVES, Parts
from pipeline.evaluation.interval_tables import NO_RELEASE, comparison
from pipeline.evaluation.on_release.label_errors import certificate_of, certificate_section, newest
from pipeline.evaluation.paired import EXCHANGES, compare
from pipeline.evaluation.report import FORMAT
from pipeline.files import storage, urls
from pipeline.files.tars import encode_json
from pipeline.release.certified import StatedCertificate

SHOWN = 20
"""Images that are listed because the models differ on them."""
_MOST_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What an evaluation has left."""

    out: str
    document: Mapping[str, Any]
    images: pa.Table

    def parts(self) -> Parts:
        """Measures of its images."""
        names = self.images.column_names
        means = {
            figure: self.images[name].to_numpy()
            for figure, name in MEANS.items()
            if name in names and not self.images[name].null_count
        }
        curves = {
            name: self.images[name].combine_chunks().flatten().to_numpy().reshape(-1, 256).astype(np.float64)
            for name in OF_CURVES
            if name in names
        }
        return Parts(means=means, curves=curves)


def compare_evaluations(outs: Sequence[str], to: str = "") -> dict[str, Any]:
    """Compare the evaluations in two folders.

    Args:    to: folder for `comparison.json` and `comparison.md`; "": nothing is written.
    Returns: the content of `comparison.json`.
    Raises:  CollectionError: there is no evaluation. RunMismatchError: they are not of the same images, or were not
             measured alike. StorageError: its files can't be read.
    """
    first, second = (_read(out) for out in outs)
    _require_alike(first, second)
    ones, others = first.parts(), second.parts()
    values = {
        "first": first.document["name"],
        "second": second.document["name"],
        "folders": [first.out, second.out],
        "release": _release(first),
        "scorer": first.document["scorer"]["digest"],
        "images": ones.images,
        "certificate": certificate_section(newest(*map(_certificate, (first, second))), ones.images),
        "figures": {
            name: asdict(found) | {"difference": found.difference} for name, found in compare(ones, others).items()
        },
        "differ_most": _differ_most(first, second),
        "made_by": bootstrap.stated() | {"exchanges": EXCHANGES, "test": "permutation, two-sided"},
    }
    if to:
        storage.publish(storage.join(to, "comparison.md"), comparison(values).encode())
        storage.publish(storage.join(to, "comparison.json"), encode_json(values))
    return values


def _read(out: str) -> Stored:
    place = storage.join(urls.absolute(out), "evaluation.json")
    if not storage.is_file(place):
        raise CollectionError(f"--compare {out}: there is no evaluation.json; give the --out of an evaluation")
    try:
        document = parse_object(storage.read(place, _MOST_BYTES), most_bytes=_MOST_BYTES)
        if document.get("format") != FORMAT:
            raise CollectionError(f"--compare {out}: an earlier version of the project made it; evaluate again")
        images = pq.read_table(io.BytesIO(storage.read(storage.join(urls.absolute(out), "images.parquet"))))
    except (DocumentError, pa.ArrowException) as error:
        raise StorageError(f"{out} can't be read ({type(error).__name__}: {error}); evaluate again") from error
    return Stored(out=out, document=document, images=images)


def _require_alike(first: Stored, second: Stored) -> None:
    """Raises RunMismatchError, naming what differs."""
    for what, of in (
        ("releases", _release),
        ("scorers", lambda stored: stored.document["scorer"]["digest"]),
        ("rules for missing predictions", lambda stored: (stored.document["release"] or {}).get("missing_counts_as")),
        ("numbers of images", lambda stored: len(stored.images)),
        ("images", lambda stored: stored.images["name"].to_pylist()),
        ("masks", lambda stored: stored.images["truth_sha256"].to_pylist()),
    ):
        one, other = of(first), of(second)
        if one != other:
            seen = "" if isinstance(one, list) else f" ({one} and {other})"
            raise RunMismatchError(
                f"{first.out} and {second.out} have different {what}{seen}, so their figures can't be compared; "
                "evaluate both alike, on the same images"
            )


def _release(stored: Stored) -> str:
    release = stored.document["release"]
    return f"{release['name']} {release['version']}, {release['release_json_sha256']}" if release else NO_RELEASE


def _certificate(stored: Stored) -> StatedCertificate | None:
    try:
        return certificate_of((stored.document["release"] or {}).get("certificate"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(f"the certificate in {stored.out} is malformed ({error}); evaluate again") from error


def _differ_most(first: Stored, second: Stored) -> list[dict[str, Any]]:
    """The images whose MAE differs most, in the order of how far."""
    names = ("mae", "s_measure")
    rows = [stored.images.select(["name", *names]).to_pylist() for stored in (first, second)]
    both = sorted(zip(*rows, strict=True), key=lambda pair: (-abs(pair[0]["mae"] - pair[1]["mae"]), pair[0]["name"]))
    return [
        {"name": one["name"], "first": {n: one[n] for n in names}, "second": {n: other[n] for n in names}}
        for one, other in both[:SHOWN]
        if one != other
    ]
