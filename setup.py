"""The extensions and their directives. Everything else about the package is in pyproject.toml."""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

CORE = Path("modelvault/_core")
DEBUG = os.environ.get("MODELVAULT_DEBUG") == "1"

FLAGS = ["-O1", "-g", "-Wall"] if DEBUG else ["-O3", "-Wall"]

DIRECTIVES = {
    "language_level": 3,
    "binding": True,
    "embedsignature": True,
    "auto_pickle": False,
    "wraparound": False,
    "cdivision": True,
    "boundscheck": DEBUG,
    "initializedcheck": DEBUG,
    "nonecheck": DEBUG,
}

setup(
    ext_modules=cythonize(
        [
            Extension(f"modelvault._core.{source.stem}", [str(source)], extra_compile_args=FLAGS)
            for source in sorted(CORE.glob("*.pyx"))
        ],
        compiler_directives=DIRECTIVES,
    )
)
