"""The Ray room: here, and only here, the pipeline's work meets Ray."""
