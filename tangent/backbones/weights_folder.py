"""Names of weights that are no name of timm: files, folders, the hub's repositories.

    /path/own.safetensors        beside it timm's config.json, or <stem>.json
    resnet50:/path/own.safetensors
    /path/folder                 config.json and model.safetensors, as timm and transformers save
    resnet50:/path/folder
    hf-hub:owner/name[@revision] the same, from the Hugging Face hub

Only safetensors is read: other formats hold programs. Loads no torch.
"""

from pathlib import Path

from tangent.errors import UnknownBackbone, UnsupportedModel

SAFETENSORS = ".safetensors"
WEIGHTS, CONFIGURATION = "model.safetensors", "config.json"
PICKLED = (".bin", ".pth", ".pt", ".ckpt", ".pth.tar", ".pkl")
HUB = ("hf-hub:", "hf_hub:")
FOLDER = "local-dir:"
CONVERT = """\
python -c "import torch; from safetensors.torch import save_file
s = torch.load('{file}', map_location='cpu', weights_only=True); s = s.get('state_dict', s)
save_file({{k: v.clone().contiguous() for k, v in s.items()}}, '{stem}.safetensors')\""""


def is_of_hub(name: str) -> bool:
    """Return whether the name is that of a repository of the hub."""
    return name.startswith(HUB)


def divided(name: str) -> tuple[str, str]:
    """Return the architecture and the local path that a name has; the path is empty if none."""
    architecture, _, path = name.removeprefix(FOLDER).rpartition(":")
    if name.startswith(FOLDER) or path.endswith(SAFETENSORS) or "/" in path:
        return architecture, path
    return "", ""


def check_format(name: str) -> None:
    """Check by its name alone that the file is not of a format that is never read.

    Raises:
        UnknownBackbone: it is; the message has the command that converts it.
    """
    if name.lower().endswith(PICKLED):
        raise UnknownBackbone(f"no backbone is called {name!r}: {how_to_convert(Path(name).name)}")


def how_to_convert(file: str) -> str:
    """Return the sentence on a file that has to be converted first, with the command."""
    stem = file
    for ending in sorted(PICKLED, key=len, reverse=True):
        stem = stem.removesuffix(ending)
    safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in file)
    safe_stem = "".join(c if c.isalnum() or c in "._-" else "_" for c in stem)
    command = CONVERT.format(file=safe, stem=safe_stem)
    return f"only safetensors files are read, as others can hold programs. Convert it: {command}"


def weights_in(folder: Path) -> Path:
    """Return the weights file of a folder: model.safetensors, or its only safetensors file.

    Raises:
        UnknownBackbone: it holds none, or several.
    """
    whole = folder / WEIGHTS
    found = sorted(path for path in folder.glob(f"*{SAFETENSORS}") if path.is_file())
    if whole in found or len(found) == 1:
        return whole if whole in found else found[0]
    if found or (folder / f"{WEIGHTS}.index.json").is_file():
        raise UnknownBackbone(
            f"{folder} holds its weights in {len(found)} safetensors files and has no {WEIGHTS}: "
            "name one of the files, or join the parts into one"
        )
    pickled = sorted(path.name for path in folder.iterdir() if path.name.endswith(PICKLED))
    if pickled:
        raise UnknownBackbone(f"{folder} has no {WEIGHTS}: {how_to_convert(pickled[0])}")
    raise UnknownBackbone(
        f"{folder} has no {WEIGHTS}: timm's save_for_hf writes it, with {CONFIGURATION} beside it"
    )


def check_arguments(config: dict[str, object], path: Path) -> None:
    """Check that the configuration asks for timm's architecture as it is.

    Raises:
        UnsupportedModel: it changes the architecture by arguments.
    """
    if config.get("model_args"):
        raise UnsupportedModel(
            f"the configuration beside {path} has model_args, which change the architecture and "
            "are not read: save the weights of an architecture that timm has by name"
        )
