"""What an operator sees of work on shards: its state, a live page, a post-mortem, a status for the terminal."""
