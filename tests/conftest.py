"""Checks the shapes in the signatures of `model` at run time, in every test.

Here and not in a test module: it has to happen before anything imports `model`.
"""

import jaxtyping

jaxtyping.install_import_hook("model", "beartype.beartype")
