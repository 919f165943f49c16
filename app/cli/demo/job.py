"""The main job, step by step: upload, train, predict, delete, verify, compare."""

import time
from dataclasses import dataclass, field

import httpx
from rich.console import Console

from app.cli.demo.claims import Claims, accuracy, by_label, by_rule, difference
from app.cli.demo.client import Answers, Client, Json, NoService, Refused
from app.cli.demo.training import TrainingFailed, bars, wait
from tangent.vocabulary import LINEAR
from tangent_composer.samples.digits import LABELS, PARTIES, Digit, archive, load
from tangent_composer.terminal import clean

SPACE = "default"
# Takes about a minute on two cores.
BLOCK = {"tolerance_of": "gradient", "tolerance": 0.002, "max_iterations": 20}
DELETED = 2  # index of the party whose component is deleted: the middle one
MAX_DIFFERENCE = 1e-4  # relative difference of logits up to which two models are equal (float32)


def run(
    url: str,
    *,
    api_key: str | None = None,
    per_label: int | None = None,
    console: Console | None = None,
    service_stays: bool = True,
) -> int:
    """Run the whole job against the service at `url`; return 0 if all its claims are true.

    Raises:
        NoService: none can be reached there.

    `per_label` limits the number of digits per label. Everything that the job makes stays in the
    service. `service_stays` is False if the service ends with the demo.
    """
    console, began = console or Console(), time.monotonic()
    try:
        client = Client(url, api_key)
    except (httpx.InvalidURL, ValueError) as error:
        raise _no_service(url, error) from error
    try:
        demo = Demo(client, console, *load(per_label))
        demo.whole_job()
    except httpx.TransportError as error:
        raise _no_service(url, error) from error
    except (Refused, TrainingFailed, httpx.HTTPError) as error:
        console.print(clean(f"The demo stopped: {error}"), style="bold red", markup=False)
        return 1
    finally:
        client.close()
    failed = len(demo.claims.failed)
    verdict = f"{failed} claim(s) NOT TRUE, see above" if failed else "all claims are true"
    console.print(f"\n{verdict}; {time.monotonic() - began:.0f} s", highlight=False)
    console.print(_farewell(url, service_stays), markup=False)
    return 1 if failed else 0


def _no_service(url: str, error: Exception) -> NoService:
    return NoService(
        f"no service answers at {url!r} ({error}): start one by `tangent serve`, and give its "
        "address as http://127.0.0.1:8000"
    )


