"""The package as a whole: its version, its weight, what it exports."""

import re
import subprocess
import sys
from pathlib import Path

import modelvault

ROOT = Path(__file__).parents[1]


def test_the_version_is_said_twice_and_the_same() -> None:
    assert f'\nversion = "{modelvault.__version__}"\n' in (ROOT / "pyproject.toml").read_text()


def test_pydantic_is_imported_only_for_pydantic_models() -> None:
    code = "import sys, modelvault; print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_exported_name_exists() -> None:
    assert [name for name in modelvault.__all__ if not hasattr(modelvault, name)] == []
    assert [name for name in modelvault.models.__all__ if not hasattr(modelvault.models, name)] == []


def test_what_the_guide_says_is_missing_is_missing() -> None:
    """The list in docs/guide/from-0.16.md shrinks when something arrives."""
    text = (ROOT / "docs/guide/from-0.16.md").read_text().split("## Not there yet")[1]
    places = [modelvault, modelvault.Database, modelvault.Query, modelvault.models]
    found = [
        name for name in re.findall(r"`(?:modelvault\.)?(\w+)`", text) if any(hasattr(place, name) for place in places)
    ]
    assert found == []
