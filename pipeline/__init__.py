"""Samples, shards, runs and releases: everything between a collection of images and a published benchmark."""
