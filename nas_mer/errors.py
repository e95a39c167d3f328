"""The one exception that means "the user's input is wrong"."""


class UserError(Exception):
    """Something the user gave cannot be used.

    The message names the file, the line or key, the value found, and what would be right. The command line
    prints it without a traceback and exits with status 2.
    """
