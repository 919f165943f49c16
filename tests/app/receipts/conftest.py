"""The files here compare trainings of two services: each one is made."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def compared(trained_each_time: None) -> None:
    """Train every component of these files."""
