"""The header of a deletion's answer that names processes which did not confirm the deletion.

It stands beside the receipt, which is signed and stored before anybody can confirm it.
"""

from collections.abc import Sequence

from fastapi import Response

HEADER = "Unconfirmed-Processes"


def note(response: Response, names: Sequence[str]) -> None:
    """Name the processes in the answer's header, if there are any."""
    if names:
        response.headers[HEADER] = ", ".join(names).encode("ascii", "replace").decode()
