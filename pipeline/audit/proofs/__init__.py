"""What a sample proves of everything it was drawn from: bounds, intervals, advice, agreement. Pure."""
