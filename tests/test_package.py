"""The package as a whole: its version, its weight, what it exports."""

import subprocess
import sys
from pathlib import Path

import modelvault

ROOT = Path(__file__).parents[1]


def test_the_version_is_said_twice_and_the_same() -> None:
    assert f'\nversion = "{modelvault.__version__}"\n' in (ROOT / "pyproject.toml").read_text()


# What costs a millisecond or more to import, and what is needed by few: imported by who needs it.
HEAVY = {
    *("annotated_types", "anyio", "ast", "asyncio", "concurrent.futures", "dataclasses", "difflib", "dis", "fastapi"),
    *("hashlib", "inspect", "logging", "pickle", "pydantic", "pydantic_core", "pyarrow", "rich", "socket", "sqlglot"),
    *("ssl", "subprocess", "tempfile", "traceback", "trio", "typing_extensions", "unittest"),
}


def test_importing_the_package_imports_little() -> None:
    """Less than 35 ms: modules are counted, because clocks measure the machine."""
    code = "import sys; before = set(sys.modules); import modelvault; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    found = set(done.stdout.split())
    assert not found & HEAVY
    foreign = {name for name in found if name.split(".")[0] != "modelvault"}
    strange = {name for name in foreign if name.split(".")[0] not in sys.stdlib_module_names}
    assert not {name for name in strange if "cython" not in name}
    assert len(foreign) < 70, sorted(foreign)


def test_every_exported_name_exists() -> None:
    assert [name for name in modelvault.__all__ if not hasattr(modelvault, name)] == []
    assert [name for name in modelvault.models.__all__ if not hasattr(modelvault.models, name)] == []
