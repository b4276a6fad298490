"""Where the work is done: replicas on Ray or in this process, their shards, failures and progress."""
