"""The kinds of benchmark. Kind `speed` is the module `speed` beside this file, whose options are its class `Speed`."""

import importlib

from pipeline.benchmarks.benchmark import Benchmark

KINDS = (
    "speed",
    "adaptive",
    "choices",
    "decoders",
    "limit",
    "breakdown",
    "passes",
    "busy",
    "orchestration",
    "planning",
    "growth",
    "dispatch",
    "resume",
    "release",
    "scoring",
    "witness",
    "copies",
    "duplicates",
    "peers",
)


def options_class(kind: str) -> type[Benchmark]:
    """The class of a kind's options."""
    found: type[Benchmark] = getattr(importlib.import_module(f"pipeline.benchmarks.{kind}"), kind.capitalize())
    return found
