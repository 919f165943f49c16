"""Simple methods agree with naive twins, and a gallery's spaces with spaces that see the images."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.neighbors import NearestCentroid

import tangent
from benchmarks.accuracy import fine_tuning, simple, tangents
from benchmarks.accuracy.case import Case, Pool, Recipe, drawn
from benchmarks.accuracy.gallery import as_images
from benchmarks.accuracy.protocols import CLASSES, DATA, Protocol
from tangent.components.statistics import measure
from tangent.training.cholesky import equations
from tests.support.drawings import drawings, gallery

QUICK = Recipe(epochs=2, plain_epochs=3, tolerance=0.1, iterations=5)


@pytest.fixture(scope="module")
def seen():
    return gallery()


def test_a_draw_parts_the_training_images_of_every_label_four_to_one(seen):
    train, rest = drawn(seen, seed=0)
    assert sorted([*train, *rest]) == seen.train.tolist()
    assert np.bincount(seen.truth[train]).tolist() == [8] * 4
    assert drawn(seen, 1)[0].tolist() != train.tolist()


def test_the_nearest_class_mean_is_scikit_learns(seen):
    pool = Pool(seen, "head", 0, QUICK)
    train, test = (simple.unit(simple.features(pool, part)) for part in (pool.train, seen.test))
    twin = NearestCentroid().fit(train, seen.truth[pool.train])
    found = simple.nearest_mean(pool).logits.argmax(1).tolist()
    assert found == twin.predict(test).tolist()


def test_ridge_regression_is_scikit_learns():
    generator = np.random.default_rng(0)
    rows, wanted = generator.normal(size=(30, 12)), generator.normal(size=(30, 3))
    twin = Ridge(alpha=0.7, fit_intercept=False).fit(rows, wanted)
    assert np.allclose(simple.ridge_regression(rows, wanted, 0.7), twin.coef_.T, atol=1e-10)


def test_the_random_projection_head_is_the_formula_on_the_same_projection(seen):
    pool = Pool(seen, "head", 0, QUICK)
    phi = {part: simple.features(pool, numbers) for part, numbers in parts(pool).items()}
    projection = np.random.default_rng((2, 0)).standard_normal((128, simple.PROJECTED))
    hidden = {part: np.maximum(rows @ projection, 0) for part, rows in phi.items()}
    wanted = np.eye(4)[seen.truth[pool.train]]
    answers = []
    for ridge in simple.RIDGES:  # in the dual form, n x n
        gram = hidden["train"] @ hidden["train"].T + ridge * np.eye(len(pool.train))
        dual = np.linalg.solve(gram, wanted)
        answers.append({p: rows @ (hidden["train"].T @ dual) for p, rows in hidden.items()})
    truth = seen.truth[pool.validation]
    shares = [(each["validation"].argmax(1) == truth).mean() for each in answers]
    found = simple.random_projection(pool).logits.argmax(1).numpy()
    close = np.abs(np.array(shares) - max(shares)) < 1e-9
    assert any(
        (found == a["test"].argmax(1)).all() for a, c in zip(answers, close, strict=True) if c
    )


def parts(pool: Pool) -> dict[str, np.ndarray]:
    return {"train": pool.train, "validation": pool.validation, "test": pool.gallery.test}


@pytest.mark.parametrize("scope", ["head", "head2toe", "last-block"])
def test_a_space_that_recalls_rows_answers_as_one_that_sees_the_images(seen, scope):
    recalling = seen.space(scope, known=True)
    plain = tangent.open_space("vit_micro_32", scope, seen.labels)
    assert recalling.fingerprint == plain.fingerprint
    pool = Pool(seen, scope, 0, QUICK)
    component = pool.fit(pool.train, {}, known=True).component
    delta = tangent.compose(recalling, [(component, None)], "average", shas=["0"])
    test = seen.test
    preprocess = seen.backbone.preprocess
    images = torch.stack([preprocess(image) for image in drawings().test[0]])
    expected = plain.logits(images, delta)
    assert torch.allclose(recalling.logits(as_images(test), delta), expected, atol=2e-4)


def _chosen_l2(seen, psi, rows) -> float:
    """The penalty that the default has the data choose; how is proved elsewhere."""
    found = measure(torch.from_numpy(psi), [seen.names[i] for i in rows])
    sums = equations(found, found.labels, tangents.DEFAULTS)
    return sums.l2(seen.space("head").base_rows(found.labels))


def test_joint_training_is_ridge_regression_on_the_features(seen):
    pool = Pool(seen, "head", 0, QUICK)
    found = tangents.joint_training(pool).logits.numpy()
    space = seen.space("head")
    psi = {p: space.readout(as_images(n)).double().numpy() for p, n in parts(pool).items()}
    base = space.base_rows(seen.labels).numpy()
    beta, l2 = tangents.DEFAULTS.beta, _chosen_l2(seen, psi["train"], pool.train)
    wanted = beta * np.eye(4)[seen.truth[pool.train]] - psi["train"] @ base.T
    twin = Ridge(alpha=l2 * len(pool.train) * 4 / 2, fit_intercept=False, solver="cholesky")
    twin.fit(psi["train"], wanted)
    expected = psi["test"] @ (base.T + twin.coef_.T)
    assert np.abs(found - expected).max() < 1e-7 * np.abs(expected).max()


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("scope", ["head", "head2toe"])
def test_joint_equals_joint_training_whatever_the_parties_know(seen, scope, known):
    pool = Pool(seen, scope, 0, QUICK)
    for protocol in (Protocol(CLASSES, 4), Protocol(DATA, 3)):
        answer = tangents.joint(Case(pool, protocol), tangents.joint_training(pool), known=known)
        assert answer.gap <= 1e-8


def test_the_class_token_alone_is_the_block_for_all_tokens(seen):
    pool = Pool(seen, "last-block", 0, QUICK)
    suffix = seen.space("last-block").suffix
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: p + 0.05 * torch.randn(p.shape, generator=generator)
        for name, p in suffix.base.items()
    }
    tokens = seen.rows("last-block activation", suffix.activation)[:5].clone()
    short = fine_tuning.class_token(suffix, weights, tokens)
    assert torch.allclose(short, suffix.features(weights, tokens), atol=2e-5)
    assert fine_tuning.class_token(suffix, {}, tokens) is None
    assert pool.scope == "last-block"


def test_a_soup_of_one_is_the_model_and_an_ensemble_of_equals_too(seen):
    pool = Pool(seen, "last-block", 0, QUICK)
    model = fine_tuning.tuned(pool, pool.train[:6])
    moved = max((model[n] - p).abs().max() for n, p in seen.space("last-block").suffix.base.items())
    assert moved > 0
    soup = fine_tuning.averaged([model, model])
    assert all(torch.allclose(soup[name], value) for name, value in model.items())


def test_fine_tuning_leaves_the_base_as_it_is(seen):
    base = seen.space("last-block").suffix.base
    before = {name: p.clone() for name, p in base.items()}
    pool = Pool(seen, "last-block", 0, QUICK)
    fine_tuning.tuned(pool, pool.train[:6])
    assert all(torch.equal(base[name], value) for name, value in before.items())


def test_fine_tuning_learns_what_its_images_show(seen):
    pool = Pool(seen, "last-block", 0, Recipe(plain_epochs=15))
    model = fine_tuning.tuned(pool, pool.train)
    found = fine_tuning.scores(pool, model, pool.train).argmax(1).numpy()
    assert (found == seen.truth[pool.train]).mean() > 0.8
