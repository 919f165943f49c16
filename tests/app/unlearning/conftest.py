"""The files here compare trainings of two services: each service makes its own."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def compared(trained_twice: None) -> None:
    """Train the components of these files twice."""
