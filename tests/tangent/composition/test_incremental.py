"""Going on from earlier sums: the bytes of a fresh composition, the work of the difference."""

import dataclasses
import hashlib
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tangent
from tangent.components.source import Source
from tangent.composition.delta_sum import DeltaSum
from tangent.composition.discriminant import DiscriminantSums
from tangent.composition.incremental import KEPT, IncrementalComposition
from tangent.composition.joint import JointSums
from tangent.errors import BadComponent, BadWeight, Overflow
from tests.support.models import delta_bytes, space
from tests.support.random_components import components
from tests.support.saved_components import SavedComponents

SCOPES = ("head", "last-block")
scopes = pytest.mark.parametrize("scope", SCOPES)


def state(incremental: IncrementalComposition) -> list[bytes]:
    """Return all numbers and labels of the kept sums, except bounds."""
    found = []
    for members, sums in incremental._held.values():
        found.append(repr(sorted(members.items())).encode() + repr(sums._head._rows).encode())
        for limb in [*sums._head._limbs, *sums._backbone._limbs]:
            found.append(limb.contiguous().numpy().tobytes())
    return found


@settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    history=st.lists(
        st.tuples(
            st.lists(st.integers(0, 3), min_size=1, max_size=6),
            st.sampled_from(["average", "weighted"]),
            st.sets(st.integers(0, 3), max_size=1),
        ),
        min_size=2,
        max_size=6,
    )
)
@scopes
def test_any_history_gives_the_bytes_of_a_fresh_composition(scope, history, tmp_path):
    files = SavedComponents(scope, tmp_path)
    incremental = IncrementalComposition(files.load)
    for chosen, rule, forgotten in history:
        incremental.forget({files.sources[i].sha256 for i in forgotten})
        delta = incremental.compose(space("mini", scope), files.parts(chosen, rule), rule)
        assert delta_bytes(delta) == files.fresh(chosen, rule)


@scopes
def test_one_more_or_one_less_reads_one_component(scope, tmp_path):
    files = SavedComponents(scope, tmp_path)
    incremental, where = IncrementalComposition(files.load), space("mini", scope)
    incremental.compose(where, files.parts([0, 1, 2], "average"), "average")
    for chosen, expected in (([0, 1, 2, 3], ["3"]), ([3, 0, 2], ["1"]), ([0, 2, 1], ["1", "3"])):
        files.read.clear()
        delta = incremental.compose(where, files.parts(chosen, "average"), "average")
        assert files.read == expected
        assert delta_bytes(delta) == files.fresh(chosen, "average")


@scopes
def test_what_is_held_after_forgetting_is_what_never_adding_gives(scope, tmp_path):
    files = SavedComponents(scope, tmp_path)
    where = space("mini", scope)
    held, never = IncrementalComposition(files.load), IncrementalComposition(files.load)
    held.compose(where, files.parts([0, 1, 2, 3], "average"), "average")
    never.compose(where, files.parts([0, 1, 3], "average"), "average")
    files.read.clear()
    held.forget({files.sources[2].sha256})
    assert files.read == ["2"]
    assert state(held) == state(never)
    (tmp_path / "2").unlink()
    files.read.clear()
    found = held.compose(where, files.parts([0, 1, 3], "average"), "average")
    assert files.read == []
    assert delta_bytes(found) == files.fresh([0, 1, 3], "average")


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_sums_that_cannot_be_freed_of_a_component_are_dropped(damage, tmp_path):
    files = SavedComponents("last-block", tmp_path)
    incremental, where = IncrementalComposition(files.load), space("mini", "last-block")
    incremental.compose(where, files.parts([0, 1, 2, 3], "average"), "average")
    if damage == "gone":
        (tmp_path / "2").unlink()
    else:
        (tmp_path / "2").write_bytes(b"?")
    incremental.forget({files.sources[2].sha256})
    assert incremental._held == {}
    found = incremental.compose(where, files.parts([0, 1, 3], "average"), "average")
    assert delta_bytes(found) == files.fresh([0, 1, 3], "average")


