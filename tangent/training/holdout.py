"""Hold-outs: the images that a training's own accuracy is measured on, a tenth of each label.

Images of one group (a patient, a source file, pictures that look alike) are held out together or
not at all. Crops of one photograph on both sides would measure how well it is recognised.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

HOLDOUT = 10  # one image in so many


def held_out(targets: Sequence[int], groups: Sequence[int] | None = None) -> Tensor:
    """The mask of held-out images: every tenth one of a label, in order, if each is a group.

    Else whole groups, in the order of their first images: one is held out where at least one image
    of each of its labels is due by then, unless it would take more than half of a label's images.
    """
    members: defaultdict[int, list[int]] = defaultdict(list)
    for place in range(len(targets)):
        members[place if groups is None else groups[place]].append(place)
    whole, seen, held = Counter(targets), Counter[int](), Counter[int]()
    mask = torch.zeros(len(targets), dtype=torch.bool)
    for places in members.values():
        counts = Counter(targets[place] for place in places)
        seen.update(counts)
        if all(
            held[label] < seen[label] // HOLDOUT and 2 * (held[label] + count) <= whole[label]
            for label, count in counts.items()
        ):
            held.update(counts)
            mask[places] = True
    return mask
