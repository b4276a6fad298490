"""Writers of webdataset's tars: ours and others', with the same samples, a photo and a JSON each."""

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pipeline.errors import ConfigError

Writer = Literal["candidates", "release", "bare", "webdataset", "img2dataset"]
TAR_SAMPLES = 64
"""Samples per tar: images per shard of a run. Tars of a release are larger, so sums and syncing cost it less."""
WIDTH, HEIGHT = 640, 480
"""The size of most of COCO's images."""
Sample = tuple[str, bytes, Mapping[str, Any]]
"""Key, photo, and what its JSON holds."""


def require_writer(writer: Writer) -> None:
    """Check that a writer is installed.

    Raises: ConfigError: it is not.
    """
    if writer == "img2dataset" and importlib.util.find_spec(writer) is None:
        raise ConfigError(
            "--writers img2dataset: it is not installed; run pip install --no-deps img2dataset (it requires a "
            "webdataset below 0.3, which nothing of its writer needs)"
        )


def write_samples(folder: Path, writer: Writer, samples: int) -> dict[str, Any]:
    """Samples/s of a writer, after one tar that is not counted, and the mean bytes of a sample."""
    from pipeline.benchmarks.clock import now
    from pipeline.benchmarks.inputs import VARIANTS, make_photo

    photos = [make_photo(number, WIDTH, HEIGHT) for number in range(VARIANTS)]
    made = [_sample(number, photos[number % VARIANTS]) for number in range(samples)]
    write, seconds = _WRITERS[writer], 0.0
    for part, written in (("warm-up", made[:TAR_SAMPLES]), ("measured", made)):
        (folder / part).mkdir()
        began = now()
        write(folder / part, [written[first : first + TAR_SAMPLES] for first in range(0, len(written), TAR_SAMPLES)])
        seconds = now() - began
    sample_bytes = sum(len(photo) + len(_json(facts)) for _, photo, facts in made) / samples
    return {"samples": samples, "samples_per_s": samples / seconds, "sample_bytes": sample_bytes}


def _sample(number: int, photo: bytes) -> Sample:
    key = f"{number:012d}"
    scores = {f"score_{place}": (number + place) / (number + place + 1) for place in range(20)}
    return key, photo, {"key": key, "status": "done", "width": WIDTH, "height": HEIGHT, **scores}


def _json(facts: Mapping[str, Any]) -> bytes:
    from pipeline.files.tars import encode_json

    return encode_json(facts)


def _members(samples: Sequence[Sample]) -> Iterator[tuple[str, dict[str, bytes]]]:
    return ((key, {"jpg": photo, "json": _json(facts)}) for key, photo, facts in samples)


def _as_candidates(folder: Path, tars: Sequence[Sequence[Sample]]) -> None:
    """Shards of a run: tar, parquet of the rows, and the record that names both by SHA-256; all synced."""
    from pipeline.records import CandidateRow
    from pipeline.runs.candidates import commit_shard

    for number, samples in enumerate(tars):
        rows = [
            CandidateRow(
                key=key,
                status="done",
                reason="",
                detail="",
                image_sha256="",
                image_bytes=len(photo),
                members=1,
                fewer_at_once=0,
                scores={name: value for name, value in facts.items() if name.startswith("score_")},
            )
            for key, photo, facts in samples
        ]
        commit_shard(str(folder), f"{number:06d}", rows, list(_members(samples)))


def _as_release(folder: Path, tars: Sequence[Sequence[Sample]]) -> None:
    """Tars of a release: SHA-256 and MD5 of each, synced and moved to its name when it is whole."""
    from pipeline.release.tar_series import add_tar

    for number, samples in enumerate(tars):
        add_tar(str(folder / f"test-{number:05d}.tar"), _members(samples))


def _bare(folder: Path, tars: Sequence[Sequence[Sample]]) -> None:
    from pipeline.files.tars import SampleTar

    for number, samples in enumerate(tars):
        with (folder / f"{number:06d}.tar").open("wb") as file:
            tar = SampleTar(file)
            for key, members in _members(samples):
                tar.add(key, members)
            tar.close()


def _with_webdataset(folder: Path, tars: Sequence[Sequence[Sample]]) -> None:
    """ShardWriter, given bytes, so that it encodes nothing."""
    import webdataset

    pattern = str(folder / "%06d.tar")
    with webdataset.ShardWriter(pattern, maxcount=TAR_SAMPLES, verbose=0, encoder=False, mtime=0) as writer:
        for samples in tars:
            for key, members in _members(samples):
                writer.write({"__key__": key, **members})


def _with_img2dataset(folder: Path, tars: Sequence[Sequence[Sample]]) -> None:
    """Its writer of shards, which encodes the JSON itself and writes the facts to a parquet too."""
    import pyarrow as pa

    writer_of, (_, _, facts) = _img2datasets_writer(), tars[0][0]
    schema = pa.Table.from_pylist([facts]).schema
    for number, samples in enumerate(tars):
        writer = writer_of(number, str(folder), False, 6, schema, "jpg")
        for key, photo, facts in samples:
            writer.write(photo, key, None, dict(facts))
        writer.close()


def _img2datasets_writer() -> Any:
    """The class of its module `writer` alone: the package imports a tracker and an augmenter that it has no use for."""
    package = importlib.util.find_spec("img2dataset")
    assert package is not None
    assert package.submodule_search_locations is not None
    path = Path(package.submodule_search_locations[0], "writer.py")
    spec = importlib.util.spec_from_file_location("img2dataset_writer", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.WebDatasetSampleWriter


_WRITERS: Mapping[str, Callable[[Path, Sequence[Sequence[Sample]]], None]] = MappingProxyType(
    {
        "candidates": _as_candidates,
        "release": _as_release,
        "bare": _bare,
        "webdataset": _with_webdataset,
        "img2dataset": _with_img2dataset,
    }
)
