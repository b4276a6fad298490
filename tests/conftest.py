"""What holds for every test: shapes in the signatures of `model` are checked, and the clock judges no property.

Here and not in a test module: all of it has to be in place before anything imports `model`, or torch.
"""

import os

import jaxtyping
from hypothesis import HealthCheck, settings

if "PYTEST_XDIST_WORKER" in os.environ:
    # Two processes with as many threads as there are cores wait for each other's: some tests took twice as long.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

jaxtyping.install_import_hook("model", "beartype.beartype")

# The suite also runs beside trainings that take nearly all of the machine.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


def pytest_collection_modifyitems(items):
    """Files that start clusters come first: at the end, short ones keep both processes of `make test` busy."""
    on_ray = {item.path for item in items if item.get_closest_marker("ray")}
    items.sort(key=lambda item: item.path not in on_ray)
