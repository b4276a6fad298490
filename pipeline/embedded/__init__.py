"""The embedded `nano` model: its training data and its training."""
