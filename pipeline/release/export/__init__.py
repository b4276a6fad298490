"""Copies of a release in the layouts that other tools read."""
