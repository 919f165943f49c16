"""Faster passes of batches that mix compositions: what the images share, then each one's rest."""

import pytest
import torch

import tangent
from tangent.jvp.compiled.passes import COMPILED, RECORDED, Passes, Shape
from tangent.jvp.compiled.recorder import CudaGraphs, PlainCalls
from tangent.jvp.compiled.recording import ANSWER, PUSH, ROWS
from tangent.spaces.twin import Twin
from tests.support.models import backbone, images, relative
from tests.support.random_components import delta
from tests.support.recorders import faster, made_by

OWN = [2, 0, 0, 1, 0, 2, 0]  # of every image its composition: four, one and two images of each
SHARED, RESTS = Shape(8, 0, ROWS), [Shape(count, 1, PUSH) for count in (4, 1, 2)]
WHOLE = [Shape(count, 1, ANSWER) for count in (4, 1, 2)]  # where images share nothing
CASES = [
    ("vit", "head2toe", [Shape(8, 0, ANSWER)]),  # only the features take time
    ("vit", "last-block", [SHARED, *RESTS]),
    ("vit", "last-2-blocks", [SHARED, *RESTS]),
    ("vit", "all", WHOLE),
    ("resnet_basic", "last-block", [SHARED, *RESTS]),
    ("resnet_basic", "all", WHOLE),
]
STEPS = (RECORDED, COMPILED)


def compositions(where: tangent.Space) -> list[tangent.Delta]:
    return [delta(where, 0), delta(where, 1, ("bee", "cat")), delta(where, 2, ("owl",))]


@pytest.mark.parametrize(
    ("name", "scope", "shapes", "steps"),
    [
        *((*case, (RECORDED,)) for case in CASES),
        ("mini", "last-block", [SHARED, *RESTS], STEPS),
        ("resnet_basic", "last-2-blocks", [SHARED, *RESTS], STEPS),
    ],
)
def test_each_image_is_answered_as_the_engine_does_by_its_own_composition(
    name, scope, shapes, steps
):
    where, recorder = faster(name, scope, steps=steps)
    x, some = images(where.image_size, len(OWN)), compositions(where)
    made = made_by(where, lambda: where.answers_of_own(x, some, OWN))
    assert made == dict.fromkeys(shapes, steps[-1]), where.passes.faults
    for own in (OWN, OWN[::-1]):
        before = recorder.replays
        expected = where.answers_of_own(x, some, own, exact=True)
        assert recorder.replays == before
        found = where.answers_of_own(x, some, own)
        assert recorder.replays == before + len(shapes)
        for (logits, psi), (row, own_psi) in zip(found, expected, strict=True):
            assert relative(logits, row) <= 1e-6
            assert relative(psi, own_psi) <= 1e-9


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize(("name", "scope"), [("vit", "last-block"), ("resnet_basic", "all")])
def test_in_16_bits_each_image_is_answered_as_the_rounded_copy_does(name, scope, precision):
    where, recorder = faster(name, scope, dtype=torch.float32, precision=precision)
    x, some = images(where.image_size, len(OWN)).float(), compositions(where)
    expected = where.answers_of_own(x, some, OWN)
    assert made_by(where, lambda: where.answers_of_own(x, some, OWN)), where.passes.faults
    before = recorder.replays
    found = where.answers_of_own(x, some, OWN)
    assert recorder.replays > before
    for (logits, psi), (row, own_psi) in zip(found, expected, strict=True):
        assert relative(psi, own_psi) <= where.narrow.bounds.phi
        assert relative(logits, row) <= where.narrow.bounds.along


def test_no_number_of_compositions_needs_a_pass_of_its_own():
    where, recorder = faster()
    x, some = images(16, 6), [delta(where, seed) for seed in range(6)]
    made_by(where, lambda: where.answers_of_own(x, some[:2], [0, 1, 0, 1, 0, 1]))
    made_by(where, lambda: where.answers_of_own(x[:3], some[:3], range(3)))
    assert where.passes.made.keys() == {SHARED._replace(images=count) for count in (4, 6)} | {
        Shape(count, 1, PUSH) for count in (1, 4)
    }
    before, expected = recorder.captures, where.answers_of_own(x, some, range(6), exact=True)
    found = where.answers_of_own(x, some, range(6))
    assert recorder.captures == before
    for (logits, _), (own, _) in zip(found, expected, strict=True):
        assert relative(logits, own) <= 1e-6


def test_a_part_that_disagrees_is_left_to_the_engine_and_the_other_one_is_used():
    def wrong(graph):
        def run(*given):
            rows, *rest = graph(*given)
            return [rows, *rest] if rest else [rows * (1 + 1e-6)]

        return run

    where, recorder = faster(steps=(COMPILED,), compiler=wrong)
    x, some = images(16, len(OWN)), compositions(where)
    made = made_by(where, lambda: where.answers_of_own(x, some, OWN))
    assert made.keys() == set(RESTS)
    [fault] = where.passes.faults
    assert fault.startswith("the first part of batches of 8 was not compiled: Disagreement: output")
    expected = where.answers_of_own(x, some, OWN, exact=True)
    for (logits, _), (own, _) in zip(where.answers_of_own(x, some, OWN), expected, strict=True):
        assert relative(logits, own) <= 1e-6
    assert recorder.replays > 0


def test_nothing_of_images_or_compositions_is_left_in_parts_that_forgot():
    where, _ = faster()
    x, some = images(16, len(OWN)), compositions(where)
    made_by(where, lambda: where.answers_of_own(x, some, OWN))
    where.answers_of_own(x, some, OWN)
    recordings = [found.recording for found in where.passes._made.values()]
    assert all(each._images.any() for each in recordings)
    where.passes.forget()
    memory = [t for each in recordings for t in (each._images, *each._directions.tensors)]
    assert len(memory) > len(recordings)
    assert not any(each.any() for each in memory)


@pytest.mark.parametrize(("name", "scope", "shapes"), CASES)
def test_on_a_device_recorded_parts_give_the_bits_of_the_engine(name, scope, shapes, device):
    where = tangent.Space(backbone(name, torch.float32), scope, device=str(device))
    recorder = CudaGraphs(where.device) if device.type == "cuda" else PlainCalls()
    where.passes = Passes(lambda: Twin(where), recorder, (RECORDED,))
    x, some = images(where.image_size, 8).float(), compositions(where)
    own = [2, 0, 0, 1, 0, 2, 0, 1]  # in parts that fill their buckets: padding may have other bits
    expected = where.answers_of_own(x, some, own, exact=True)
    assert made_by(where, lambda: where.answers_of_own(x, some, own)), where.passes.faults
    for found, engine in zip(where.answers_of_own(x, some, own), expected, strict=True):
        assert all(map(torch.equal, found, engine))
