"""The report says what was measured: files, tables, aims, charts and documents."""

import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from benchmarks.accuracy import names
from benchmarks.accuracy.documents import DOCUMENTS, blocks, filled
from benchmarks.accuracy.lines import Chart
from benchmarks.accuracy.outcome import Outcome, difference, records
from benchmarks.accuracy.pictures import both, fashion_mnist, image_folder
from benchmarks.accuracy.plots import charts
from benchmarks.accuracy.protocols import CLASSES
from benchmarks.accuracy.reaches import blocks as block_reaches
from benchmarks.accuracy.reaches import exactness, over_others, papers_order, quick_composing
from benchmarks.accuracy.results import RESULTS, Results
from benchmarks.accuracy.tables import columns, grid, markdown
from tests.support.drawings import drawings


def outcome(method: str, accuracy: float, scope: str = "head2toe", **changes: object) -> Outcome:
    given = Outcome(
        pictures="digits",
        backbone="vit",
        protocol=CLASSES,
        parties=10,
        scope=scope,
        method=method,
        seed=0,
        accuracy=accuracy,
        passes=1,
    )
    return replace(given, **changes)


def test_a_record_is_the_mean_and_deviation_over_its_seeds():
    found = records(
        [outcome("joint", 0.9), outcome("soup", 0.1), outcome("joint", 0.8, seed=1, gap=1e-9)]
    )
    assert [(r.method, r.shown) for r in found] == [("joint", "85.0 ± 7.1"), ("soup", "10.0")]
    assert found[0].gap == 1e-9


def test_a_difference_is_taken_seed_by_seed_where_both_have_one():
    a, b = records([outcome("a", 0.9), outcome("a", 0.5, seed=1), outcome("b", 0.8)])
    assert difference(a, b) == pytest.approx(10)


def test_a_results_file_reads_back_as_written(tmp_path):
    found = records([outcome("joint", 0.9, gap=1e-12, note="a"), outcome("soup", 0.1)])
    results = Results("command", "machine", 1.5, {"digits": {"labels": 10}}, found, {"a": 1})
    results.save(tmp_path / "r.json")
    assert Results.load(tmp_path / "r.json") == results


def test_joint_is_exact_only_if_no_accuracy_and_no_logit_differs():
    pair = [outcome(names.JOINT_TRAINING, 0.9), outcome(names.JOINT, 0.9, gap=1e-11)]
    assert exactness(records(pair)).met is True
    assert exactness(records([pair[0], replace(pair[1], gap=1e-6)])).met is False
    assert exactness(records([pair[0], replace(pair[1], accuracy=0.91)])).met is False
    assert exactness([]).met is None


def test_a_blocks_joint_is_held_against_its_worst_set_of_images():
    found = []
    for pictures, loss in (("digits", 0.001), ("fashion", 0.02)):
        found += [
            outcome(names.JOINT_TRAINING, 0.9, "last-block", pictures=pictures),
            outcome(names.REFINED, 0.9 - loss, "last-block", pictures=pictures),
        ]
    refined, one_shot = block_reaches(records(found))
    assert (refined.met, one_shot.met) == (False, None)
    assert "fashion 2.0" in refined.measured
    refined, _ = block_reaches(records(found[:2]))
    assert refined.met is True


def test_joint_is_compared_with_the_best_of_the_rest_that_takes_one_pass():
    found = [
        outcome(names.JOINT, 0.9),
        outcome(names.JOINT_TRAINING, 0.95),  # a reference, not a rival
        outcome(names.AVERAGE, 0.4),
        outcome(names.ENSEMBLES[0], 0.89, passes=10),
        outcome(names.RANDOM_PROJECTION, 0.85, names.FEATURES),
    ]
    merging, every = over_others(records(found))
    assert merging.measured == f"digits, vit +50.0 ({names.AVERAGE})"
    assert (merging.met, every.met) == (True, False)
    assert "+5.0" in every.measured


def test_the_papers_order_needs_every_set_of_images():
    found = [
        outcome(names.PAPERS_AVERAGE, 0.5, "last-block", parties=5),
        outcome(names.SOUP, 0.4, "last-block", parties=5),
        *(outcome(name, 0.6, "last-block", parties=5) for name in names.ENSEMBLES),
    ]
    soup, ensemble = papers_order(records(found))
    assert (soup.met, ensemble.met) == (True, False)


