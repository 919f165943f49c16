"""Acceptance of another service's component: only what a training here could have made."""

from dataclasses import replace

import pytest
import torch

import tangent
from tangent import errors
from tangent.components import grid_runs
from tangent.components.lineage import Derivation
from tangent.components.whole_numbers import WholeNumbers
from tangent_composer.labels import fault_as_given
from tests.support.models import space, trained


def derived(operator: str, **parameters) -> tangent.Component:
    record = Derivation(operator, parameters, (("a" * 64, None),), ("a" * 64,))
    return replace(trained("head"), statistics=None, hyperparameters={}, derived=record)


@pytest.mark.parametrize("scope", ["head", "head2toe", "last-block"])
def test_a_trained_component_is_accepted_as_it_is(scope):
    found = tangent.accepted(space("mini", scope, ("owl",)), trained(scope))

    assert found.to_bytes() == trained(scope).to_bytes()


def test_settings_that_a_component_leaves_out_are_filled_in():
    known = {"beta": 15.0, "l2": 1e-3}

    found = tangent.accepted(
        space("mini", "head", ("owl",)), replace(trained("head"), hyperparameters=known)
    )

    assert found.hyperparameters == tangent.Hyperparameters.resolve("head", known).as_dict()


def test_parameters_that_a_derived_component_leaves_out_are_filled_in():
    found = tangent.accepted(space("mini", "head", ("owl",)), derived("ties"))

    assert found.derived.parameters == tangent.composition.merging.merge_method("ties").resolve({})


def test_records_of_privacy_and_of_many_parents_are_accepted():
    where = space("mini", "head", ("owl",))
    claimed = private(tuple(trained("head").labels))

    assert tangent.accepted(where, claimed, fault_as_given).privacy == claimed.privacy
    assert len(tangent.accepted(where, merged_of(1000)).derived.parents) == 1000


def rounded(component: tangent.Component) -> tangent.Component:
    directions = {name: value.float() for name, value in component.backbone.items()}
    return replace(component, backbone=directions)


def with_statistics(**changes) -> tangent.Component:
    made = trained("head")
    return replace(made, statistics=replace(made.statistics, **changes))


def private(labels: tuple[str, ...]) -> tangent.Component:
    terms = tangent.Privacy.resolve({"epsilon": 3.0, "delta": 1e-5}, labels)
    return replace(trained("head"), privacy=terms.as_dict())


def merged_of(count: int) -> tangent.Component:
    made = derived("ties")
    return replace(made, derived=replace(made.derived, parents=made.derived.parents * count))


HEAD = trained("head")
REFUSED = {
    "another space": (
        replace(HEAD, fingerprint="f" * 64),
        errors.FingerprintMismatch,
        "this space is",
    ),
    "another scope": (
        replace(HEAD, scope="all"),
        errors.BadComponent,
        "says scope all, its fingerprint is of head",
    ),
    "negative seed": (replace(HEAD, seed=-1), errors.BadComponent, "seed -1 is not from 0 to"),
    "empty label": (replace(HEAD, labels={" ": 5}), errors.BadComponent, "label ' ' has no"),
    "a head's label with a control character": (
        replace(HEAD, head_labels=(*HEAD.head_labels[:-1], "b\x1b[31m")),
        errors.BadComponent,
        "label 'b",
    ),
    "a head too large for any sum": (
        replace(HEAD, head=HEAD.head.clone().fill_(1e9)),
        errors.BadComponent,
        "head has numbers up to 1e\\+09, so that 8 such components could not be summed",
    ),
    "long label": (replace(HEAD, labels={"a" * 256: 5}), errors.BadComponent, "longer than 255"),
    "narrow head": (
        replace(HEAD, head=HEAD.head[:, 1:]),
        errors.BadComponent,
        "head rows have 8 entries, this space's 9",
    ),
    "sums off the grid": (
        with_statistics(sums=HEAD.statistics.sums / 3),
        errors.BadComponent,
        "no sums of this space's features",
    ),
    "unknown setting": (
        replace(HEAD, hyperparameters=HEAD.hyperparameters | {"speed": 1}),
        errors.BadHyperparameter,
        "no hyperparameter 'speed'",
    ),
    "unknown operator": (derived("magic"), errors.UnknownOperator, "magic"),
    "unknown parameter": (derived("ties", magic=1), errors.BadParameter, "magic"),
    "more parents than any merge has": (
        merged_of(1001),
        errors.BadComponent,
        "has 1001 parents, the most is 1000",
    ),
    "a merge with a privacy": (
        replace(derived("ties"), privacy=private(tuple(HEAD.labels)).privacy),
        errors.BadComponent,
        "made of others cannot have a privacy of its own",
    ),
    "another's public labels": (
        private((*HEAD.labels, "gnu")),
        errors.BadComponent,
        "labels in the record of the component's privacy are not its own",
    ),
    "fewer public labels": (
        private((next(iter(HEAD.labels)),)),
        errors.BadComponent,
        "labels in the record of the component's privacy are not its own",
    ),
    "half a character": (derived("ties", **{"\udfff": 1}), errors.BadParameter, "udfff"),
}


