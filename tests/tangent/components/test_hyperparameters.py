"""Hyperparameters: defaults by scope, and a sentence for everything that is not allowed."""

import json
import math
from pathlib import Path

import pytest

from tangent import Hyperparameters
from tangent.errors import BadHyperparameter, UnknownScope

SHOWN_BEFORE = Path(__file__).resolve().parents[2] / "fixtures" / "version_before.json"


@pytest.mark.parametrize("scope", ["head", "head2toe"])
def test_linear_scopes_default_to_the_exact_solver(scope):
    found = Hyperparameters.resolve(scope, {})
    assert (found.loss, found.alpha, found.beta) == ("rsl", 1.0, 15.0)
    assert (found.solver, found.penalty) == ("cholesky", "squared")


@pytest.mark.parametrize(
    "given", [{}, {"beta": 3.0}, {"views": 2}, {"solver": "cholesky"}], ids=str
)
def test_the_default_penalty_is_chosen_from_the_sums_that_have_it(given):
    for scope in ("head", "head2toe"):
        resolved = Hyperparameters.resolve(scope, given)
        assert resolved == Hyperparameters.resolve(scope, {**given, "l2": "auto"})
        assert resolved.choose_l2
    if "solver" not in given:
        for scope in ("last-block", "last-2-blocks", "all"):
            resolved = Hyperparameters.resolve(scope, given)
            assert resolved == Hyperparameters.resolve(scope, {**given, "l2": "auto"})
            assert resolved.choose_l2 and resolved.solver == "cg"


@pytest.mark.parametrize(
    "given",
    [{"alpha": 2.0}, {"solver": "adam"}, {"loss": "cross_entropy"}, {"penalty": "norm"}],
    ids=str,
)
def test_elsewhere_the_default_penalty_is_a_number_that_grows_with_the_features(given):
    found = {s: Hyperparameters.resolve(s, given) for s in ("head", "head2toe")}
    assert {s: each.l2 for s, each in found.items()} == {"head": 1e-4, "head2toe": 1e-3}
    assert not any(each.choose_l2 for each in found.values())
    for scope in ("last-block", "last-2-blocks", "all"):
        assert Hyperparameters.resolve(scope, given).l2 == 1e-4
        assert not Hyperparameters.resolve(scope, given).choose_l2


def test_conjugate_gradients_at_a_linear_scope_have_a_number():
    assert not Hyperparameters.resolve("head", {"solver": "cg"}).choose_l2


def test_a_penalty_that_is_given_is_kept():
    resolved = Hyperparameters.resolve("head2toe", {"l2": 1e-4})
    assert (resolved.l2, resolved.choose_l2) == (1e-4, False)
    assert Hyperparameters.resolve("head2toe", resolved.as_dict()) == resolved
    fixed = Hyperparameters.resolve("head2toe", {"choose_l2": False})
    assert (fixed.l2, fixed.choose_l2) == (1e-3, False)


@pytest.mark.parametrize("scope", ["last-block", "last-3-blocks", "all"])
def test_block_scopes_default_to_conjugate_gradients(scope):
    assert Hyperparameters.resolve(scope, {}).solver == "cg"


@pytest.mark.parametrize(
    ("given", "solver"), [({"loss": "cross_entropy"}, "lbfgs"), ({"penalty": "norm"}, "adam")]
)
@pytest.mark.parametrize("scope", ["head", "last-block"])
def test_objectives_that_are_not_quadratic_get_a_solver_of_their_own(scope, given, solver):
    assert Hyperparameters.resolve(scope, given).solver == solver
    assert Hyperparameters.resolve(scope, given | {"solver": "auto"}).solver == solver


def test_given_values_are_kept_and_the_result_resolves_to_itself():
    given = {"loss": "cross_entropy", "l2": 0.5, "lr": 0.01, "epochs": 3, "batch_size": 7}
    found = Hyperparameters.resolve("last-block", given)
    assert {k: found.as_dict()[k] for k in given} == given
    assert Hyperparameters.resolve("last-block", found.as_dict()) == found
    assert json.loads(json.dumps(found.as_dict())) == found.as_dict()