def test_sums_of_too_few_components_and_of_too_many_spaces_are_not_held(tmp_path):
    files = SavedComponents("head", tmp_path)
    incremental, where = IncrementalComposition(files.load), space("mini", "head")
    incremental.compose(where, files.parts([0, 1], "average"), "average")
    assert incremental._held == {}
    incremental.compose(where, files.parts([0, 1, 2], "average"), "average")
    incremental.forget({files.sources[0].sha256})
    assert incremental._held == {}
    for i in range(KEPT + 2):
        other = tangent.Space.__new__(tangent.Space)
        other.__dict__ |= where.__dict__ | {"fingerprint": str(i), "check": lambda _: None}
        incremental.compose(other, files.parts([0, 1, 2], "average"), "average")
    assert len(incremental._held) == KEPT
    incremental.clear()
    assert incremental._held == {}


def test_an_error_leaves_nothing_half_changed(tmp_path):
    files = SavedComponents("last-block", tmp_path)
    incremental, where = IncrementalComposition(files.load), space("mini", "last-block")
    incremental.compose(where, files.parts([0, 1, 2], "average"), "average")
    broken = {k: v * float("nan") for k, v in components("last-block")[3].backbone.items()}
    files.add(dataclasses.replace(components("last-block")[3], backbone=broken), "nan")
    parts = [*files.parts([0, 1, 2], "average"), (files.sources[-1], None)]
    with pytest.raises(Overflow, match="NaN or Inf"):
        incremental.compose(where, parts, "average")
    with pytest.raises(BadWeight, match="needs a number for every component"):
        incremental.compose(where, files.parts([0, 1, 2], "average"), "weighted")
    found = incremental.compose(where, files.parts([0, 1, 2], "average"), "average")
    assert delta_bytes(found) == files.fresh([0, 1, 2], "average")


def test_components_of_several_precisions_compose_to_the_widest_in_any_order(tmp_path):
    wide, narrow = components("last-block")[0], components("last-block", torch.float32)[1]
    where, found = space("mini", "last-block"), []
    for parts in ([wide, narrow], [narrow, wide]):
        pairs = [(part, None) for part in parts]
        delta = tangent.compose(where, pairs, "average", shas="ab")
        assert {value.dtype for value in delta.backbone.values()} == {torch.float64}
        found.append(delta_bytes(delta))
    assert found[0] == found[1]
    sums = DeltaSum(where.readout_width)
    sums.change([(wide, 1.0)])
    with pytest.raises(BadComponent, match="several precisions"):
        sums.change([(narrow, 1.0)])


@pytest.mark.parametrize("count", [1, 2, 4])
def test_no_file_stays_mapped_after_a_composition(count, tmp_path):
    files = SavedComponents("last-block", tmp_path)
    incremental, where = IncrementalComposition(files.load), space("mini", "last-block")
    delta = incremental.compose(where, files.parts(range(count), "average"), "average")
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()
    loaded = tangent.Component.load(tmp_path / "0")
    assert str(tmp_path / "0") in Path("/proc/self/maps").read_text()
    assert delta.backbone.keys() == loaded.backbone.keys()


def test_a_mapped_component_is_the_one_that_was_saved(tmp_path):
    files = SavedComponents("last-block", tmp_path)
    for i, made in enumerate(components("last-block", torch.float32)):
        found = files.load(files.sources[i])
        assert found.to_bytes() == made.to_bytes()
        next(iter(found.backbone.values())).zero_()  # its own page, not the file
        data = (tmp_path / str(i)).read_bytes()
        assert hashlib.sha256(data).hexdigest() == files.sources[i].sha256


