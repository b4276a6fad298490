"""Ray, imported once it is clear how it authenticates; everything in this room has it from here."""

import os
import secrets

# Set before ray is imported, because ray reads it then: a cluster that we start requires a token that is in no file.
# By default, Ray turns authentication on too, but keeps its token in the user's home.
if "RAY_AUTH_MODE" not in os.environ and os.environ.get("RAY_ADDRESS", "") in ("", "local"):
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}

# Of a replica with two shards in hand, one error is raised and the other is dropped; Ray then printed a traceback of 40
# lines before our sentence.
os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")

import ray
import ray.experimental.internal_kv

__all__ = ["ray"]
