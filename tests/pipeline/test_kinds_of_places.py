"""The same photographs in every kind of place give the same release, byte for byte."""

import csv
import hashlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import datasets
import pytest
import s3fs
import webdataset

from pipeline.files.parquet import read_parquet
from pipeline.release.check.verify import verify_release
from pipeline.run import run
from tests.pipeline.files.web_server import web_server
from tests.pipeline.make import make_config, tree
from tests.pipeline.s3_server import s3_server

SAMPLE = Path(__file__).resolve().parents[2] / "pipeline/sample"
PHOTOS = {path.name: path.read_bytes() for path in sorted((SAMPLE / "images").glob("*.jpg"))[::3]}
"""A third of the sample; every kind of place takes a run of all of them."""
TARS = 3

pytestmark = pytest.mark.usefixtures("small_pages")


@pytest.fixture
def server():
    with web_server() as site:
        yield site


@pytest.fixture
def bucket():
    with pytest.MonkeyPatch.context() as patch, s3_server(patch) as app:
        yield f"s3://{app.bucket}"


def in_folder(folder, _request):
    (folder / "photos").mkdir()
    for name, content in PHOTOS.items():
        (folder / "photos" / name).write_bytes(content)
    return {"images": str(folder / "photos")}


def in_zip(folder, _request):
    return {"images": shutil.make_archive(str(folder / "photos"), "zip", in_folder(folder, None)["images"])}


def in_tars(folder, _request):
    names = sorted(PHOTOS)
    for number in range(TARS):
        with webdataset.TarWriter(str(folder / f"{number:05d}.tar")) as tar:
            for name in names[number::TARS]:
                tar.write({"__key__": Path(name).stem, "jpg": PHOTOS[name], "txt": "a caption"})
    return {"images": f"{folder}/{{00000..{TARS - 1:05d}}}.tar"}


def in_parquet(folder, _request):
    rows = [{"image": {"bytes": content, "path": name}, "number": len(name)} for name, content in PHOTOS.items()]
    table = datasets.Dataset.from_list(rows).cast_column("image", datasets.Image())
    table.to_parquet(str(folder / "photos.parquet"), batch_size=10)
    return {"images": str(folder / "photos.parquet")}


def in_table(folder, request):
    site = request.getfixturevalue("server")
    site.pages = {f"/{name}": [content] for name, content in PHOTOS.items()}
    with (folder / "photos.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["url", "caption"])
        table.writerows([f"{site.url}/{name}", "a photo, isn't it?"] for name in PHOTOS)
    return {"images": str(folder / "photos.csv"), "allow_hosts": ("127.0.0.1",)}


def in_bucket(_folder, request):
    url = f"{request.getfixturevalue('bucket')}/photos"
    s3fs.S3FileSystem(skip_instance_cache=True).pipe({f"{url}/{name}": content for name, content in PHOTOS.items()})
    return {"images": url}


KINDS = {"zip": in_zip, "tars": in_tars, "parquet": in_parquet, "table": in_table, "bucket": in_bucket}


@pytest.fixture(scope="module")
def annotations(tmp_path_factory):
    """Those of the sample that are of these photos."""
    document = json.loads((SAMPLE / "instances_sample.json").read_bytes())
    document["images"] = [image for image in document["images"] if image["file_name"] in PHOTOS]
    listed = {image["id"] for image in document["images"]}
    document["annotations"] = [one for one in document.get("annotations", []) if one["image_id"] in listed]
    path = tmp_path_factory.mktemp("annotations") / "instances.json"
    path.write_text(json.dumps(document))
    return str(path)


@pytest.fixture(scope="module")
def from_folder(tmp_path_factory, annotations):
    """The release of the folder, with annotations and without."""
    folder = tmp_path_factory.mktemp("folder")
    given = in_folder(folder, None)
    return {
        listed: tree(run(config_of(folder / f"run{bool(listed)}", given, listed)).release)
        for listed in (annotations, "")
    }


def config_of(out, given, annotations):
    inputs = SimpleNamespace(images="", annotations=annotations)
    return make_config(inputs, out, **given)


@pytest.mark.parametrize("kind", KINDS)
def test_with_annotations_the_release_is_that_of_the_folder(kind, annotations, from_folder, tmp_path, request):
    report = run(config_of(tmp_path / "run", KINDS[kind](tmp_path, request), annotations))
    assert (report.images, report.failed) == (len(PHOTOS), {})
    assert tree(report.release) == from_folder[annotations]


@pytest.mark.parametrize("kind", KINDS)
def test_without_annotations_every_image_is_there_and_the_release_is_sound(kind, from_folder, tmp_path, request):
    report = run(config_of(tmp_path / "run", KINDS[kind](tmp_path, request), ""))
    assert (report.images, report.failed) == (len(PHOTOS), {})
    assert verify_release(report.release, loaders=False).problems == ()
    found, expected = tree(report.release), from_folder[""]
    if kind == "tars":  # there, names begin with the tar's, and keys and noise follow from names
        digests = read_parquet(found["manifest.parquet"])["image_sha256"].to_pylist()
        assert sorted(digests) == sorted(hashlib.sha256(content).hexdigest() for content in PHOTOS.values())
    elif kind == "table":  # which also says where each image comes from
        assert tars_of(found) == tars_of(expected)
    else:
        assert found == expected


def tars_of(release):
    return {name: content for name, content in release.items() if name.endswith(".tar")}
