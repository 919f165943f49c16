"""One thread for every test here: the models are tiny, and a pool of threads only waits."""

import os

import pytest
import torch

# Before CUDA starts: some tests move models there by themselves, before a space is opened.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(
    params=[
        "cpu",
        pytest.param(
            "cuda",
            marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here"),
        ),
    ]
)
def device(request) -> torch.device:
    """The devices of this machine on which a space can run."""
    return torch.device(request.param)
