"""Loose photos to masks: no run, no release, nothing to resume but what is already written."""
