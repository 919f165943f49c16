"""Private components: trained by the library, saved, composed; refused where they would tell."""

import pytest
import torch

import tangent
from tangent.components.privacy import MECHANISMS
from tangent.composition.joint import JointSums
from tangent.composition.leave_one_out import Copy, scores_without
from tangent.errors import BadPrivacy, NotDowndatable, NotLeftOut
from tests.support.models import source, space
from tests.support.private_sums import LABELS, features, terms

mechanisms = pytest.mark.parametrize("mechanism", MECHANISMS)


def fitted(tmp_path, seed=0, labels=LABELS, **given):
    where, data = space("mini", "head2toe", ("owl",)), source(16, labels, seed)
    steps = []
    result = tangent.fit(
        where,
        data,
        tangent.Hyperparameters.resolve("head2toe", {"l2": 1e-4}),
        seed=7,
        scratch=tmp_path,
        progress=steps.append,
        privacy=terms(**given),
    )
    return where, result, steps


@mechanisms
def test_a_private_component_is_saved_read_and_accepted_with_its_terms(mechanism, tmp_path):
    where, result, _ = fitted(tmp_path, mechanism=mechanism)
    file = tmp_path / "component.safetensors"
    result.component.save(file)
    read = tangent.accepted(where, tangent.Component.load(file))
    assert read.to_bytes() == result.component.to_bytes()
    assert read.privacy == terms(mechanism=mechanism).as_dict()


def test_neither_metrics_nor_progress_tell_of_the_images(tmp_path):
    _, few, steps = fitted(tmp_path)
    _, many, more = fitted(tmp_path, seed=1, labels=LABELS * 30)
    assert few.metrics == many.metrics
    assert few.metrics["train_accuracy"] is few.metrics["holdout_accuracy"] is None
    assert steps == more == [tangent.Progress("features", 0, 1)]


def test_two_trainings_with_the_same_seed_have_different_noise(tmp_path):
    _, one, _ = fitted(tmp_path)
    _, two, _ = fitted(tmp_path)
    assert one.component.seed == two.component.seed
    assert not (one.component.head == two.component.head).any()


def test_private_members_compose_exactly_and_leave_without_a_trace(tmp_path):
    where, first, _ = fitted(tmp_path)
    _, second, _ = fitted(tmp_path, seed=2)
    one, two = (each.component for each in (first, second))
    alone, changed = JointSums(where), JointSums(where)
    expected = alone.change([(one, 1.0)])
    changed.change([(two, 1.0), (one, 1.0)])
    found = changed.change([], [(two, 1.0)])
    assert torch.equal(found.head, expected.head)
    pooled = [
        tangent.compose(where, each, "joint", shas=["a", "b"]).head
        for each in ([(one, None), (two, None)], [(two, None), (one, None)])
    ]
    assert torch.equal(*pooled)
    for rule, weight in (("average", None), ("weighted", 0.5)):
        tangent.compose(where, [(one, weight), (two, weight)], rule, shas=["a", "b"])


def test_a_private_component_does_not_change_with_its_data(tmp_path):
    where, result, _ = fitted(tmp_path)
    data = source(16, LABELS)
    with pytest.raises(NotDowndatable, match="private component does not change"):
        tangent.without(where, result.component, data.pixels[:1], LABELS[:1])


def test_a_private_component_tells_nothing_of_one_of_its_images(tmp_path):
    where, result, _ = fitted(tmp_path)
    for rule in ("joint", "average"):
        with pytest.raises(NotLeftOut, match="private component"):
            scores_without(
                where, [(result.component, None)], rule, features(["cat"]), [[Copy(0, "cat")]]
            )


def test_learning_goes_through_the_noise(tmp_path):
    labels = ["cat", "dog", "eel"] * 400
    where, result, _ = fitted(tmp_path, labels=labels, epsilon=3.0)
    test = source(16, labels[:300], seed=9)
    delta = tangent.compose(where, [(result.component, None)], "joint", shas=["a"])
    logits = where.logits(test.pixels, delta)[
        :, [delta.labels.index(n) for n in ("cat", "dog", "eel")]
    ]
    truth = torch.tensor([("cat", "dog", "eel").index(name) for name in test.labels])
    assert (logits.argmax(1) == truth).double().mean() > 0.6


@pytest.mark.parametrize(
    ("scope", "settings", "sentence"),
    [
        ("last-block", {}, "scope last-block has no sums to add noise to"),
        ("head2toe", {"l2": "auto"}, "l2 is 'auto'.*give a number"),
        ("head2toe", {"views": 2}, "views is 2.*use 1"),
        ("head2toe", {"alpha": 2.0}, "alpha is 2.0"),
        ("head2toe", {"solver": "adam"}, "solver is 'adam'.*use 'cholesky'"),
    ],
)
def test_trainings_that_look_at_the_images_otherwise_are_refused(
    scope, settings, sentence, tmp_path
):
    where = space("mini", scope)
    given = tangent.Hyperparameters.resolve(scope, settings)
    with pytest.raises(BadPrivacy, match=sentence):
        tangent.fit(where, source(16, LABELS), given, scratch=tmp_path, privacy=terms())
