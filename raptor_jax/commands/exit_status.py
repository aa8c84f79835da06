"""The exit statuses of the commands."""

PASSED = 0
"""Success."""
USAGE = 2
"""Invalid input."""
NOT_PASSED = 3
"""Training or evaluation finished, but some teacher did not pass."""
STOPPED = 4
"""A training saved and stopped on a signal; it can be resumed."""
INTERRUPTED = 130
"""Ctrl-C in any other command."""
