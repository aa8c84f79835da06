"""Errors that a user can cause: one line that says what is wrong, where, and how to fix it."""

_LONGEST = 1000
"""Longest message in characters; the middle of a longer one is omitted."""


class UserError(Exception):
    """Invalid input. The command line prints only the message and exits with status 2.

    A message may quote arbitrary names and values, so it is reduced to one printable line of bounded length.
    """

    def __init__(self, message: str):
        # Before, because the message may be very long; after, because escapes are longer than the characters.
        super().__init__(_shortened(printable(_shortened(message))))


def printable(text: str) -> str:
    """Returns text with line ends, control characters and lone surrogates as escapes, safe for any terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _shortened(message: str) -> str:
    end = (_LONGEST - 5) // 3
    return message if len(message) <= _LONGEST else f"{message[: _LONGEST - 5 - end]} ... {message[-end:]}"


def first_line(error: Exception) -> str:
    """Returns the first line of an error of another library, or its type if it has no message."""
    return (str(error).splitlines() or [type(error).__name__])[0]
