"""The embedded weights through the whole pipeline, on photographs of the sample."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from tests.end_to_end.submitting import SAMPLE, Job, digests, run_inline

FLOWER, CUP, VOLLEYBALL, MULTIMETER = 5, 18, 21, 29
QUICK = ("--ensemble-size", 2, "--denoise-steps", 1, "--shard-size", 2, "--batch-images", 2, "--max-variance", 0.25)


@pytest.fixture(scope="module")
def easy_photos(tmp_path_factory):
    """An annotation file of four photographs that show one object."""
    document = json.loads((SAMPLE / "instances_sample.json").read_text())
    chosen = (FLOWER, CUP, VOLLEYBALL, MULTIMETER)
    document["images"] = [image for image in document["images"] if image["id"] in chosen]
    path = tmp_path_factory.mktemp("easy") / "annotations.json"
    path.write_text(json.dumps(document))
    return path


@pytest.fixture(scope="module")
def in_one_process(tmp_path_factory, easy_photos):
    out = tmp_path_factory.mktemp("inline")
    done = run_inline(out, *QUICK, "--annotations", easy_photos)
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.ray
@pytest.mark.thorough
def test_two_replicas_give_the_bytes_of_one_process(submit, tmp_path, easy_photos, in_one_process):
    job: Job = submit(tmp_path, *QUICK, "--annotations", easy_photos)
    assert job.wait() == "SUCCEEDED", job.logs()
    assert "replicas: 2," in job.logs()
    assert digests(tmp_path) == digests(in_one_process)


def test_the_object_of_an_easy_photo_is_found(in_one_process):
    (path,) = in_one_process.glob("release/*/data/test/*.tar")
    with tarfile.open(path) as tar:
        masks = {
            int(member.name[:12]): np.asarray(Image.open(io.BytesIO(tar.extractfile(member).read()))) > 0
            for member in tar.getmembers()
            if member.name.endswith(".mask.png")
        }
    assert sorted(masks) == [FLOWER, CUP, VOLLEYBALL, MULTIMETER]
    for number, mask in masks.items():
        height, width = mask.shape
        centre = mask[height * 2 // 5 : height * 3 // 5, width * 2 // 5 : width * 3 // 5]
        assert centre.mean() > 0.8, f"image {number}: the object in the middle is not in the mask"
        assert mask.mean() < 0.8, f"image {number}: the mask fills the image"
