"""An upload that is repeated gives what is there, and makes anew what is there no more."""

import pytest

from tests.support.images import archive


def test_what_was_deleted_is_uploaded_anew_when_asked_for_again(client):
    data = archive({"hen": 3})
    first = client.datasets.upload(data)
    client.datasets.unlearn(first.id)
    second = client.datasets.upload(data)
    assert (second.id != first.id, second.was_there) == (True, False)
    client.datasets.unlearn(second.id)
    third = client.datasets.upload(data)
    assert third.id not in (first.id, second.id)
    assert client.datasets.upload(data).id == third.id


@pytest.mark.parametrize("how", ["deleted", "cancelled"])
def test_a_training_that_is_there_no_more_is_queued_again_with_its_settings(client, how):
    data, given = archive({"elk": 3, "ibex": 3}), {"hyperparameters": {"l2": 0.5}, "seed": 4}
    first = client.datasets.upload(data, name=how, train=True, **given)
    if how == "deleted":
        client.components.unlearn(first.component.id)
    else:
        client.components.cancel(first.component.id)

    second = client.datasets.upload(data, name=how, train=True, **given)

    assert (second.id, second.was_there) == (first.id, True)
    assert second.component.status == "queued"
    assert second.component.id != first.component.id
    assert second.component.hyperparameters == first.component.hyperparameters
    assert second.component.seed == first.component.seed == 4
    assert client.datasets.upload(data, name=how, train=True, **given).component == second.component
