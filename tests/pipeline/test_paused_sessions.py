"""A session that is paused at any of its writes, and wakes up after another has finished, changes nothing that counts.

As after SIGSTOP, a suspended machine or a network partition: the other session, on another machine, has seen no beat
for a while and has taken over. Pauses are put before each call that changes a name on the disk or an object in a store.
"""

import contextlib
import itertools
import os
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest
from fsspec.core import url_to_fs
from fsspec.implementations.memory import MemoryFileSystem

from model.config import ModelConfig
from pipeline.errors import LeaseLostError, PipelineError
from pipeline.files import storage
from pipeline.passes.check import verify_passes
from pipeline.passes.options import FlipOptions
from pipeline.release.check.verify import verify_release
from pipeline.release.publish.push import push_release
from pipeline.run import run
from pipeline.runs import holder, lease, locking
from pipeline.runs.check import verify_run
from pipeline.runs.lease import held
from tests.pipeline.make import make_collection, make_config, tree
from tests.pipeline.passes.make import make_run, pass_tree, score

pytestmark = pytest.mark.usefixtures("small_pages")

CHANGES = ("link", "mkdir", "rename", "replace", "rmdir", "unlink")
RELEASE = "release/sod-benchmark-1.0.0"
STRIDE = 13
"""The suite pauses at every thirteenth change, `thorough` at each."""
EVERY = [pytest.param(False, id="some"), pytest.param(True, id="every", marks=pytest.mark.thorough)]


def paused(session, meanwhile, every):
    """For each pause: what `meanwhile` returned, and the error the session ended with once it woke up, or None.

    Args: session: called with a number, runs a session on a fresh folder of that number. meanwhile: called with the
          same number during the pause.
    """
    for number in itertools.count(0, 1 if every else STRIDE):
        found, error = [], None
        with pytest.MonkeyPatch.context() as patch:
            pause_at_change(patch, number, lambda: found.append(meanwhile(number)))  # noqa: B023 (called at once)
            try:
                session(number)
            except PipelineError as raised:
                error = raised
        if not found:
            assert error is None
            return
        yield number, found[0], error


def pause_at_change(patch, number, meanwhile):
    """Before a change of that number, counted from 0, to a disk or to a store."""
    left = number

    def pausing(change):
        def call(*args, **options):
            nonlocal left
            left -= 1
            if left == -1:
                meanwhile()
            return change(*args, **options)

        return call

    for name in CHANGES:
        patch.setattr(os, name, pausing(getattr(os, name)))
    for name in ("pipe_file", "put_file", "rm_file"):
        patch.setattr(MemoryFileSystem, name, pausing(getattr(MemoryFileSystem, name)))


