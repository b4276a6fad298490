"""Bytes and where they lie: storage, tars, parquet, maps."""
