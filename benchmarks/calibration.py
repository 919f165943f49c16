"""Measures what answers say of themselves: novelty, margin and calibrated probabilities.

    make bench-calibration         (or: python -m benchmarks.calibration --help)

One component is trained on digits or on Fashion-MNIST, evenly or with 100 · 0.6^j images of label
j, and calibrated by as many of its images as the service takes. It then answers test images of its
own kind and of the other kind. The areas under the ROC curve say how often a picture of the other
kind is the newer, or less sure, one of a pair; half of the pairs is chance. After uneven training
the calibration error is also that of images as uneven as these, and that of rule `discriminant`.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from sklearn.metrics import roc_auc_score

import tangent
from app.inference.models import Calibrated, Passed
from app.inference.ranking import margin, softmax
from app.inference.reliability import Reliability
from app.settings import Settings
from benchmarks.accuracy.gallery import Gallery, as_images
from benchmarks.accuracy.pictures import FASHION_MNIST, fashion_mnist, handwritten_digits
from benchmarks.interleaved import RESULTS, machine
from tangent.composition.calibration import Calibration, calibrated
from tangent.composition.leave_one_out import Copy

BACKBONES = ("resnet_micro_32", "vit_micro_32")
TRAINED, TESTED = 100, 1000  # images of a label of Fashion-MNIST; it has no more to test by
UNEVEN = 0.6  # each label has so many times the images of the one before
MIN_IMAGES = 4
ABSTAIN = (0.95, 0.99)  # values of abstain_above
SHA = "of the only component"


class Answers(NamedTuple):
    """A model's answers to some images."""

    passed: Passed
    truth: list[str]

    @property
    def novelty(self) -> np.ndarray:
        """The novelty of every image."""
        assert self.passed.novelty is not None
        return self.passed.novelty

    def probabilities(self) -> np.ndarray:
        """The probability of every image's first label."""
        assert self.passed.calibration is not None
        temperature = self.passed.calibration.temperature
        return np.array([softmax(row, temperature).max() for row in self.passed.logits])

    def margins(self) -> np.ndarray:
        """The margin of every image."""
        columns = range(len(self.passed.labels))
        return np.array([margin(row, columns) for row in self.passed.logits])

    def right(self) -> np.ndarray:
        """True for every image whose first label is the true one."""
        labels = np.array(self.passed.labels)
        return labels[self.passed.logits.argmax(1)] == np.array(self.truth)


def chosen(gallery: Gallery, is_even: bool) -> np.ndarray:
    """Return the training images: all, or fewer and fewer of each label."""
    return gallery.train if is_even else thinned(gallery, gallery.train, TRAINED, MIN_IMAGES)


def thinned(gallery: Gallery, rows: np.ndarray, most: int, least: int) -> np.ndarray:
    """Return `most` of the rows with the first label, and of each other one fewer and fewer."""
    some: list[int] = []
    for number, label in enumerate(gallery.labels):
        own = [int(i) for i in rows if gallery.names[i] == label]
        some += own[: max(least, int(min(most, len(own)) * UNEVEN**number))]
    return np.array(some)


class Trained:
    """A component with its calibration."""

    def __init__(self, gallery: Gallery, scope: str, is_even: bool, rule: str = "joint") -> None:
        self.space, self.rule = gallery.space(scope), rule
        rows = chosen(gallery, is_even)
        settings = tangent.Hyperparameters.resolve(scope, {})
        with tempfile.TemporaryDirectory() as folder:
            found = tangent.fit(self.space, gallery.source(rows), settings, scratch=Path(folder))
        self.parts = [(found.component, None)]
        self.delta = tangent.compose(self.space, self.parts, self.rule, shas=[SHA])
        self.calibration = self._calibrated(gallery, rows)

    def _calibrated(self, gallery: Gallery, rows: np.ndarray) -> Calibration:
        most = Settings.model_fields["calibration_images"].default
        some = np.random.default_rng(0).permutation(rows)[:most]
        psi = self.space.readout(as_images(some))
        copies = [[Copy(0, gallery.names[i])] for i in some]
        return calibrated(self.space, self.parts, self.rule, psi, copies)

    def answers(self, gallery: Gallery, rows: np.ndarray) -> Answers:
        """Return the answers to images of a gallery of the same backbone."""
        psi = gallery.space(self.space.scope).readout(as_images(rows))
        heads = self.space.base_rows(self.delta.labels) + self.delta.head
        made = self.calibration
        assert made.leverage is not None
        facts = Calibrated(made.images, made.temperature, None, None)
        logits = (psi.double() @ heads.T).float().numpy()
        novelty = made.novelty(made.leverage.of(psi)).numpy()
        passed = Passed(self.delta.labels, logits, 0.0, 0.0, 0.0, facts, novelty)
        return Answers(passed, [gallery.names[i] for i in rows])


