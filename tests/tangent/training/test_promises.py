"""The promises of a training besides its optimum: same bytes, refusals, honest metrics."""

import numpy as np
import pytest
import torch

import tangent
from tangent import errors
from tests.support.models import Source, backbone, fitted, relative, source, space

SIZE = 16
SOLVERS = {
    "cholesky": ("head", {}),
    "cg": ("last-block", {"max_iterations": 5}),
    "adam": ("head", {"solver": "adam", "epochs": 3, "batch_size": 4}),
    "adam at a block": ("last-block", {"solver": "adam", "epochs": 2, "batch_size": 5}),
}
solvers = pytest.mark.parametrize(("scope", "how"), SOLVERS.values(), ids=SOLVERS)


def data(count: int = 12, labels: str = "abc") -> Source:
    return source(SIZE, [labels[i % len(labels)] for i in range(count)])


def tensors(component: tangent.Component) -> list[torch.Tensor]:
    extra = [component.statistics.gram, component.statistics.sums] if component.statistics else []
    return [component.head, *component.backbone.values(), *extra]


@solvers
def test_a_second_training_gives_the_same_bytes_whatever_ran_between(scope, how, tmp_path):
    where = space("mini", scope, ("b", "z"))
    one = fitted(where, data(), tmp_path, seed=3, **how).component.to_bytes()
    torch.manual_seed(99)
    fitted(where, data(7, "xy"), tmp_path, seed=1, **how)
    two = fitted(where, data(), tmp_path, seed=3, **how).component.to_bytes()
    assert one == two


@solvers
def test_the_global_random_state_is_neither_read_nor_moved(scope, how, tmp_path):
    before = torch.get_rng_state()
    fitted(space("mini", scope), data(), tmp_path, seed=3, **how)
    assert torch.equal(torch.get_rng_state(), before)


@solvers
def test_only_adams_answer_depends_on_the_seed(scope, how, tmp_path):
    where = space("mini", scope)
    one, two = (fitted(where, data(), tmp_path, seed=s, **how).component for s in (0, 1))
    same = all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(two), strict=True))
    assert same == (how.get("solver") != "adam")
    assert (one.seed, two.seed) == (0, 1)


@pytest.mark.parametrize(
    ("scope", "how"),
    [("head", {}), ("head2toe", {}), ("last-block", {"l2": 0.5, "tolerance": 1e-11})],
)
def test_the_order_of_the_rows_changes_nothing_but_rounding(scope, how, tmp_path):
    where, images = space("mini", scope), data()
    shuffled = images.chosen(torch.randperm(12, generator=torch.Generator().manual_seed(1)))
    one = fitted(where, images, tmp_path, **how).component
    two = fitted(where, shuffled, tmp_path, **how).component
    assert one.labels == two.labels
    for a, b in zip(tensors(one), tensors(two), strict=True):
        assert relative(a, b) <= 1e-8


def test_a_component_of_another_partys_data_is_no_part_of_the_answer(tmp_path):
    where, images = space("mini", "head"), data(6)
    noise = Source(images.pixels.clone(), images.labels)
    noise.pixels[5] = 1e3 * torch.randn(3, SIZE, SIZE).double()
    rest = range(5)
    one = fitted(where, images.chosen(rest), tmp_path).component
    two = fitted(where, noise.chosen(rest), tmp_path).component
    assert one.to_bytes() == two.to_bytes()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("scope", ["head", "head2toe", "last-block", "all"])
def test_images_that_are_not_finite_are_refused(scope, value, tmp_path):
    images = data(4, "ab")
    images.pixels[2, 1, 3, 3] = value
    with pytest.raises(errors.NonFinite, match="NaN or Inf for some image"):
        fitted(space("mini", scope), images, tmp_path, max_iterations=2)


def test_a_diverging_training_is_refused(tmp_path):
    where = tangent.Space(backbone("resnet_basic", torch.float32), "last-block")
    huge = source(32, ["a", "b"])
    huge.pixels *= 1e25  # features that float32 holds, and whose products it does not
    with pytest.raises(errors.NonFinite, match="diverged to NaN or Inf: lower lr or raise l2"):
        fitted(where, huge, tmp_path, solver="adam", epochs=3)


def test_a_source_without_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the dataset has no images"):
        fitted(space("mini", "head"), Source(torch.zeros(0, 3, SIZE, SIZE), []), tmp_path)


@pytest.mark.parametrize(("images", "labels"), [(3, 4), (5, 4), (0, 2), (70, 65)])
def test_a_source_whose_images_and_labels_do_not_add_up_is_refused(images, labels, tmp_path):
    pixels = torch.zeros(images, 3, SIZE, SIZE, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"the source gave .* labels for"):
        fitted(space("mini", "head"), Source(pixels, ["a"] * labels), tmp_path)


