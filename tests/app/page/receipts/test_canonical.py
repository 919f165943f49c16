"""The page's canonical JSON is, byte for byte, that of the service."""

import json
import math
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tangent_composer.canonical_json import canonical
from tangent_composer.receipts.offline import parsed
from tests.support.page_process import Node, Thrown

CALL = """async (text, load) => {
  const { canonical, parsed } = await load("receipts/canonical.js");
  return canonical(parsed(text));
}"""
NUMBERS = st.from_regex(
    r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
)


@pytest.fixture(scope="module")
def page() -> Iterator[Node]:
    with Node(CALL) as node:
        yield node


@settings(deadline=None)
@given(value=VALUES, is_ascii=st.booleans(), indent=st.sampled_from([None, 1]))
def test_every_value_has_the_form_that_the_service_hashes(page, value, is_ascii, indent):
    text = json.dumps(value, ensure_ascii=is_ascii, indent=indent)

    assert page(text) == canonical(parsed(text)).decode()


@settings(deadline=None)
@given(number=NUMBERS)
def test_every_spelling_of_a_number_is_written_as_the_service_writes_it(page, number):
    answer = page(number)

    if math.isinf(float(number)) and not number.lstrip("-").isdigit():
        assert answer == Thrown("BadJson", "a number is too large")
    else:
        assert answer == canonical(parsed(number)).decode()


@pytest.mark.parametrize(
    "text",
    [
        "123456789012345678901234567890",
        "9007199254740993",
        "-0",
        "-0.0",
        "1e16",
        "1e15",
        "9999999999999998.0",
        "1e-4",
        "0.00001",
        "5e-324",
        "1.7976931348623157e308",
        '{"\\ud83d\\ude00": 1, "\\uffff": 2, "Z": 3, "a": 4, "ä": 5}',
        '{"__proto__": {"constructor": 1}, "toString": 2, "10": 3, "9": 4}',
        '"\\u0000\\u001f\\u007f\\u2028\\\\ud800"',
    ],
)
def test_numbers_and_names_that_javascript_would_change_stay_as_they_are(page, text):
    assert page(text) == canonical(parsed(text)).decode()


@settings(deadline=None)
@given(text=st.text(st.sampled_from('{}[],:"\\ \n\t019-+.eEaunltrfs\x01'), max_size=12))
def test_a_text_is_refused_exactly_where_the_service_refuses_it(page, text):
    answer = page(text)

    try:
        expected = canonical(parsed(text)).decode()
    except ValueError:
        assert isinstance(answer, Thrown) and answer.name == "BadJson"
    else:
        assert answer == expected or (math.isinf(float(text)) and isinstance(answer, Thrown))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it ends in the middle"),
        ("[1,]", "in the place of a value"),
        ("[1 2]", "lacks a ,"),
        ('{"a": 1, "a": 2}', "the same name twice"),
        ('{"a": 1, "\\u0061": 2}', "the same name twice"),
        ("{1: 2}", "has no name"),
        ("1 2", "more after"),
        ("NaN", "no JSON at character 1"),
        ('"\\ud800"', "half of a character"),
        ("[" * 100_000, "more than 500 levels"),
        ("1" * 5000, "more than 4300 digits"),
    ],
)
def test_a_text_without_one_reading_is_refused_with_the_reason(page, text, message):
    answer = page(text)

    assert isinstance(answer, Thrown) and message in answer.message
