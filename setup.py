"""Where each package lies in the wheel; pyproject.toml has everything else.

Users import `tangent_composer` alone. The packages of the service lie below it in a folder that is
no package, so that an `app` of the user's own keeps its name (record 51).
"""

from pathlib import Path

from setuptools import find_namespace_packages, setup

NAMES = ("app", "migrations", "tangent", "training_worker")
BUNDLED = [name for name in NAMES if Path(name).is_dir()]  # none where only dependencies are wanted
BELOW = "tangent_composer._bundled"


def bundled(package: str) -> list[str]:
    """Return the names in the wheel of a package and all packages in it."""
    inner = find_namespace_packages(package)
    return [f"{BELOW}.{name}" for name in (package, *(f"{package}.{each}" for each in inner))]


setup(
    packages=[
        *find_namespace_packages(include=["tangent_composer", "tangent_composer.*"]),
        *(name for package in BUNDLED for name in bundled(package)),
    ],
    package_dir={f"{BELOW}.{package}": package for package in BUNDLED},
    package_data={
        "tangent_composer": ["py.typed", "samples/*"],
        f"{BELOW}.app": ["page/*", "page/**/*"],
        f"{BELOW}.tangent": ["py.typed", "weights/*"],
        f"{BELOW}.migrations": ["*.mako"],
    },
)
