"""A service with components to predict with, and short requests to it."""

import base64
from dataclasses import dataclass
from typing import Any

import httpx

from tests.support.images import image
from tests.support.service import Service


@dataclass
class TwoComponents:
    """A service with two ready components in the default space and one in another."""

    service: Service
    pets: str
    stock: str
    elsewhere: str

    def post(self, *sent: bytes, query: str = "", **fields: str) -> httpx.Response:
        files = [("images", (f"{i}", data)) for i, data in enumerate(sent)]
        return self.service.client.post(f"/v1/predictions{query}", files=files, data=fields)

    def ask(self, **body: Any) -> httpx.Response:
        images = [{"b64": base64.b64encode(image("cat", 90)).decode()}]
        return self.service.client.post("/v1/predictions", json={"images": images} | body)
