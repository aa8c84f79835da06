"""The errors that a user can cause: one line that says what is wrong, where, and the way out."""


class UserError(Exception):
    """Wrong input. The command line prints the message alone and exits with status 2."""
