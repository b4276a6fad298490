"""The layers, as design rules that a machine checks: who may import whom, and how large a file may be."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping, Set
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("jobs", "pipeline", "model")
SOURCES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))
# The last one is what the pipeline is measured against, and no part of it.
RAY_ROOM = "pipeline/replicas/on_ray/"
RAY_MODULES = {"pipeline/training/cluster.py", "pipeline/benchmarks/ray_data.py"}
LONGEST_FILE_LINES = 300
HEAVY = ("torch", "diffusers", "timm", "ray", "pyarrow", "numpy", "PIL", "fsspec")
JOBS = sorted((ROOT / "jobs").glob("*.py"))
COMMANDS = [path for path in JOBS if '__name__ == "__main__"' in path.read_text()]


def imports(source: str) -> Iterator[tuple[str, int]]:
    """Every imported module, with the nesting level of relative imports (0 for absolute ones)."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.level


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported_modules(source: str, known: Set[str]) -> set[str]:
    """The modules of `known` that a file imports, also inside functions, for type checkers, or as `from room import x`.

    A submodule's packages are run as well, but they are left out: a package imports nothing here.
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            of_package = {f"{node.module}.{alias.name}" for alias in node.names} & known
            found |= of_package or {node.module}
    return found & known


def import_circle(sources: Mapping[str, str]) -> list[str]:
    """Module names along one import circle, the first one repeated at the end; empty if there is none."""
    try:
        TopologicalSorter(
            {module: imported_modules(source, sources.keys()) for module, source in sources.items()}
        ).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def may_import_ray(path_name: str) -> bool:
    return path_name.startswith(RAY_ROOM) or path_name in RAY_MODULES


def forbidden_imports(path_name: str, source: str) -> list[str]:
    """What a file may not import: layers above its own, relatives, and ray outside its module."""
    own = LAYERS.index(path_name.split("/")[0])
    above = LAYERS[:own]
    return [
        module
        for module, level in imports(source)
        if level or module.split(".")[0] in above or (module.split(".")[0] == "ray" and not may_import_ray(path_name))
    ]


def test_imports_go_down_only_and_ray_stays_in_its_room():
    found = {name(path): forbidden_imports(name(path), path.read_text()) for path in SOURCES}
    assert {path: modules for path, modules in found.items() if modules} == {}


@pytest.mark.parametrize(
    ("path_name", "source", "found"),
    [
        ("model/x.py", "import pipeline.collection.coco", ["pipeline.collection.coco"]),
        ("pipeline/x.py", "def f():\n    from jobs.demo import main", ["jobs.demo"]),
        ("pipeline/replicas/work.py", "import ray", ["ray"]),
        ("model/x.py", "from . import seeds", [""]),
        ("jobs/x.py", "import model.config, pipeline.run", []),
    ],
)
def test_the_rule_notices_what_it_forbids(path_name, source, found):
    assert forbidden_imports(path_name, source) == found


def test_no_modules_import_each_other_in_a_circle():
    assert import_circle({name(path).removesuffix(".py").replace("/", "."): path.read_text() for path in SOURCES}) == []


@pytest.mark.parametrize(
    ("back", "found"),
    [
        ("", []),
        ("import jobs.x", ["jobs.x", "pipeline.a.b", "pipeline.c", "jobs.x"]),
        ("def later():\n    from pipeline.a.b import something", ["pipeline.a.b", "pipeline.c", "pipeline.a.b"]),
        ("from pipeline.a import b", ["pipeline.a.b", "pipeline.c", "pipeline.a.b"]),
    ],
)
def test_that_test_notices_circles_through_lazy_imports_too(back, found):
    sources = {"jobs.x": "import pipeline.a.b", "pipeline.a.b": "from pipeline.c import d", "pipeline.c": back}
    circle = import_circle(sources)
    assert set(circle) == set(found)
    assert circle[:1] == circle[-1:]


def test_a_file_stays_small_enough_to_be_read():
    lines = {name(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {path: count for path, count in lines.items() if count > LONGEST_FILE_LINES} == {}


def test_no_module_has_the_name_of_one_of_the_standard_library():
    assert [name(path) for path in SOURCES if path.stem in sys.stdlib_module_names - {"__init__"}] == []


BLOCKER = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY!r}:
            raise ImportError(f"{{name}} is not to be imported here")

sys.meta_path.insert(0, Blocker())
"""


def run_without_heavy_packages(*arguments, folder):
    (folder / "sitecustomize.py").write_text(BLOCKER)
    return subprocess.run(
        [sys.executable, *arguments], env={"PYTHONPATH": str(folder)}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("path", COMMANDS, ids=name)
def test_help_needs_none_of_the_heavy_packages(path, tmp_path):
    done = run_without_heavy_packages(str(path), "--help", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")


def test_the_blocker_of_that_test_does_block(tmp_path):
    assert run_without_heavy_packages("-c", "import torch", folder=tmp_path).returncode != 0
