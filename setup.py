"""The extensions, their directives and the debug switch. Everything else about the package is in pyproject.toml."""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

CORE = Path("modelvault/_core")
DEBUG = os.environ.get("MODELVAULT_DEBUG") == "1"
BUILD = Path("build/debug" if DEBUG else "build")

FLAGS = ["-O1", "-g", "-Wall"] if DEBUG else ["-O3", "-g0", "-Wall"]

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

# Options of the commands, so that release and debug objects never mix and both cores work.
OPTIONS = {"build": {"build_base": str(BUILD)}, "build_ext": {"parallel": os.cpu_count()}}


def extensions() -> list[Extension]:
    sources = sorted(CORE.glob("*.pyx"))
    modules = [
        Extension(f"modelvault._core.{source.stem}", [str(source)], extra_compile_args=FLAGS) for source in sources
    ]
    return cythonize(
        modules, build_dir=str(BUILD / "c"), compiler_directives=DIRECTIVES, nthreads=os.cpu_count() or 1, quiet=True
    )


# cythonize's worker processes import this file again where they are spawned (macOS).
if __name__ == "__main__":
    setup(ext_modules=extensions(), options=OPTIONS)
