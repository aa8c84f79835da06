"""The exit statuses of the commands."""

PASSED = 0
"""All well."""
USAGE = 2
"""Wrong input."""
NOT_PASSED = 3
"""Trained or evaluated, but some teacher did not pass."""
STOPPED = 4
"""A training saved and stopped on a signal, to be resumed."""
INTERRUPTED = 130
"""Ctrl-C elsewhere."""