@pytest.mark.parametrize("declared", [(), ("a", "zz")])
@pytest.mark.parametrize("alpha", [1.0, 3.0])
def test_holdout_accuracy_is_that_of_a_naive_recomputation(alpha, declared, tmp_path):
    where = space("mini", "head", declared)
    labels = ["a"] * 23 + ["b"] * 10 + ["c"] * 31
    order = torch.randperm(64, generator=torch.Generator().manual_seed(5)).tolist()
    images = source(SIZE, [labels[i] for i in order], 3)
    found = fitted(where, images, tmp_path, alpha=alpha, l2=1e-2).metrics
    held, seen = [], dict.fromkeys("abc", 0)
    for i, label in enumerate(images.labels):
        seen[label] += 1
        if seen[label] % 10 == 0:
            held.append(i)
    kept = [i for i in range(64) if i not in held]
    assert len(held) == 6

    def accuracy(train: list[int], test: list[int]) -> float:
        part = fitted(where, images.chosen(train), tmp_path, alpha=alpha, l2=1e-2).component
        delta = tangent.compose(where, [(part, None)], "average", shas=["x"])
        best = where.logits(images.pixels[test], delta).argmax(1).tolist()
        return float(
            np.mean([delta.labels[k] == images.labels[i] for k, i in zip(best, test, strict=True)])
        )

    assert found["holdout_accuracy"] == pytest.approx(accuracy(kept, held))
    assert found["train_accuracy"] == pytest.approx(accuracy(list(range(64)), list(range(64))))


def test_holdout_accuracy_is_not_given_where_a_label_has_too_few_images(tmp_path):
    found = fitted(space("mini", "head"), source(SIZE, ["a"] * 20 + ["b"] * 9), tmp_path).metrics
    assert found["holdout_accuracy"] is None


@pytest.mark.parametrize("scope", ["head", "last-block"])
def test_a_single_image_trains(scope, tmp_path):
    done = fitted(space("mini", scope), data(1), tmp_path)
    assert done.component.labels == {"a": 1}
    assert done.metrics["train_accuracy"] == 1.0


def test_progress_counts_the_images_and_then_the_steps(tmp_path):
    heard = []
    settings = tangent.Hyperparameters.resolve("last-block", {"max_iterations": 4, "l2": 1e-6})
    where, images = space("mini", "last-block"), data(130, "ab")
    tangent.fit(where, images, settings, scratch=tmp_path, progress=heard.append)
    features = [(p.step, p.total) for p in heard if p.phase == "features"]
    assert features == [(64, 130), (128, 130), (130, 130)]
    solve = [p for p in heard if p.phase == "solve"]
    assert [(p.step, p.total) for p in solve] == [(i, 4) for i in (1, 2, 3, 4)]
    assert all(p.ends_early for p in solve)
    settings = tangent.Hyperparameters.resolve("last-block", {"solver": "adam", "epochs": 2})
    (tmp_path / "adam").mkdir()
    tangent.fit(where, images, settings, scratch=tmp_path / "adam", progress=heard.append)
    assert heard[-1].total == 2 and not heard[-1].ends_early


def test_training_writes_nothing_outside_its_scratch_folder(tmp_path, monkeypatch):
    scratch, elsewhere = tmp_path / "scratch", tmp_path / "elsewhere"
    scratch.mkdir(), elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    fitted(space("mini", "head"), data(), scratch)
    assert list(elsewhere.iterdir()) == []
    assert [path.name for path in scratch.iterdir()] == ["activations"]


def test_settings_without_a_criterion_keep_the_bytes_that_they_gave(tmp_path):
    """A component of before is trained again, without an image or after a loss, by its settings."""
    where, shown = space("mini", "last-block"), data()
    given = {"tolerance_of": "gradient", "l2": 0.1}
    before = tangent.Hyperparameters.resolve("last-block", given).as_dict()
    assert "tolerance_of" not in before
    settings = tangent.Hyperparameters.stored("last-block", before)

    again = tangent.fit(where, shown, settings, scratch=tmp_path)

    by_gradient = fitted(where, shown, tmp_path, tolerance_of="gradient", l2=0.1)
    assert again.component.to_bytes() == by_gradient.component.to_bytes()
    assert again.component.hyperparameters == before
    assert "error_bound" not in again.metrics
    now = fitted(where, shown, tmp_path, l2=0.1)
    assert now.component.hyperparameters["tolerance_of"] == "logits"
    assert now.metrics["error_bound"] <= 0.05
