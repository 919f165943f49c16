"""Images against a key's rate: only those that are going to be passed through the network."""

from collections.abc import Callable

from tests.support.images import image
from tests.support.keys import by
from tests.support.service import Service

USER = ("read", "predict", "train")


def test_no_image_counts_of_what_is_refused(serve: Callable[..., Service]):
    guarded = serve(api_key="correct-horse-battery")
    guarded.component({"cat": 6, "dog": 6})
    body = {"dataset_id": guarded.dataset({"cat": 6, "dog": 6})}
    picture = [("images", ("1.png", image("cat", 1)))]
    with by(guarded, *USER, limits={"images_per_second": 0.01}) as client:
        for path, more, code in (
            ("batch-predictions", {"labels": ["none"]}, "unknown_label"),
            ("batch-predictions", {"composition": "none"}, "composition_not_found"),
            ("evaluations", {"composition": "none"}, "composition_not_found"),
            ("compositions/none/solve", {}, "composition_not_found"),
        ):
            refused = client.post(f"/v1/{path}", json=body | more).json()
            assert refused["code"] == code, refused
        assert client.post("/v1/predictions", files=picture).status_code == 200
