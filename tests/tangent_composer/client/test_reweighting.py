"""Answers with other weights, computed from one answer, are those that the service gives."""

import random
from dataclasses import replace

import pytest

from tangent_composer.client import errors
from tests.support.images import archive, image

IMAGES = [image(label, 50 + n) for label in ("cat", "dog", "cow") for n in range(3)]


@pytest.fixture
def ids(service, client) -> list[str]:
    """Two components of different labels."""
    made = []
    for labels in ({"cat": 6, "dog": 6}, {"cow": 6, "hen": 6}):
        component = client.components.train(client.datasets.upload(archive(labels)).id)
        if component.status != "ready":
            service.train(component.id)
        made.append(component.id)
    return made


def logits(found) -> list[dict[str, float]]:
    return [{each.label: each.logit for each in result.predictions} for result in found]


@pytest.mark.parametrize("rule", ["average", "weighted"])
def test_other_weights_give_the_answers_of_the_service(client, ids, rule):
    given = dict.fromkeys(ids, 0.5) if rule == "weighted" else ids
    once = client.predict(IMAGES, components=given, rule=rule, contributions=True)
    chance = random.Random(5)
    for _ in range(10):
        weights = {id_: chance.uniform(-2, 3) for id_ in ids}
        mine = once.reweight(weights)
        theirs = client.predict(IMAGES, components=weights, top_k=1000)
        for here, there in zip(logits(mine), logits(theirs), strict=True):
            assert here == pytest.approx(there, rel=1e-5, abs=1e-5)
        assert mine.labels == theirs.labels
        assert mine.weights == pytest.approx(theirs.weights)


def test_a_component_that_is_not_named_keeps_its_weight(client, ids):
    once = client.predict(IMAGES, components=dict.fromkeys(ids, 1.0), contributions=True)
    mine = once.reweight({ids[0]: 0.0})
    theirs = client.predict(IMAGES, components={ids[0]: 0.0, ids[1]: 1.0}, top_k=1000)
    assert logits(mine)[0] == pytest.approx(logits(theirs)[0], rel=1e-5, abs=1e-5)
    assert once.reweight({}).labels == once.labels


@pytest.mark.parametrize("zero", [0, 1])
def test_directions_tell_the_answers_of_a_component_that_had_no_weight(client, ids, zero):
    given = {ids[zero]: 0.0, ids[1 - zero]: 1.0}
    once = client.predict(IMAGES, components=given, directions=True)
    chance = random.Random(7)
    for weights in ({id_: chance.uniform(-2, 3) for id_ in ids}, {ids[zero]: 1.0}):
        mine = once.reweight(weights)
        theirs = client.predict(IMAGES, components=given | weights, top_k=1000)
        for here, there in zip(logits(mine), logits(theirs), strict=True):
            assert here == pytest.approx(there, rel=1e-5, abs=1e-5)
        assert mine.labels == theirs.labels
        again = mine.reweight(given)
        assert logits(again)[0] == pytest.approx(logits(once.reweight({}))[0])


def test_directions_come_with_the_labels_of_their_components(service, client, ids):
    once = client.predict(IMAGES, components=ids, rule="average", directions=True)
    client.close()
    assert set(logits(once.reweight({ids[0]: 0.0}))[0]) == {"cow", "hen"}
    contributions = once.reweight({ids[0]: 2.0})[0].contributions
    share = next(each for each in contributions.components if each.id == ids[0])
    whole = next(each for each in once[0].directions.components if each.id == ids[0])
    assert share.logits["cat"] == pytest.approx(2 * whole.logits["cat"])


def test_labels_that_no_component_with_a_weight_knows_are_not_ranked(client, ids):
    once = client.predict(IMAGES, components=dict.fromkeys(ids, 1.0), contributions=True)
    assert set(logits(once.reweight({ids[0]: 0.0}))[0]) == {"cow", "hen"}
    assert once.reweight(dict.fromkeys(ids, 0.0)).labels == [None] * len(IMAGES)


def test_no_request_is_sent(client, ids):
    once = client.predict(IMAGES, components=ids, rule="average", contributions=True)
    client.close()
    assert len(once.reweight({ids[0]: 2.0})) == len(IMAGES)


def test_probabilities_of_other_weights_are_left_out(client, ids):
    once = client.predict(IMAGES, components=ids, rule="average", contributions=True)
    table = once.reweight({ids[0]: 2.0}).to_pandas(long=True)
    assert table["probability"].isna().all()
    assert table["logit"].notna().all()


