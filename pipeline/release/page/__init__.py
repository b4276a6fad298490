"""The page of a release, and what it loads."""
