"""The one way in which a command says that it cannot do what it was asked to."""


class Refusal(Exception):
    """Ends a command with one line on standard error and exit status 2."""
