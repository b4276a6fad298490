"""Detached signatures: what they are called."""

SIGNATURE = ".sig"
"""Added to the name of the file that is signed."""
