"""Previews of deletions in the client."""

from tests.support.images import archive


def test_deletions_of_a_dataset_and_of_an_image_are_previewed(service, client):
    dataset = client.datasets.upload(archive({"ant": 3, "ape": 3}))
    component = client.components.train(dataset.id)
    service.train(component.id)
    whole = client.datasets.preview(dataset.id)
    assert (whole.num_images, whole.image_id) == (6, None)
    assert [(each.id, each.outcome) for each in whole.components] == [(component.id, "removed")]
    first = next(iter(client.datasets.images(dataset.id)))
    one = client.datasets.preview_image(dataset.id, first.id)
    assert (one.num_images, one.image_id) == (1, first.id)
    assert [each.id for each in one.components] == [component.id]