def roc(ordinary: np.ndarray, strange: np.ndarray) -> float:
    """Return the share of pairs in which the strange image has the higher number."""
    truth = np.repeat([0, 1], [len(ordinary), len(strange)])
    return float(roc_auc_score(truth, np.concatenate([ordinary, strange])))


def case(own: Gallery, other: Gallery, scope: str, is_even: bool) -> dict[str, Any]:
    """Measure one component on its own kind of images and on another kind."""
    trained = Trained(own, scope, is_even)
    ours, theirs = trained.answers(own, own.test), trained.answers(other, other.test)
    right = ours.right()
    calibration = ours.passed.calibration
    assert calibration is not None
    return {
        "images": own.name,
        "backbone": own.backbone_name,
        "scope": scope,
        "even": is_even,
        "accuracy": float(right.mean()),
        "temperature": calibration.temperature,
        "calibration_error": _error(ours),
        "calibration_error_without": _error(_uncalibrated(ours)),
        **({} if is_even else _uneven_errors(trained, own, scope)),
        "novelty_roc": roc(ours.novelty, theirs.novelty),
        "probability_roc": roc(-ours.probabilities(), -theirs.probabilities()),
        "margin_roc_of_wrong": roc(-ours.margins()[right], -ours.margins()[~right]),
        "abstained": {
            str(above): [float((each.novelty > above).mean()) for each in (ours, theirs)]
            for above in ABSTAIN
        },
    }


def _uneven_errors(trained: Trained, own: Gallery, scope: str) -> dict[str, float]:
    """Return the errors where labels are as frequent as the rule takes them to be.

    `joint` takes them to be as in the training, `discriminant` takes all to be alike.
    """
    likewise = trained.answers(own, thinned(own, own.test, len(own.test), 1))
    alike = Trained(own, scope, is_even=False, rule="discriminant").answers(own, own.test)
    return {
        "calibration_error_as_trained": _error(likewise),
        "calibration_error_discriminant": _error(alike),
    }


def _uncalibrated(answers: Answers) -> Answers:
    return answers._replace(passed=answers.passed._replace(calibration=None))


def _error(answers: Answers) -> float:
    reliability = Reliability()
    reliability.add(answers.passed, answers.truth)
    found = reliability.result()
    assert found is not None
    return float(found["expected_calibration_error"])


def cases(fashion: Path, backbones: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the measurements of every set, backbone and scope."""
    for backbone in backbones:
        galleries = [
            Gallery(backbone, pictures)
            for pictures in (handwritten_digits(), fashion_mnist(fashion, TRAINED, TESTED))
        ]
        for is_even in (True, False):
            for scope in tangent.LINEAR:
                for own, other in (galleries, galleries[::-1]):
                    yield case(own, other, scope, is_even)


def main(given: Sequence[str] | None = None) -> None:
    """Measure, print the numbers, write the JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fashion-mnist", type=Path, default=FASHION_MNIST, metavar="FOLDER")
    parser.add_argument("--backbones", nargs="+", default=BACKBONES)
    parser.add_argument("--out", type=Path, default=RESULTS / "calibration.json")
    args = parser.parse_args(given)
    torch.set_num_threads(1)
    console = Console()
    found = []
    for each in cases(args.fashion_mnist, args.backbones):
        found.append(each)
        console.print(each, soft_wrap=True)
    command = "python -m benchmarks.calibration"
    results = {"machine": machine(1), "command": command, "cases": found}
    args.out.write_text(json.dumps(results, indent=2) + "\n")
    console.print(f"written to {args.out}; `make measured` puts it into docs/", markup=False)


if __name__ == "__main__":
    main()
