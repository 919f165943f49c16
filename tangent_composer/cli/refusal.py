"""The one way in which a command says that it cannot do what it was asked to."""

import argparse
from typing import NoReturn


class Refusal(Exception):
    """Ends a command with one line on standard error and exit status 2."""


class Parser(argparse.ArgumentParser):
    """A parser of flags, for which a wrong one is a refusal as any other."""

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments.

        Raises:
            Refusal: always.
        """
        raise Refusal(f"{message} (see `{self.prog} --help`)")