@pytest.mark.parametrize("scope", ["head", "head2toe"])
def test_joint_goes_on_from_its_sums_with_the_bytes_of_composing_anew(scope, tmp_path):
    files = SavedComponents(scope, tmp_path)
    incremental = IncrementalComposition(files.load)
    for chosen in ([0, 1, 2], [0, 1, 2, 3], [1, 2, 3], [0, 2, 3], [0, 1, 3]):
        found = incremental.compose(space("mini", scope), files.parts(chosen, "joint"), "joint")
        assert delta_bytes(found) == files.fresh(chosen, "joint")


@pytest.mark.parametrize("scope", ["head", "head2toe"])
def test_joint_chooses_its_penalty_anew_whenever_its_sums_change(scope, tmp_path):
    """Part 3 does not ask for it: while it is in, all keep the penalties of their trainings."""
    files = with_settings(scope, tmp_path, l2=0.3, choose_l2=True)
    incremental, deltas = IncrementalComposition(files.load), []
    for chosen in ([0, 1, 2], [0, 1, 2, 3], [0, 1, 2], [0, 0, 1, 2]):
        found = incremental.compose(space("mini", scope), files.parts(chosen, "joint"), "joint")
        assert delta_bytes(found) == files.fresh(chosen, "joint")
        deltas.append(delta_bytes(found))
    assert deltas[0] == deltas[2] != deltas[3]
    plain = with_settings(scope, tmp_path, l2=0.3)
    assert deltas[1] == plain.fresh([0, 1, 2, 3], "joint")
    assert deltas[0] != plain.fresh([0, 1, 2], "joint")


def with_settings(scope: str, folder: Path, **settings: object) -> SavedComponents:
    """Files of which the first three are of components with these settings."""
    files = SavedComponents(scope, folder)
    for i, part in enumerate(components(scope)[:3]):
        changed = dataclasses.replace(part, hyperparameters=part.hyperparameters | settings)
        files.sources[i] = Source(str(i), changed.save(folder / str(i)))
    return files


def test_joint_reads_only_what_comes_and_goes(tmp_path):
    where, files = space("mini", "head"), SavedComponents("head", tmp_path)
    incremental = IncrementalComposition(files.load)
    incremental.compose(where, files.parts([0, 1, 2, 3], "joint"), "joint")
    for change in (
        lambda: incremental.compose(where, files.parts([0, 1, 2], "joint"), "joint"),
        lambda: incremental.compose(where, files.parts([0, 1, 2, 3], "joint"), "joint"),
        lambda: incremental.forget([files.sources[3].sha256]),
    ):
        files.read.clear()
        change()
        assert files.read == ["3"]
    files.read.clear()
    incremental.compose(where, files.parts([0, 1, 2], "joint"), "joint")
    assert files.read == []


@pytest.mark.parametrize("rule", ["joint", "discriminant"])
def test_forgetting_solves_nothing_and_keeps_the_sums(rule, tmp_path, monkeypatch):
    where, files = space("mini", "head"), SavedComponents("head", tmp_path)
    incremental = IncrementalComposition(files.load)
    incremental.compose(where, files.parts([0, 1, 2, 3], rule), rule)
    with monkeypatch.context() as patch:
        for sums in (JointSums, DiscriminantSums):
            patch.delattr(sums, "delta")
        incremental.forget([files.sources[3].sha256])
    files.read.clear()
    found = incremental.compose(where, files.parts([0, 1, 2], rule), rule)
    assert files.read == []
    assert delta_bytes(found) == files.fresh([0, 1, 2], rule)


def test_joint_of_sums_that_may_not_be_exact_is_composed_anew_each_time(tmp_path):
    where, files = space("mini", "head"), SavedComponents("head", tmp_path)
    part = components("head")[0]
    several = dataclasses.replace(part, hyperparameters=part.hyperparameters | {"views": 3})
    files.add(several, "4")
    incremental, chosen = IncrementalComposition(files.load), [1, 2, 3, 4]
    for _ in range(2):
        files.read.clear()
        found = incremental.compose(where, files.parts(chosen, "joint"), "joint")
        assert sorted(files.read) == ["1", "2", "3", "4"]
        assert delta_bytes(found) == files.fresh(chosen, "joint")
