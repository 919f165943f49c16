"""Weights from a repository of the Hugging Face hub, or from its cache on this machine."""

from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

from tangent.backbones.weights_folder import CONFIGURATION, PICKLED, WEIGHTS, how_to_convert
from tangent.errors import BackboneUnavailable, TangentError, UnknownBackbone

MAX_DOWNLOAD = 2**33  # bytes of weights
TIMEOUT = 10  # seconds, of the one request before a download, which would retry for long


def fetched(name: str) -> Path:
    """Return the path of the repository's weights, beside which is its configuration.

    `name` is `hf-hub:<owner>/<name>`, with `@<revision>` or without.

    Raises:
        UnknownBackbone: the repository has no such files.
        BackboneUnavailable: the hub does not answer, or the weights are too large.
    """
    repository, _, revision = name.partition(":")[2].partition("@")
    try:
        if not _is_cached(repository, revision):
            _check(repository, revision)
        hf_hub_download(repository, CONFIGURATION, revision=revision or None)
        return Path(hf_hub_download(repository, WEIGHTS, revision=revision or None))
    except TangentError:
        raise
    except Exception as error:  # the hub's errors have many types, none of them ours
        raise BackboneUnavailable(
            f"the weights of {name} could not be fetched ({type(error).__name__}): check the name "
            f"and the network, or put its {CONFIGURATION} and {WEIGHTS} into a folder and name that"
        ) from error


def _is_cached(repository: str, revision: str) -> bool:
    return all(
        isinstance(try_to_load_from_cache(repository, file, revision=revision or None), str)
        for file in (CONFIGURATION, WEIGHTS)
    )


def _check(repository: str, revision: str) -> None:
    about = HfApi().model_info(
        repository, revision=revision or None, timeout=TIMEOUT, files_metadata=True
    )
    sizes = {file.rfilename: file.size or 0 for file in about.siblings or []}
    pickled = [file for file in sizes if file.endswith(PICKLED)]
    if WEIGHTS not in sizes and pickled:
        raise UnknownBackbone(
            f"{repository} has no {WEIGHTS} on the hub: {how_to_convert(pickled[0])}"
        )
    for file in (CONFIGURATION, WEIGHTS):
        if file not in sizes:
            raise UnknownBackbone(f"{repository} has no {file} on the hub: choose another one")
    if sizes[WEIGHTS] > MAX_DOWNLOAD:
        raise BackboneUnavailable(
            f"the weights of {repository} have {sizes[WEIGHTS]} bytes, the maximum is "
            f"{MAX_DOWNLOAD}: put them into a folder and name that"
        )
