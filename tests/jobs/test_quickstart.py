"""The notebook for newcomers: its cells run, in order, and show what they promise."""

import ast
import importlib.metadata
import io
import json
import logging
import os
import runpy
import shlex
import sys
from pathlib import Path

import nbformat
import pytest
from PIL import Image

NOTEBOOK = Path(__file__).resolve().parents[2] / "jobs/quickstart.ipynb"
FASTER = {
    'model.load("nano")': 'model.load("nano", ensemble_size=2, denoise_steps=1, threads=1)',
    "ensemble_size=4, denoise_steps=2": "ensemble_size=2, denoise_steps=1, threads=1",
    "photos[:6]": "photos[:2]",
    "--engine inline": "--engine inline --model fake",
}
"""What is replaced where the cells are run, so that they take seconds."""


@pytest.fixture(scope="module")
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def code_cells(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def run_module(command, monkeypatch):
    """Run a command of the form `!python -m MODULE …` in this process, which has imported already what it needs."""
    python, flag, module, *arguments = shlex.split(command)
    assert (python, flag) == ("{sys.executable}", "-m")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", [module, *arguments])
        patch.setattr(sys, "path", list(sys.path))
        patch.setattr(logging, "basicConfig", lambda **_: None)
        patch.delitem(sys.modules, module, raising=False)  # a test before this one may have imported it
        with pytest.raises(SystemExit) as ended:
            runpy.run_module(module, run_name="__main__")
    assert ended.value.code == 0


def shown(source, names):
    """Run a cell; the value of its last expression, or None."""
    *statements, last = ast.parse(source).body
    if not isinstance(last, ast.Expr):
        exec(compile(source, "cell", "exec"), names)
        return None
    exec(compile(ast.Module(statements, type_ignores=[]), "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def test_it_is_a_valid_notebook_without_outputs(notebook):
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert all(cell.outputs == [] and cell.execution_count is None for cell in notebook.cells if "outputs" in cell)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


def test_its_first_cell_asks_for_the_package_by_name_and_says_if_it_is_not_there(notebook, monkeypatch, capsys):
    first = code_cells(notebook)[0]
    exec(first, {})
    assert capsys.readouterr().out == f"sod-benchmark {importlib.metadata.version('sod-benchmark')} in {sys.prefix}\n"

    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(importlib.metadata.PackageNotFoundError, match="sod-benchmark"):
        exec(first, {})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset leaves its tars open
def test_its_cells_run_in_order_and_show_pictures(notebook, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names, pictures = {}, []
    for source in code_cells(notebook):
        for slow, quick in FASTER.items():
            source = source.replace(slow, quick)
        if source.startswith("!"):
            run_module(source[1:], monkeypatch)
            continue
        value = shown(source, names)
        if value is not None:
            pictures.append(Image.open(io.BytesIO(value._repr_png_())))
    assert [picture.width > 300 for picture in pictures] == [True] * 4
    assert sorted(path.name for path in Path("masks").iterdir()) == [
        f"000000000003.{kind}.png" for kind in ("mask", "saliency", "variance")
    ]
    assert json.loads(Path("my-run/release/my-photos-1.0.0/release.json").read_text())
    printed = capsys.readouterr().out
    assert "SaliencyResult('000000000003', 451 x 300 px, mask" in printed
    assert "000000000001 (480, 480) 0." in printed or "000000000002 (320, 480) 0." in printed


def test_what_is_replaced_to_be_quick_is_there(notebook):
    together = "\n".join(code_cells(notebook))
    assert [slow for slow in FASTER if slow not in together] == []


@pytest.mark.thorough
def test_it_runs_in_a_kernel_as_it_is(notebook, tmp_path, monkeypatch):
    client = pytest.importorskip("nbclient").NotebookClient
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(NOTEBOOK.parents[1]), os.environ.get("PYTHONPATH", "")]))
    client(notebook, timeout=1200, resources={"metadata": {"path": str(tmp_path)}}).execute()
    kinds = [kind for cell in notebook.cells for output in cell.get("outputs", []) for kind in output.get("data", {})]
    assert kinds.count("image/png") == 4
