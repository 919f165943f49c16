"""The tangent space: a frozen backbone, a scope and a rule for head rows; where components live.

A component's output is h(x) = f_w(x) + J_w f(x)·delta (eq. 1). With phi the pooled features, psi
what the head reads and a_l the base row of label l:

    h_l(x) = a_l·psi(x) + delta_l·psi(x) + w_l·(J phi(x)·delta_backbone),   w_l: a_l on phi.
"""

from collections.abc import Sequence
from functools import partial
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from tangent.backbones.features import (
    COARSE,
    Fineness,
    Grid,
    grid_of,
    head2toe,
    in_fixed_batches,
    with_constant,
)
from tangent.backbones.label_head import head_rows
from tangent.backbones.loading import Backbone
from tangent.backbones.scope import tangent_parameters
from tangent.backbones.suffix import Suffix
from tangent.components.component import Component
from tangent.components.grid_runs import Runs, runs
from tangent.errors import BadComponent, FingerprintMismatch, UnsupportedModel
from tangent.jvp import Answerer, choose
from tangent.spaces.answering import Answering
from tangent.spaces.devices import device_of
from tangent.spaces.fingerprint import fingerprint_of
from tangent.spaces.narrow import Narrow
from tangent.spaces.precision import (
    AUTO,
    CANDIDATE,
    DECISIONS,
    IMAGES,
    PRECISIONS,
    Clock,
    Pass,
    Precision,
    asked,
    decided,
    products,
    ratio,
)
from tangent.spaces.twin import passes_of


