"""Dependencies: declared with a reason, pinned once, and for every Python that is promised."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def named(requirements: list[str]) -> set[str]:
    """The packages that are required, the project's own extras left out."""
    return {canonicalize_name(Requirement(each).name) for each in requirements} - {PROJECT["name"]}


def declared() -> set[str]:
    return named([*PROJECT["dependencies"], *EXTRAS["fit"], *EXTRAS["serve"]])


def test_every_dependency_has_its_reason():
    (record,) = (ROOT / "docs" / "decisions").glob("*-dependencies.md")
    lines = [line for line in record.read_text().splitlines() if line.startswith("|")][2:]
    reasons = {
        name.strip(): reason.strip()
        for name, reason in (line.strip("|").split("|")[:2] for line in lines)
    }
    assert set(reasons) == declared()
    assert all(reasons.values())


def constraints() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_constraints_are_exact_versions_by_name_from_any_index():
    for line in constraints():
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line), line
        assert not line.startswith(("nvidia", "triton==")), f"{line} is torch's own business"
    names = [line.split("==")[0] for line in constraints()]
    assert names == sorted(names)


def test_every_pinned_package_can_be_installed_on_the_oldest_python():
    """Debian 12 has 3.11.2, so the first of the promised versions counts, not the last patch."""
    oldest = PROJECT["requires-python"].removeprefix(">=") + ".0"
    for name in (line.split("==")[0] for line in constraints()):
        try:
            needed = metadata.metadata(name)["Requires-Python"]
        except metadata.PackageNotFoundError:  # of another platform
            continue
        assert not needed or oldest in SpecifierSet(needed), f"{name} needs Python {needed}"


def test_every_dependency_has_an_exact_version():
    pinned = {line.split("==")[0] for line in constraints()}
    others = ("dev", "docs", "notebook")
    assert declared() | {name for each in others for name in named(EXTRAS[each])} <= pinned


def test_torch_and_what_belongs_to_it_are_pinned_together():
    assert {"torch==2.13.0", "torchvision==0.28.0", "timm==1.0.31"} <= set(constraints())


def test_the_lock_file_holds_each_run_time_version_with_the_hashes_of_its_files():
    text = (ROOT / "requirements.lock").read_text()
    locked = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.M))
    pinned = dict(line.split("==") for line in constraints())
    assert declared() <= locked.keys()
    assert {name: locked[name] for name in locked.keys() & pinned.keys()} == {
        name: version for name, version in pinned.items() if name in locked
    }
    for entry in re.split(r"\n(?=[a-z])", text.strip()):
        assert "--hash=sha256:" in entry, entry
    assert "://" not in text
