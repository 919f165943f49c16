"""The digits in the package are those of scikit-learn, as files that any reader of PNG reads."""

import io

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from tangent_composer.samples import digits


def test_the_digits_are_those_of_scikit_learn():
    training, held_out = digits.load()
    shipped = sorted([*training, *held_out], key=lambda digit: digit.number)
    theirs = load_digits()

    assert [digit.label for digit in shipped] == [str(target) for target in theirs.target]
    for digit, pixels in zip(shipped, theirs.images, strict=True):
        expected = np.round(pixels * (255 / 16)).astype(np.uint8)
        with Image.open(io.BytesIO(digit.png)) as image:
            assert image.mode == "L" and np.array_equal(np.asarray(image), expected)


def test_every_fifth_digit_of_a_label_is_held_out():
    training, held_out = digits.load(per_label=10)
    assert (len(training), len(held_out)) == (80, 20)
    assert not {digit.number for digit in training} & {digit.number for digit in held_out}
