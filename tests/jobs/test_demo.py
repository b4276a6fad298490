"""The demo's options: what is refused before a Ray head is started. The demo itself is in tests/end_to_end."""

import pytest

from jobs import demo


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--no-such-option", "1"), "--no-such-option"),
        (("--ensemble-size", "1"), "--ensemble-size is 1"),
        (("--out", "/proc/no-such-folder"), "--out /proc/no-such-folder: nothing can be written there"),
    ],
)
def test_a_wrong_request_starts_no_head(run_here, monkeypatch, options, said):
    monkeypatch.setattr(demo, "local_ray", None)
    code, stdout, stderr = run_here(demo.main, "demo.py", *options)
    assert (code, stdout) == (2, "")
    assert said in " ".join(stderr.replace("│", " ").split())
