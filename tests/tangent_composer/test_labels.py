"""Labels: orthography of any language is one, a text that hides something is none."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tangent_composer.labels import MAX_LABEL, fault, fault_as_given, meant, name_from, tidy

WRITTEN = {
    "Persian, zero-width non-joiner": "می\u200cخواهم",
    "Hindi, zero-width joiner": "क\u094d\u200dष",
    "Sinhala, ends with a joiner": "ක\u0dca\u200d",
    "Thai, zero-width space between words": "แมว\u200bดำ",
    "Hebrew, right-to-left mark": "חתול\u200f (1)",
    "German, soft hyphen": "Schiff\u00adfahrt",
    "French, no-break space": "chat\u00a0!",
    "Japanese, wide space": "黒\u3000猫",
    "a family, joined emoji": "👨\u200d👩\u200d👧",
    "a red heart, variation selector": "❤\ufe0f",
    "the flag of Scotland, tags": "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "a private character": "\ue001",
    "Arabic, number sign": "\u0600\u0661",
    "symbols": ".22 calibre, C++ & «x»",
}
HIDING = {
    "": "is empty",
    "x" * (MAX_LABEL + 1): "longer than 255",
    "a\nb": "U\\+000A, which is a control",
    "a\0": "U\\+0000, which is a control",
    "a\x85b": "U\\+0085, which is a control",
    "a\u2028b": "U\\+2028, which is a line end",
    "a\u202egnp": "U\\+202E, which turns the direction",
    "\u2066a\u2069": "U\\+2066, which turns the direction",
    "a\ufeffb": "U\\+FEFF, which is a byte order mark",
    "cat\U000e0041": "U\\+E0041, which is a hidden tag",
    "\ud800": "U\\+D800, which is half of a character",
    "\uffff": "U\\+FFFF, which is not a character of Unicode",
    "\u200c": "no character that can be seen",
    "\u3164\u115f\ufe0f": "no character that can be seen",
}


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_labels_are_as_people_write_them(text):
    assert fault(tidy(text)) is None
    assert tidy(text) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("text", HIDING, ids=ascii)
def test_a_text_that_hides_something_is_no_label(text):
    with pytest.raises(ValueError, match=HIDING[text]):
        raise ValueError(fault(text))


def test_two_spellings_of_one_text_are_one_label():
    for text in ("cafe\u0301", "\u1112\u1161\u11ab", "が", "A\u030a", "\u212b"):
        assert tidy(text) == tidy(unicodedata.normalize("NFD", text))
        assert tidy(text) == unicodedata.normalize("NFC", text)


def test_white_space_and_invisible_marks_around_a_label_are_left_out():
    assert tidy("\ufeff\u200e cat\u00a0\u200b\n") == "cat"
    assert tidy(" \u2003\t") == ""


@given(st.text(max_size=40))
def test_a_tidy_text_stays_as_it_is(text):
    assert tidy(tidy(text)) == tidy(text)
    assert fault(tidy(text)) == fault_as_given(tidy(text))


def test_a_text_that_cannot_be_changed_is_a_label_in_its_one_form_only():
    assert fault_as_given("café") is None
    assert "composed (NFC)" in fault_as_given("cafe\u0301")
    assert "composed (NFC)" in fault_as_given("cat ")


def test_marks_without_end_are_not_composed():
    """Composing takes time in proportion to the square of a run of marks."""
    long = "a" + "\u0301\u0316" * 2_000_000
    assert tidy(long) is long
    assert "longer than" in fault(long)


def test_a_label_is_meant_in_its_own_spelling_first():
    stored = "cafe\u0301"  # from the time before labels were composed
    assert meant(stored, {stored, "café"}) == stored
    assert meant(stored, {"café"}) == "café"
    assert meant("owl ", {"café"}) == "owl"


def test_a_name_is_made_without_what_no_label_may_have():
    assert name_from("می\u200cخواهم\x07\u202e") == "می\u200cخواهم"
    assert name_from("\ud800\n") == ""
