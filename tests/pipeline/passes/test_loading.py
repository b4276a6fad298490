"""Passes by name: whatever a user's module does is refused with its name, and its classes can be sent to workers."""

import pickle
import subprocess
import sys
from dataclasses import is_dataclass

import cloudpickle
import pytest

from model.config import ModelConfig
from pipeline.errors import ConfigError
from pipeline.passes.known import PASSES, PassSpec, source_of
from pipeline.passes.loading import class_of, load_pass
from pipeline.passes.options import FlipOptions
from pipeline.passes.score_pass import PassContext
from tests.documents import ROOT
from tests.pipeline.passes.make import KIND, LEAST, SOURCE, own_class, write_module

pytestmark = pytest.mark.usefixtures("user")

CONTEXT = PassContext(name="own", run="run", made_with={}, model=ModelConfig(model="fake"))


def load(source, kind="tried:Zero", options=None):
    return load_pass(PassSpec(kind=kind, options=options, source=source), CONTEXT)


@pytest.mark.parametrize("name", PASSES)
def test_each_pass_of_the_project_is_a_class_that_scores_and_has_options(name):
    made_by = class_of(name)
    assert any(hasattr(made_by, method) for method in ("score", "score_all"))
    options = PASSES[name].options
    assert options is None or (is_dataclass(options) and (options.__doc__ or "").endswith("."))


def test_flip_s_columns_begin_with_its_name_so_that_it_can_be_there_twice():
    made = load_pass(PassSpec(kind="flip", options=FlipOptions()), CONTEXT)
    assert all(column.name.startswith("own_") for column in made.columns)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = 1\n1 / 0\n", r"ZeroDivisionError: division by zero \(tried\.py, line 2\)"),
        ("import sys\nsys.exit(3)\n", r"SystemExit: 3 \(tried\.py, line 2\)"),
        ("import nothing_of_this_name\n", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("class Zero\n", r"SyntaxError: expected ':' \(tried\.py, line 1\)"),
        ("", "the module tried has no class Zero"),
        ("Zero = 3\n", "Zero is int 3; give the name of a class"),
        ("def Zero(): pass\n", "Zero is function .*; give the name of a class"),
        (LEAST.replace("def score", "def scores"), "Zero has no `score`; see CONTRIBUTING.md"),
        (LEAST.replace("columns", "column"), "Zero has no `columns`"),
        (LEAST.replace("(Score(", "(print(").replace("print(name", "dict(name"), "its columns have {'name': 'zero'"),
        (LEAST.replace('(Score(name="zero", meaning="always nothing", worse_when="low"),)', "()"), "it has no columns"),
        (LEAST.replace('"zero", m', '"Zero", m'), "column 'Zero': a name is lower-case letters, digits and _"),
        (LEAST.replace("always nothing", ""), "column zero: its meaning must be one line"),
        (LEAST.replace('"low")', '"low", lowest=1)'), "score zero: its range is 1 to 1"),
        (LEAST.replace('"low")', '"low", highest=float("nan"))'), "score zero: its range is"),
        (LEAST.replace('"low"),)', '"low"),) * 2'), "two columns have one name: zero, zero"),
        (LEAST.replace("    columns", "    def __init__(self):\n        1 / 0\n\n    columns"), r"Zero.*line 6"),
        (
            LEAST.replace("    columns", "    def __init__(self, more):\n        pass\n\n    columns"),
            "argument: 'more'",
        ),
    ],
)
def test_a_module_that_is_no_pass_is_refused_with_what_is_wrong(source, said):
    with pytest.raises(ConfigError, match=rf"--pass tried:Zero: .*{said}"):
        load(source)


MADE = """class Zero:
    needs_image = False

    def __init__(self):
        self.columns = (Score(name="zero", meaning="x", worse_when="low"),)

    @property
    def device_kind(self):
        raise AssertionError("a network was loaded on the driver")

    def score_all(self, items):
        return []
"""


def test_what_init_sets_counts_and_the_device_is_not_asked_for_on_the_driver():
    source = f"from pipeline.selection.scores import Score\n\n\n{MADE}"
    assert load(source).columns[0].name == "zero"
    for part, without in (("needs_image", "needs"), ("device_kind", "device"), ("columns", "colums")):
        with pytest.raises(ConfigError, match=f"Zero has no `{part}`"):
            load(source.replace(part, without))


def test_a_module_that_failed_is_run_anew_and_leaves_no_module(tmp_path):
    before = set(sys.modules)
    for _ in range(2):
        with pytest.raises(ConfigError):
            load("1 / 0")
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    "kind", ["", "flop", "own_pass", "own_pass:", ":Brightness", "own-pass:X", "../own_pass:X", "a/b:X", "own_pass:X.Y"]
)
def test_a_kind_that_names_no_pass_is_refused_with_those_there_are(kind):
    with pytest.raises(ConfigError, match=r"there is no such pass; give flip.*, or your own as module:Class"):
        source_of(kind)


@pytest.mark.parametrize("module", ["nowhere", "sys", "math", "no.where", "pipeline", "json"])
def test_a_module_that_can_not_be_read_as_text_is_refused(module):
    with pytest.raises(ConfigError):
        class_of(f"{module}:Zero", source_of(f"{module}:Zero"))


def test_a_module_of_a_package_in_the_working_folder_is_found_there(user):
    (user / "mine").mkdir()
    write_module(user / "mine", LEAST, "least")
    assert source_of("mine.least:Zero") == LEAST
    assert load(LEAST, "mine.least:Zero").columns[0].name == "zero"


def test_a_source_that_is_not_utf_8_is_refused(user):
    (user / "latin.py").write_bytes(b"x = '\xe9'\n")
    with pytest.raises(ConfigError, match="latin"):
        source_of("latin:Zero")


def test_a_user_s_module_hides_no_other_and_two_versions_of_it_stand_side_by_side():
    first, second = class_of("json:Zero", LEAST), class_of("json:Zero", LEAST + "\n")
    assert first is not second
    assert first is class_of("json:Zero", LEAST)
    import json

    assert not hasattr(json, "Zero")


def test_a_spec_can_be_sent_to_a_process_that_has_no_copy_of_the_module(tmp_path):
    options = own_class().Options(scale=0.25)
    sent = cloudpickle.dumps(PassSpec(kind=KIND, options=options, source=SOURCE))  # as Ray does
    assert pickle.loads(sent) == PassSpec(kind=KIND, options=options, source=SOURCE)
    receive = (
        "import pickle, sys; spec = pickle.load(sys.stdin.buffer)\n"
        "from pipeline.passes.loading import class_of\n"
        "assert isinstance(spec.options, class_of(spec.kind, spec.source).Options)\n"
        "print(spec.options.scale)"
    )
    done = subprocess.run(
        [sys.executable, "-c", receive], input=sent, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True,
        check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (b"0.25\n", b"")


def test_a_spec_of_the_project_s_own_pass_can_be_sent_too():
    spec = PassSpec(kind="flip", options=FlipOptions(view_steps=3))
    assert pickle.loads(pickle.dumps(spec)) == spec
