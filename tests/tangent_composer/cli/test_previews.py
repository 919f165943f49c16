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
