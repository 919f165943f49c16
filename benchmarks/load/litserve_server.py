"""The same model under LitServe, which batches across requests.

python -m benchmarks.load.litserve_server BACKBONE PORT BATCH
"""

import sys
from typing import Annotated, Any

import litserve
import torch
from fastapi import Body

from benchmarks.load.plain_model import PlainModel, answer

TIMEOUT = 0.005  # seconds that a request waits for others


class Classifier(litserve.LitAPI):
    """Decodes, stacks, computes; LitServe calls the methods in this order."""

    def __init__(self, backbone: str, batch: int) -> None:
        super().__init__(max_batch_size=batch, batch_timeout=TIMEOUT)
        self._backbone = backbone

    def setup(self, device: str) -> None:  # noqa: ARG002
        self._model = PlainModel(self._backbone)

    def decode_request(
        self, request: Annotated[bytes, Body(media_type="application/octet-stream")]
    ) -> torch.Tensor:
        return self._model.decoded(request)

    def batch(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(inputs)

    def predict(self, x: torch.Tensor) -> torch.Tensor:
        return self._model.probabilities(x)

    def unbatch(self, output: torch.Tensor) -> list[torch.Tensor]:
        return list(output)

    def encode_response(self, output: torch.Tensor) -> dict[str, Any]:
        return answer(output)


if __name__ == "__main__":
    server = litserve.LitServer(
        Classifier(sys.argv[1], int(sys.argv[3])), accelerator="cpu", timeout=False
    )
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[2]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
    )
