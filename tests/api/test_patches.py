"""Patches: a new, validated instance; and the validation of what was read."""

from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel, Field, ValidationError

from modelvault.patches import copy_of, patcher, revalidator
from tests import models
from tests.models import Validated


def apply_patch(instance: Any, patch: Any) -> Any:
    """The instance with the patch, as an update by a query makes it."""
    return patcher(type(instance))(copy_of(instance), patch)


def test_a_patch_makes_a_new_instance() -> None:
    before = models.user()
    after = apply_patch(before, {"age": 37, "address": {"street": "s", "city": "Rome", "zip": "1"}})
    assert (before.age, before.address.city) == (19, "City 1")
    assert (after.age, after.address) == (37, models.Address(street="s", city="Rome", zip="1"))
    assert after.email == before.email
    assert apply_patch(before, {}) == before


def test_values_are_validated_and_converted() -> None:
    assert apply_patch(models.user(), {"age": "37"}).age == 37
    with pytest.raises(ValidationError, match="age"):
        apply_patch(models.user(), {"age": "old"})
    with pytest.raises(ValidationError, match=r"address\.city"):
        apply_patch(models.user(), {"address": {"street": "s", "zip": "1"}})


@pytest.mark.parametrize("before", [models.user(), models.person(), models.Frozen(id=1), models.Checked(1)])
def test_unknown_fields(before: Any) -> None:
    with pytest.raises(ValueError, match='unknown field "nope"'):
        apply_patch(before, {"nope": 1})


@pytest.mark.parametrize("patch", [5, None, [("age", 1)]])
def test_what_a_patch_may_be(patch: Any) -> None:
    with pytest.raises(TypeError, match="a patch is a dict, a model or a dataclass"):
        apply_patch(models.user(), patch)
    with pytest.raises(TypeError, match="a patch has field names as keys"):
        apply_patch(models.user(), {1: 2})


def test_a_model_as_patch() -> None:
    class Partial(BaseModel):
        age: int | None = None
        name: str | None = None

    after = apply_patch(models.user(1), Partial(age=5))
    assert (after.age, after.name) == (5, "User Number 1")
    assert apply_patch(models.user(1), models.user(2)) == models.user(2)


def test_a_dataclass_as_patch() -> None:
    @dataclass
    class Partial:
        age: int

    assert apply_patch(models.person(), Partial(5)).age == 5
    assert apply_patch(models.user(), Partial(5)).age == 5


def test_untouched_fields_are_not_validated_again() -> None:
    before = Validated(id=1, low=1, high=2, name="ab")
    assert before.name == "ab!"
    after = apply_patch(before, {"low": 2})
    assert (after.low, after.name) == (2, "ab!")
    assert apply_patch(before, {"name": "cd"}).name == "cd!"


def test_model_validators_run() -> None:
    before = Validated(id=1, low=1, high=2)
    with pytest.raises(ValidationError, match="low must not be above high"):
        apply_patch(before, {"low": 9})
    assert (before.low, before.high) == (1, 2)


def test_fields_that_must_agree_change_together() -> None:
    before = Validated(id=1, low=1, high=2)
    for patch in ({"low": 8, "high": 9}, {"high": 9, "low": 8}, {"low": "8", "high": "9"}, {"low": -5, "high": -4}):
        after = apply_patch(before, patch)
        assert (after.low, after.high) == (int(patch["low"]), int(patch["high"]))
    with pytest.raises(ValidationError):
        apply_patch(before, {"low": 9, "high": 8})


def test_aliases_in_patches() -> None:
    before = models.Aliased(_id=1, userName="a")  # type: ignore[call-arg]
    assert apply_patch(before, {"name": "b"}).name == "b"
    assert apply_patch(before, {"userName": "b", "hidden": "x"}).hidden == "x"
    assert apply_patch(before, {"_id": 2}).id == 2


def test_fields_set_extras_and_privates_are_kept() -> None:
    defaults = apply_patch(models.Defaults(id=1), {"number": 5})
    assert defaults.model_fields_set == {"id", "number"}
    extra = apply_patch(models.Open(id=1, more="x"), {"other": [1]})  # type: ignore[call-arg]
    assert extra.model_extra == {"more": "x", "other": [1]}
    private = models.Private(id=1)
    private._seen = 9
    assert apply_patch(private, {"id": 2})._seen == 9


