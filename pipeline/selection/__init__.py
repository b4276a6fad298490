"""What is kept, and why: scores, a policy's bounds, verdicts, and when an ensemble may stop."""
