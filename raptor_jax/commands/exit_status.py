"""The exit statuses of the commands."""

PASSED = 0
"""Success."""
USAGE = 2
"""Invalid input."""
NOT_PASSED = 3
"""Training or evaluation finished, but not all teachers passed, or the student did not pass on all drones."""
STOPPED = 4
"""A signal stopped a training or a distillation after it had saved a checkpoint; it can be resumed."""
INTERRUPTED = 130
"""Ctrl-C in any other command."""
CLOSED_PIPE = 141
"""The program that read the output, such as `head`, has ended."""
