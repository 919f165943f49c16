"""The promises of `tangent` on every device of this machine: one proof for the CPU and a GPU."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from torch.func import jvp

import tangent
from tangent.composition.attribution import attribute
from tangent.composition.calibration import calibrated
from tangent.composition.leave_one_out import Copy, scores_without
from tangent.composition.merging import METHODS, Parent, derive
from tangent.composition.refine import refine
from tests.support.devices import space_on
from tests.support.models import (
    BLOCK_SCOPES,
    CASES,
    Source,
    delta_bytes,
    direction,
    fitted,
    images,
    plain_features,
    relative,
    source,
    untouched,
)
from tests.support.private_sums import terms

OWN = (["ant", "bee", "ant", "cat"], ["bee", "cat", "cat"], ["cat", "ant", "bee", "bee"])
LINEAR = ("head", "head2toe")
SOLVERS = {
    "cholesky": ("head2toe", {}),
    "weighted labels": ("head", {"alpha": 3.0, "views": 2}),
    "lbfgs": ("head", {"solver": "lbfgs", "loss": "cross_entropy", "max_iterations": 5}),
    "cg at a block": ("last-block", {"max_iterations": 5}),
    "cg, weighted": ("last-block", {"alpha": 3.0, "max_iterations": 4}),
    "lbfgs at a block": (
        "last-block",
        {"solver": "lbfgs", "loss": "cross_entropy", "max_iterations": 4},
    ),
    "adam at a block": ("last-2-blocks", {"solver": "adam", "epochs": 2, "batch_size": 5}),
    "adam everywhere": ("all", {"solver": "adam", "epochs": 2}),
    "cg everywhere": ("all", {"max_iterations": 3}),
}
SPLIT = ("vit", "last-block")  # elsewhere one engine computes both scopes
CONVOLUTIONS = [  # whose gradients of weights are the ones that vary on a GPU
    ("resnet_basic", *SOLVERS[name]) for name in ("cg at a block", "adam everywhere")
]
solvers = pytest.mark.parametrize(("scope", "how"), SOLVERS.values(), ids=SOLVERS)


@cache
def trained(device: torch.device, scope: str) -> tuple[tuple[tangent.Component, Source], ...]:
    found = []
    for seed, labels in enumerate(OWN):
        data = source(16, labels, seed)
        with TemporaryDirectory() as scratch:
            how = {} if scope in LINEAR else {"max_iterations": 3}
            where = space_on(device, "mini", scope, ("owl",))
            found.append((fitted(where, data, Path(scratch), **how).component, data))
    return tuple(found)


def parts_of(device, scope):
    return [(component, None) for component, _ in trained(device, scope)]


@pytest.mark.parametrize(("name", "scope"), [*((name, "all") for name in CASES), SPLIT])
def test_an_answer_is_the_derivative_of_the_unsplit_model(name, scope, device):
    where, x = space_on(device, name, scope), images(CASES[name].size, 3)
    moved = direction(where.suffix.base, 3)
    phi, (along,) = where.engine.push(where.rows(x), [where.engine.prepare(moved)])
    here = {key: value.cpu() for key, value in moved.items()}
    base = {key: value.cpu() for key, value in where.suffix.base.items()}
    model = untouched(name)
    own, expected = jvp(lambda p: plain_features(model, p, x), (base,), (here,))
    assert relative(phi.cpu(), own) < 1e-12 and relative(along.cpu(), expected) < 1e-10


@pytest.mark.parametrize(
    ("name", "scope", "how"), [*(("mini", *each) for each in SOLVERS.values()), *CONVOLUTIONS]
)
def test_a_second_training_gives_the_same_bytes_or_says_why_not(name, scope, how, device, tmp_path):
    where, data = space_on(device, name, scope), source(CASES[name].size, OWN[0] * 3)
    one, two = (fitted(where, data, tmp_path, seed=3, **how) for _ in range(2))
    if "not_repeatable" not in one.metrics:
        assert one.component.to_bytes() == two.component.to_bytes()
    assert device.type != "cpu" or "not_repeatable" not in one.metrics


@solvers
def test_a_training_agrees_with_that_on_the_cpu(scope, how, device, tmp_path):
    data = source(16, OWN[0] * 3)
    places = device, torch.device("cpu")
    there, here = (
        fitted(space_on(place, "mini", scope), data, tmp_path, **how).component for place in places
    )
    assert relative(there.head, here.head) < 1e-7
    for name, value in here.backbone.items():
        assert relative(there.backbone[name], value) < 1e-5
    if scope in LINEAR:  # sums on the grid
        assert torch.equal(there.statistics.packed, here.statistics.packed)
        assert torch.equal(there.statistics.sums, here.statistics.sums)


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("scope", LINEAR)
def test_changes_of_a_dataset_leave_the_bytes_of_training_on_the_changed_one(
    scope, views, device, tmp_path
):
    where, data = space_on(device, "mini", scope, ("owl",)), source(16, OWN[0] * 3)
    whole = fitted(where, data, tmp_path, views=views).component
    fewer = data.chosen(range(2, 12))
    never = fitted(where, fewer, tmp_path, views=views).component
    left = tangent.without(where, whole, data.pixels[:2], data.labels[:2])
    assert left.to_bytes() == never.to_bytes()
    part = tangent.share(where, data.pixels[:2], data.labels[:2], views=views)
    assert tangent.changed(where, left, added=part).to_bytes() == whole.to_bytes()
    named = Source(fewer.pixels, ["bat" if x == "ant" else x for x in fewer.labels])
    again = fitted(where, named, tmp_path, views=views).component
    assert tangent.renamed(where, left, {"ant": "bat"}).to_bytes() == again.to_bytes()


@pytest.mark.parametrize(
    ("scope", "rule"),
    [
        *((scope, "average") for scope in ("head2toe", *BLOCK_SCOPES)),
        *((scope, "joint") for scope in (*LINEAR, "last-block")),
        ("head", "discriminant"),
    ],
)
def test_a_composition_has_the_same_bytes_from_files_and_in_any_order(
    scope, rule, device, tmp_path
):
    where, parts = space_on(device, "mini", scope, ("owl",)), parts_of(device, scope)
    files = []
    for at, (component, _) in enumerate(parts):
        component.save(tmp_path / f"{at}")
        files.append((tangent.Component.load(tmp_path / f"{at}"), None))
    shas = list("bca")
    whole = tangent.compose(where, parts, rule, shas=shas)
    assert delta_bytes(whole) == delta_bytes(tangent.compose(where, files, rule, shas=shas))
    fewer = tangent.compose(where, parts[:2], rule, shas=shas[:2])
    turned = tangent.compose(where, parts[1::-1], rule, shas=shas[1::-1])
    assert delta_bytes(fewer) == delta_bytes(turned)
    x = images(16, 5)
    assert torch.equal(where.logits(x, fewer), where.logits(x, turned))


@pytest.mark.parametrize(
    ("scope", "rule"),
    [
        ("head", "average"),
        ("head2toe", "joint"),
        ("last-block", "average"),
        ("last-block", "joint"),
    ],
)
def test_shares_of_an_answer_sum_to_it(scope, rule, device):
    where, parts, x = (
        space_on(device, "mini", scope, ("owl",)),
        parts_of(device, scope),
        images(16, 3),
    )
    found = attribute(where, x, parts, rule, shas=list("abc"))
    answer = where.logits(x, tangent.compose(where, parts, rule, shas=list("abc")))
    assert relative((found.base.logits + sum(found.shares)).float(), answer) < 1e-5
    rest = where.logits(x, tangent.compose(where, parts[1:], rule, shas=list("bc")))
    assert relative(found.rests[0].logits.float(), rest) < 1e-5


@pytest.mark.parametrize("rule", ["joint", "average", "discriminant"])
@pytest.mark.parametrize("scope", LINEAR)
def test_images_are_left_out_and_calibrate(scope, rule, device):
    where, parts = space_on(device, "mini", scope, ("owl",)), parts_of(device, scope)
    data = trained(device, scope)[0][1]
    psi = where.readout_alone(data.pixels)
    assert psi.device == where.device
    copies = [[Copy(0, label)] for label in data.labels]
    found = scores_without(where, parts, rule, psi, copies)
    assert found.scores.isfinite().all() and found.scores.device.type == "cpu"
    made = calibrated(where, parts, rule, psi, copies)
    novel = made.novelty(made.leverage.of(where.readout(images(16, 4, seed=9))))
    assert made.temperature > 0 and novel.shape == (4,)
    ((_, read),) = where.answers_of_own(
        data.pixels[:1], [tangent.compose(where, parts, rule, shas=list("abc"))], [0]
    )
    assert made.leverage.of(read[None]).isfinite().all()


@pytest.mark.parametrize("scope", ["head2toe", "last-block"])
@pytest.mark.parametrize("name", METHODS)
def test_components_are_merged(scope, name, device, tmp_path):
    if (scope, name) == ("head2toe", "refine"):
        pytest.skip("refining is for block scopes")
    where = space_on(device, "mini", scope, ("owl",))
    parents = [Parent(component, source=data) for component, data in trained(device, scope)]
    examples = source(16, ["ant", "bee", "cat", "bee"], 9) if METHODS[name].dataset else None
    found = derive(where, parents, name, examples=examples, scratch=tmp_path)
    again = derive(where, parents[::-1], name, examples=examples, scratch=tmp_path)
    assert found.component.head.device.type == "cpu"
    if "not_repeatable" not in found.metrics:
        assert found.component.to_bytes() == again.component.to_bytes()


def test_a_block_is_refined_from_the_images(device, tmp_path):
    where = space_on(device, "mini", "last-block", ("owl",))
    parts = [(component, None, data) for component, data in trained(device, "last-block")]
    found = refine(where, parts, passes=3, scratch=tmp_path)
    assert found.head.device.type == "cpu" and found.metrics["passes"] == 3


@pytest.mark.parametrize("mechanism", ["class_sums", "adassp"])
def test_a_private_component_is_trained(mechanism, device, tmp_path):
    where = space_on(device, "mini", "head2toe", ("owl",))
    settings = tangent.Hyperparameters.resolve("head2toe", {"l2": 1e-4})
    given = {"scratch": tmp_path, "privacy": terms(mechanism=mechanism)}
    data = source(16, list(terms(mechanism=mechanism).labels) * 3)
    made = tangent.fit(where, data, settings, **given).component
    assert made.statistics.sums.device.type == "cpu" and made.head.isfinite().all()
