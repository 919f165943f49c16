"""Answers in 16 bits: near those in 32, beside statistics that do not move; `auto` by a clock."""

import hashlib

import pytest
import torch
from torch import Tensor

import tangent
from tangent import errors
from tangent.backbones.features import COARSE
from tangent.composition.attribution import attribute
from tangent.spaces import precision, space
from tangent.spaces.card import probe_of
from tangent.spaces.precision import GAIN, ROUNDS, SECONDS, Decisions, Precision, ratio
from tests.support.models import CASES, backbone, images, relative, source
from tests.support.random_components import delta

NARROW = {"bfloat16": torch.bfloat16, "float16": torch.float16}
narrow = pytest.mark.parametrize("name", NARROW)
scopes = pytest.mark.parametrize("scope", ["head", "head2toe", "last-block", "all"])


def opened(scope: str, of: str = "float32", case: str = "vit") -> tangent.Space:
    return tangent.Space(backbone(case, torch.float32), scope, precision=of)


def pixels(count: int, case: str = "vit") -> Tensor:
    return images(CASES[case].size, count).float()


@narrow
@scopes
@pytest.mark.parametrize("case", ["vit", "resnet_basic"])
def test_an_answer_moves_by_rounding_and_the_answerer_is_another(case, scope, name):
    """At every scope: also at `all`, where nothing is frozen."""
    full, some = opened(scope, case=case), opened(scope, name, case)
    x, asked = pixels(5, case), delta(full, 0)
    expected, found = full.logits(x, asked), some.logits(x, asked)
    assert found.dtype == torch.float32
    most = 8 * torch.finfo(NARROW[name]).eps
    if full.grid is not None:  # features near the middle of two of its multiples go either way
        most += COARSE.pooled
    assert 0 < relative(found, expected) <= most
    (one, _), *_ = some.answers_of_own(x, [asked], [0] * 5)
    assert relative(one, expected[0]) <= most
    assert (full.precision, some.precision) == ("float32", name)
    assert some.answerer is None or some.answerer is not some.engine
    assert full.answerer is full.engine


@narrow
@scopes
def test_all_but_answers_is_that_of_float32_to_the_bit(scope, name):
    full, some = opened(scope), opened(scope, name)
    assert some.fingerprint == full.fingerprint
    assert some.base_rows(["a"]).equal(full.base_rows(["a"]))
    assert torch.equal(probe_of(some), probe_of(full))
    x = pixels(3)
    if full.engine is None:
        assert torch.equal(some.readout(x), full.readout(x))
        assert torch.equal(some.readout_alone(x), full.readout_alone(x))
    else:
        assert torch.equal(some.engine.rows(x), full.engine.rows(x))
    for each in full.model.state_dict(), some.model.state_dict():
        assert all(v.dtype == torch.float32 for v in each.values() if v.is_floating_point())


@pytest.mark.parametrize("scope", ["head2toe", "last-block"])
def test_a_training_gives_the_same_bytes_whatever_the_precision_of_answers(scope, tmp_path):
    given = tangent.Hyperparameters.resolve(scope, {"l2": 1e-2})
    hashes = set()
    for name in ("float32", *NARROW):
        where = opened(scope, name, "mini")
        data = source(CASES["mini"].size, ["a", "b"] * 4)
        data.pixels = data.pixels.float()
        folder = tmp_path / name
        folder.mkdir()
        fitted = tangent.fit(where, data, given, scratch=folder)
        path = folder / "component.safetensors"
        fitted.component.save(path)
        hashes.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(hashes) == 1


@narrow
@pytest.mark.parametrize("scope", ["head2toe", "last-block"])
def test_the_shares_of_components_sum_to_the_answer_in_its_own_precision(scope, name, tmp_path):
    """An attribution explains the answer that was given, not one of another precision."""
    where = opened(scope, name, "mini")
    given = tangent.Hyperparameters.resolve(scope, {"l2": 1e-2})
    parts = []
    for number, labels in enumerate((["a", "b"], ["b", "c"])):
        data = source(CASES["mini"].size, labels * 3, number)
        data.pixels = data.pixels.float()
        folder = tmp_path / str(number)
        folder.mkdir()
        parts.append((tangent.fit(where, data, given, scratch=folder).component, None))
    rule, shas, x = where.default_rule, ["1", "2"], pixels(3, "mini")
    answer = where.logits(x, tangent.compose(where, parts, rule, shas=shas))
    found = attribute(where, x, parts, rule, shas=shas)
    explained = found.base.logits + sum(found.shares)
    own = relative(explained.float(), answer)
    other = relative(
        explained.float(),
        opened(scope, case="mini").logits(x, tangent.compose(where, parts, rule, shas=shas)),
    )
    assert own <= 4 * torch.finfo(NARROW[name]).eps if scope == "last-block" else own <= 1e-6
    assert own < other


