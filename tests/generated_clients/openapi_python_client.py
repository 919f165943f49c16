"""The story by the client of openapi-python-client: python … address archive picture."""

import json
import sys
import time
from io import BytesIO
from pathlib import Path

from tangent_composer_client import Client
from tangent_composer_client.api.components import components_delete, components_get
from tangent_composer_client.api.datasets import datasets_upload
from tangent_composer_client.api.predictions import predictions_predict
from tangent_composer_client.api.receipts import receipts_get
from tangent_composer_client.models import (
    ComponentOut,
    DatasetUploadForm,
    Member,
    PredictionIn,
    PredictionOut,
    PredictionsPredictFilesBody,
    Problem,
    ReceiptOut,
    UploadedDataset,
)
from tangent_composer_client.types import File

address, archive, picture = sys.argv[1:]
client = Client(base_url=address)


def file(path: str) -> File:
    return File(BytesIO(Path(path).read_bytes()), Path(path).name, "application/octet-stream")


form = DatasetUploadForm(file=file(archive), name="by openapi-python-client", train=True)
uploaded = datasets_upload.sync(client=client, body=form)
assert isinstance(uploaded, UploadedDataset), uploaded
ident = uploaded.component.id
while True:
    component = components_get.sync(ident, client=client)
    assert isinstance(component, ComponentOut), component
    if component.status == "ready":
        break
    assert not component.error, component.error
    time.sleep(0.2)
body = PredictionsPredictFilesBody(images=[file(picture)], components=ident, top_k=1)
predicted = predictions_predict.sync(client=client, body=body)
assert isinstance(predicted, PredictionOut), predicted
assert PredictionIn and Member  # the form in JSON has models too
deleted = components_delete.sync(ident, client=client)
assert isinstance(deleted, ReceiptOut), deleted
receipt = receipts_get.sync(deleted.id, client=client)
assert isinstance(receipt, ReceiptOut), receipt
gone = components_get.sync(ident, client=client)
assert isinstance(gone, Problem), gone
print(
    json.dumps(
        {
            "num_images": uploaded.num_images,
            "accuracy": component.metrics.train_accuracy,
            "solver": component.hyperparameters.solver,
            "label": predicted.results[0].predictions[0].label,
            "deleted": receipt.body.subject.id == ident,
            "code": gone.code,
        }
    )
)
