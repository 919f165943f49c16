"""The demo's HTTP client: one method per request; a refusal becomes an exception that quotes it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from tangent_composer.samples.digits import Digit

Json = dict[str, Any]


class Refused(Exception):
    """The service answered with a problem; `code` is the code of that problem."""

    def __init__(self, response: httpx.Response) -> None:
        try:
            self.problem: Json = response.json()
        except ValueError:
            self.problem = {"detail": response.text[:200]}
        self.status, self.code = response.status_code, self.problem.get("code", "")
        request = response.request
        super().__init__(
            f"{request.method} {request.url.path} answered {self.status} {self.code}: "
            f"{self.problem.get('detail', '')}"
        )


class NoService(Exception):
    """Nothing at an address can be asked; the message says why and what to do."""


@dataclass(frozen=True)
class Answers:
    """The answers of one selection of components to a list of images."""

    components: list[Json]  # id, weight, sha256
    logits: list[dict[str, float]]  # of every image: label -> logit, best first

    @property
    def labels(self) -> set[str]:
        """All labels ranked for any image."""
        return {label for row in self.logits for label in row}

    def best(self) -> list[str]:
        """Return the best label of every image."""
        return [next(iter(row)) for row in self.logits]

    def text(self) -> bytes:
        """Return the answers as bytes to compare, without names and times."""
        return json.dumps([self.components, self.logits]).encode()


class Client:
    """The API of the service at one address."""

    def __init__(self, url: str, api_key: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self.http = httpx.Client(base_url=url, headers=headers, timeout=60)

    def ask(self, method: str, path: str, **arguments: Any) -> Json:
        """Send one request and return its JSON answer.

        Raises:
            Refused: the status is 400 or higher.
        """
        response = self.http.request(method, path, **arguments)
        if response.is_error:
            raise Refused(response)
        return response.json()

    def upload(self, name: str, archive: bytes) -> Json:
        """Upload a zip and return its dataset."""
        file = {"file": (f"{name}.zip", archive, "application/zip")}
        return self.ask("POST", "/v1/datasets", files=file, data={"name": name})

    def train(self, dataset_id: str, space: str, name: str, settings: Json) -> str:
        """Queue a training and return the id of its component."""
        body = {"dataset_id": dataset_id, "space": space, "name": name}
        return self.ask("POST", "/v1/components", json=body | {"hyperparameters": settings})["id"]

    def events(self, component_id: str, after: int) -> list[Json]:
        """Return the component's events after event `after`."""
        path = f"/v1/components/{component_id}/events"
        return self.ask("GET", path, params={"after": after, "limit": 100})["data"]

    def compose(self, name: str, space: str, rule: str, components: Sequence[str]) -> Json:
        """Name a composition of these components."""
        body = {"space": space, "rule": rule, "components": [{"id": c} for c in components]}
        return self.ask("PUT", f"/v1/compositions/{name}", json=body)

    def predict(self, digits: Sequence[Digit], **selection: str) -> Answers:
        """Predict every image by one selection, in requests as large as the service allows."""
        batch_size = self.ask("GET", "/v1/limits")["max_prediction_images"]
        logits: list[dict[str, float]] = []
        components: list[Json] = []
        for start in range(0, len(digits), batch_size):
            batch = digits[start : start + batch_size]
            files = [("images", (f"{digit.number}.png", digit.png, "image/png")) for digit in batch]
            fields = selection | {"top_k": "1000", "return": "logits"}
            answer = self.ask("POST", "/v1/predictions", files=files, data=fields)
            components = answer["components"]
            for result in answer["results"]:
                logits.append(
                    {ranked["label"]: ranked["logit"] for ranked in result["predictions"]}
                )
        return Answers(components, logits)

    def close(self) -> None:
        """Close the connections."""
        self.http.close()
