"""The errors that a user can cause: one line that says what is wrong, where, and the way out."""

_LONGEST = 1000
"""Characters of a message; the middle of a longer one is left out."""


class UserError(Exception):
    """Wrong input. The command line prints the message alone and exits with status 2.

    A message quotes names and values that others wrote; it is made one printable line of bounded length here.
    """

    def __init__(self, message: str):
        if len(message) > _LONGEST:
            message = f"{message[: _LONGEST * 2 // 3]} ... {message[-_LONGEST // 3 :]}"
        super().__init__(printable(message))


def printable(text: str) -> str:
    """Returns text with line ends, control characters and lone surrogates spelt as escapes, fit for any terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def first_line(error: Exception) -> str:
    """Returns the first line of another library's error, or its type where it has no message."""
    return (str(error).splitlines() or [type(error).__name__])[0]