def test_whole_numbers_for_real_ones_resolve_to_the_same_settings():
    whole = Hyperparameters.resolve("head", {"beta": 15, "l2": 1})
    real = Hyperparameters.resolve("head", {"beta": 15.0, "l2": 1.0})
    assert json.dumps(whole.as_dict()) == json.dumps(real.as_dict())


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"momentum": 0.9}, "no hyperparameter 'momentum'; there are loss, alpha, beta"),
        ({"loss": "hinge"}, "loss is 'hinge'; choose one of rsl, cross_entropy"),
        ({"loss": ["rsl"]}, "loss is .*; choose one of"),
        ({"solver": "sgd"}, "solver is 'sgd'; choose one of cholesky, cg, lbfgs, adam, auto"),
        ({"penalty": "l1"}, "penalty is 'l1'; choose one of squared, norm"),
        ({"beta": 0}, "beta is 0; it must be a number from 0.001 to 10000"),
        ({"alpha": -1.0}, "alpha is -1.0; it must be a number"),
        ({"l2": math.nan}, "l2 is nan; it must be a number"),
        ({"l2": math.inf}, "l2 is inf; it must be a number"),
        ({"l2": 0}, "l2 is 0; it must be a number"),
        ({"lr": "fast"}, "lr is 'fast'; it must be a number"),
        ({"lr": True}, "lr is True; it must be a number"),
        ({"lr": None}, "lr is None; it must be a number"),
        ({"epochs": 2.5}, "epochs is 2.5; it must be a whole number from 1 to"),
        ({"epochs": 0}, "epochs is 0; it must be a whole number"),
        ({"batch_size": False}, "batch_size is False; it must be a whole number"),
        ({"max_iterations": 10**30}, "max_iterations is 1000.*; it must be a whole number"),
        ({"beta": 10**400}, "beta is 1000.*; it must be a number"),
        ({"tolerance": 1.0}, "tolerance is 1.0; it must be a number from 1e-14 to 0.5"),
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_its_range(given, sentence):
    with pytest.raises(BadHyperparameter, match=sentence):
        Hyperparameters.resolve("head", given)


@pytest.mark.parametrize(
    ("scope", "given", "sentence"),
    [
        ("head", {"solver": "cholesky", "loss": "cross_entropy"}, "use solver lbfgs or adam"),
        ("head", {"solver": "lbfgs", "penalty": "norm"}, "needs penalty squared; use solver adam"),
        ("head", {"solver": "cg", "penalty": "norm"}, "solver cg needs loss rsl and penalty sq"),
        ("last-block", {"solver": "cholesky"}, "needs scope head or head2toe; use cg"),
    ],
)
def test_solvers_that_do_not_fit_are_refused(scope, given, sentence):
    with pytest.raises(BadHyperparameter, match=sentence):
        Hyperparameters.resolve(scope, given)


@pytest.mark.parametrize("scope", ["heads", "Head", "last-0-blocks", ""])
def test_a_scope_that_there_is_not_has_no_defaults(scope):
    with pytest.raises(UnknownScope, match=f"no scope is called '{scope}'; choose one of head,"):
        Hyperparameters.resolve(scope, {})


@pytest.mark.parametrize("scope", ["head", "last-block", "all"])
def test_conjugate_gradients_end_by_the_error_of_the_answers_by_default(scope):
    found = Hyperparameters.resolve(scope, {"solver": "cg"})
    assert (found.tolerance_of, found.tolerance) == ("logits", 0.05)
    asked = Hyperparameters.resolve(scope, {"solver": "cg", "tolerance_of": "delta"})
    assert (asked.tolerance_of, asked.tolerance) == ("delta", 0.05)
    assert Hyperparameters.resolve(scope, found.as_dict()) == found
    assert Hyperparameters.stored(scope, found.as_dict()) == found


@pytest.mark.parametrize("solver", ["cholesky", "lbfgs", "adam"])
def test_other_solvers_have_the_settings_that_they_had(solver):
    found = Hyperparameters.resolve("head", {"solver": solver})
    assert (found.tolerance_of, found.tolerance) == ("gradient", 1e-3)
    assert "tolerance_of" not in found.as_dict()
    with pytest.raises(BadHyperparameter, match="tolerance_of delta needs solver cg, not"):
        Hyperparameters.resolve("head", {"solver": solver, "tolerance_of": "delta"})


def test_settings_that_were_stored_before_mean_the_gradient_and_stay_as_they_are():
    shown = json.loads(SHOWN_BEFORE.read_text())["shown"]
    scopes = {each["name"]: each["scope"] for each in shown["spaces"]}
    trained = [each for each in shown["components"] if not each["derived"]]
    solvers = set()
    for each in trained:
        held = Hyperparameters.stored(scopes[each["space"]], each["hyperparameters"])
        solvers.add(held.solver)
        assert held.tolerance_of == "gradient"
        assert json.dumps(held.as_dict()) == json.dumps(each["hyperparameters"])
    assert solvers == {"cholesky", "cg"}
