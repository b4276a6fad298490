"""One measurement, in a process that does nothing else: `python -m pipeline.benchmarks KIND FOLDER CASE`.

CASE is the JSON of the arguments of the kind's `measure`, whose answer is printed as JSON.
"""

import importlib
import json
import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    # So that Ray is shut down with us.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    kind, folder, case = sys.argv[1:]
    found = importlib.import_module(f"pipeline.benchmarks.{kind}").measure(Path(folder), **json.loads(case))
    print(json.dumps(found))
