"""Results that are on their way to a client when a deletion takes away what made them."""

from collections.abc import Callable

import pytest

from app.inference.deletion_gate import Ticket
from app.operations.downloads import results_file
from app.operations.evaluation import ended_evaluation
from tests.support.batches import begun
from tests.support.client import DELETIONS, WAIT, until_ended
from tests.support.service import Service

SCOPE = "head"


def sent_results(service: Service, dataset_id: str) -> Ticket:
    """Begin to send the results of a batch prediction of the dataset."""
    path = begun(service, dataset_id=dataset_id)
    until_ended(service, path)
    ticket = Ticket(service.state.gate, service.state.transfers)
    file = results_file(
        service.state, ticket, path.rpartition("/")[2], "jsonl", lambda _: False
    ).file
    assert file is not None
    file.close()
    return ticket


def sent_evaluation(service: Service, dataset_id: str) -> Ticket:
    """Begin to send the numbers of an evaluation on the dataset."""
    body = {"dataset_id": dataset_id}
    made = service.client.post("/v1/evaluations", json=body, headers=WAIT).json()
    ticket = Ticket(service.state.gate, service.state.transfers)
    assert ended_evaluation(service.state, ticket, made["id"])
    return ticket


@pytest.mark.parametrize("what", DELETIONS)
@pytest.mark.parametrize("send", [sent_results, sent_evaluation])
def test_a_deletion_ends_the_sending_of_what_was_made_with_it(
    service: Service, send: Callable[[Service, str], Ticket], what: str
) -> None:
    part = service.component({"cat": 3, "dog": 3})
    dataset_id = service.dataset({"cat": 3, "dog": 1}, start=50)
    other = send(service, service.dataset({"dog": 2}, start=90))
    ticket = send(service, dataset_id)
    DELETIONS[what](service, part, dataset_id)
    assert ticket.is_cut
    assert other.is_cut == (what == "component")
