"""Attribution: the shares sum to the answer, and the rest answers as a composition of its own."""

import threading
from unittest.mock import MagicMock

import pytest
import torch

from tangent import errors
from tangent.composition import joint_attribution
from tangent.composition.attribution import Attribution, attribute
from tangent.composition.logit_effects import logits_by_delta
from tangent.solvers import ridge as ridge_solver
from tests.support.models import images, relative, space
from tests.support.random_components import OWN, SIZE, components, compose

CASES = [
    ("head", "average", [None] * 4),
    ("head", "weighted", [0.1, -2.5, 1 / 3, 7.0]),
    ("head2toe", "weighted", [0.5, 0.0, -1.0, 2.0]),
    ("last-block", "average", [None] * 4),
    ("last-block", "weighted", [0.1, -2.5, 0.0, 7.0]),
    ("head", "joint", [1, 0.3, None, 2]),
    ("head2toe", "joint", [None, 0.0, 3.0, 1.5]),
    ("last-block", "joint", [1, 0.3, None, 2]),
    ("last-block", "joint", [None, 0.0, 3.0, 0.0]),
]
cases = pytest.mark.parametrize(("scope", "rule", "weights"), CASES)


def attributed(scope, rule, weights, count=3) -> Attribution:
    parts = list(zip(components(scope), weights, strict=True))
    x = images(SIZE, count)
    return attribute(space("mini", scope), x, parts, rule, shas=list("dbca"))


def answer(scope, chosen, rule, weights, count=3):
    """Labels and float64 logits of a composition, computed by `logits_by_delta` of one delta."""
    delta = compose(scope, chosen, rule, weights)
    ((base, moved),) = logits_by_delta(space("mini", scope), images(SIZE, count), [delta])
    assert relative(base + moved, space("mini", scope).logits(images(SIZE, count), delta)) < 1e-6
    return delta.labels, base + moved


@cases
def test_base_and_shares_sum_to_the_composed_logits(scope, rule, weights):
    found = attributed(scope, rule, weights)
    labels, expected = answer(scope, range(4), rule, weights)
    assert found.base.labels == labels
    assert relative(found.base.logits + sum(found.shares), expected) <= 1e-10


@cases
def test_a_share_is_what_its_definition_says(scope, rule, weights):
    """Expected values come from dense matrices and single components, not from this code."""
    where, found = space("mini", scope), attributed(scope, rule, weights)
    labels = found.base.labels
    for at, (part, weight) in enumerate(zip(components(scope), weights, strict=True)):
        if weight == 0:
            assert not found.shares[at].any()
            continue
        if rule == "joint" and where.suffix is not None:
            continue  # see test_blocks
        if rule == "joint":
            expected = where.readout(images(SIZE, 3)) @ naive_joint(scope, weights, labels)[at].T
            assert relative(found.shares[at] + 1, expected + 1) <= 1e-8
            continue
        factor = 1 / 4 if rule == "average" else weight
        names = [name for name in labels if name in part.head_labels]
        one = compose(scope, [at], "weighted", [1.0])
        ((_, moved),) = logits_by_delta(where, images(SIZE, 3), [one])
        columns = [labels.index(name) for name in names]
        assert relative(found.shares[at][:, columns] + 1, factor * moved + 1) <= 1e-10
        if where.suffix is None:
            others = [i for i in range(len(labels)) if i not in columns]
            assert not found.shares[at][:, others].any()


def naive_joint(scope, weights, labels):
    """The shares of the joint head by `torch.linalg.inv`."""
    where, weights = space("mini", scope), [1.0 if w is None else float(w) for w in weights]
    parts, base = components(scope), where.base_rows(labels)
    grams = [w * part.statistics.gram for part, w in zip(parts, weights, strict=True)]
    used = {n for part, w in zip(parts, weights, strict=True) if w for n in part.labels}
    ridge = (
        0.5
        * len(used)
        * 1e-3
        * sum(w * part.statistics.images for part, w in zip(parts, weights, strict=True))
    )
    inverse = torch.linalg.inv(sum(grams) + ridge * torch.eye(len(grams[0]), dtype=torch.float64))
    shares = []
    for part, gram, weight in zip(parts, grams, weights, strict=True):
        right = -base @ gram
        for row, name in enumerate(part.statistics.labels):
            if name in labels:
                right[labels.index(name)] += weight * 15.0 * part.statistics.sums[row]
        shares.append(right @ inverse.T)
    return shares


