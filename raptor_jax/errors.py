"""The errors that a user can cause: one line that says what is wrong, where, and the way out."""


class UserError(Exception):
    """Wrong input. The command line prints the message alone and exits with status 2."""


def first_line(error: Exception) -> str:
    """Returns the first line of another library's error, or its type where it has no message."""
    return (str(error).splitlines() or [type(error).__name__])[0]
