"""Leaderboards: results of several models on one release, side by side."""
