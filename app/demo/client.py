"""What the demo asks of the service: a method a request, every refusal an exception quoting it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from app.demo.digits import Digit

Json = dict[str, Any]


class Refused(Exception):
    """The service answered with a problem; `code` is the problem's."""

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


@dataclass(frozen=True)
class Answers:
    """What one selection of components said to a list of images."""

    components: list[Json]  # id, weight, sha256
    logits: list[dict[str, float]]  # an image's logits by label, best first

    @property
    def labels(self) -> set[str]:
        """Every label that was ranked for any image."""
        return {label for row in self.logits for label in row}

    def best(self) -> list[str]:
        """Each image's first label."""
        return [next(iter(row)) for row in self.logits]

    def text(self) -> bytes:
        """The answers without names and times, in a form whose bytes can be compared."""
        return json.dumps([self.components, self.logits]).encode()


class Client:
    """A service's API at one address."""

    def __init__(self, url: str, api_key: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self.http = httpx.Client(base_url=url, headers=headers, timeout=60)

    def ask(self, method: str, path: str, **arguments: Any) -> Json:
        """The JSON answer to one request.

        Raises:
            Refused: for any status from 400 on.
        """
        response = self.http.request(method, path, **arguments)
        if response.is_error:
            raise Refused(response)
        return response.json()

    def upload(self, name: str, archive: bytes) -> Json:
        """A dataset from a zip."""
        file = {"file": (f"{name}.zip", archive, "application/zip")}
        return self.ask("POST", "/v1/datasets", files=file, data={"name": name})

    def train(self, dataset_id: str, space: str, name: str, settings: Json) -> str:
        """The id of a component that is now queued."""
        body = {"dataset_id": dataset_id, "space": space, "name": name}
        return self.ask("POST", "/v1/components", json=body | {"hyperparameters": settings})["id"]

    def events(self, component_id: str, after: int) -> list[Json]:
        """What happened to the component since event `after`."""
        path = f"/v1/components/{component_id}/events"
        return self.ask("GET", path, params={"after": after, "limit": 100})["data"]

    def compose(self, name: str, space: str, rule: str, components: Sequence[str]) -> Json:
        """A named composition of these components."""
        body = {"space": space, "rule": rule, "components": [{"id": c} for c in components]}
        return self.ask("PUT", f"/v1/compositions/{name}", json=body)

    def predict(self, digits: Sequence[Digit], **selection: str) -> Answers:
        """Every image through one selection, as many a request as the service allows."""
        most = self.ask("GET", "/v1/limits")["max_prediction_images"]
        logits: list[dict[str, float]] = []
        components: list[Json] = []
        for start in range(0, len(digits), most):
            batch = digits[start : start + most]
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
