"""What is kept and why: scores, the bounds of a policy, verdicts, and when an ensemble may stop."""
