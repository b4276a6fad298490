"""What holds for every test: shapes in the signatures of `model` are checked, and the clock judges no property.

Here and not in a test module: the hook has to be in place before anything imports `model`.
"""

import jaxtyping
from hypothesis import HealthCheck, settings

jaxtyping.install_import_hook("model", "beartype.beartype")

# The suite also runs beside trainings that take nearly all of the machine.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