def test_seconds_are_compared_with_their_bounds():
    found = list(quick_composing({"joint": {"compose": 1.5, "remove": 0.3, "components": 100}}))
    assert [reach.met for reach in found] == [True, False, None]
    assert "100 components" in found[0].aim


def test_a_table_has_a_row_for_every_method_and_a_column_for_every_protocol():
    found = records([outcome("joint", 0.9), outcome("joint", 0.8, parties=5), outcome("soup", 0.1)])
    rows = grid(found, columns(found))
    assert rows[0][2:] == [f"{CLASSES}, T = 5", f"{CLASSES}, T = 10"]
    assert rows[1:] == [["head2toe", "joint", "80.0", "90.0"], ["head2toe", "soup", "", "10.0"]]
    assert markdown(rows).splitlines()[1] == "|---|---|---|---|"


@pytest.mark.parametrize("logarithmic", [False, True])
def test_a_chart_is_well_formed_and_higher_values_are_drawn_higher(logarithmic):
    series = {"a <b>": {1: 1.0, 10: 5.0}, "c": {10: 70.0}}
    chart = Chart("title & more", "T", "%", [1, 10], series, logarithmic)
    root = ET.fromstring(chart.svg())
    dots = [float(e.get("cy")) for e in root.iter() if e.tag.endswith("circle")]
    assert dots[0] > dots[1] > dots[2] > 0
    assert "a <b>" in [e.text for e in root.iter()]


def test_a_document_gets_its_blocks_and_keeps_the_rest():
    text = "a\n<!-- accuracy: costs -->\nold\n<!-- end -->\nb\n"
    new = filled(text, {"costs": "new\nwords"})
    assert new == "a\n<!-- accuracy: costs -->\nnew\nwords\n<!-- end -->\nb\n"
    assert filled(new, {"costs": "new\nwords"}) == new
    assert "-->\n\n| a |\n\n<!--" in filled(text, {"costs": "| a |"})
    assert "not measured" in filled(text, {})


def test_the_documents_and_charts_are_those_of_the_results_file():
    results = Results.load(RESULTS)
    found = blocks(results)
    for path in DOCUMENTS:
        text = path.read_text()
        assert filled(text, found) == text, f"{path}: run python -m benchmarks.accuracy --render"
    for name, chart in charts(results.records, results.costs).items():
        assert (DOCUMENTS[1].parent / f"{name}.svg").read_text() == chart.svg(), name


def test_sets_of_images_are_put_together_unless_they_share_a_label():
    a, b = drawings(labels=2), drawings(labels=3)
    with pytest.raises(ValueError, match="share the label label 0"):
        both(a, b)
    other = replace(b, train=(b.train[0], [f"b {n}" for n in b.train[1]]), name="b")
    whole = both(a, replace(other, test=(b.test[0], [f"b {n}" for n in b.test[1]])))
    assert (whole.name, len(whole.labels), len(whole.train[0])) == ("drawings+b", 5, 50)


def test_a_folder_of_images_is_read_by_label_and_name(tmp_path):
    for part, count in (("train", 3), ("test", 2)):
        for label in ("cat", "dog"):
            folder = tmp_path / part / label
            folder.mkdir(parents=True)
            (folder / "notes.txt").write_text("not an image")
            for i in range(count):
                pixels = np.full((8, 8, 3), 10 * i, dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    found = image_folder(tmp_path, 2, 5)
    assert found.train[1] == ["cat", "cat", "dog", "dog"] and len(found.test[0]) == 4
    assert [image.getpixel((0, 0))[0] for image in found.train[0]] == [0, 10, 0, 10]
    assert image_folder(tmp_path, 2, 5, only=["dog"]).labels == ["dog"]
    with pytest.raises(FileNotFoundError, match="holds no image"):
        image_folder(tmp_path, 2, 5, only=["cow"])
    with pytest.raises(FileNotFoundError, match="needs the folders"):
        image_folder(tmp_path / "train", 2, 5)


def test_images_that_are_not_there_say_how_to_get_them(tmp_path):
    with pytest.raises(FileNotFoundError, match="apt-get install dataset-fashion-mnist"):
        fashion_mnist(tmp_path, 1, 1)
