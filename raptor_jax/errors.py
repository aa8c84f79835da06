"""The errors that a user can cause: one line that says what is wrong, where, and the way out."""

_LONGEST = 1000
"""Characters of a message; the middle of a longer one is left out."""


class UserError(Exception):
    """Wrong input. The command line prints the message alone and exits with status 2.

    A message quotes names and values that others wrote; it is made one printable line of bounded length here.
    """

    def __init__(self, message: str):
        # Before, because a message may be endless, and after, because escapes are longer than what they stand for.
        super().__init__(_shortened(printable(_shortened(message))))


def printable(text: str) -> str:
    """Returns text with line ends, control characters and lone surrogates spelt as escapes, fit for any terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _shortened(message: str) -> str:
    end = (_LONGEST - 5) // 3
    return message if len(message) <= _LONGEST else f"{message[: _LONGEST - 5 - end]} ... {message[-end:]}"


def first_line(error: Exception) -> str:
    """Returns the first line of another library's error, or its type where it has no message."""
    return (str(error).splitlines() or [type(error).__name__])[0]
