"""Expressions by themselves: what `fields`, `col` and FieldRefs give, and what misuse says."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from modelvault import Database, asc, avg, col, count, desc, fields, max_, min_, sum_
from modelvault.conditions import Every, Negation, Order, Some, Test
from modelvault.expressions import Expression, FieldRef, Formula, Ordering
from tests.models import Node, Person, User

u = fields(User)


class Author(BaseModel):
    name: str
    path: str
    desc: str


class Book(BaseModel):
    __modelvault_primary_key__ = "id"

    id: int
    author: Author
    editors: list[Author] = []
    second: Author | None = None


def test_comparisons_are_tests() -> None:
    cases: list[tuple[Expression[User], tuple[str, ...]]] = [
        (u.age == 1, ("eq",)),
        (u.age != 1, ("ne",)),
        (u.age < 1, ("lt",)),
        (u.age <= 1, ("le",)),
        (u.age > 1, ("gt",)),
        (u.age >= 1, ("ge",)),
        (u.age.in_([1]), ("in",)),
        (u.name.startswith(1), ("startswith",)),
        (u.name.endswith(1), ("endswith",)),
        (u.name.contains(1), ("contains",)),
    ]
    for expression, (op,) in cases:
        assert isinstance(expression.condition, Test)
        assert (expression.condition.op, expression.condition.values) == (op, (1,))
        assert expression.owners == {User}
    assert u.address.city.between("A", "B").condition == Test(("address", "city"), "between", ("A", "B"))
    assert u.age.is_null().condition == Test(("age",), "null")
    assert u.name.like("A%").condition == Test(("name",), "like", ("A%",))
    assert u.name.regex("A.").condition == Test(("name",), "regex", ("A.",))
    assert (u.age >= 18).condition == (u.age >= 18).condition


def test_joined_and_negated() -> None:
    a, b, c = u.age > 1, u.age > 2, u.age > 3
    assert (a & b & c).condition == Every((a.condition, b.condition, c.condition))
    assert (a | b | c).condition == Some((a.condition, b.condition, c.condition))
    assert (a & (b | c)).condition == Every((a.condition, Some((b.condition, c.condition))))
    assert (~(a | b)).condition == Negation(Some((a.condition, b.condition)))
    assert repr((a | ~b) & c) == "<Expression (age > ... | ~(age > ...)) & age > ...>"


@pytest.mark.parametrize(
    "misuse",
    [
        lambda: u.age > 1 and u.age < 3,
        lambda: u.age > 1 or u.age < 3,
        lambda: not u.age > 1,
        lambda: 1 < u.age < 3,
        lambda: bool(u.age == 1),
        lambda: u.age in [1, 2],
    ],
)
def test_an_expression_has_no_truth_value(misuse: Any) -> None:
    with pytest.raises(TypeError, match=r"use & for and, \| for or, ~ for not .* in_\(\) and contains\(\) for in"):
        misuse()


def test_other_misuse_says_what_to_write() -> None:
    untyped: Any = u
    for call, text in [
        (lambda: "x" in untyped.tags, r"contains\(\) for an element"),
        (lambda: not untyped.active, "User.active has no truth value: compare it"),
        (lambda: list(untyped.tags), "not iterable"),
        (lambda: untyped.tags[0], "elements of a list have no paths"),
        (lambda: untyped.age.in_("12"), "takes a list"),
        (lambda: untyped.age.in_(5), "takes a list"),
        (lambda: untyped.age == untyped.score, "compared with a value"),
        (lambda: untyped.age > untyped.score + 1, "compared with a value"),
        (lambda: (untyped.age > 1) & True, "in parentheses"),
        (lambda: True | (untyped.age > 1), "in parentheses"),
        (lambda: bool(untyped.age + 1), "no truth value"),
        (lambda: col(5), "takes a field"),
        (lambda: count(distinct=True), "needs a field"),
    ]:
        with pytest.raises(TypeError, match=text):
            call()


def test_fields_that_do_not_exist() -> None:
    with pytest.raises(AttributeError, match="User has no field 'agee': did you mean 'age'"):
        u.agee  # noqa: B018
    with pytest.raises(AttributeError, match=r"User\.address has no field 'town': it has street, city, zip"):
        u.address.town  # noqa: B018
    with pytest.raises(AttributeError, match=r"User\.age has no field 'dsc': it is no object"):
        u.age.dsc()
    with pytest.raises(AttributeError, match="has no attribute"):
        u.__wrapped__  # noqa: B018
    with pytest.raises(ValueError, match="model must be a dataclass"):
        fields(int)


def test_the_fields_of_a_nested_model_win_over_methods() -> None:
    b = fields(Book)
    for ref in (b.author, b.editors, b.second):
        for name in ("name", "path", "desc"):
            inner: Any = getattr(ref, name)
            assert isinstance(inner, FieldRef)
            assert inner.path[1:] == [name]
            assert (inner == "x").condition == Test((*(inner == "x").condition.path,), "eq", ("x",))
    assert b.author["path"] is b.author.path  # type: ignore[comparison-overlap]
    assert b["author.path"] is b.author.path  # type: ignore[comparison-overlap]
    assert (b.author.path == "x").condition.path == ("author", "path")  # type: ignore[attr-defined]
    assert repr(b.author) == "FieldRef('author')"


def test_recursive_models_go_as_deep_as_you_like() -> None:
    ref: Any = fields(Node).children.children.parent.id
    assert ref.path == ["children", "children", "parent", "id"]


def test_the_attributes_of_a_class_are_references() -> None:
    @dataclass
    class Local:
        __modelvault_primary_key__ = "id"

        id: int
        name: str

    class Child(Local):
        pass

    with pytest.raises(TypeError, match=r"say fields\(User\) once before"):
        col(getattr(Local, "id", 5))
    assert isinstance(fields(Local).id, FieldRef)
    assert col(Local.id).desc().term == Order(("id",), True)
    assert isinstance(Local.id >= 18, Expression)
    assert not hasattr(Child, "id")
    assert Local(1, "a").id == 1


def test_references_are_hashable_and_the_same() -> None:
    assert u.age is u.age
    assert copy.deepcopy(u.age) is u.age
    changes = {u.age: 1, u.name: 2, u.address.city: 3}
    assert (changes[u.age], changes[u.address.city]) == (1, 3)


def test_formulas() -> None:
    row = {"age": 7, "score": 2.0, "none": None}
    n: Any = FieldRef(["none"])
    a: Any = FieldRef(["age"])

    def value(formula: Formula) -> Any:
        return formula.evaluate(lambda path: row[path[0]])

    assert [value(f) for f in (a + 1, 1 + a, a - 1, 1 - a, a * 2, 2 * a, a / 2, 14 / a)] == [
        8,
        8,
        6,
        -6,
        14,
        14,
        3.5,
        2,
    ]
    assert [value(f) for f in (a // 2, 15 // a, a % 4, 15 % a, a**2, 2**a, -a)] == [3, 2, 3, 1, 49, 128, -7]
    assert value((a + 1) * FieldRef(["score"]) - 3) == 13.0
    assert value(n + 1) is None
    assert repr((u.age + 1) * 2) == "((age + 1) * 2)"
    assert repr(-u.age) == "(-age)"
    assert [ref.path for ref in ((u.age + 1) * u.score).fields()] == [["age"], ["score"]]


def test_orders_and_aggregates() -> None:
    for term, order in [
        (u.age.desc(), Order(("age",), True)),
        (u.age.asc(), Order(("age",))),
        (desc(u.address.city), Order(("address", "city"), True)),
        (desc("address.city"), Order(("address", "city"), True)),
        (asc(["address", "city"]), Order(("address", "city"))),
    ]:
        assert isinstance(term, Ordering)
        assert term.term == order
    assert repr(u.age.desc()) == "<Ordering by age descending>"
    found = [count(), count("age"), count(u.age, distinct=True), sum_(u.age), min_("age"), max_(u.age), avg(u.age)]
    assert [part.function for part in found] == ["count", "count", "distinct", "sum", "min", "max", "avg"]
    assert [part.path for part in found] == [None] + [("age",)] * 6
    assert repr(max_(u.age)) == "<Aggregate max(age)>"


def test_a_query_shows_no_values() -> None:
    with Database.open_in_memory() as db:
        people = db.collection(Person)
        p = fields(Person)
        query = people.where(p.email == "secret", ~p.name.regex(re.compile("secret"))).order_by(p.age.desc()).limit(3)
        assert repr(query) == "<Query persons where email == ... & ~(name.regex(...)) by age desc limit 3>"
        assert repr(people.where().offset(2)) == "<Query persons where everything offset 2>"
        assert "secret" not in repr(query)
