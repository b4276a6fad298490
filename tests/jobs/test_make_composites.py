"""jobs/make_composites.py: what is refused before anything is fetched."""

import json

import pytest

from jobs.make_composites import main
from pipeline.embedded import sources


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--count", "0"), "count is 0; it must be at least 1"),
        (("--px", "31"), "px is 31; it must be at least 32"),
        (("--seed", "-1"), "seed is -1"),
        (("--out", "/proc/no-such-folder"), "--out /proc/no-such-folder: nothing can be written there"),
        (("--preview", "sheet.xyz"), "give a name that ends in .png"),
        (("--seed", "5"), "seed"),
    ],
)
def test_a_wrong_request_fetches_nothing(run_here, monkeypatch, tmp_path, options, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources, "fetch", None)
    (tmp_path / "out/training").mkdir(parents=True)
    (tmp_path / "out/training/request.json").write_text(json.dumps({"seed": 0, "px": 224}))
    code, stdout, stderr = run_here(main, "make_composites.py", *options)
    assert (code, stdout) == (2, "")
    assert said in " ".join(stderr.replace("│", " ").split())
    assert [path.name for path in (tmp_path / "out/training").iterdir()] == ["request.json"]


def test_a_missing_registry_client_is_named_before_anything_is_fetched(run_here, monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "fetch", None)
    monkeypatch.setenv("PATH", "")
    code, _, stderr = run_here(main, "make_composites.py", "--out", str(tmp_path / "out"))
    assert code == 2
    assert "is not installed" in stderr
    assert not (tmp_path / "out").exists()