@dataclass
class Demo:
    """One run of the job; the names of everything that it makes begin with `name`."""

    client: Client
    console: Console
    training: list[Digit]
    held_out: list[Digit]
    name: str = "demo"
    datasets: dict[str, str] = field(default_factory=dict)  # party -> dataset id
    components: dict[str, str] = field(default_factory=dict)  # party -> component id in SPACE

    def __post_init__(self) -> None:
        self.claims = Claims(self.console)
        self.parties = [" and ".join(labels) for labels in PARTIES]

    def whole_job(self) -> None:
        """Run every step in order."""
        self.name = self._unused_name()
        space = self.client.ask("GET", f"/v1/spaces/{SPACE}")
        self._step(f"Space {SPACE}: backbone {space['backbone']}, scope {space['scope']}")
        self._step(f"Upload {len(self.training)} digits as five datasets of two labels each")
        self.upload()
        self._step("Train five components, one per dataset")
        self.components = self.train(SPACE, self.datasets)
        rules = self.rules(SPACE, self.components)
        self._step("Predict the held-out digits, delete one component, predict again")
        self.forget(space["default_rule"])
        self._step("Compare scopes and rules with joint training on the pooled data")
        self.compare(space, rules)

    def upload(self) -> None:
        """Upload one dataset per party."""
        with bars(self.console) as progress:
            for party, labels in zip(self.parties, PARTIES, strict=True):
                task = progress.add_task(party, total=1, state="uploading")
                dataset = self._dataset(f"{self.name} {party}", labels)
                self.datasets[party] = dataset["id"]
                progress.update(task, completed=1, state=f"{dataset['num_images']} images")

    def train(
        self, space: str, datasets: dict[str, str], settings: Json | None = None
    ) -> dict[str, str]:
        """Train a component from every dataset, wait until all are ready, and return name -> id."""
        ids = {
            name: self.client.train(dataset_id, space, f"{self.name} {name}", settings or {})
            for name, dataset_id in datasets.items()
        }
        wait(self.client, {component_id: name for name, component_id in ids.items()}, self.console)
        return ids

    def rules(self, space: str, components: dict[str, str]) -> dict[str, Answers]:
        """Return the answers of all these components for every rule."""
        selection = {"space": space, "components": ",".join(components.values())}
        return {
            rule: self.client.predict(self.held_out, **selection, rule=rule)
            for rule in ("joint", "average")
        }

    def forget(self, rule: str) -> None:
        """Delete one component, and check the service's answers about it and without it."""
        gone_party = self.parties[DELETED]
        gone, gone_labels = self.components[gone_party], set(PARTIES[DELETED])
        others = [c for c in self.components.values() if c != gone]
        self.client.compose(self.name, SPACE, rule, list(self.components.values()))
        self.client.compose(f"{self.name}-others", SPACE, rule, others)
        before = self.client.predict(self.held_out, composition=self.name)
        never = self.client.predict(self.held_out, composition=f"{self.name}-others")
        receipt = self.client.ask("DELETE", f"/v1/components/{gone}")
        self.console.print(f"  deleted the component of {gone_party}: receipt {receipt['id']}\n")
        after = self.client.predict(self.held_out, composition=self.name)
        self.console.print(by_label(before, after, self.held_out))
        self._check_answers(after, never, gone_labels)
        self._check_deletion(gone, receipt)

    def _check_answers(self, after: Answers, never: Answers, gone: set[str]) -> None:
        self.claims.check(
            f"the labels {' and '.join(sorted(gone))} are gone from every answer",
            after.labels == set(LABELS) - gone,
            f"ranked now: {' '.join(sorted(after.labels))}",
        )
        self.claims.check(
            "the others answer as if it had never existed, byte for byte",
            after.text() == never.text(),
            f"{len(after.logits)} images, {len(after.text())} bytes of logits, hashes and weights, "
            "compared with a composition of the other four, predicted before the deletion",
        )

    def _check_deletion(self, gone: str, receipt: Json) -> None:
        try:
            self.client.ask("GET", f"/v1/components/{gone}")
            answer = "200"
        except Refused as refusal:
            answer = f"{refusal.status} {refusal.problem.get('receipt_id')}"
        self.claims.check(
            "the component answers 410 with its receipt", answer == f"410 {receipt['id']}", answer
        )
        proof = self.client.ask("POST", f"/v1/receipts/{receipt['id']}/verify")
        self.claims.check("the receipt is verified", proof["ok"] is True, _short(proof))
        held = {label for c in self._ready_components() for label in c["labels"]}
        known = set(self.client.ask("GET", f"/v1/spaces/{SPACE}")["labels"])
        self.claims.check(
            "the space knows only the labels of its remaining components",
            known == held,
            f"labels now: {' '.join(sorted(known))}",
        )

    def compare(self, space: Json, answers: dict[str, Answers]) -> None:
        """Train one component on the pooled data, here and in a block space; print the table."""
        pooled = {"pooled": self._dataset(f"{self.name} pooled", LABELS)["id"]}
        whole = self.train(SPACE, pooled)["pooled"]
        reference = self.client.predict(self.held_out, space=SPACE, components=whole)
        block = self._block_space(space["backbone"])
        blocks = self.train(block, self.datasets | pooled, BLOCK)
        notes = self._block_notes(block, blocks)
        whole = blocks.pop("pooled")
        block_reference = self.client.predict(self.held_out, space=block, components=whole)
        rows = {
            f"{SPACE}: {space['scope']}": self._row(answers, reference),
            f"{block}: last-block": self._row(self.rules(block, blocks), block_reference),
        }
        self.console.print()
        self.console.print(by_rule(rows, self.held_out))
        self.console.print(notes, style="dim", markup=False, highlight=False, soft_wrap=True)
        if space["scope"] in LINEAR:
            self._check_joint(answers["joint"], reference)

    def _row(self, answers: dict[str, Answers], reference: Answers) -> dict[str, float]:
        accuracies = {rule: accuracy(answer, self.held_out) for rule, answer in answers.items()}
        return accuracies | {"joint training": accuracy(reference, self.held_out)}

    def _block_notes(self, block: str, components: dict[str, str]) -> str:
        """Return notes on the training of the block components that explain the figures."""
        metrics = {
            name: self.client.ask("GET", f"/v1/components/{c}")["metrics"]
            for name, c in components.items()
        }
        whole = metrics.pop("pooled")
        steps = max(m["iterations"] for m in metrics.values())
        left = max(m["gradient_reduction"] for m in metrics.values())
        return (
            "  joint at last-block uses the one-shot rule, from the components alone; "
            "joint training is one component on all data.\n"
            f"  {block} declares all ten labels, as the papers do; {SPACE} declares none.\n"
            f"  Its trainings stop at {BLOCK['tolerance']:.1%} of the initial gradient or after "
            f"{BLOCK['max_iterations']} steps:\n"
            f"  the five stopped at {left:.1%} after at most {steps} steps, "
            f"joint training at {whole['gradient_reduction']:.1%} after {whole['iterations']}."
        )

    def _check_joint(self, joint: Answers, pooled: Answers) -> None:
        largest, moved = difference(joint, pooled)
        self.claims.check(
            "five components under the rule joint equal joint training on the pooled data",
            largest <= MAX_DIFFERENCE and moved == 0,
            f"largest difference of a logit {largest:.1e} of the largest logit; "
            f"{moved} best labels differ",
        )

    def _block_space(self, backbone: str) -> str:
        name = f"{self.name}-last-block"
        body = {"name": name, "backbone": backbone, "scope": "last-block", "labels": list(LABELS)}
        return self.client.ask("POST", "/v1/spaces", json=body)["name"]

    def _dataset(self, name: str, labels: tuple[str, ...]) -> Json:
        return self.client.upload(name, archive(self.training, labels))

    def _ready_components(self) -> list[Json]:
        """Return all ready components of the space, page by page."""
        components: list[Json] = []
        page: Json = {"has_more": True, "next": None}
        while page["has_more"]:
            query = {"space": SPACE, "status": "ready", "limit": "100"}
            query |= {"after": page["next"]} if page["next"] else {}
            page = self.client.ask("GET", "/v1/components", params=query)
            components += page["data"]
        return components

    def _unused_name(self) -> str:
        """Return `demo`, or `demo-2` and so on if earlier runs left compositions of that name."""
        number = 1
        while True:
            name = "demo" if number == 1 else f"demo-{number}"
            try:
                self.client.ask("GET", f"/v1/compositions/{name}")
            except Refused as refusal:
                if refusal.status == 404:
                    return name
                raise
            number += 1

    def _step(self, text: str) -> None:
        self.console.print(f"\n{text}", style="bold", markup=False, highlight=False)


def _farewell(url: str, service_stays: bool) -> str:
    if service_stays:
        return f"Look at it in a browser: {url}/ (the API is described at {url}/docs)"
    return (
        "The service of this demo ends now; `make demo KEEP=1` keeps it, to look at in a browser."
    )


def _short(document: Json) -> str:
    return ", ".join(
        f"{key} {value}" for key, value in document.items() if not isinstance(value, dict | list)
    )
