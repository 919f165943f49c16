"""Private components of images in groups, as clients ask for them, and their ledgers."""

from tests.support.images import image

TERMS = {"epsilon": 1.0, "delta": 1e-5, "unit": "group"}


def files_of(groups: dict[str, int], start: int = 0, prefix: str = "") -> dict[str, bytes]:
    """Images of two labels in groups of these sizes, by a manifest."""
    files, rows = {}, ["file_name,label,group"]
    for group, size in groups.items():
        for _ in range(size):
            number = start + len(files)
            label = "cat" if number % 2 else "dog"
            files[f"{number}.png"] = image(label, number)
            rows.append(f"{number}.png,{label},{prefix}{group}")
    return {"metadata.csv": "\n".join(rows).encode()} | files


def ask(service, dataset_id: str, **terms):
    body = {"dataset_id": dataset_id, "privacy": TERMS | terms}
    return service.client.post("/v1/components", json=body)


def train(service, dataset_id: str, **terms) -> str:
    answer = ask(service, dataset_id, **terms)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def ledger(service, dataset_id: str) -> dict:
    return service.client.get(f"/v1/datasets/{dataset_id}/privacy").json()


def budget(service, dataset_id: str, **given) -> None:
    body = {"epsilon": 1.0, "delta": 1e-5} | given
    answer = service.client.put(f"/v1/datasets/{dataset_id}/privacy", json=body)
    assert answer.status_code == 200, answer.text
