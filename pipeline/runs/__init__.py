"""A run's folder: its plan, fingerprint, lease, candidates and commits, and how they are checked."""
