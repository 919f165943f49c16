"""The cells of the measurement: which system answers which requests, and how many at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

ENGINE, FROM_FILES = "bare engine", "bare engine, from files"
TANGENT, PLAIN, LITSERVE = "tangent", "FastAPI + timm", "LitServe"
FRONT = "bare front"
ONE, MANY = "one composition", "32 compositions"
HALF = "half load"
COMPOSITIONS = 32


@dataclass(frozen=True)
class Served:
    """A space and what is sent to it."""

    name: str
    architecture: str
    scope: str
    rule: str
    media_type: str
    batches: tuple[int, ...]  # of the bare engine, of which the best is its ceiling
    plain_batch: int  # the best of the plain model, which LitServe is given
    large: int  # images of a large request
    clients: tuple[int, ...] = (1, 8, 64)
    clients_of_large: tuple[int, ...] = (1, 8)

    def backbone(self, weights: str) -> str:
        """Return the name to open it by, with its own weights or those of a file."""
        return self.architecture if self.name == "default" else f"{self.architecture}:{weights}"


DEFAULT = Served(
    *("default", "resnet_micro_32", "head2toe", "joint", "image/png"),
    (16, 32, 64),
    plain_batch=32,
    large=64,
)
VIT = Served(
    *("vit", "vit_tiny_patch16_224", "last-block", "average", "image/jpeg"),
    (8, 16, 32),
    plain_batch=8,
    large=16,
    clients_of_large=(1,),
)
SPACES = {each.name: each for each in (DEFAULT, VIT)}


@dataclass(frozen=True)
class Cell:
    """One system under one load."""

    space: str
    system: str
    selection: str = ""
    images: int = 1  # in a request
    load: str = ""  # number of clients, or HALF

    @property
    def name(self) -> str:
        """The cell's name in results and on the command line."""
        what = [self.space, self.system, self.selection]
        what += [f"{self.images} images" if self.images > 1 else ""]
        what += [_clients(int(self.load)) if self.load.isdigit() else self.load]
        return ", ".join(part for part in what if part)


def _clients(count: int) -> str:
    return "1 client" if count == 1 else f"{count} clients"


def cells_of(served: Served, others: tuple[str, ...]) -> Iterator[Cell]:
    """Yield a space's cells in the order of a round."""
    for system in (ENGINE, FROM_FILES):
        yield Cell(served.name, system)
    loads = [str(count) for count in served.clients]
    for load in loads:
        yield Cell(served.name, TANGENT, ONE, load=load)
        yield from (Cell(served.name, other, load=load) for other in (FRONT, *others))
        yield Cell(served.name, TANGENT, MANY, load=load)
    yield Cell(served.name, TANGENT, ONE, load=HALF)
    yield from (Cell(served.name, other, load=HALF) for other in (FRONT, *others))
    for count in served.clients_of_large:
        yield Cell(served.name, TANGENT, ONE, images=served.large, load=str(count))
