"""A release is checked as a stranger would."""