def test_frozen_models() -> None:
    before = models.Frozen(id=1)
    after = apply_patch(before, {"tags": ["a"]})
    assert (before.tags, after.tags, after.model_fields_set) == ((), ("a",), {"id", "tags"})

    class Part(BaseModel):
        id: int = Field(frozen=True)
        name: str = Field(alias="n")

    assert apply_patch(Part(id=1, n="a"), {"id": 2, "name": "b"}) == Part(id=2, n="b")


def test_dataclasses() -> None:
    before = models.person()
    after = apply_patch(before, {"age": 3, "address": {"street": "s", "city": "Rome", "zip": "1"}})
    assert (before.age, after.age, after.address) == (19, 3, models.Place("s", "Rome", "1"))
    assert apply_patch(models.Fixed(1), {"name": "x"}) == models.Fixed(1, "x")
    assert apply_patch(models.Slotted(1), {"name": "x"}) == models.Slotted(1, "x")
    assert apply_patch(models.Strict(id=1), {"name": "x"}) == models.Strict(id=1, name="x")
    tree = apply_patch(models.Tree("a"), {"branches": [models.Tree("b")]})
    assert tree.branches == [models.Tree("b")]


def test_dataclasses_check_and_derive_in_post_init() -> None:
    after = apply_patch(models.Careful(1, 2), {"width": 5})
    assert (after.area, after.note) == (25, "area 25")  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="width must not be negative"):
        apply_patch(models.Careful(1, 2), {"width": -1})


def test_dataclasses_with_init_variables_are_copied() -> None:
    before = models.Derived(1, 3)
    after = apply_patch(before, {"name": "x"})
    assert (after.id, after.name, after.made) == (1, "x", 6)
    assert apply_patch(before, {"made": 7}).made == 7


def test_nested_dicts_of_dataclasses() -> None:
    @dataclass
    class Outer:
        id: int
        place: models.Place | None = None
        many: list[models.Place] = field(default_factory=list)
        named: dict[str, models.Address] = field(default_factory=dict)

    given = {"street": "s", "city": "c", "zip": "z"}
    after = apply_patch(Outer(1), {"place": given, "many": [given], "named": {"a": given}})
    assert after.place == models.Place(**given)
    assert after.many == [models.Place(**given)]
    assert after.named == {"a": models.Address(**given)}
    with pytest.raises(ValueError, match='unknown field "nope" in a patch of Place'):
        apply_patch(Outer(1), {"place": given | {"nope": 1}})


def test_pydantic_dataclasses() -> None:
    after = apply_patch(models.Checked(1), {"ratio": "2.5", "place": {"street": "s", "city": "c", "zip": "z"}})
    assert after == models.Checked(1, 2.5, models.Place("s", "c", "z"))
    with pytest.raises(ValidationError, match="ratio"):
        apply_patch(models.Checked(1), {"ratio": -1})


def test_revalidation() -> None:
    check = revalidator(models.User)
    good = models.user()
    assert check(good) == good and check(good) is not good
    bad = models.user()
    bad.age = "old"  # type: ignore[assignment]
    with pytest.raises(ValidationError, match="age"):
        check(bad)
    bad = models.user()
    bad.address.city = 5  # type: ignore[assignment]
    with pytest.raises(ValidationError, match="city"):
        check(bad)


def test_revalidation_keeps_what_is_not_a_field() -> None:
    private = models.Private(id=1)
    private._seen = 9
    again = revalidator(models.Private)(private)
    assert again._seen == 9
    defaults = revalidator(models.Defaults)(models.Defaults(id=1))
    assert defaults.model_fields_set == {"id"}
    aliased = models.Aliased(_id=1, userName="a", hidden="x")  # type: ignore[call-arg]
    assert revalidator(models.Aliased)(aliased) == aliased
    open_ = models.Open(id=1, more={"a": 1})  # type: ignore[call-arg]
    assert revalidator(models.Open)(open_) == open_


def test_dataclasses_are_not_revalidated() -> None:
    before = models.person()
    assert revalidator(models.Person)(before) is before


def test_revalidation_runs_nested_validators() -> None:
    def small(value: int) -> int:
        if value > 5:
            raise ValueError("too large")
        return value

    class Inner(BaseModel):
        number: Annotated[int, AfterValidator(small)]

    class Outer(BaseModel):
        many: list[Inner]
        named: dict[str, Inner]

    check = revalidator(Outer)
    good = Outer(many=[Inner(number=1)], named={"a": Inner(number=2)})
    assert check(good) == good
    good.named["a"].number = 9
    with pytest.raises(ValidationError, match="too large"):
        check(good)
