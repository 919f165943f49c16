"""Changed components: a file's component with other images or label names, and its new file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

import tangent
from app.inference.engine.batches import Batches
from app.inference.engine.loaded_components import LoadedComponents
from app.inference.engine.values import inputs_of
from app.inference.models import Pixels, Share, Source, SpaceKey, Written
from tangent.components.statistics import Statistics, total
from tangent_composer.labels import fault_as_given


class ComponentChanges:
    """The part of an engine that writes components made of others' files."""

    batches: Batches
    _loaded: LoadedComponents

    def opened(self, key: SpaceKey) -> tangent.Space:
        """Return the opened space itself."""
        raise NotImplementedError

    def measure(
        self,
        key: SpaceKey,
        pixels: Pixels,
        labels: Sequence[str],
        *,
        views: int,
        before: Share | None = None,
    ) -> Share:
        """Return what images add to the statistics of a component trained with so many views.

        `before` is the share of other images, which is counted in.
        """
        space = self.opened(key)
        with self.batches.turn:
            found = tangent.share(space, inputs_of(space, pixels), labels, views=views)
        if before is not None:
            found = total([_statistics(before), found], [1.0, 1.0])
        return Share(found.packed.numpy(), found.sums.numpy(), found.counts)

    def change(
        self,
        key: SpaceKey,
        source: Source,
        path: Path,
        *,
        removed: Share | None = None,
        added: Share | None = None,
        renamed: Mapping[str, str] | None = None,
    ) -> Written:
        """Write the component with other images and with these label names to `path`.

        The images go and come before the names change.

        Raises:
            NotDowndatable, Overflow: it has to be trained.
            DamagedFile: as `compose`.
        """
        space, component = self.opened(key), self._loaded.get(source)
        if removed is not None or added is not None:
            shares = {"removed": removed, "added": added}
            given = {name: each and _statistics(each) for name, each in shares.items()}
            component = tangent.changed(space, component, **given)
        if renamed:
            component = tangent.renamed(space, component, renamed)
        return written(component, path)

    def accept(self, key: SpaceKey, received: Path, path: Path) -> Written:
        """Check a component of elsewhere against the space, and write it to `path` as ours.

        Raises:
            TangentError: it cannot serve in this space.
        """
        component = tangent.Component.load(received)
        accepted = tangent.accepted(self.opened(key), component, fault_as_given)
        return written(accepted, path)


def written(component: tangent.Component, path: Path) -> Written:
    """Write the component's file; return what its row says."""
    sha256 = component.save(path)
    return Written(
        sha256=sha256,
        size=path.stat().st_size,
        fingerprint=component.fingerprint,
        labels=dict(component.labels),
        hyperparameters=dict(component.hyperparameters),
        seed=component.seed,
        derived=None if component.derived is None else component.derived.as_dict(),
        has_statistics=component.statistics is not None,
        privacy=component.privacy,
    )


def _statistics(share: Share) -> Statistics:
    packed, sums = (torch.from_numpy(each.copy()) for each in (share.packed, share.sums))
    return Statistics(packed, sums, dict(share.counts))
