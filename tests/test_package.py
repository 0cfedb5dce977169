"""The package as a whole: its version, its weight, what it exports."""

import subprocess
import sys
from pathlib import Path

import pytest

import modelvault

ROOT = Path(__file__).parents[1]


def test_the_version_is_said_twice_and_the_same() -> None:
    assert f'\nversion = "{modelvault.__version__}"\n' in (ROOT / "pyproject.toml").read_text()


# What costs a millisecond or more to import, and is needed by few, or later: imported by who needs it.
HEAVY = {
    *(
        "annotated_types",
        "anyio",
        "ast",
        "asyncio",
        "base64",
        "concurrent.futures",
        "dataclasses",
        "decimal",
        "difflib",
    ),
    *("dis", "fastapi", "hashlib", "inspect", "json", "logging", "pickle", "platform", "pydantic", "pydantic_core"),
    *("pyarrow", "rich", "signal", "socket", "sqlglot", "ssl", "subprocess", "tempfile", "traceback", "trio"),
    *("typing_extensions", "unittest", "uuid"),
}
OURS = {  # the same, of our own; the engine comes with the first open, what reads and writes rows with a collection
    *("_access", "_answers", "_checkpoints", "_core.commit", "_core.gate", "_core.meta", "_core.scan", "_engine"),
    *("_queue", "_store", "collection"),
    *("_backup", "_change", "_compaction", "_copying", "_core.copying", "_core.packing", "_core.survey", "_explain"),
    *("_job", "_measures", "_planner", "_prepared", "_ranges", "_repairs", "_rewrite", "_salvage", "_sql", "_verify"),
    *("_ways", "cli", "converters", "dbapi", "fastapi", "lineage", "members", "migrations", "pytest_plugin"),
}


def test_importing_the_package_imports_little() -> None:
    """Less than 35 ms: modules are counted, because clocks measure the machine."""
    code = "import sys; before = set(sys.modules); import modelvault; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    found = set(done.stdout.split())
    assert not found & HEAVY
    assert not found & {f"modelvault.{name}" for name in OURS}
    foreign = {name for name in found if name.split(".")[0] != "modelvault"}
    strange = {name for name in foreign if name.split(".")[0] not in sys.stdlib_module_names}
    assert not {name for name in strange if "cython" not in name}
    assert len(foreign) < 55, sorted(foreign)
    assert len(found - foreign) < 40, sorted(found - foreign)


def test_what_is_imported_late_is_found() -> None:
    code = "import modelvault; print(modelvault.Salvage.__module__, modelvault.dbapi.apilevel, modelvault.models.Plan)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split()[:2] == ["modelvault._salvage", "2.0"]
    with pytest.raises(AttributeError, match="module 'modelvault' has no attribute 'Salvages'"):
        _ = modelvault.Salvages
    with pytest.raises(AttributeError, match=r"module 'modelvault\.models' has no attribute 'Plans'"):
        _ = modelvault.models.Plans


def test_every_exported_name_exists() -> None:
    assert [name for name in modelvault.__all__ if not hasattr(modelvault, name)] == []
    assert [name for name in modelvault.models.__all__ if not hasattr(modelvault.models, name)] == []
