"""A plain service as one writes it first: FastAPI, one image a request, no batches.

python -m benchmarks.load.plain_server BACKBONE PORT
"""

import sys
from typing import Annotated

import uvicorn
from fastapi import Body, FastAPI

from benchmarks.load.plain_model import PlainModel, answer


def application(backbone: str) -> FastAPI:
    """Return the service."""
    model, app = PlainModel(backbone), FastAPI()

    @app.post("/predict")
    def predict(image: Annotated[bytes, Body(media_type="application/octet-stream")]) -> dict:
        return answer(model.probabilities(model.decoded(image)[None])[0])

    return app


if __name__ == "__main__":
    uvicorn.run(application(sys.argv[1]), port=int(sys.argv[2]), log_level="warning")
