"""A run that passes score, and the working folder of a user who has a pass of their own."""

import pytest

from tests.pipeline.make import make_collection
from tests.pipeline.passes.make import copy_of, make_run, own_class, score, write_module

COUNT = 7
CUT = 3
"""Id of an image that the run could not predict."""


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    """Seven images, the third of which is cut; not to be changed."""
    inputs = make_collection(tmp_path_factory.mktemp("inputs") / "in", COUNT)
    inputs.file(CUT).write_bytes(inputs.file(CUT).read_bytes()[:60])
    return inputs


@pytest.fixture(scope="session")
def predicted(inputs, tmp_path_factory):
    """Candidates in shards of three, three and one image; not to be changed."""
    return make_run(inputs, tmp_path_factory.mktemp("predicted") / "run")


@pytest.fixture(scope="module")
def user(tmp_path_factory, fast_disk):
    """The working folder of a user, with their pass."""
    folder = tmp_path_factory.mktemp("user")
    write_module(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(autouse=True)
def _forget(user):
    """Nothing that one test has told the user's class holds for the next."""
    own_class().answers.clear()
    own_class().seen.clear()


@pytest.fixture(scope="module")
def scored(predicted, user, tmp_path_factory):
    """The run with a pass that was not disturbed; not to be changed."""
    run = copy_of(predicted, tmp_path_factory.mktemp("scored") / "run")
    score(run)
    return run


@pytest.fixture
def run(predicted, tmp_path):
    """A copy of the run, to be scored."""
    return copy_of(predicted, tmp_path / "run")
