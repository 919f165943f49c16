"""Faster passes of answers in 16 bits: those of the rounded copy, each direction at its scale."""

from dataclasses import replace

import pytest
import torch

from tangent.jvp.compiled.passes import COMPILED, RECORDED, Shape
from tests.support.models import images, relative
from tests.support.random_components import delta
from tests.support.recorders import faster, made


@pytest.mark.parametrize("steps", [(RECORDED,), (RECORDED, COMPILED)])
@pytest.mark.parametrize("scope", ["head2toe", "last-block", "all"])
@pytest.mark.parametrize("name", ["vit", "resnet_basic"])
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_made_pass_answers_in_16_bits_as_the_engine_does(precision, name, scope, steps):
    where, recorder = faster(name, scope, steps=steps, dtype=torch.float32, precision=precision)
    x, some = images(where.image_size, 3).float(), delta(where, 0)
    small = {key: value * 1e-5 for key, value in some.backbone.items()}  # of another scale
    heads = [where._head(each) for each in (some, replace(delta(where, 1), backbone=small), some)]
    expected = [where.push(where.rows(x), [head.prepared]) for head in heads]
    shape = Shape(3, 0 if where.engine is None else 1)
    assert made(where, x, some) == {Shape(4, shape.directions): steps[-1]}, where.passes.faults
    before = recorder.replays
    for head, (psi, pushed) in zip(heads, expected, strict=True):
        given = [] if where.engine is None else [head.prepared]
        found_psi, *found = where.passes.run(x, given)
        assert relative(found_psi, psi) <= where.narrow.bounds.phi
        for along, own in zip(found, pushed, strict=True):
            assert relative(along, own) <= where.narrow.bounds.along
    assert recorder.replays == before + 3
