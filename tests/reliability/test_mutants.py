"""The short form of the mutants: each broken file is noticed, and each patch of the source fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.mutants import MUTANTS, Mutant
from tests.reliability.patches import PATCHES, ROOT, Patch
from tests.reliability.promises import exists

pytestmark = pytest.mark.damaged


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_killed(mutant: Mutant) -> None:
    assert mutant.run(7, seconds=60).lost, f"nothing notices {mutant.name}: {mutant.file_type.__doc__}"


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.name)
def test_a_patch_has_its_place_and_its_test(patch: Patch) -> None:
    """`make reliability` applies them; here they must still fit the source, and name a test that there is."""
    source = (ROOT / "modelvault" / patch.file).read_text()
    assert patch.apply(source) != source
    assert exists(patch.test)


def test_a_mutant_of_the_source_is_killed(tmp_path: Path) -> None:
    """One of them from beginning to end: what builds and runs mutants works."""
    patch = next(patch for patch in PATCHES if patch.name == "a savepoint does not put the roots back")
    patch.build(tmp_path)
    assert patch.killed(tmp_path) == "fails"
