"""A release is copied to where others get it."""
