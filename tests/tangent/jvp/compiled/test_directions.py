"""Directions in memory of their own: filled, held without another copy, and overwritten."""

import pytest
import torch

from tangent.jvp.compiled.directions import Directions, tensors_of, with_tensors
from tests.support.models import direction, engine_of, space

KINDS = [("mini", "rules"), ("resnet_basic", "rules"), ("mini", "generic")]


def prepared(name: str, kind: str, seed: int):
    suffix = space(name, "last-block").suffix
    return engine_of(kind, suffix).prepare(direction(suffix.base, seed))


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_a_direction_is_made_of_its_tensors_again(name, kind):
    one = prepared(name, kind, 0)
    tensors = tensors_of(one)
    again = with_tensors(one, iter([each * 2 for each in tensors]))
    assert type(again) is type(one)
    assert len(tensors) > 1
    for found, own in zip(tensors_of(again), tensors, strict=True):
        assert torch.equal(found, own * 2)


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_a_place_holds_what_it_was_filled_with_at_the_address_that_it_had(name, kind):
    first, second, third = (prepared(name, kind, seed) for seed in range(3))
    held = Directions([first, second])
    places = [each.data_ptr() for each in held.tensors]
    held.fill(1, third)
    assert [each.data_ptr() for each in held.tensors] == places
    expected = [*tensors_of(first), *tensors_of(third)]
    assert all(map(torch.equal, held.tensors, expected))


def test_a_place_that_holds_a_direction_is_not_filled_with_it_again():
    first, second = (prepared("mini", "rules", seed) for seed in range(2))
    held = Directions([first])
    held.fill(0, second)
    held.tensors[0].fill_(7)  # seen only if nothing is copied
    held.fill(0, second)
    assert (held.tensors[0] == 7).all()
    held.fill(0, first)
    held.fill(0, second)
    assert all(map(torch.equal, held.tensors, tensors_of(second)))


def test_nothing_is_left_of_directions_that_were_cleared():
    held = Directions([prepared("mini", "rules", 0)])
    held.clear()
    assert not any(each.any() for each in held.tensors)


def test_a_direction_of_an_unknown_form_is_refused():
    with pytest.raises(TypeError, match="a direction of the type int has no known tensors"):
        tensors_of(3)
