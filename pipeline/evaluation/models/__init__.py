"""Models whose maps of a release's photos are measured: ours, networks in ONNX, functions of a user, baselines."""
