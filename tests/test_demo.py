"""The demo finds all its claims true on a real service; and says so when one is not."""

import io
import re

import httpx
import pytest
from rich.console import Console

from app.cli import main
from app.cli.demo import NoService, run
from app.cli.demo.claims import Claims, accuracy, difference
from app.cli.demo.client import Answers
from app.cli.demo.service import NotStarted, started
from tangent_composer.samples import digits


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A service as the demo starts it."""
    with started(tmp_path_factory.mktemp("demo")) as address:
        yield address


def paper() -> Console:
    return Console(file=io.StringIO(), width=160)


@pytest.mark.timeout(600)
def test_the_whole_job_finds_its_claims_true_beside_what_an_earlier_run_left(url):
    body = {"rule": "joint", "components": "all"}
    assert httpx.put(f"{url}/v1/compositions/demo", json=body, timeout=60).is_success
    console = paper()
    status = run(url, per_label=10, console=console)
    printed = console.file.getvalue()
    assert status == 0, printed
    assert "NOT TRUE" not in printed
    assert "as if it had never existed, byte for byte" in printed
    assert re.search(r"default: head2toe .*%.*%.*%", printed)
    assert re.search(r"demo-2-last-block: last-block .*%.*%.*%", printed)
    assert f"Look at it in a browser: {url}/ " in printed


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "nowhere", "http://a:b", ""])
def test_a_service_that_is_not_there_is_reported_and_not_a_crash(address, capsys):
    with pytest.raises(NoService, match=r"no service answers at .*: start one by `tangent serve`"):
        run(address, per_label=5, console=paper())
    assert main(["demo", "--url", address]) == 2
    error = capsys.readouterr().err
    assert error.startswith("tangent: no service answers at ") and error.count("\n") == 1


def test_a_service_that_cannot_start_shows_its_log(tmp_path, monkeypatch):
    monkeypatch.setenv("TANGENT_BACKBONE", "no_such_backbone")
    with pytest.raises(NotStarted, match="no_such_backbone"), started(tmp_path):
        pass


def test_the_demo_points_to_the_api_only_if_the_service_stays(monkeypatch):
    monkeypatch.setattr("app.cli.demo.job.Demo.whole_job", lambda demo: None)
    ended = run("http://127.0.0.1:9", per_label=1, console=(first := paper()), service_stays=False)
    kept = run("http://127.0.0.1:9", per_label=1, console=(second := paper()))
    assert (ended, kept) == (0, 0)
    assert "make demo KEEP=1" in first.file.getvalue()
    assert "/docs" not in first.file.getvalue()
    assert (
        "Look at it in a browser: http://127.0.0.1:9/ (the API is described at"
        in second.file.getvalue()
    )


def test_a_false_claim_is_printed_as_false():
    console = paper()
    claims = Claims(console)
    claims.check("water is wet", True)
    claims.check("the moon is cheese", False, "it is rock")
    assert claims.failed == ["the moon is cheese"]
    assert "NOT TRUE: the moon is cheese" in console.file.getvalue()


def test_every_fifth_digit_of_each_label_is_held_out():
    training, held_out = digits.load()
    assert len(training) + len(held_out) == 1797
    assert not {d.number for d in training} & {d.number for d in held_out}
    for label in digits.LABELS:
        share = sum(d.label == label for d in held_out) / sum(d.label == label for d in training)
        assert 0.2 < share < 0.26


def test_an_archive_has_the_same_bytes_each_time():
    training, _ = digits.load(per_label=5)
    assert digits.archive(training, ("0", "1")) == digits.archive(training, ("1", "0"))


def test_answers_that_rank_other_labels_are_infinitely_different():
    one = Answers([], [{"a": 1.0, "b": 0.5}])
    assert difference(one, Answers([], [{"a": 1.0}])) == (float("inf"), 1)
    assert difference(one, Answers([], [{"b": 2.0, "a": 1.0}])) == (0.75, 1)


def test_accuracy_counts_the_first_label():
    training, _ = digits.load(per_label=1)
    answers = Answers([], [{digit.label: 1.0, "x": 0.0} for digit in training])
    assert accuracy(answers, training) == 1.0
    assert accuracy(answers, training, "3") == 1.0
