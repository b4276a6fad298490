"""A pass's fingerprint covers all code that decides its values: what its module and the errand import."""

import pytest

from pipeline.passes.known import PASSES
from pipeline.passes.score import SHARED_CODE
from pipeline.runs.fingerprint import _PIPELINE_CODE
from tests.pipeline.runs.test_candidate_code import DECIDES_NO_BYTE, ROOT, closure

ERRAND = ("pipeline/passes/scoring.py", "pipeline/passes/loading.py")
"""Where an image is scored, and where the pass is made. `loading.py` imports the module of a pass by its name."""
DECIDES_NO_VALUE = {
    **dict.fromkeys(
        (
            f"pipeline/collection/{name}.py"
            for name in (
                "coco",
                "gather",
                "license_names",
                "licensing",
                "metadata",
                "near_misses",
                "unannotated",
                "usable",
            )
        ),
        "finds the images of collections that are compared with; the digest of their contents is a field",
    ),
    "pipeline/files/csv_keys.py": "writes reports",
    "pipeline/files/tables.py": "writes reports",
    "pipeline/passes/duplicates/contamination.py": "writes reports",
    "pipeline/passes/folder.py": "reads what other passes have committed; records carry its digest",
    "pipeline/passes/witness/test_sets.py": "warns of test sets in log and card",
    "pipeline/files/trials.py": "tries whether files can be written where a run is",
    "pipeline/devices.py": "refuses devices that are not there",
    "pipeline/preconditions.py": "refuses requests before a pass",
    "pipeline/passes/building.py": "digests that tell whether a shard is outdated",
    "pipeline/passes/known.py": "names the passes; sources of users are a field of the fingerprint",
    "pipeline/passes/options.py": "options, each of which is a field",
    "pipeline/networks/options.py": "options, all of which are fields",
    "pipeline/networks/presets.py": "what a network expects, all of which is a field",
    "pipeline/selection/columns.py": "checks columns; pass.json has them, and its digest is in every record",
}
"""Modules that passes import on the way, and why their fingerprints do not cover them."""


@pytest.mark.parametrize("name", PASSES)
def test_the_fingerprint_of_a_pass_covers_what_it_imports_but_for_named_exemptions(name):
    module = PASSES[name].made_by.partition(":")[0]
    needed = closure(ROOT, (*ERRAND, f"{module.replace('.', '/')}.py"))
    of_candidates = {f"pipeline/{path}" for path in _PIPELINE_CODE} | DECIDES_NO_BYTE.keys()
    own = {f"pipeline/{path}" for path in (*SHARED_CODE, *PASSES[name].code)}
    left = {path for path in needed if path.startswith("pipeline/")} - of_candidates
    assert left - DECIDES_NO_VALUE.keys() == own
    assert not own & (of_candidates | DECIDES_NO_VALUE.keys())


def test_what_every_pass_shares_is_what_the_errand_imports():
    of_candidates = {f"pipeline/{path}" for path in _PIPELINE_CODE} | DECIDES_NO_BYTE.keys()
    needed = {path for path in closure(ROOT, ERRAND) if path.startswith("pipeline/")} - of_candidates
    assert needed - DECIDES_NO_VALUE.keys() == {f"pipeline/{path}" for path in SHARED_CODE}
