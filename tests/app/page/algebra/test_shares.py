"""Stacked bars hold every share once, and end where the logit is."""

import numpy as np

from tests.support.page_modules import called, mapped

MODULE = "algebra/shares.js"


def parts(count: int, labels: list[str]) -> dict:
    rng = np.random.default_rng(7)
    components = [
        {"id": f"cmp_{at}", "logits": dict(zip(labels, rng.normal(0, 3, len(labels)), strict=True))}
        for at in range(count)
    ]
    return {"base": dict.fromkeys(labels, 0.25), "components": components}


def test_segments_lie_end_to_end_on_both_sides_of_zero():
    values = [2.0, -1.0, 0.5, -3.0, 0.0]
    found = called(MODULE, "stacked", values)
    assert [each["end"] - each["start"] for each in found] == [abs(value) for value in values]
    assert max(each["end"] for each in found) == 2.5
    assert min(each["start"] for each in found) == -4.0
    assert called(MODULE, "rangeOf", [found]) == {"low": -4, "high": 2.5}


def test_bars_without_any_length_have_a_range():
    assert called(MODULE, "rangeOf", [[{"start": 0, "end": 0}]]) == {"low": 0, "high": 1}


def test_series_hold_the_base_the_largest_components_and_all_others_together():
    labels = ["cat", "dog", "constructor"]
    given = parts(12, labels)
    series = called(MODULE, "seriesOf", given, labels, 7)
    sizes = {each["id"]: sum(map(abs, each["logits"].values())) for each in given["components"]}
    assert [each["key"] for each in series] == [
        "base", *sorted(sizes, key=sizes.get, reverse=True)[:7], "others",
    ]  # fmt: skip
    assert [each["count"] for each in series] == [0, *[1] * 7, 5]
    for label in labels:
        whole = given["base"][label] + sum(each["logits"][label] for each in given["components"])
        np.testing.assert_allclose(sum(each["values"][label] for each in series), whole)


def test_a_single_component_too_many_is_shown_by_itself():
    series = called(MODULE, "seriesOf", parts(8, ["cat"]), ["cat"], 7)
    assert len(series) == 9
    assert all(each["key"] != "others" for each in series)


def test_a_component_keeps_its_colour_and_a_new_one_takes_a_free_place():
    found = called(MODULE, "placesOf", mapped({"a": 0, "b": 1, "c": 2}), ["c", "a", "new", "more"])
    assert dict(found) == {"c": 2, "a": 0, "new": 1, "more": 3}
