"""How many planted copies of photographs are found, and how many different photographs are taken for copies."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.benchmarks.benchmark import Case, Result, not_empty, table_head

if TYPE_CHECKING:
    import numpy as np

    from pipeline.passes.duplicates.encoders import Encoder

SAMPLE = str(Path(__file__).resolve().parents[1] / "sample" / "images")


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """Planted copies of photographs: how many are found, by kind, and how many pairs of different ones are mistaken."""

    photos: tuple[str, ...] = (SAMPLE,)
    """Folders, zips, tars … of photographs, all of them different."""
    encoders: tuple[str, ...] = ("model", "none")
    """See `--encoder` of the pass embeddings; each is a case."""
    duplicate_from: float = 0.8
    """See the pass duplicates."""

    def __post_init__(self) -> None:
        not_empty(self, "photos", "encoders")

    def cases(self) -> list[Case]:
        """One case per encoder."""
        shared = {"photos": list(self.photos), "duplicate_from": self.duplicate_from}
        return [{"encoder": encoder, **shared} for encoder in self.encoders]

    def table(self, results: Sequence[Result]) -> Iterator[str]:
        """One row per encoder and kind of copy, and one for pairs of different photographs."""
        yield from table_head("encoder", "kind", "tried", "near by vectors", "found", "least similarity")
        for result in results:
            for kind, found in result["kinds"].items():
                yield (
                    f"| {result['encoder']} | {kind} | {found['tried']} | {found['near'] / found['tried']:.1%} "
                    f"| {found['found'] / found['tried']:.1%} | {found['least']:.3f} |"
                )
            pairs = result["pairs"]
            yield (
                f"| {result['encoder']} | different photographs | {pairs['tried']:,} | {pairs['near']} pairs "
                f"| {pairs['found']} pairs | most: {pairs['most']:.3f} |"
            )


def measure(folder: Path, *, encoder: str, photos: Sequence[str], duplicate_from: float) -> dict[str, Any]:
    """Describe every photograph and its copies, and compare them as the pass duplicates does."""
    import numpy as np

    from model.config import ModelConfig
    from pipeline.passes.duplicates.encoders import load_encoder
    from pipeline.passes.duplicates.join import LIMIT, overlaid
    from pipeline.passes.options import EmbeddingsOptions

    described = load_encoder(EmbeddingsOptions(encoder=encoder), ModelConfig(threads=2))
    originals, planted = list[Any](), {kind: list[Any]() for kind in KINDS}
    for photo in _photos(photos):
        originals.append(_describe([photo], described)[0])
        for kind, found in zip(KINDS, _describe([plant(photo) for plant in KINDS.values()], described), strict=True):
            planted[kind].append(found)
    cosines, thumbnails = _cosines(originals, originals), np.stack([one.thumbnails[0] for one in originals])
    every = np.arange(len(originals))
    alike = np.array([list(overlaid(one.thumbnails[0], every, thumbnails).values()) for one in originals])
    pairs = np.triu_indices(len(originals), 1)
    near = cosines[pairs] >= LIMIT
    kinds = {}
    for kind, copies in planted.items():
        of_kind = np.diag(_cosines(copies, originals)) >= LIMIT
        similarity = np.array(
            [
                overlaid(copy.thumbnails[0], every[:1], one.thumbnails)[0]
                for copy, one in zip(copies, originals, strict=True)
            ]
        )
        found = of_kind & (similarity >= duplicate_from)
        kinds[kind] = {
            "tried": len(copies),
            "near": int(of_kind.sum()),
            "found": int(found.sum()),
            "least": float(similarity.min()),
        }
    return {
        "encoder": encoder,
        "kinds": kinds,
        "pairs": {
            "tried": len(pairs[0]),
            "near": int(near.sum()),
            "found": int((near & (alike[pairs] >= duplicate_from)).sum()),
            "most": float(alike[pairs].max(initial=0)),
        },
    }


def _describe(images: "Sequence[np.ndarray]", encoder: "Encoder") -> list[Any]:
    """Images as the pass duplicates compares them, each by itself."""
    from pipeline.passes.duplicates.embeddings import describe
    from pipeline.passes.duplicates.join import Compared
    from pipeline.passes.duplicates.overlay import SIDE_PX
    from pipeline.passes.duplicates.vectors import stacked

    return [
        Compared.of([""], stacked([one.vector], len(one.vector) // 2), stacked([one.thumbnail], SIDE_PX**2))
        for one in describe(images, encoder)
    ]


def _cosines(ones: Sequence[Any], others: Sequence[Any]) -> "np.ndarray":
    import numpy as np

    even = [np.concatenate([one.vectors.even for one in images]) for images in (ones, others)]
    odd = [np.concatenate([one.vectors.odd for one in images]) for images in (ones, others)]
    squares = [np.concatenate([one.vectors.squares for one in images]) for images in (ones, others)]
    cosines: np.ndarray = (even[0] @ even[1].T + np.abs(odd[0] @ odd[1].T)) / np.sqrt(squares[0][:, None] * squares[1])
    return cosines


def _photos(places: Sequence[str]) -> "Iterator[np.ndarray]":
    """The photographs, at most 1024 px wide and high, as cameras' are not what is compared."""
    import numpy as np
    from PIL import Image

    from pipeline.collection.config import InputConfig
    from pipeline.collection.gather import read_collection
    from pipeline.collection.images import decode
    from pipeline.collection.stores import read_bytes

    for place in places:
        for sample in read_collection(InputConfig(images=place)).samples:
            image = Image.fromarray(decode(sample, read_bytes(sample)))
            image.thumbnail((1024, 1024), Image.Resampling.LANCZOS)
            yield np.asarray(image)


