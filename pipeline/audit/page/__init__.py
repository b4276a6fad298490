"""The page on which people judge the sample of an audit, and what it shows."""
