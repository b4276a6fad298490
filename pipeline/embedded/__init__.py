"""The embedded `nano` model: its training data, and the training itself."""