@cases
def test_the_rest_answers_as_a_composition_of_the_rest(scope, rule, weights):
    found = attributed(scope, rule, weights)
    for at in range(4):
        chosen = [i for i in range(4) if i != at]
        labels, expected = answer(scope, chosen, rule, [weights[i] for i in chosen])
        assert found.rests[at].labels == labels
        assert relative(found.rests[at].logits, expected) <= 1e-10
    assert OWN[2] == ("ant",) and "ant" not in found.rests[2].labels


@pytest.mark.parametrize(("scope", "rule"), [("head", "joint"), ("last-block", "average")])
def test_without_the_only_component_nothing_answers(scope, rule):
    part = components(scope)[0]
    found = attribute(space("mini", scope), images(SIZE, 2), [(part, None)], rule, shas=["a"])
    assert found.rests == [None]
    labels, expected = answer(scope, [0], rule, [None], 2)
    assert found.base.labels == labels
    assert relative(found.base.logits + found.shares[0], expected) <= 1e-10


def test_a_component_of_weight_zero_adds_nothing_and_is_not_missed():
    weights = [0.5, 0.0, -1.0, 2.0]
    found = attributed("head2toe", "weighted", weights)
    assert not found.shares[1].any()
    whole = found.base.logits + sum(found.shares)
    assert (
        torch.equal(found.rests[1].logits, whole) or relative(found.rests[1].logits, whole) < 1e-14
    )


def test_many_images_take_several_passes():
    found = attributed("last-block", "average", [None] * 4, count=40)
    _, expected = answer("last-block", range(4), "average", [None] * 4, 40)
    assert relative(found.base.logits + sum(found.shares), expected) <= 1e-10


def test_the_backbone_runs_once_for_all_components(monkeypatch):
    where, passes = space("mini", "last-block"), []
    rows = where.engine.rows
    monkeypatch.setattr(where.engine, "rows", lambda x: passes.append(len(x)) or rows(x))
    once = attributed("last-block", "average", [None] * 4)
    assert passes == [3]
    monkeypatch.setattr(
        "tangent.composition.logit_effects.MAX_PARAMETERS", 1
    )  # one direction at a time
    again = attributed("last-block", "average", [None] * 4)
    assert passes == [3] * 5
    assert relative(torch.stack(again.shares), torch.stack(once.shares)) <= 1e-12


def test_what_compose_refuses_is_refused():
    with pytest.raises(errors.BadWeight, match="at least 0"):
        attributed("last-block", "joint", [-1.0] * 4)
    with pytest.raises(errors.BadWeight, match="average takes no weights"):
        attributed("head", "average", [1.0] * 4)
    with pytest.raises(errors.FingerprintMismatch, match="this space is"):
        attribute(
            space("mini", "head"),
            images(SIZE, 1),
            [(components("head2toe")[0], None)],
            "average",
            shas=["a"],
        )


@cases
def test_the_turn_is_held_while_the_space_runs_and_only_then(scope, rule, weights, monkeypatch):
    turn, ran, where = threading.Lock(), [], space("mini", scope)
    watching = (where, "push"), (ridge_solver, "solve"), (joint_attribution, "factor")
    for place, name in watching:

        def watched(*given, real=getattr(place, name), name=name):
            assert turn.locked() is (name == "push"), name
            ran.append(name)
            return real(*given)

        monkeypatch.setattr(place, name, watched)
    parts = list(zip(components(scope), weights, strict=True))

    attribute(where, images(SIZE, 2), parts, rule, shas=list("dbca"), turn=turn)

    assert set(ran) == ({"push", "solve", "factor"} if rule == "joint" else {"push"})
    assert not turn.locked()


@pytest.mark.parametrize(("scope", "most"), [("head", 4), ("last-block", 2)])
def test_a_turn_takes_a_few_images_and_fewer_along_many_directions(scope, most, monkeypatch):
    where, seen, turn = space("mini", scope), [], MagicMock()
    push = where.push
    monkeypatch.setattr(type(where), "chunk", 4)

    def pushed(rows, *more):
        seen.append(len(rows))
        return push(rows, *more)

    monkeypatch.setattr(where, "push", pushed)

    parts = [(component, None) for component in components(scope)]
    some, shas = images(SIZE, 9), list("dbca")
    found = attribute(where, some, parts, "average", shas=shas, turn=turn)
    assert sum(seen) == len(some)
    assert max(seen) == most
    assert turn.__enter__.call_count >= len(seen)
    for at in range(len(some)):
        alone = attribute(where, some[at : at + 1], parts, "average", shas=shas)
        for one, other in zip(alone.shares, found.shares, strict=True):
            torch.testing.assert_close(one[0], other[at])
