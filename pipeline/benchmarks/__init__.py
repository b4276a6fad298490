"""What `sod bench` measures: one module per kind, with its options and its `measure`. `kinds.py` lists them."""