@pytest.mark.parametrize(("component", "kind", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_component_that_no_training_here_has_made_is_refused(component, kind, sentence):
    with pytest.raises(kind, match=sentence):
        tangent.accepted(space("mini", "head", ("owl",)), component, fault_as_given)


def test_a_component_without_statistics_can_serve():
    bare = replace(HEAD, statistics=None)
    accepted = tangent.accepted(space("mini", "head", ("owl",)), bare)
    assert accepted.statistics is None and torch.equal(accepted.head, HEAD.head)


def packed(numbers: list[int], width: int) -> WholeNumbers:
    """A block of these numbers of so many bits, written by hand; see `whole_numbers`."""
    codes = [2 * each if each >= 0 else -2 * each - 1 for each in numbers]
    bits = sum(code << (j * width) for j, code in enumerate(codes))
    words = [(bits >> (64 * i)) % 2**64 for i in range(width)]
    signed = torch.tensor([word - 2**64 * (word >> 63) for word in words], dtype=torch.int64)
    return WholeNumbers(45, torch.tensor([width, *[0] * 7], dtype=torch.uint8), signed)


@pytest.mark.parametrize(("more_bits", "padding"), [(0, []), (1, []), (None, []), (0, [1])])
def test_the_same_whole_numbers_in_other_bytes_are_refused(tmp_path, more_bits, padding):
    where = space("mini", "head", ("owl",))
    triangle = HEAD.statistics.compact(grid_runs.steps(HEAD.grid))
    numbers, least = [int(each) for each in triangle.units.numbers()], int(triangle.units.widths[0])
    assert len(numbers) == 45  # of a single block
    width = 54 if more_bits is None else least + more_bits
    other = replace(triangle, units=packed(numbers + padding, width))
    sent = replace(HEAD, statistics=replace(HEAD.statistics, triangle=other))
    sent.save(tmp_path / "sent")
    read = tangent.Component.load(tmp_path / "sent")
    assert torch.equal(read.statistics.packed, HEAD.statistics.packed)
    if width == least and not padding:
        assert tangent.accepted(where, read).to_bytes() == HEAD.to_bytes()
        return
    assert read.to_bytes() != HEAD.to_bytes()
    with pytest.raises(errors.BadComponent, match="packed otherwise than a training packs them"):
        tangent.accepted(where, read)


def test_a_file_without_statistics_names_the_grid_of_its_space_too():
    other = replace(HEAD, statistics=None, grid=((4, -8), (5, -8)))
    with pytest.raises(errors.BadComponent, match="is not that of this space's features"):
        tangent.accepted(space("mini", "head", ("owl",)), other)


def test_directions_that_another_tool_has_cast_are_refused():
    where, component = space("mini", "last-block", ("owl",)), trained("last-block")

    with pytest.raises(errors.BadComponent, match=r"holds torch.float32, this space's torch.float"):
        tangent.accepted(where, rounded(component))


def test_numbers_that_overflow_in_a_composition_are_refused():
    huge = with_statistics(sums=torch.full_like(HEAD.statistics.sums, 1e308))
    views = huge.hyperparameters | {
        "views": 2,
        "alpha": 1e3,
        "choose_l2": False,
    }  # of several views sums need no grid

    with pytest.raises(errors.BadComponent, match="overflow when they are composed"):
        tangent.accepted(space("mini", "head", ("owl",)), replace(huge, hyperparameters=views))
