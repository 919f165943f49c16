"""Merge methods: found by their files, their parameters, weights and needs declared in them."""

import json
import math

import pytest
import torch

from tangent import errors
from tangent.composition.merging import METHODS, Parent, derive, merge_method, methods
from tangent.vocabulary import MERGE_METHODS, REFINE
from tests.support.models import space, trained

TOY = '''"""Twice the sum: a method in one file."""

from torch import Tensor

from tangent.composition.merging.merge_method import MergeMethod, Number, of_vectors
from tangent.composition.merging.task_vectors import TaskVectors


def toy(vectors: TaskVectors, *, factor: float) -> Tensor:
    return factor * vectors.total()


METHOD = MergeMethod("toy", of_vectors(toy), "nobody 2024", {"factor": Number(2.0, 0.0, 9.0)})
'''


def test_a_file_in_the_folder_of_methods_is_a_method(tmp_path, monkeypatch):
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    found = methods.declared(methods.__path__)
    monkeypatch.setitem(METHODS, "toy", found["toy"])
    part, where = trained("last-block"), space("mini", "last-block", ("owl",))

    made = derive(where, [Parent(part, 0.5)], "toy").component

    assert found.keys() == METHODS.keys()
    assert made.derived is not None and made.derived.parameters == {"factor": 2.0}
    for name, value in made.backbone.items():
        assert torch.equal(value, part.backbone[name])
    with pytest.raises(errors.BadParameter, match="factor is 10; it must be a number from 0 to 9"):
        derive(where, [Parent(part)], "toy", {"factor": 10})


def test_the_names_that_need_no_torch_are_those_of_the_methods():
    assert tuple(METHODS) == MERGE_METHODS
    assert REFINE in METHODS
    assert all(method.name == name and method.reference for name, method in METHODS.items())


@pytest.mark.parametrize("name", METHODS)
def test_defaults_are_allowed_and_resolve_to_themselves(name):
    method = METHODS[name]
    found = method.resolve({})

    assert method.resolve(found) == found == json.loads(json.dumps(found))


def test_whole_numbers_for_real_ones_resolve_to_the_same_parameters():
    whole, real = (METHODS["ties"].resolve({"density": one}) for one in (1, 1.0))

    assert repr(whole) == repr(real)


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        ("ties", {"keep": 0.2}, "ties has no parameter 'keep'; there are density, scale"),
        ("ties", {"density": -0.1}, "density is -0.1; it must be a number from 0 to 1"),
        ("ties", {"density": math.nan}, "density is nan; it must be a number"),
        ("ties", {"density": True}, "density is True; it must be a number"),
        ("ties", {"density": "half"}, "density is 'half'; it must be a number"),
        ("dare", {"drop": 1.0}, "drop is 1.0; it must be a number from 0 to 0.999"),
        ("dare", {"merge": "slerp"}, "merge is 'slerp'; choose one of linear, ties"),
        ("dare", {"merge": ["ties"]}, "merge is .*; choose one of linear, ties"),
        ("fisher", {"images": 2.0}, "images is 2.0; it must be a whole number from 1"),
        ("kfac", {"iterations": 0}, "iterations is 0; it must be a whole number from 1 to 10000"),
        ("regmean", {"alpha": 1.1}, "alpha is 1.1; it must be a number from 0 to 1"),
        ("atlas", {"constraint": "simplex"}, "'simplex'; choose one of none, non_negative"),
        ("atlas", {"l2": 10**400}, "l2 is 1000.*; it must be a number"),
        ("breadcrumbs", {"smallest": 0.9, "largest": 0.2}, "together are above 1"),
    ],
)
def test_a_parameter_that_is_not_allowed_is_named_with_its_range(name, given, sentence):
    with pytest.raises(errors.BadParameter, match=sentence):
        METHODS[name].resolve(given)


@pytest.mark.parametrize("name", ["soup", "", None, ["ties"]])
def test_the_error_for_an_unknown_method_lists_the_known_ones(name):
    with pytest.raises(errors.UnknownOperator, match=r"choose one of atlas, breadcrumbs, .*ties"):
        merge_method(name)


def test_weights_are_ones_where_none_is_given():
    assert METHODS["ties"].weigh([None, 2, 0.5]) == [1.0, 2.0, 0.5]
    assert METHODS["task_arithmetic"].weigh([-1, 0]) == [-1.0, 0.0]


@pytest.mark.parametrize(
    ("name", "weights", "sentence"),
    [
        ("atlas", [None, 1.0], "operator atlas finds the weights itself"),
        ("ties", [1.0, 0.0], "operator ties needs weights above 0"),
        ("refine", [-1.0], "operator refine needs weights above 0"),
        ("ties", [1.0, math.nan], "weight nan, but operator ties needs finite numbers"),
        ("task_arithmetic", [-1e101], r"weight -1e\+101, but operator .* of a size from 1e-100 to"),
    ],
)
def test_weights_that_a_method_does_not_take_are_refused(name, weights, sentence):
    with pytest.raises(errors.BadDerivation, match=sentence):
        METHODS[name].weigh(weights)


@pytest.mark.parametrize(
    ("name", "scope", "loss", "expected"),
    [
        ("ties", "last-block", "rsl", False),
        ("atlas", "last-block", "rsl", False),
        ("fisher", "head", "rsl", False),
        ("fisher", "head2toe", "cross_entropy", True),
        ("regmean", "head", "cross_entropy", False),
        ("regmean", "last-block", "rsl", True),
        ("kfac", "all", "rsl", True),
        ("refine", "head", "rsl", True),
    ],
)
def test_images_are_needed_where_statistics_do_not_say_enough(name, scope, loss, expected):
    assert METHODS[name].needs_images(scope, loss) == expected
