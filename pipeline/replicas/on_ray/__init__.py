"""The Ray room: here, and only here, the pipeline's work meets Ray."""

import os
import secrets

# Set before ray is imported, because ray reads it then: a cluster that we start requires a token that is in no file.
# By default, Ray turns authentication on too, but keeps its token in the user's home.
if "RAY_AUTH_MODE" not in os.environ and "RAY_ADDRESS" not in os.environ:
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
