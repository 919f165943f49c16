"""The battery tells each missed reach in a sentence, and its figures in a table."""

from benchmarks.battery import figures
from benchmarks.battery.answers import Answers
from benchmarks.battery.hostile import Outcome

REFUSED = Answers(["422 image_too_wide"])
HELD = Outcome("thin PNG", REFUSED, 900_000_000, 1.9, 0.4, Answers(), 0, 0.1)


def missed(*, timed: bool = True, **changed: object) -> list[str]:
    return list(HELD._replace(**changed).missed(timed=timed))


def test_a_held_outcome_misses_nothing():
    assert missed() == []


def test_each_miss_has_a_sentence_of_its_own():
    assert missed(memory=1_700_000_000) == [
        "the API and its children took 1.70 GB, allowed are 1.5 GB"
    ]
    assert missed(left=3) == ["3 files were left behind"]
    assert missed(failures=Answers({"GET 404": 2})) == [
        "the honest client was not served: 2 × GET 404"
    ]
    (sentence,) = missed(answers=Answers(["500 internal_error"]))
    assert sentence.startswith("a request was answered 5xx: 1 × 500")


def test_an_honest_refusal_of_a_hostile_request_misses_nothing():
    assert missed(answers=Answers({"503 decoding_busy": 3, "507 disk_full": 1})) == []


def test_the_count_of_an_answer_is_no_status():
    assert missed(answers=Answers({"413 request_too_large": 566})) == []


def test_a_failure_beside_a_hostile_request_is_judged_by_its_status():
    (sentence,) = missed(failures=Answers({"POST 502 bad_gateway": 1}))
    assert sentence.endswith("beside it 1 × POST 502 bad_gateway")


def test_a_wait_is_judged_by_what_others_left_of_the_processors():
    assert missed(wait=3.9, others=0.5) == []
    assert missed(wait=4.1, others=0.5) == [
        "another's request took 4.1 s, allowed are 4.0 s: 2 s on an idle machine, and others took "
        "50% of this one"
    ]
    assert missed(deletion=8.1, others=0.99) != []
    assert missed(wait=60.0, timed=False) == []


def test_the_table_has_a_column_for_each_database():
    found = {
        **{"inputs": 15, "memory_gb": 0.9, "wait": 1.2, "deletion": 0.3, "unhonest": 0},
        **{"left": 0, "halts": 24, "kills": 100, "losses": 0, "others": 0.25},
    }
    head, *rows = figures.rows({"SQLite": found, "Postgres": found})
    assert head == ["", "reach", "SQLite", "Postgres"]
    assert ["kills at random moments", "", "100", "100"] in rows
    assert {len(row) for row in rows} == {4}
