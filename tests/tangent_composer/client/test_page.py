"""The page of the client lists every part, and every method of it that users may call."""

import re
from pathlib import Path

import pytest

from tangent_composer import Client

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "client.md").read_text()
ROWS = dict(re.findall(r"^\| `(client[a-z._]*)` \| (.*) \|$", PAGE, re.M))


@pytest.fixture
def parts():
    """The parts of a client by the names that users call them by."""
    with Client("http://127.0.0.1:1") as client:
        public = {f"client.{name}": part for name, part in vars(client).items() if name[0] != "_"}
        yield {"client": client} | {n: part for n, part in public.items() if not is_text(part)}


def is_text(value: object) -> bool:
    return isinstance(value, str)


def test_the_page_lists_every_part_and_every_method(parts):
    assert set(ROWS) == set(parts)
    for name, part in parts.items():
        methods = {each for each in dir(type(part)) if each[0] != "_" and each.islower()}
        assert set(re.findall(r"`([a-z_]+)`", ROWS[name])) - {"with"} == methods, name