def test_answers_that_are_no_sum_are_refused_with_what_to_do(client, ids):
    joint = client.predict(IMAGES, components=ids, rule="joint", contributions=True)
    with pytest.raises(errors.NotLinear, match=r"rule joint are no sum .*: ask the service"):
        joint.reweight({ids[0]: 2.0})
    bare = client.predict(IMAGES, components=ids, rule="average")
    with pytest.raises(errors.NotLinear, match=r"do not tell .* directions=True"):
        bare.reweight({ids[0]: 2.0})
    silent = client.predict(IMAGES, components={ids[0]: 0.0, ids[1]: 1.0}, contributions=True)
    with pytest.raises(errors.NotLinear, match=r"had weight 0.*directions=True"):
        silent.reweight({ids[0]: 2.0})


def test_weights_that_are_none_are_refused(client, ids):
    once = client.predict(IMAGES, components=ids, rule="average", contributions=True)
    with pytest.raises(errors.BadInput, match="cmp_none has no part in these answers"):
        once.reweight({"cmp_none": 1.0})
    for weight in (float("nan"), float("inf"), -1e308, 1e101, 5e-324):
        with pytest.raises(errors.BadInput, match=r"is no weight: give .* from 1e-100 to 1e\+100"):
            once.reweight({ids[0]: weight})


def test_a_plot_has_each_image_above_its_bars(client, ids):
    found = client.predict(IMAGES, components=ids, rule="average", contributions=True)
    axes = found.plot(columns=3, most=4).axes
    titles = [axis.get_title() for axis in axes if axis.get_title()]
    assert titles == found.names[:4]
    assert sum(len(axis.patches) == min(5, len(found[0].predictions)) for axis in axes) == 4
    weighted = found.reweight({ids[0]: 3.0}).plot(most=1)
    assert weighted.axes[1].get_xlabel() == "logit"


def in_pairs(client) -> None:
    """Let the client send two images in a request."""
    client._limits = client.limits().model_copy(update={"max_prediction_images": 2})


def test_one_model_answers_all_requests_of_a_prediction(service, client, ids):
    in_pairs(client)
    client.compositions.put("changing", ids, rule="average")
    steps = []

    def change(step) -> None:
        steps.append(step)
        if len(steps) == 3:
            client.compositions.put("changing", {ids[0]: 2.0, ids[1]: 0.5}, rule="weighted")

    found = client.predict(IMAGES, composition="changing", contributions=True, progress=change)
    assert len(found.answers) == 5 and len(steps) == 5
    assert {answer.rule for answer in found.answers} == {"weighted"}
    assert [result.index for result in found.results] == list(range(len(IMAGES)))
    whole = client.predict(IMAGES, composition="changing", top_k=1000)
    for here, there in zip(logits(found), logits(whole), strict=True):
        assert here == pytest.approx(there, rel=1e-5, abs=1e-5)
    assert found.reweight({ids[0]: 1.0}).weights == {ids[0]: 1.0, ids[1]: 0.5}


def test_a_model_that_keeps_changing_is_told(client, ids, monkeypatch):
    in_pairs(client)
    answer, asked = type(client)._answer, []

    def other_each_time(self, batch, form):
        asked.append(batch)
        return answer(self, batch, form).model_copy(update={"fingerprint": str(len(asked))})

    monkeypatch.setattr(type(client), "_answer", other_each_time)
    with pytest.raises(errors.Failed, match="do not belong together: name the components") as told:
        client.predict(IMAGES[:4], components=ids)
    assert (told.value.code, len(asked)) == ("selection_changing", 2 + 3)


def test_answers_of_several_models_are_not_reweighted(client, ids):
    both = client.predict(IMAGES, components=dict.fromkeys(ids, 1.0), contributions=True)
    one = client.predict(IMAGES, components={ids[0]: 1.0}, contributions=True)
    mixed = replace(
        both, results=[*one.results, *both.results], answers=[*one.answers, *both.answers]
    )
    with pytest.raises(errors.NotLinear, match=f"as those of {ids[1]}: predict again"):
        mixed.reweight({ids[0]: 2.0})
    weights = client.predict(IMAGES, components=dict.fromkeys(ids, 2.0), contributions=True)
    mixed = replace(both, answers=[*both.answers, *weights.answers])
    with pytest.raises(errors.NotLinear, match="several choices of components or weights: predict"):
        mixed.reweight({ids[0]: 2.0})
