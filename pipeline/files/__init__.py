"""Bytes and where they are stored: URLs, storage, tars, parquet, maps, pictures."""
