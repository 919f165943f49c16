"""Numbers on the page are rounded for people, and never to what they are not."""

import pytest

from tests.support.page_modules import called


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (1, "100.0 %"),
        (0.99951, "> 99.9 %"),
        (0.9994, "99.9 %"),
        (0.0006, "0.1 %"),
        (0.0004, "< 0.1 %"),
        (0, "0.0 %"),
        (None, "–"),
    ],
)
def test_a_share_below_one_is_never_shown_as_all_and_one_above_nothing_never_as_nothing(
    share, text
):
    assert called("parts/texts.js", "percent", share) == text


@pytest.mark.parametrize(("value", "text"), [(-0.2574, "−0.257"), (-0.0001, "0.000"), (2, "2.000")])
def test_a_number_has_a_true_minus_and_zero_has_none(value, text):
    assert called("parts/texts.js", "decimal", value, 3) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1234, "1.23 kB"), (2_150_000_000, "2.15 GB")],
)
def test_a_size_has_three_digits_and_its_unit(value, text):
    assert called("parts/texts.js", "bytes", value) == text