@narrow
@scopes
def test_answers_in_16_bits_repeat_to_the_bit(scope, name):
    x, asked = pixels(3), delta(opened(scope), 0)
    assert torch.equal(opened(scope, name).logits(x, asked), opened(scope, name).logits(x, asked))


def test_a_model_whose_features_overflow_in_float16_is_refused_at_linear_scopes():
    import copy
    from dataclasses import replace

    chosen = backbone("vit", torch.float32)
    model = copy.deepcopy(chosen.model)
    model.norm.weight.mul_(1e6)
    large = replace(chosen, model=model)
    with pytest.raises(errors.UnsupportedModel, match=r"cannot answer in float16: its features"):
        tangent.Space(large, "head", precision="float16")
    assert tangent.Space(large, "head", precision="bfloat16").precision == "bfloat16"


def test_an_unknown_precision_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"no precision is called 'int8'; choose float32, "):
        opened("head", "int8")


class Clock:
    """Seconds that pass only while a pass is run."""

    def __init__(self) -> None:
        self.now, self.runs = 0.0, []

    def __call__(self) -> float:
        return self.now

    def lasting(self, name: str, *seconds: float):
        """A pass with these durations, the last one again and again."""
        left = list(seconds)

        def run() -> None:
            self.now += left.pop(0) if len(left) > 1 else left[0]
            self.runs.append(name)

        return run


def test_a_ratio_is_of_the_shortest_passes_in_turn_without_the_first_ones():
    clock = Clock()
    narrow = clock.lasting("narrow", 9.0, 0.02, 0.01, 0.02)
    wide = clock.lasting("wide", 9.0, 0.05, 0.02, 0.04)
    clock.now = -18.0
    found = ratio(narrow, wide, clock)
    assert clock.runs[:4] == ["narrow", "wide", "narrow", "wide"]
    assert found == pytest.approx(0.02 / 0.05)  # a warm-up of 18 s leaves one round


def test_quick_passes_are_repeated_and_slow_ones_are_not():
    quick = Clock()
    assert ratio(quick.lasting("n", 0.001), quick.lasting("w", 0.002), quick) == pytest.approx(0.5)
    assert len(quick.runs) == 2 + 2 * ROUNDS
    slow = Clock()
    ratio(slow.lasting("n", 3 * SECONDS), slow.lasting("w", 2 * SECONDS), slow)
    assert len(slow.runs) == 4


def test_a_gain_that_is_too_small_for_the_error_is_none():
    assert precision.decided(GAIN - 0.01, "x").name == "bfloat16"
    assert precision.decided(GAIN + 0.01, "x").name == "float32"


def decisions(monkeypatch, of_products: float, of_passes: float) -> Decisions:
    """Decisions of this test alone, on a machine with these ratios."""
    made = Decisions(Clock())
    monkeypatch.setattr(space, "DECISIONS", made)
    monkeypatch.setattr(space, "products", lambda device, clock: of_products)
    monkeypatch.setattr(
        space, "ratio", lambda narrow, wide, clock: (narrow(), wide(), of_passes)[2]
    )
    return made


@scopes
@pytest.mark.parametrize(
    ("of_products", "of_passes", "expected"),
    [(0.5, 0.5, "bfloat16"), (0.5, 0.95, "float32"), (1.2, 0.5, "float32")],
)
def test_auto_answers_in_16_bits_only_where_the_machine_gains(
    monkeypatch, scope, of_products, of_passes, expected
):
    decisions(monkeypatch, of_products, of_passes)
    found = opened(scope, "auto")
    assert found.precision == expected
    assert "on this machine" in found.precision_reason
    x, asked = pixels(2), delta(found, 0)
    assert torch.equal(found.logits(x, asked), opened(scope, expected).logits(x, asked))


def test_auto_is_decided_once_for_a_space_and_a_number_of_threads(monkeypatch, caplog):
    made = decisions(monkeypatch, 0.5, 0.5)
    with caplog.at_level("INFO", "tangent.spaces.precision"):
        assert opened("head", "auto").precision == "bfloat16"
        monkeypatch.setattr(space, "ratio", lambda *_: pytest.fail("measured again"))
        assert opened("head", "auto").precision == "bfloat16"
    assert [record.message for record in caplog.records] == [
        "answers of vit: bfloat16, an answer takes 0.50 times as long in bfloat16 on this machine"
    ]
    assert made.made(("another",), lambda _: Precision("float32", "no gain")).name == "float32"


def test_auto_is_float32_for_a_model_that_16_bits_cannot_hold(monkeypatch):
    decisions(monkeypatch, 0.5, 0.5)

    def refused(*_: object) -> None:
        raise errors.UnsupportedModel("it cannot answer in bfloat16")

    monkeypatch.setattr(space, "Narrow", refused)
    found = opened("head", "auto")
    assert (found.precision, found.precision_reason) == (
        "float32",
        "it cannot answer in bfloat16",
    )


def test_the_ratio_of_products_is_measured_on_the_device():
    assert 0 < precision.products(torch.device("cpu")) < 1000
