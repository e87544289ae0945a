"""Maps the folders adapters/ and kernels/ into the package; the rest is in pyproject.toml."""

from setuptools import find_packages, setup


def mapped(folder: str) -> list[str]:
    inner = find_packages(folder)
    return [f"pertcore.{folder}", *(f"pertcore.{folder}.{name}" for name in inner)]


setup(
    packages=[
        *find_packages(include=["pertcore", "pertcore.*"]),
        *mapped("adapters"),
        *mapped("kernels"),
    ],
    package_dir={
        "pertcore": "pertcore",
        "pertcore.adapters": "adapters",
        "pertcore.kernels": "kernels",
    },
)
