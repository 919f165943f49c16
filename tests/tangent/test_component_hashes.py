"""Components have the same bytes as those that an earlier version made from the same data."""

import json

import pytest

from tests.support import arithmetic
from tests.support.made_parts import GROUPS, RECORD

RECORDED = json.loads(RECORD.read_text())


@pytest.mark.parametrize("group", GROUPS)
def test_the_same_data_settings_and_seed_give_the_bytes_that_were_recorded(group):
    if group != "fingerprints":  # these are hashes of weights and names, without a float's rounding
        why = arithmetic.difference(RECORDED["circumstances"])
        if why is not None:
            pytest.skip(f"bits were recorded with another arithmetic: here {why}")
    assert dict(GROUPS[group]()) == RECORDED[group]


def test_no_two_of_the_recorded_parts_are_the_same():
    """Settings that change nothing would be no evidence."""
    for group in GROUPS:
        assert len(set(RECORDED[group].values())) == len(RECORDED[group]), group
