"""Replicas on Ray or in this process: the shards they work on, their failures and progress."""