class Space(Answering):
    """A backbone at fixed weights with a scope; never changes. One thread at a time may run it.

    `precision`: of answers, `auto` or one of PRECISIONS. In 16 bits a rounded copy of the model
    answers; sums over labels are in float64. `readout`, `engine`, fingerprint, trainings and
    statistics stay those of the backbone in its own type.

    `tf32`: a GPU may round float32 to TF32; all spaces of a process must have the same.

    `compile`: `auto` makes faster passes on a GPU, `on` also compiles for a processor, `off`
    makes none. `passes.make_next` makes them; answers that are not `exact` then use them.
    Trainings on a GPU record their steps by themselves, with the same bits, unless it is `off`.
    """

    grid: Grid | None = None  # at linear scopes, once it is measured

    def __init__(
        self,
        backbone: Backbone,
        scope: str,
        declared: Sequence[str] = (),
        *,
        device: str = "cpu",
        precision: str = "float32",
        tf32: bool = False,
        compile: str = "off",
        grid: Fineness = COARSE,
    ) -> None:
        """`declared`: labels that every component is trained against, with zero targets.

        Raises:
            UnknownScope: no such scope, or fewer blocks than it asks for.
            UnsupportedModel: it lacks blocks, depths or a derivative, or overflows in 16 bits.
            NonFinite: a weight is NaN or Inf.
            BadParameter: `compile` is none of the three.
        """
        names = tangent_parameters(backbone.model, scope)
        self.device = device_of(device, tf32=tf32)
        self.model = backbone.model.to(self.device)
        self.backbone, self.scope = backbone.name, scope
        self.declared = tuple(sorted(set(declared)))
        self.pretrained, self.preprocess = backbone, backbone.preprocess
        self.image_size, self.width = backbone.image_size, backbone.width
        self.dtype = next(self.model.parameters()).dtype
        self.suffix = Suffix(backbone, names) if names else None
        self.engine = choose(self.suffix) if self.suffix else None
        self._heads = WeakKeyDictionary()
        self._backbone_fingerprint = backbone.fingerprint
        self.readout_width, self.grid = self._measure_readout(grid)
        self.fingerprint = fingerprint_of(backbone.fingerprint, scope, self.declared, self.grid)
        self._set_precision(precision)
        self.parameters_tangent = self._tangent_parameters()
        self.fuses = compile != "off"
        self.passes = passes_of(self, compile)

    def _set_precision(self, precision: str) -> None:
        """Prepare answers in this precision; all else of the space is what it is without it."""
        if precision == AUTO:
            about = self.backbone, self.scope, self.pretrained.fingerprint
            kind = *about, str(self.device), torch.get_num_threads()
            found = DECISIONS.made(kind, self._fastest_precision)
        else:
            found = asked(precision)
        self.precision, self.precision_reason = found.name, found.reason
        rounded_to = PRECISIONS[found.name]
        self.narrow = None if rounded_to is None else self.narrow or self._narrowed(rounded_to)

    def _fastest_precision(self, clock: Clock) -> Precision:
        """Return the format in which this machine answers fastest; keep the copy that was made."""
        found = products(self.device, clock)
        if found >= 1:
            return decided(found, "a matrix product")
        try:
            narrow = self.narrow = self._narrowed(PRECISIONS[CANDIDATE])
        except UnsupportedModel as error:
            return Precision("float32", str(error))
        images = self._noise(IMAGES)
        return decided(ratio(self._pass(images, narrow), self._pass(images), clock), "an answer")

    def _narrowed(self, kind: torch.dtype | None) -> Narrow:
        assert kind is not None
        narrow = Narrow(self.pretrained, kind)
        if self.suffix is None or self.engine is None:
            with torch.inference_mode():
                return narrow.reading(self._read, self._noise(IMAGES))
        return narrow.at_blocks(self.suffix, self.engine)

    def _pass(self, images: Tensor, narrow: Narrow | None = None) -> Pass:
        """Return the pass of an answer; its last number is waited for."""
        if self.suffix is None:
            read = narrow.readout if narrow else partial(self._read, self.model)
            return torch.inference_mode()(lambda: read(images)[-1, -1].item())
        engine = narrow.engine if narrow else self.engine
        assert engine is not None
        prepared = [engine.prepare(self.suffix.base)]
        return lambda: engine.push(engine.rows(images), prepared)[1][0][-1, -1].item()

    @property
    def answerer(self) -> Answerer | None:
        """The engine of answers; None at a linear scope. In 32 bits it is `engine` itself."""
        return self.engine if self.narrow is None else self.narrow.engine

    @property
    def parameters_total(self) -> int:
        """The number of the backbone's parameters."""
        return sum(p.numel() for p in self.model.parameters())

    def _tangent_parameters(self) -> int:
        """Count the entries of all directions and of one label's head row."""
        directions = self.suffix.base.values() if self.suffix else []
        return sum(value.numel() for value in directions) + self.readout_width

    @property
    def license(self) -> str | None:
        """The licence of the backbone's weights, as their publisher says."""
        return self.pretrained.license

    @property
    def engine_name(self) -> str:
        """The name of the computation of answers: `readout`, `rules` or `generic`."""
        return "readout" if self.engine is None else self.engine.name

    @property
    def engine_reason(self) -> str:
        """The reason for this choice of engine."""
        return (
            "the output is linear in fixed features" if self.engine is None else self.engine.reason
        )

    @property
    def joint_is_exact(self) -> bool:
        """True if composing by the rule `joint` equals training on the pooled data."""
        return self.suffix is None  # the output is linear in fixed features

    @property
    def stored_grid(self) -> Runs | None:
        """The grid in whose units component files keep sums; None: they keep float64."""
        return runs(self.grid.steps) if self.grid is not None and self.grid.is_compact else None

    @property
    def default_rule(self) -> str:
        """`joint` where it is exact, else `average`."""
        return "joint" if self.joint_is_exact else "average"

    def base_rows(self, labels: Sequence[str]) -> Tensor:
        """Return a_l of every label (K, D) float64: the base head on phi and constant, else 0."""
        head = head_rows(self._backbone_fingerprint, labels, self.width)
        rows = torch.zeros(len(labels), self.readout_width, dtype=torch.float64)
        rows[:, : self.width], rows[:, -1] = head[:, :-1], head[:, -1]
        return rows

    def check(self, component: Component) -> None:
        """Raise FingerprintMismatch or BadComponent for a component of another space."""
        if component.fingerprint != self.fingerprint:
            raise FingerprintMismatch(
                f"the component was trained in the space {component.fingerprint[:12]}…, "
                f"this space is {self.fingerprint[:12]}… ({self.backbone}, {self.scope})"
            )
        if component.scope != self.scope:
            raise BadComponent(
                f"the component says scope {component.scope}, its fingerprint is of {self.scope}"
            )
        if component.head.shape[1] != self.readout_width:
            raise BadComponent(
                f"head rows have {component.head.shape[1]} entries, "
                f"this space's {self.readout_width}"
            )
        expected = {k: tuple(v.shape) for k, v in self.suffix.base.items()} if self.suffix else {}
        found = {k: tuple(v.shape) for k, v in component.backbone.items()}
        if expected != found:
            raise BadComponent(_difference(expected, found))

    @torch.inference_mode()
    def readout(self, images: Tensor) -> Tensor:
        """Return psi (B, D) of images (B, 3, S, S) at a linear scope, in one pass; on the grid."""
        return self._on_grid(self._read(self.model, images.to(self.device, self.dtype)))

    @torch.inference_mode()
    def answered_readout(self, images: Tensor) -> Tensor:
        """Return `readout` as answers have it: of the model in their precision."""
        if self.narrow is None:
            return self.readout(images)
        return self._on_grid(self.narrow.readout(images.to(self.device)))

    def _read(self, model: nn.Module, images: Tensor) -> Tensor:
        """Return psi (B, D) of a model at a linear scope, not rounded to the grid."""
        return head2toe(model, images) if self.scope == "head2toe" else with_constant(model(images))

    def _on_grid(self, psi: Tensor) -> Tensor:
        psi = psi.to(self.dtype)
        return psi if self.grid is None else self.grid.round(psi)

    def readout_alone(self, images: Tensor) -> Tensor:
        """Return `readout` with every image's bits independent of the others, for statistics."""
        return in_fixed_batches(self.readout, images)

    def _measure_readout(self, fineness: Fineness) -> tuple[int, Grid | None]:
        """Measure the width of psi and, at a linear scope, its grid on noise: on the base alone."""
        if not self.joint_is_exact:
            return self.width + 1, None
        psi = self.readout(self._noise(3)).cpu()
        return psi.shape[1], grid_of(psi[:, : self.width], psi.shape[1], fineness)

    def _noise(self, count: int) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        noise = torch.rand(count, 3, self.image_size, self.image_size, generator=generator)
        return noise.to(self.device, self.dtype)


def _difference(expected: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]) -> str:
    """Return a sentence on the first parameter that is missing, unknown or misshapen."""
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            return (
                f"the direction of {name} has the shape {found.get(name, 'missing')}, "
                f"this space's {expected.get(name, 'not a tangent parameter')}"
            )
    raise AssertionError("no difference")
