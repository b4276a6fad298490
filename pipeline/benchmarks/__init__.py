"""What `jobs/benchmark.py` measures. See `kinds.py` for what can be set; each kind has a module of its name here."""
