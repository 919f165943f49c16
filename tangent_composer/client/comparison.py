"""Two evaluations of the same images, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tangent_composer.client.errors import BadInput
from tangent_composer.schemas.evaluations import AnsweredImageOut, EvaluationOut

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Comparison:
    """The evaluation before and after, and the images whose answer is another one."""

    before: EvaluationOut
    after: EvaluationOut
    changed: Sequence[AnsweredImageOut]

    @property
    def fixed(self) -> list[AnsweredImageOut]:
        """Images that were wrong before and are right now."""
        return [image for image in self.changed if image.change == "fixed"]

    @property
    def broken(self) -> list[AnsweredImageOut]:
        """Images that were right before and are wrong now."""
        return [image for image in self.changed if image.change == "broken"]

    @property
    def note(self) -> str | None:
        """The side whose accuracies are, or may be, those of training images, and why."""
        sides = {"before": self.before.note, "after": self.after.note}
        return "; ".join(f"{name}: {note}" for name, note in sides.items() if note) or None

    def rows(self) -> list[dict[str, str | int | float | None]]:
        """Return a row for each label and one for all: images, both accuracies, and `note`.

        The last row has how many of its images a component was trained on, before and after.
        """
        before, after = self.before.labels or {}, self.after.labels or {}
        rows: list[dict[str, str | int | float | None]] = [
            {
                "label": label,
                "images": (after.get(label) or before[label]).images,
                "before": before[label].accuracy if label in before else None,
                "after": after[label].accuracy if label in after else None,
                "trained_on_before": None,
                "trained_on_after": None,
                "note": self.note,
            }
            for label in sorted({*before, *after})
        ]
        whole: dict[str, str | int | float | None] = {
            "label": "all",
            "images": self.after.num_images,
            "before": self.before.accuracy,
            "after": self.after.accuracy,
            "trained_on_before": self.before.trained_on,
            "trained_on_after": self.after.trained_on,
            "note": self.note,
        }
        return [*rows, whole]

    def to_pandas(self) -> "pandas.DataFrame":
        """Return `rows` as a table.

        Raises:
            BadInput: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise BadInput(
                "needs_pandas",
                "pandas is not installed",
                "pip install 'tangent-composer[notebook]'",
            ) from None
        return pandas.DataFrame(self.rows())
