"""Every number in the documentation comes from here: `python -m benchmarks.NAME`, from the root of the repository."""
