"""What two downloads of one component tell, from before and after a removal: the removed features.

This is no promise but a fact, which docs/what-a-file-reveals.md states: exact deletion makes the
difference of two files an exact function of what was deleted.
"""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture

import tangent
from tangent.components.statistics import Statistics
from tests.support.client import delete, upload
from tests.support.images import image, packed
from tests.support.service import Service
from tests.support.unlearning import FILES, delta, image_id, unlearn

GONE = ("dog", 2)


def sums_of(service: Service, component_id: str, folder: Path) -> Statistics:
    """The statistics of a downloaded file, as anybody reads them."""
    path = folder / f"{len(list(folder.iterdir()))}.safetensors"
    path.write_bytes(delta(service, component_id).content)
    found = tangent.Component.load(path).statistics
    assert found is not None
    return found


def features(service: Service, *contents: tuple[str, int]) -> torch.Tensor:
    """The images' feature vectors, as anybody makes them of the files and the public backbone."""
    space = tangent.open_space(service.settings.backbone, service.settings.scope)
    pictures = [Picture.open(io.BytesIO(image(*each))).convert("RGB") for each in contents]
    size = (space.image_size, space.image_size)
    assert all(each.size == size for each in pictures)  # so that nothing resizes them
    pixels = torch.from_numpy(np.stack([np.array(each) for each in pictures]))
    return space.readout_alone(space.preprocess.normalize(pixels)).double()


def triangle(gram: torch.Tensor) -> torch.Tensor:
    """The packed upper triangle, as files have it."""
    rows, columns = torch.triu_indices(len(gram), len(gram))
    return gram[rows, columns]


@pytest.mark.parametrize("scope", ["head", "head2toe"])
def test_the_files_before_and_after_one_removal_differ_by_that_images_features(
    serve, scope, tmp_path
):
    service = serve(scope=scope)
    dataset_id = upload(service, packed(FILES))["id"]
    component_id = service.train(service.queued(dataset_id))
    before = sums_of(service, component_id, tmp_path)

    delete(service, f"datasets/{dataset_id}/images/{image_id(service, dataset_id, GONE)}")

    after = sums_of(service, component_id, tmp_path)
    (psi,) = features(service, GONE)
    cat, dog = before.sums - after.sums
    assert torch.equal(dog, psi) and not cat.any()  # which label it had is told as well
    difference = before.packed - after.packed
    assert torch.equal(difference, triangle(torch.outer(psi, psi)))


def test_after_the_removal_of_several_images_at_once_they_differ_by_a_sum(serve, tmp_path):
    service = serve()
    dataset_id = upload(service, packed(FILES))["id"]
    component_id = service.train(service.queued(dataset_id))
    before, several = sums_of(service, component_id, tmp_path), [("cat", 0), ("cat", 3), ("cat", 4)]

    unlearn(service, dataset_id, several)

    after, psi = sums_of(service, component_id, tmp_path), features(service, *several)
    cat, dog = before.sums - after.sums
    assert torch.equal(cat, psi.sum(dim=0)) and not dog.any()
    difference = before.packed - after.packed
    assert torch.equal(difference, triangle(psi.T @ psi))
