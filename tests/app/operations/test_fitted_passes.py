"""What was made with fitted weights goes with the images that these were fitted to."""

import pytest

from tests.support.batches import begun
from tests.support.client import WAIT, compose, delete, delete_image, until_ended


@pytest.mark.parametrize("what", ["dataset", "image"])
def test_what_was_measured_with_fitted_weights_goes_with_the_images_they_were_fitted_to(
    either, what
):
    parts = [either.component({"cat": 4, "dog": 4}), either.component({"cow": 4, "dog": 2})]
    fitted, other = (
        either.dataset({"cat": 12, "cow": 9, "dog": 7}, 300),
        either.dataset({"cat": 3, "dog": 3}, 400),
    )
    compose(either, "both", parts)
    answer = either.client.post("/v1/compositions/both/solve", json={"dataset_id": fitted})
    assert answer.status_code == 200, answer.text
    by_weights = {"dataset_id": other, "composition": "both"}
    ids = [
        either.client.post("/v1/evaluations", json=body, headers=WAIT).json()["id"]
        for body in (by_weights, by_weights | {"rule": "average"})
    ]
    path = begun(either, **by_weights)
    until_ended(either, path)

    if what == "dataset":
        receipt = delete(either, f"datasets/{fitted}")
    else:
        receipt = delete_image(either, parts[0], fitted)

    found = [either.client.get(f"/v1/evaluations/{id_}").json() for id_ in ids]
    assert [each["status"] for each in found] == ["invalidated", "ready"]
    assert found[0]["components"] == [] and found[0]["accuracy"] is None
    assert receipt["body"]["invalidated"]["evaluations"] == ids[:1]
    assert either.client.get(f"/v1/{path}").json()["status"] == "invalidated"
