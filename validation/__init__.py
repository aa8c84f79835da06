"""The harnesses that tests and benchmarks share: parity with the original, hostile input, runs that are killed."""
