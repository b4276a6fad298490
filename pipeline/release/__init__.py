"""From candidates to a release: what strangers load, look at and check."""
