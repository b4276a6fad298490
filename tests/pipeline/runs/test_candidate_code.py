"""A run's fingerprint covers all code that decides the bytes of its candidates: what `process_shard` imports."""

import ast
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pipeline.runs.fingerprint import _PIPELINE_CODE

ROOT = Path(__file__).resolve().parents[3]
ENTRIES = ("pipeline/replicas/work.py", "pipeline/replicas/setup.py")
"""Where `process_shard` is, and where its model comes from."""
DECIDES_NO_BYTE = {
    "pipeline/collection/address_tables.py": "reads tables before a run; the plan has where images are",
    "pipeline/collection/collection.py": "licences and origins, which candidates do not have",
    "pipeline/collection/columns.py": "tells columns before a run; the plan has where images are",
    "pipeline/collection/config.py": "options; limits of images are fields of the fingerprint, paths change no byte",
    "pipeline/collection/img2dataset.py": "licences and origins, which candidates do not have",
    "pipeline/collection/kept.py": "listings of tars; what is read by them is compared with the tar",
    "pipeline/collection/license_names.py": "licences, which candidates do not have",
    "pipeline/collection/spelled_numbers.py": "numbers of annotations and tables, which candidates do not have",
    "pipeline/collection/patterns.py": "finds files; rows have the SHA-256 of what was read",
    "pipeline/collection/places.py": "finds files before a run; the plan has where images are",
    "pipeline/collection/rows.py": "names rows before a run; the plan has the names",
    "pipeline/collection/table_files.py": "finds tables before a run; the plan has where images are",
    "pipeline/collection/telling.py": "licences and origins, which candidates do not have",
    "pipeline/collection/tables.py": "opens tables before a run; the plan has where images are",
    "pipeline/collection/tar_index.py": "finds images in tars; rows have the SHA-256 of what was read",
    "pipeline/config.py": "options of runs; the fingerprint takes from them what decides bytes",
    "pipeline/devices.py": "refuses devices that are not there; says whether `auto` may ask a GPU",
    "pipeline/errors.py": "error classes; the texts of rows come from the modules that raise them",
    "pipeline/extras.py": "says what installs a missing package",
    "pipeline/files/away.py": "tells failures of storage from answers; calls are made again, and bytes are the same",
    "pipeline/files/bounded.py": "reads bytes unchanged, or refuses them by their number",
    "pipeline/files/checked.py": "compares bytes with records",
    "pipeline/files/connections.py": "explains failures of servers; no row has such an error",
    "pipeline/files/local_disk.py": "writes bytes unchanged",
    "pipeline/files/located.py": "finds file systems and explains their failures",
    "pipeline/files/model_cache.py": "fetches models, and proves them by their digest, which is a field",
    "pipeline/files/model_urls.py": "finds models; the digest of the weights is a field",
    "pipeline/files/of_process.py": "keeps what threads share; it changes no byte",
    "pipeline/files/outages.py": "says how long to wait for storage",
    "pipeline/files/patience.py": "makes calls of storage again; bytes are the same",
    "pipeline/files/storage.py": "carries bytes unchanged; records have their SHA-256",
    "pipeline/files/tar_headers.py": "finds members; what is read by them is compared with the tar",
    "pipeline/files/text_tables.py": "reads tables before a run; the plan has where images are",
    "pipeline/files/trials.py": "refuses places that can't be used, before any work",
    "pipeline/files/urls.py": "finds files; rows have the SHA-256 of what was read",
    "pipeline/made_with.py": "compares what runs are made with",
    "pipeline/options.py": "options as TOML and on the command line",
    "pipeline/precision.py": "settles `auto`; the precision is a field",
    "pipeline/progress/pace.py": "tells people how far the work is",
    "pipeline/progress/stages.py": "tells people how far the work is",
    "pipeline/replicas/journal.py": "writes RUN/journal only",
    "pipeline/replicas/probes.py": "refuses machines that do not see the images, and changes no byte",
    "pipeline/replicas/proof.py": "refuses machines that have something else, and changes no byte",
    "pipeline/replicas/seat.py": "says where a replica is",
    "pipeline/replicas/usage.py": "measures time and memory around the model",
    "pipeline/replicas/weights.py": "proves the weights by their digest, which is a field",
    "pipeline/runs/commits.py": "writes bytes unchanged, and records that name them",
    "pipeline/runs/fingerprint.py": "fields themselves",
    "pipeline/runs/machine.py": "refuses machines of another kind, and changes no byte",
    "pipeline/selection/combination.py": "verdicts; the coefficients are a part of the policy",
    "pipeline/selection/policy.py": "verdicts; the bounds by which images stop early are a field, `stops_by`",
    "pipeline/shown.py": "hides secrets and escapes control characters in what people are shown",
}
"""Modules that are imported on the way, and why the fingerprint does not cover them."""


