"""Tensors and one batch of images; knows nothing of shards, files of a run, or Ray."""
