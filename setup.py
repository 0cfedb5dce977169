"""The extensions, their directives and two switches. Everything else about the package is in pyproject.toml.

MODELVAULT_DEBUG=1: with bounds, None and initialisation checks. MODELVAULT_SANITIZE=1: under AddressSanitizer and
UndefinedBehaviorSanitizer, whose libraries must be preloaded into Python.
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

CORE = Path("modelvault/_core")
DEBUG = os.environ.get("MODELVAULT_DEBUG") == "1"
SANITIZE = os.environ.get("MODELVAULT_SANITIZE") == "1"
BUILD = Path("build/debug" if DEBUG else "build/sanitize" if SANITIZE else "build")

if os.name == "nt":
    FLAGS = ["/Od", "/Zi"] if DEBUG else ["/O2"]
else:
    FLAGS = ["-O1", "-g", "-Wall"] if DEBUG or SANITIZE else ["-O3", "-g0", "-Wall"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer"] if SANITIZE else []

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
        Extension(
            f"modelvault._core.{source.stem}",
            [str(source)],
            include_dirs=[str(CORE)],
            depends=[str(CORE / "file.h"), str(CORE / "system.h")],
            extra_compile_args=[*FLAGS, *SANITIZERS],
            extra_link_args=SANITIZERS,
        )
        for source in sources
    ]
    return cythonize(
        modules, build_dir=str(BUILD / "c"), compiler_directives=DIRECTIVES, nthreads=os.cpu_count() or 1, quiet=True
    )


# cythonize's worker processes import this file again where they are spawned (macOS).
if __name__ == "__main__":
    setup(ext_modules=extensions(), options=OPTIONS)
