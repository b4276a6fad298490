"""Every option that takes a URL knows the same protocols, refuses the others before any work, and shows no secret."""

import logging
import sys

import pytest

from jobs import coco_pseudolabel, evaluate, publish_release, verify_release, verify_run
from jobs.command_line import USAGE
from tests.pipeline.make import make_collection

BAD = "ssh://user:hunter2@host/x?token=hunter2"
CHAINED = "simplecache::s3://key:hunter2@bucket/x.zip"
RUN = (coco_pseudolabel.main, "--engine", "inline", "--model", "fake")
INPUTS = ("--images", "IMAGES", "--annotations", "ANNOTATIONS")
BUILD = (publish_release.main, "build", "--engine", "inline")
PUSH = (publish_release.main, "push", "--no-loaders")
OPTIONS = {
    "run --out": (*RUN, *INPUTS, "--out", "PLACE"),
    "run --images": (*RUN, "--images", "PLACE", "--annotations", "ANNOTATIONS", "--out", "OUT"),
    "run --annotations": (*RUN, "--images", "IMAGES", "--annotations", "PLACE", "--out", "OUT"),
    "run --previous": (
        *RUN,
        "--images",
        "IMAGES",
        "--annotations",
        "ANNOTATIONS",
        "--out",
        "OUT",
        "--previous",
        "PLACE",
    ),
    "build RUN": (*BUILD, "PLACE"),
    "push RELEASE": (*PUSH, "PLACE", "OUT"),
    "push TARGET": (*PUSH, "OUT", "PLACE"),
    "verify RELEASE": (verify_release.main, "PLACE", "--no-loaders"),
    "verify_run RUN": (verify_run.main, "PLACE"),
    "evaluate --out": (evaluate.main, "--predictions", "MAPS", "--masks", "MASKS", "--out", "PLACE"),
}


@pytest.mark.parametrize("place", [BAD, CHAINED])
@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_refuses_other_protocols_and_chains_without_work(option, place, tmp_path, run_here):
    inputs = make_collection(tmp_path / "in", 1)
    for folder in ("maps", "masks"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(b"")
    places = {"PLACE": place, "IMAGES": inputs.images, "ANNOTATIONS": inputs.annotations}
    places |= {"OUT": tmp_path / "out", "MASKS": tmp_path / "masks", "MAPS": tmp_path / "maps"}
    main, *arguments = OPTIONS[option]
    logging.getLogger().handlers[:] = [logging.StreamHandler(sys.stderr)]
    code, out, err = run_here(main, "job", *(str(places.get(argument, argument)) for argument in arguments))
    assert code == USAGE, err
    assert "hunter2" not in out + err
    words = "".join(letter for letter in err if letter.isalnum())  # tyro frames messages and breaks their lines
    assert ("file, s3, gs, abfs, hf, http, https" in err) if place == BAD else ("allowchainedurls" in words)
    assert not (tmp_path / "out").exists()
