"""The short form of the mutants: each broken file is noticed."""

from __future__ import annotations

import pytest

from tests.reliability.mutants import MUTANTS, Mutant

pytestmark = pytest.mark.damaged


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_killed(mutant: Mutant) -> None:
    assert mutant.run(7, seconds=60).lost, f"nothing notices {mutant.name}: {mutant.file_type.__doc__}"