def _resized(photo: "np.ndarray", share: float) -> "np.ndarray":
    import numpy as np
    from PIL import Image

    image = Image.fromarray(photo)
    size = (max(1, round(image.width * share)), max(1, round(image.height * share)))
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS))


def _recompressed(photo: "np.ndarray", quality: int) -> "np.ndarray":
    from PIL import Image

    from pipeline.collection.images import decode_rgb

    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=quality)
    return decode_rgb("copy", file.getvalue())


def _cropped(photo: "np.ndarray", share: float, top: float, left: float) -> "np.ndarray":
    """Args: share: of width and of height. top, left: 0 for the upper left corner, 0.5 for the middle."""
    import numpy as np

    height, width = (max(1, round(length * share)) for length in photo.shape[:2])
    row, column = round((photo.shape[0] - height) * top), round((photo.shape[1] - width) * left)
    return np.ascontiguousarray(photo[row : row + height, column : column + width])


def _mirrored(photo: "np.ndarray") -> "np.ndarray":
    import numpy as np

    return np.ascontiguousarray(photo[:, ::-1])


def _grey(photo: "np.ndarray") -> "np.ndarray":
    import numpy as np
    from PIL import Image

    return np.asarray(Image.fromarray(photo).convert("L").convert("RGB"))


KINDS: "Mapping[str, Callable[[np.ndarray], np.ndarray]]" = {
    "half the size": lambda photo: _resized(photo, 0.5),
    "a quarter of the size": lambda photo: _resized(photo, 0.25),
    "JPEG, quality 50": lambda photo: _recompressed(photo, 50),
    "JPEG, quality 10": lambda photo: _recompressed(photo, 10),
    "mirrored": _mirrored,
    "grey": _grey,
    "cropped to 90 %, middle": lambda photo: _cropped(photo, 0.9, 0.5, 0.5),
    "cropped to 90 %, corner": lambda photo: _cropped(photo, 0.9, 0, 0),
    "cropped to 92.5 %, off the middle": lambda photo: _cropped(photo, 0.925, 0.25, 0.75),
    "cropped to 80 %, middle": lambda photo: _cropped(photo, 0.8, 0.5, 0.5),
    "grey, mirrored, cropped to 95 %, half the size, JPEG 50": lambda photo: _recompressed(
        _resized(_cropped(_mirrored(_grey(photo)), 0.95, 0, 0), 0.5), 50
    ),
}
"""What is planted: kind → how a copy is made. Shares are of width and of height."""
