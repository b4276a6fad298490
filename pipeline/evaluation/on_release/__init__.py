"""Maps of any model against the masks of a release."""
