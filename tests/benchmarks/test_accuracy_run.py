"""The quick run, as the command line starts it: every method has its row, every aim its verdict."""

import pytest
from rich.console import Console

from benchmarks.accuracy import __main__ as command
from benchmarks.accuracy import names, plots
from benchmarks.accuracy.documents import blocks
from benchmarks.accuracy.outcome import where
from benchmarks.accuracy.protocols import CLASSES, SKEWED, TASKS
from benchmarks.accuracy.reaches import reaches
from benchmarks.accuracy.results import Results
from tangent.composition.merging import METHODS

LINEAR = {
    *(names.JOINT_TRAINING, names.JOINT, names.JOINT_LATE, names.BEST_JOINT),
    *(names.AUTO_TRAINING, names.AUTO_JOINT, names.AVERAGE, names.AVERAGE_LATE),
}
LINEAR |= {names.SOLVED}
PAPERS = {names.PAPERS_AVERAGE, names.BEST_AVERAGE}
EXPECTED = {
    names.FEATURES: set(names.SIMPLE),
    "head": LINEAR | PAPERS,
    "head2toe": LINEAR,
    "last-block": {
        *(names.JOINT_TRAINING, names.ONE_SHOT, names.REFINED, names.AVERAGE, names.SOLVED),
        *(*PAPERS, names.POOLED, *names.ENSEMBLES, names.SOUP),
        *(METHODS.keys() - {names.REFINE}),
    },
}


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    console = Console(
        record=True, width=170, file=(tmp_path_factory.mktemp("run") / "out").open("w")
    )
    found = command.run(command.arguments(["--quick"]), console)
    command.show(found, console)
    console.file.close()
    shown = console.export_text()
    assert all(method in shown for methods in EXPECTED.values() for method in methods)
    assert "not measured" in shown or "reached" in shown
    return found


def test_every_method_is_measured_at_its_scopes(results):
    for scope, methods in EXPECTED.items():
        found = where(results.records, scope=scope, protocol=CLASSES, parties=5)
        assert {record.method for record in found} == methods, scope
    assert where(results.records, protocol=SKEWED, method=names.REFINED)


def test_the_quick_figures_are_what_the_methods_promise(results):
    exact = reaches(results.records, results.costs)[0]
    assert exact.met is True, exact.measured
    for record in where(results.records, method=names.JOINT, protocol=CLASSES):
        assert record.accuracy > 0.9
    ten = dict(protocol=CLASSES, parties=10, scope="last-block")
    (refined,) = where(results.records, method=names.REFINED, **ten)
    (average,) = where(results.records, method=names.AVERAGE, **ten)
    assert refined.accuracy > average.accuracy + 0.3


def test_with_the_task_known_an_answer_is_never_less_often_right(results):
    for record in where(results.records, protocol=TASKS):
        case = dict(scope=record.scope, method=record.method, parties=record.parties)
        (blind,) = where(
            results.records,
            protocol=CLASSES,
            pictures=record.pictures,
            backbone=record.backbone,
            **case,
        )
        assert record.accuracy >= blind.accuracy


def test_one_party_a_label_and_the_task_known_leave_nothing_to_choose(results):
    assert {r.accuracy for r in where(results.records, protocol=TASKS, parties=10)} == {1.0}


def test_ensembles_take_a_pass_for_each_party_and_everything_else_one(results):
    for record in results.records:
        many = record.method in names.ENSEMBLES
        assert record.passes == (record.parties if many else 1)


def test_a_run_reads_back_and_fills_documents_and_charts(results, tmp_path):
    results.save(tmp_path / "results.json")
    again = Results.load(tmp_path / "results.json")
    assert again.records == results.records
    assert "100.0 %" in blocks(again)["headline"]
    drawn = plots.draw(again.records, again.costs, tmp_path)
    assert {path.name for path in drawn} == {"cost-answer.svg", "cost-composing.svg"}


def test_jobs_side_by_side_measure_what_one_process_measures(results):
    args = command.arguments(["--quick", "--scopes", "head", "--jobs", "2"])
    found = command.run(args, Console(quiet=True))
    rows = [(r.protocol, r.parties, r.scope, r.method) for r in found.records]
    alone = [r for r in results.records if r.scope in ("head", names.FEATURES)]
    assert rows == [(r.protocol, r.parties, r.scope, r.method) for r in alone]
    for one, other in zip(found.records, alone, strict=True):
        if one.method == names.JOINT:
            assert one.accuracies == other.accuracies
    assert "2 jobs side by side" in found.machine
