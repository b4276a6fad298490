"""How far the work is: told by whoever does it, shown by whoever started it."""
