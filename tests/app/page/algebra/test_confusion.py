"""The matrix of an evaluation has its counts, for the labels that were confused most."""

from collections import defaultdict

import numpy as np

from tests.support.page_modules import called

MODULE = "algebra/confusion.js"


def counted(own: list[str], answered: list[str]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for label, answer in zip(own, answered, strict=True):
        counts[label][answer] += 1
    return counts


def test_the_matrix_counts_images_by_own_and_answered_label():
    labels = ["1", "2", "10", "constructor", "__proto__"]
    rng = np.random.default_rng(11)
    own, answered = (list(rng.choice(labels, 200)) for _ in range(2))
    found = called(MODULE, "matrixOf", counted(own, answered), 100)
    assert set(found["labels"]) == set(labels)
    assert found["labels"][:3] != ["1", "10", "2"]  # numbers go by size
    for row, label in enumerate(found["labels"]):
        for column, answer in enumerate(found["labels"]):
            expected = sum(pair == (label, answer) for pair in zip(own, answered, strict=True))
            assert found["rows"][row][column] == expected
        assert found["totals"][row] == own.count(label)


def test_labels_that_are_answered_only_have_a_row_of_zeros():
    found = called(MODULE, "matrixOf", {"cat": {"dog": 2}}, 100)
    assert found == {
        "labels": ["cat", "dog"],
        "rows": [[0, 2], [0, 0]],
        "totals": [2, 0],
        "left": 0,
    }


def test_of_many_labels_those_with_most_wrong_answers_are_shown():
    counts = {f"l{at}": {f"l{at}": 5} for at in range(20)}
    counts["l3"]["l17"] = 4
    found = called(MODULE, "matrixOf", counts, 2)
    assert found["labels"] == ["l3", "l17"]
    assert found["left"] == 18
