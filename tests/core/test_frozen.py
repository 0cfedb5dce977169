"""Records made by `frozen` behave like frozen dataclasses with slots, and are told for them."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any, ClassVar, Generic, TypeVar

import pytest
from pydantic import TypeAdapter

from modelvault._frozen import fresh, frozen, hidden, mutable, replace

T = TypeVar("T")


@frozen
class Point:
    """A place."""

    UNIT: ClassVar[str] = "cm"

    x: int
    y: int = 2
    note: Any = hidden(default="none")

    def moved(self) -> Point:
        return replace(self, x=self.x + 1)


@frozen
class Box(Generic[T]):
    items: list[T]


@dataclasses.dataclass(frozen=True, slots=True)
class Peer:
    x: int
    y: int = 2
    note: Any = dataclasses.field(default="none", compare=False, repr=False)


def test_it_is_what_a_dataclass_is() -> None:
    for cls in (Point, Peer):
        one: Any = cls(1)
        assert (one.x, one.y, one.note) == (1, 2, "none")
        assert one == cls(1, 2, "other") and hash(one) == hash(cls(1, note=5))
        assert one != cls(1, 3) and one != (1, 2) and cls(1, y=4).y == 4
        assert repr(one) == f"{cls.__name__}(x=1, y=2)"
        assert not hasattr(one, "__dict__")
        with pytest.raises(AttributeError):
            one.x = 5
        with pytest.raises(AttributeError):
            del one.x
        with pytest.raises((AttributeError, TypeError)):  # dataclasses of 3.11 stumble over their own slots
            one.other = 5
        with pytest.raises(TypeError):
            cls()
        with pytest.raises(TypeError):
            cls(1, z=2)
        match one:
            case cls(x, y):
                assert (x, y) == (1, 2)
    assert Point(1) != Peer(1)
    assert Point.__doc__ == "A place." and Point.UNIT == "cm" and Point.__module__ == __name__


def test_replace_and_copies() -> None:
    one = Point(1, note="kept")
    assert one.moved() == Point(2) and one.moved().note == "kept"
    with pytest.raises(TypeError, match="Point has no field 'z'"):
        replace(one, z=1)
    for twin in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert twin == one and twin.note == "kept"
    assert copy.deepcopy(Box([1])) == Box([1])


def test_who_looks_for_a_dataclass_finds_one() -> None:
    assert dataclasses.is_dataclass(Point) and dataclasses.is_dataclass(Point(1))
    assert [field.name for field in dataclasses.fields(Point)] == ["x", "y", "note"]
    assert dataclasses.replace(Point(1), y=5) == Point(1, 5)
    assert dataclasses.asdict(Point(1)) == {"x": 1, "y": 2, "note": "none"}
    found = TypeAdapter(Box[int]).validate_python({"items": ["5"]})
    assert isinstance(found, Box) and found == Box([5])
    assert TypeAdapter(Box[int]).dump_python(Box([1])) == {"items": [1]}


@mutable
class Report:
    path: str
    count: int = 0
    found: list[int] = fresh(default_factory=list)


def test_a_record_that_changes() -> None:
    one, two = Report("a"), Report("a")
    one.found.append(1)
    one.count += 1
    assert two == Report("a", 0, []) != one == Report("a", 1, [1])
    assert dataclasses.replace(one, path="b") == replace(one, path="b") == Report("b", 1, [1])
    with pytest.raises(TypeError):
        hash(one)
    with pytest.raises(AttributeError):
        one.other = 1  # type: ignore[attr-defined]


def test_a_wrong_call_is_told_as_of_any_class() -> None:
    with pytest.raises(TypeError, match=r"__init__\(\) missing 1 required positional argument: 'x'"):
        Point()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"__init__\(\) got an unexpected keyword argument 'z'"):
        Point(1, z=2)  # type: ignore[call-arg]