@contextlib.contextmanager
def elsewhere():
    """On a machine that can't see the first session's process, and waits for its beat for a moment only."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (holder, lease):  # which imports it by name
            patch.setattr(module, "this_machine", lambda: "elsewhere")
        patch.setattr(locking, "held", partial(held, patience_s=0.004))
        yield


def lasting(folder):
    """What may never change again: committed candidates, records, plan and releases."""
    return {
        name: content
        for name, content in tree(folder).items()
        if name.startswith(("candidates/", "commits/", "plan/0", "run", "release/", "device")) and ".tmp" not in name
    }


@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("differently", [False, True], ids=["equal", "other images"])
def test_a_run_paused_at_any_change_leaves_the_other_session_s_run_as_it_is(tmp_path, every, differently):
    """With `differently`, an image can be read only when the other session does, so the two make different bytes."""
    inputs = make_collection(tmp_path / "in", 3)
    content = inputs.file(2).read_bytes()
    if differently:
        inputs.file(2).write_bytes(b"no image")

    def config(number, **options):
        return make_config(inputs, tmp_path / str(number), shard_size=2, **options)

    def finish(number):
        inputs.file(2).write_bytes(content)
        with elsewhere():
            run(config(number))
        return lasting(tmp_path / str(number))

    pauses = 0
    for number, finished, error in paused(lambda number: run(config(number)), finish, every):
        pauses += 1
        now = lasting(tmp_path / str(number))
        assert {name: now.get(name) for name in finished} == finished, f"pause {number}: {error}"
        if not differently:
            assert error is None or isinstance(error, LeaseLostError), f"pause {number}: {error!r}"
        check = verify_run(str(tmp_path / str(number)))
        assert check.problems == ()
        assert verify_release(str(tmp_path / str(number) / RELEASE)).problems == ()
        # Whatever the late session left is swept by the next one.
        assert run(config(number)).computed == 0
        assert verify_run(str(tmp_path / str(number))).stray == ()
        assert os.listdir(tmp_path / str(number) / "release") == ["sod-benchmark-1.0.0"]
        shutil.rmtree(tmp_path / str(number))
        if differently:
            inputs.file(2).write_bytes(b"no image")
    assert pauses > 5


@pytest.mark.parametrize("every", EVERY)
def test_a_retry_paused_at_any_change_loses_to_the_session_that_retried_meanwhile(tmp_path, every):
    inputs = make_collection(tmp_path / "in", 3)
    content = inputs.file(2).read_bytes()

    def config(number, **options):
        return make_config(inputs, tmp_path / str(number), shard_size=2, **options)

    def retry(number):
        inputs.file(2).write_bytes(b"no image")
        run(config(number))
        inputs.file(2).write_bytes(content)
        run(config(number, retry_failed=True, version="2.0.0"))

    def finish(number):
        if not (tmp_path / str(number) / "commits" / "000001.json").exists():
            return None  # the pause is in the first session, which the other test is about
        with elsewhere():
            run(config(number, retry_failed=True, version="3.0.0"))
        return lasting(tmp_path / str(number))

    pauses = 0
    for number, finished, error in paused(retry, finish, every):
        if finished is not None:
            pauses += 1
            now = lasting(tmp_path / str(number))
            mended = {name: content for name, content in finished.items() if "000000" not in name}
            assert {name: now.get(name) for name in mended} == mended, f"pause {number}: {error}"
            check = verify_run(str(tmp_path / str(number)))
            assert (check.problems, check.left) == ((), 0), f"pause {number}: {error}"
            assert verify_release(str(tmp_path / str(number) / "release/sod-benchmark-3.0.0")).problems == ()
        shutil.rmtree(tmp_path / str(number))
    assert pauses > 2


@pytest.mark.parametrize("every", EVERY)
def test_a_run_paused_while_it_grows_takes_no_other_session_s_images_back(tmp_path, every):
    inputs = make_collection(tmp_path / "in", 3)
    more, most = make_collection(tmp_path / "more", 4), make_collection(tmp_path / "most", 5)

    def grow(number):
        out = tmp_path / str(number)
        run(make_config(inputs, out))
        run(make_config(more, out, version="2.0.0"))

    def finish(number):
        out = tmp_path / str(number)
        if not (out / RELEASE).exists():
            return None
        with elsewhere():
            run(make_config(most, out, version="3.0.0"))
        return lasting(out)

    pauses = 0
    for number, finished, error in paused(grow, finish, every):
        if finished is not None:
            pauses += 1
            now = lasting(tmp_path / str(number))
            assert {name: now.get(name) for name in finished} == finished, f"pause {number}: {error}"
            check = verify_run(str(tmp_path / str(number)))
            assert (check.problems, check.images, check.left) == ((), 5, 0)
        shutil.rmtree(tmp_path / str(number))
    assert pauses > 2


@pytest.mark.parametrize("every", EVERY)
def test_a_pass_paused_at_any_change_leaves_the_other_session_s_scores_as_they_are(tmp_path, every):
    predicted = make_run(make_collection(tmp_path / "in", 3), tmp_path / "run", shard_size=2)

    def begin(number):
        run = tmp_path / str(number)
        if not run.exists():
            subprocess.run(["cp", "-r", predicted, run], check=True)  # whose changes are not counted
        score(run, kind="flip", options=FlipOptions(), model=ModelConfig(model="fake"))

    def finish(number):
        with elsewhere():
            begin(number)
        return pass_tree(tmp_path / str(number), "flip")

    pauses = 0
    for number, finished, error in paused(begin, finish, every):
        pauses += 1
        run = tmp_path / str(number)
        scores = {name: content for name, content in finished.items() if not name.startswith("lease/")}
        now = pass_tree(run, "flip")
        assert {name: now.get(name) for name in scores} == scores, f"pause {number}: {error}"
        assert error is None or isinstance(error, LeaseLostError), f"pause {number}: {error!r}"
        begin(number)  # whatever the late session left is swept
        assert [(check.problems, check.stray, check.left) for check in verify_passes(str(run))] == [((), (), 0)]
        shutil.rmtree(run)
    assert pauses > 1


def objects(url):
    """Name below the URL → content, of what may never change again."""
    fs, path = url_to_fs(url)
    found = {name.removeprefix(f"{path}/"): fs.cat_file(name) for name in fs.find(path)}
    return {name: found[name] for name in found if not name.startswith(("lease/", ".", "contact_sheet", "plan/inputs"))}


@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("differently", [False, True], ids=["equal", "other images"])
def test_a_run_in_a_store_paused_at_any_change_leaves_the_other_session_s_run_as_it_is(tmp_path, every, differently):
    inputs = make_collection(tmp_path / "in", 3)
    content = inputs.file(2).read_bytes()
    if differently:
        inputs.file(2).write_bytes(b"no image")

    def url(number):
        return f"memory://paused-{differently}/{number}"

    def finish(number):
        inputs.file(2).write_bytes(content)
        with elsewhere():
            run(make_config(inputs, url(number), shard_size=2))
        return objects(url(number))

    pauses = 0
    for number, finished, error in paused(
        lambda number: run(make_config(inputs, url(number), shard_size=2)), finish, every
    ):
        pauses += 1
        now = objects(url(number))
        assert {name: now.get(name) for name in finished} == finished, f"pause {number}: {error}"
        if not differently:
            assert error is None or isinstance(error, LeaseLostError), f"pause {number}: {error!r}"
        assert verify_run(url(number)).problems == ()
        assert verify_release(f"{url(number)}/{RELEASE}").problems == ()
        storage.remove_tree(url(number))
        if differently:
            inputs.file(2).write_bytes(b"no image")
    assert pauses > 2


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    """Two different releases of one version, and one of the next."""
    folder = tmp_path_factory.mktemp("releases")
    inputs = make_collection(folder / "in", 3)
    made = [("a", {}), ("b", {"max_area": 0.4}), ("next", {"version": "1.1.0"})]
    return {name: run(make_config(inputs, folder / name, **options)).release for name, options in made}


@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("other", ["a", "b", "next"])
def test_a_push_paused_at_any_change_leaves_what_was_published_meanwhile(releases, tmp_path, every, other):
    def finish(number):
        if other == "b" and (tmp_path / str(number) / Path(releases["b"]).name).exists():
            return None  # the other is refused: see test_folder.py
        has_claimed = any((tmp_path / str(number) / ".latest").glob("0*"))
        push_release(releases[other], str(tmp_path / str(number)))
        found = {name: content for name, content in tree(tmp_path / str(number)).items() if not name.startswith(".")}
        if not has_claimed:
            del found["LATEST"]  # the first push then comes last
        return found

    def begin(number):
        push_release(releases["a"], str(tmp_path / str(number)))

    pauses = 0
    for number, finished, error in paused(begin, finish, every):
        target = tmp_path / str(number)
        if finished is not None:
            pauses += 1
            now = tree(target)
            assert [name for name in now if name.startswith(".sod")] == []
            assert {name: now.get(name) for name in finished} == finished, f"pause {number}: {error}"
            assert verify_release(str(target / Path(releases[other]).name)).problems == ()
            assert (error is None) == (other != "b"), f"pause {number}: {error!r}"
        shutil.rmtree(target)
    assert pauses > 2
