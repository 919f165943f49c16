"""`tangent preview` of a dataset and of an image: what goes, and what stays without it."""

import json
import re

import pytest

SETTINGS = {"api_key": "a key of these tests"}


def test_the_preview_of_a_dataset_and_of_an_image_name_what_each_would_do(tangent, pets):
    folder, dataset, component = pets
    _, out, _ = tangent("preview", dataset)
    assert re.search(r"^images that go +12$", out, re.M)
    assert re.search(rf"^components +{component}: removed$", out, re.M)
    found = json.loads(tangent("find", folder / "cat" / "0001.png", "--json")[1])
    image_id = found["exact"][0]["id"]
    _, out, _ = tangent("preview", dataset, "--image", image_id)
    assert re.search(rf"^image +{image_id}$", out, re.M)
    assert re.search(rf"^components +{component}: (down_dated|retraining)$", out, re.M)


def test_the_preview_of_a_component_names_all_that_goes_and_what_stays(tangent, pets, service):
    folder, dataset, component = pets
    tangent("evaluate", dataset, "--component", component)
    tangent("upload", folder, "--name", "again")
    found = json.loads(tangent("preview", component, "--json")[1])
    held = found["also_held"]["datasets"]
    assert (found["labels_gone"], len(held)) == (["cat", "dog"], 2)
    _, out, _ = tangent("preview", component)
    assert re.search(r"^labels gone +cat, dog$", out, re.M)
    assert re.search(r"^evaluations that go +1$", out, re.M)
    shown = ", ".join(f"{each['dataset_id']}: {each['images']}" for each in held)
    assert re.search(rf"^also held +{shown}$", out, re.M)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("ds_1", "--dataset", "ds_2"), "give its id"),
        (("cmp_1", "--image", "img_1"), "give the dataset's id before it"),
    ],
)
def test_a_preview_refuses_what_does_not_belong_together(tangent, given, told):
    status, _, err = tangent("preview", *given)
    assert status == 2
    assert told in err
