"""publish_release.py sign and verify_release.py --signer, as their users see them."""

import json
import shutil

import pytest

from jobs import publish_release, verify_release
from pipeline.run import run
from tests.pipeline.make import make_collection, make_config
from tests.pipeline.release.signing import make_key, verified_by_plain_tool


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    inputs = make_collection(tmp_path_factory.mktemp("inputs") / "in", 10)
    return run(make_config(inputs, tmp_path_factory.mktemp("run"))).release


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    return make_key(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def release(made, tmp_path):
    return shutil.copytree(made, tmp_path / "release")


@pytest.fixture
def publish(done_here):
    return lambda *arguments: done_here(publish_release.main, "publish_release.py", *arguments)


@pytest.fixture
def verify(done_here):
    return lambda *arguments: done_here(verify_release.main, "verify_release.py", "--no-loaders", *arguments)


def test_a_release_is_signed_pushed_and_verified(publish, verify, release, key, tmp_path):
    signed = publish("sign", release, "--key", key.private)
    assert (signed.returncode, json.loads(signed.stdout)["signed"]) == (0, ["release.json"]), signed.stderr
    said = signed.stderr.splitlines()
    assert said[-2].startswith("signed with the ED25519 key SHA256:")
    assert said[-1].startswith("next: publish with: ")
    assert said[-2].endswith(": release.json")
    assert "PRIVATE" not in signed.stdout + signed.stderr
    pushed = publish("push", release, tmp_path / "all", "--no-loaders")
    assert pushed.returncode == 0, pushed.stderr
    copy = tmp_path / "all" / "sod-benchmark-1.0.0"
    assert verified_by_plain_tool(copy / "release.json", key)
    checked = verify(copy, "--signer", key.public)
    assert checked.returncode == 0, checked.stdout
    assert f"which is the --signer {key.public}" in checked.stdout


def test_what_a_signer_did_not_sign_fails_the_check(publish, verify, release, key, tmp_path):
    unsigned = verify(release, "--signer", key.public)
    assert unsigned.returncode == 1
    assert "release.json: is not signed: there is no release.json.sig" in unsigned.stdout
    publish("sign", release, "--key", key.private)
    stranger = verify(release, "--signer", make_key(tmp_path).public)
    assert stranger.returncode == 1
    assert "release.json.sig: was made with the ED25519 key SHA256:" in stranger.stdout
    (release / "release.json").write_bytes((release / "release.json").read_bytes() + b"\n")
    changed = verify(release, "--signer", key.public)
    assert changed.returncode == 1
    assert "release.json.sig: is no signature of the file beside it" in changed.stdout


def test_wrong_keys_and_signers_are_wrong_requests(publish, verify, release, key, tmp_path):
    missing = publish("sign", release, "--key", tmp_path / "nowhere")
    assert (missing.returncode, "ssh-keygen -t ed25519 -f KEY makes one" in missing.stderr) == (2, True)
    private = verify(release, "--signer", key.private)
    assert (private.returncode, "is a private key: give the public one" in private.stderr) == (2, True)
    assert publish("sign", release).returncode == 2
