"""One measurement in a process that does nothing else: `python -m pipeline.benchmarks KIND FOLDER CASE`.

CASE holds the arguments of the kind's `measure` as JSON; what it returns is printed as JSON.
"""

import importlib
import json
import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    # SIGTERM raises KeyboardInterrupt, so that Ray is shut down on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    kind, folder, case = sys.argv[1:]
    result = importlib.import_module(f"pipeline.benchmarks.{kind}").measure(Path(folder), **json.loads(case))
    print(json.dumps(result))
