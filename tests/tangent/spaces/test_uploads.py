"""Uploads: whatever goes to a device together arrives as it was, at places for fast products."""

import numpy as np
import pytest
import torch
from PIL import Image

import tangent
from tangent.jvp.compiled.passes import Shape
from tangent.spaces import uploads
from tests.support.models import images, space
from tests.support.random_components import delta


def several() -> list[torch.Tensor]:
    return [
        torch.randn(3, 5),
        torch.randn(7, dtype=torch.float64),
        torch.zeros(0),
        torch.arange(11),
        torch.randn(2, 3, 4).transpose(0, 2),
    ]


def test_tensors_in_one_upload_are_what_they_were_and_begin_at_aligned_places():
    given = several()
    found = uploads._together(given, torch.device("cpu"))
    for own, expected in zip(found, given, strict=True):
        assert own.dtype == expected.dtype
        assert torch.equal(own, expected)
    assert len({own.untyped_storage().data_ptr() for own in found}) == 1
    starts = {(own.storage_offset() * own.element_size()) % uploads.ALIGNED for own in found}
    assert starts == {0}


def test_uploaded_tensors_are_equal_and_on_the_device(device):
    given = several()
    for own, expected in zip(uploads.uploaded(given, device), given, strict=True):
        assert own.device.type == device.type
        assert torch.equal(own.cpu(), expected)


def test_nothing_is_uploaded_where_there_is_nothing(device):
    assert uploads.uploaded([], device) == []


class Transfer:
    """A transfer that is over when it has been waited for."""

    def __init__(self) -> None:
        self.is_over = False

    def synchronize(self) -> None:
        self.is_over = True


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.uint8])
def test_a_stream_brings_the_rows_of_an_index_and_keeps_none_for_the_next(dtype, device):
    rows = (100 * torch.randn(20, 3, 5)).to(dtype)
    places = uploads.PinnedPlaces(device, (lambda _: Transfer()) if device.type == "cpu" else None)
    given = [torch.randperm(20)[:size] for size in (4, 20, 1, 0, 7, 7, 7)]
    found = [places.uploaded(rows, index) for index in given]
    for own, index in zip(found, given, strict=True):
        assert own.device.type == device.type and own.dtype == dtype
        assert torch.equal(own.cpu(), rows[index])


def test_a_pinned_place_is_filled_again_once_its_transfer_is_over():
    sent: list[Transfer] = []

    def marked(_device):
        sent.append(Transfer())
        return sent[-1]

    places, rows = uploads.PinnedPlaces(torch.device("cpu"), marked), torch.randn(9, 4)
    for number in range(9):
        places.uploaded(rows, torch.tensor([number]))
        over = [each.is_over for each in sent]
        assert over == [True] * max(0, number + 1 - uploads.PLACES) + [False] * min(
            number + 1, uploads.PLACES
        )
    assert len({place.data_ptr() for place in places._places}) == uploads.PLACES


def pixels(size: int, count: int) -> list[np.ndarray]:
    made = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)
    return list(made)


def test_inputs_are_made_on_the_device_with_the_bits_of_timms_own_steps(device):
    where = tangent.open_space("resnet_micro_32", "head", device=str(device))
    given = pixels(32, 3)
    expected = [where.preprocess._input(Image.fromarray(each)) for each in given]  # timm's steps
    found = where.inputs(given)
    assert found.device.type == device.type
    assert torch.equal(found.cpu(), torch.stack(expected))


class Small:
    """An engine in front of another, whose device has memory for so many images at a time."""

    def __init__(self, engine, most: int) -> None:
        self._engine, self.most, self.seen = engine, most, []

    def rows(self, x):
        self.seen.append(len(x))
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. More")
        return self._engine.rows(x)

    def __getattr__(self, name):
        return getattr(self._engine, name)


@pytest.fixture
def small(monkeypatch):
    where = space("mini", "last-block")
    monkeypatch.setattr(where, "engine", Small(where.engine, 2))
    return where


def test_a_batch_that_does_not_fit_is_answered_in_halves(small):
    x, some = images(16, 7), delta(small, 0)
    found = small.logits(x, some)
    assert small.engine.seen == [7, 4, 2, 2, 3, 2, 1]
    small.engine.most = 7
    assert (found - small.logits(x, some)).abs().max() <= 1e-6


@pytest.mark.parametrize(("count", "exact"), [(1, False), (3, True)])
def test_what_cannot_be_halved_is_refused_with_what_to_do(small, count, exact):
    small.engine.most = 0
    with pytest.raises(
        tangent.errors.OutOfMemory,
        match=rf"the memory of cpu does not suffice for {count} images at scope last-block \(CUDA "
        r"out of memory\): send fewer images at a time, lower TANGENT_MAX_BATCH_SIZE",
    ):
        small.logits(images(16, count), delta(small, 0), exact=exact)


def test_a_composition_that_does_not_fit_is_refused(small, monkeypatch):
    def full(direction):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(small.engine._engine, "prepare", full)
    with pytest.raises(tangent.errors.OutOfMemory, match="does not suffice for a composition at"):
        small.logits(images(16, 1), delta(small, 5))


def test_passes_give_their_memory_back_where_it_is_short():
    where = tangent.Space(small_backbone(), "last-block", compile="on")
    where.passes._asked[Shape(1, 1)] = 5
    where.engine = Small(where.engine, 0)
    with pytest.raises(tangent.errors.OutOfMemory):
        where.logits(images(16, 1), delta(where, 0))
    assert not where.passes.make_next()


def small_backbone():
    return space("mini", "last-block").pretrained