def imported(source: str) -> Iterator[str]:
    """Dotted names of every import, in functions too, but not of those for type checkers alone."""
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        waiting.extend(ast.iter_child_nodes(node))


def closure(root: Path, entries: Sequence[str] = ENTRIES) -> set[str]:
    """Files of `pipeline` and `model` that the entries import, directly or through others."""
    found: set[str] = set()
    waiting = list(entries)
    while waiting:
        name = waiting.pop()
        if name in found or not (root / name).is_file():
            continue
        found.add(name)
        modules = [
            module for module in imported((root / name).read_text()) if module.startswith(("pipeline.", "model."))
        ]
        waiting.extend(f"{module.replace('.', '/')}.py" for module in modules)
    return found


def test_the_fingerprint_covers_what_process_shard_imports_but_for_named_exemptions():
    covered = {f"pipeline/{name}" for name in _PIPELINE_CODE}
    assert not covered & DECIDES_NO_BYTE.keys()
    needed = {name for name in closure(ROOT) if name.startswith("pipeline/")}
    assert needed == covered | DECIDES_NO_BYTE.keys()


def test_the_fingerprint_covers_the_model_whole():
    """All files of `model/` count, those of its training too; what its folders hold, no run imports."""
    needed = {name for name in closure(ROOT) if name.startswith("model/")}
    assert needed
    assert needed <= {path.relative_to(ROOT).as_posix() for path in (ROOT / "model").glob("*.py")}


def test_packages_have_no_code_of_their_own():
    """Importing a module runs those of its packages, which the closure leaves out; `model`'s own counts anyway."""
    for path in [*(ROOT / "pipeline").rglob("__init__.py"), *(ROOT / "model").rglob("*/__init__.py")]:
        assert [type(node) for node in ast.parse(path.read_text()).body] in ([], [ast.Expr]), path


@pytest.fixture
def copy(tmp_path):
    for layer in ("pipeline", "model"):
        for source in (ROOT / layer).rglob("*.py"):
            target = tmp_path / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    return tmp_path


@pytest.mark.parametrize(
    "statement",
    [
        "from pipeline.files.extra import x",
        "from pipeline.files import extra",
        "import pipeline.files.extra",
        "def f():\n    from pipeline.files.extra import x",
    ],
)
def test_a_module_that_is_added_anywhere_on_the_way_is_noticed(copy, statement):
    (copy / "pipeline/files/extra.py").write_text("x = 1\n")
    with (copy / "pipeline/files/tars.py").open("a") as source:
        source.write(f"\n{statement}\n")
    assert closure(copy) - closure(ROOT) == {"pipeline/files/extra.py"}


def test_a_module_that_is_not_imported_any_more_is_noticed(copy):
    path = copy / "pipeline/runs/candidates.py"
    source = path.read_text()
    path.write_text(source.replace("from pipeline.runs.binding import Bound, binding, kept_binding, maps_sha256\n", ""))
    assert closure(ROOT) - closure(copy) == {"pipeline/runs/binding.py"}


def test_imports_for_type_checkers_do_not_count():
    assert list(imported("if TYPE_CHECKING:\n    import pipeline.run\nelse:\n    import model.seeds")) == [
        "model.seeds"
    ]
