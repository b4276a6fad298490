"""Command lines: argv in, one call into `pipeline`, an exit code out."""
