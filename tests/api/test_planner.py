"""Plans: which way is taken, what it leaves to test and to sort. Pure functions over a schema and counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from modelvault._covered import Covered, covered
from modelvault._explain import explained
from modelvault._planner import Planner
from modelvault._ranges import Range, Ranges, both, either
from modelvault._ways import Plan
from modelvault.conditions import ALL, NONE, Condition, Every, Needs, Negation, Order, Selection, Some, Test
from modelvault.schema import Field, Index, Schema, Type

TEXT, NUMBER = Type("string"), Type("int")
SCHEMA = Schema(
    "people",
    "id",
    Type(
        "object",
        fields=(
            Field("id", NUMBER),
            Field("email", TEXT),
            Field("age", Type("optional", (NUMBER,))),
            Field("city", TEXT),
            Field("street", TEXT),
            Field("tags", Type("list", (TEXT,))),
            Field("note", TEXT),
        ),
    ),
    (
        Index("by_age", (("age",),)),
        Index("by_email", (("email",),), unique=True),
        Index("by_city", (("city",), ("age",))),
        Index("by_tag", (("tags",),)),
        Index("by_street", (("street",), ("tags",))),
    ),
)
COUNT = 1000.0
SHARES = {None: 500.0, "by_age": 30.0, "by_email": 200.0, "by_city": 20.0, "by_tag": 40.0, "by_street": 25.0}


def estimate(index: str | None, low: bytes | None, high: bytes | None) -> float:
    return SHARES[index] if low or high else COUNT


def t(path: str, op: str, *values: object) -> Test:
    return Test((path,), op, values)


def every(*parts: Condition) -> Every:
    return Every(parts)


def flat(*parts: Condition) -> Every:
    """The conditions together, as queries are built: no Every inside another."""
    return Every(tuple(one for part in parts for one in (part.parts if isinstance(part, Every) else (part,))))


def some(*parts: Condition) -> Some:
    return Some(parts)


def order(path: str, desc: bool = False) -> tuple[Order, ...]:
    return (Order((path,), desc),)


def plan_of(condition: Condition = ALL, ordered: bool = True, **options: object) -> Plan:
    """The plan, which has to be the same when it is made again from what the planner remembers."""
    planner = Planner(SCHEMA)
    selection = Selection(condition, **options)  # type: ignore[arg-type]
    needs = Needs(ordered, selection.fields if ordered else ())
    plan = planner.plan(selection, COUNT, estimate, needs)
    again = planner.quick(selection, COUNT, needs)
    if again is not None:
        assert (again.source, again.rest, again.sorts) == (plan.source, plan.rest, plan.sorts)
        assert (again.backward, again.covers) == (plan.backward, plan.covers)
    return plan


def explain(condition: Condition = ALL, **options: object) -> list[str]:
    """The lines of the plan's part of an explanation."""
    selection = Selection(condition, **options)  # type: ignore[arg-type]
    text = explained(SCHEMA, selection, plan_of(condition, **options))
    assert text.startswith("Plan:\n") and text.endswith("\n")
    return [line.strip() for line in text[len("Plan:\n") : text.index("Why:\n")].splitlines()]


class TestTheWay:
    def test_every_row(self) -> None:
        assert explain() == ["CollectionScan"]
        assert explain(t("note", "eq", "x")) == [
            "CollectionScan",
            'Filter Eq { path: FieldPath(["note"]), value: String("x") }',
        ]

    def test_primary_keys(self) -> None:
        assert plan_of(t("id", "eq", 3)).source == ("keys", (b"\x81\x03",))
        assert plan_of(t("id", "in", 5, 3, 5)).source == ("keys", (b"\x81\x03", b"\x81\x05"))
        assert plan_of(some(t("id", "eq", 5), t("id", "eq", 3))).source == ("keys", (b"\x81\x03", b"\x81\x05"))
        assert explain(t("id", "eq", 3)) == ["PrimaryKeyLookup"]

    def test_a_range_of_primary_keys(self) -> None:
        condition = every(t("id", "ge", 3), t("id", "lt", 200), t("id", "gt", 1))
        assert plan_of(condition).source == ("rows", b"\x81\x03", b"\x81\xc8")
        assert explain(condition) == ["PrimaryKeyRange", "KeyRange lo >= Int64(3)", "KeyRange hi < Int64(200)"]

    def test_a_unique_index_before_others(self) -> None:
        condition = every(t("age", "eq", 3), t("email", "eq", "a"))
        assert explain(condition) == [
            'IndexLookup index="by_email" kind=Unique',
            'ResidualFilter Eq { path: FieldPath(["age"]), value: Int64(3) }',
        ]

    def test_a_composite_index_takes_equality_and_one_range(self) -> None:
        condition = every(t("city", "eq", "Bonn"), t("age", "gt", 3), t("age", "le", 9))
        assert explain(condition) == [
            'IndexRangeLookup index="by_city" kind=NonUnique',
            "KeyRange lo > Int64(3)",
            "KeyRange hi <= Int64(9)",
        ]
        assert plan_of(condition).rest == ALL

    def test_the_primary_key_is_the_last_component_of_an_index(self) -> None:
        plan = plan_of(every(t("age", "eq", 3), t("id", "gt", 9)))
        assert plan.source == ("entries", "by_age", ((b"\x01\x81\x03\x81\x09\x00", b"\x01\x81\x04"),), False)

    def test_elements_of_a_list(self) -> None:
        plan = plan_of(t("tags", "contains", "new"))
        assert plan.source == ("entries", "by_tag", ((b"\x01new\0\0", b"\x01new\0\x01"),), False)
        assert plan_of(t("tags", "startswith", "n")).source[1][0][3], "a row may have several such elements"

    def test_two_elements_are_two_tests(self) -> None:
        plan = plan_of(every(t("tags", "contains", "a"), t("tags", "contains", "b")))
        assert isinstance(plan.rest, Test), "one of them"

    def test_rows_with_an_empty_list_are_in_no_index_over_it(self) -> None:
        assert plan_of(t("street", "eq", "Main")).source[0] == "rows"
        assert plan_of(every(t("street", "eq", "Main"), t("tags", "eq", "a"))).way.index is not None
        assert plan_of(t("tags", "null")).source[0] == "rows"
        assert plan_of(t("tags", "in", "a", None)).source[0] == "rows"
        assert plan_of(Negation(t("tags", "eq", "a"))).source[0] == "rows"

    def test_a_union_of_ways(self) -> None:
        lines = explain(some(t("email", "eq", "a"), every(t("age", "eq", 3), t("note", "eq", "n")), t("id", "eq", 7)))
        assert lines[:4] == [
            "IndexUnion",
            'IndexLookup index="by_email" kind=Unique',
            'IndexLookup index="by_age" kind=NonUnique',
            "PrimaryKeyLookup",
        ]
        assert lines[4].startswith("ResidualFilter Or(["), "because of the note"
        assert plan_of(some(t("email", "eq", "a"), t("age", "eq", 3))).rest == ALL
        assert plan_of(some(t("email", "eq", "a"), t("note", "eq", "n"))).source[0] == "rows"

    def test_in_is_one_lookup_for_each_value(self) -> None:
        plan = plan_of(t("age", "in", 7, 3, None))
        assert plan.source == (
            "union",
            (
                (
                    "entries",
                    "by_age",
                    ((b"\x01\x81\x03", b"\x01\x81\x04"), (b"\x01\x81\x07", b"\x01\x81\x08"), (b"\x02", b"\x03")),
                    False,
                ),
            ),
        )

    def test_the_beginning_of_a_pattern(self) -> None:
        assert plan_of(t("email", "like", "ann%")).rest == ALL
        assert plan_of(t("email", "startswith", "ann")).source == plan_of(t("email", "like", "ann%")).source
        assert plan_of(t("email", "like", "an_%")).rest == t("email", "like", "an_%")
        assert plan_of(t("email", "like", r"50\%")).source == plan_of(t("email", "eq", "50%")).source
        assert plan_of(t("email", "like", "%ann")).source[0] == "rows"

    def test_contradictions_find_nothing(self) -> None:
        for condition in (
            every(t("age", "gt", 3), t("age", "lt", 3)),
            every(t("id", "eq", 3), t("id", "eq", 4)),
            every(t("note", "eq", "x"), t("age", "in")),
            every(t("note", "eq", "x"), NONE),
            t("id", "null"),
        ):
            assert plan_of(condition).source == ("keys", ())
            assert explain(condition) == ["Nothing"]

    def test_what_cannot_be_a_range_is_tested(self) -> None:
        for condition in (t("age", "regex", "x"), t("tags", "eq", ["a"]), t("note", "gt", "x")):
            plan = plan_of(condition)
            assert (plan.source, plan.rest) == (("rows", None, None), condition)

    def test_a_complement_has_none_in_it(self) -> None:
        plan = plan_of(Negation(t("age", "lt", 5)))
        assert plan.source == ("union", (("entries", "by_age", ((b"\x01\x81\x05", b"\x03"),), False),))


class TestTheOrder:
    def test_none_is_the_order_of_the_primary_key(self) -> None:
        assert plan_of(t("age", "eq", 3)).source[0] == "entries", "as the index has it"
        assert plan_of(t("age", "gt", 3)).source[0] == "union", "as the keys found are sorted"
        assert plan_of(t("age", "gt", 3), ordered=False).source[0] == "entries"

    @pytest.mark.parametrize("desc", [False, True])
    def test_of_an_index(self, desc: bool) -> None:
        plan = plan_of(order=order("age", desc), limit=20)
        assert plan.source == ("entries", "by_age", ((b"", None),), False)
        assert (plan.sorts, plan.backward) == (False, desc)

    def test_behind_equality(self) -> None:
        plan = plan_of(t("city", "eq", "Bonn"), order=order("age", True), limit=20)
        assert plan.way.index is not None
        assert (plan.way.index.name, plan.sorts, plan.backward) == ("by_city", False, True)

    def test_a_constant_decides_nothing(self) -> None:
        plan = plan_of(t("city", "eq", "Bonn"), order=(*order("city", True), *order("age")), limit=5)
        assert (plan.order, plan.sorts) == (order("age"), False)

    def test_nothing_stands_behind_the_primary_key(self) -> None:
        plan = plan_of(order=(*order("id", True), *order("note")))
        assert (plan.order, plan.desc, plan.backward, plan.sorts) == ((), True, True, False)

    def test_two_directions_are_sorted(self) -> None:
        plan = plan_of(order=(*order("city"), *order("age", True)))
        assert plan.sorts
        assert not plan_of(order=(*order("city"), *order("age")), limit=9).sorts

    def test_a_list_is_no_order(self) -> None:
        assert plan_of(order=order("tags"), limit=9).sorts

    def test_what_stands_before_the_components_of_the_order(self) -> None:
        assert plan_of(t("city", "eq", "Bonn"), order=order("age")).lead == b"\x01Bonn\0\0"
        assert plan_of(order=order("age"), limit=9).lead == b""
        assert plan_of(t("age", "gt", 3)).lead == b"", "keys are brought into order"


class TestIndexOnly:
    """What an index has need not be read from the rows."""

    @pytest.mark.parametrize(
        ("condition", "options", "index"),
        [
            (t("city", "eq", "Bonn"), {"fields": (("age",),)}, "by_city"),
            (t("city", "eq", "Bonn"), {"fields": (("age",), ("id",))}, "by_city"),
            (t("age", "gt", 3), {"fields": (("id",), ("age",))}, "by_age"),
            (every(t("city", "eq", "Bonn"), t("age", "ne", 3), t("id", "ne", 4)), {"fields": (("city",),)}, "by_city"),
            (t("tags", "contains", "x"), {"fields": (("id",),)}, "by_tag"),
            (every(t("street", "eq", "x"), t("tags", "contains", "x")), {"fields": (("street",),)}, "by_street"),
            (ALL, {"fields": (("age",),), "order": order("age")}, "by_age"),
            (ALL, {"fields": (("age",),), "order": order("city"), "distinct": True}, "by_city"),
        ],
    )
    def test_covered(self, condition: Condition, options: dict[str, Any], index: str) -> None:
        plan = plan_of(condition, **options)
        assert plan.covers
        assert plan.way.index is not None
        assert plan.way.index.name == index
        assert "  IndexOnly\n" in explained(SCHEMA, Selection(condition, **options), plan)

    @pytest.mark.parametrize(
        ("condition", "options"),
        [
            (t("city", "eq", "Bonn"), {}),
            (t("city", "eq", "Bonn"), {"fields": (("age",), ("note",))}),
            (t("city", "eq", "Bonn"), {"fields": (("city",),), "order": order("note")}),
            (every(t("city", "eq", "Bonn"), t("note", "eq", "x")), {"fields": (("city",),)}),
            (t("tags", "contains", "x"), {"fields": (("tags",),)}),
            (t("tags", "in", "x", "y"), {"fields": (("id",),)}),
            (t("age", "gt", 3), {"fields": (("age",),), "limit": 3}),
        ],
    )
    def test_not_covered(self, condition: Condition, options: dict[str, Any]) -> None:
        plan = plan_of(condition, **options)
        assert not plan.covers
        assert "IndexOnly" not in explained(SCHEMA, Selection(condition, **options), plan)

    def test_keys_found_need_no_rows_in_the_order_of_keys(self) -> None:
        """Sorted as they are read; where few are wanted, the keys are brought into order and so many rows looked at."""
        condition = t("age", "gt", 3)
        assert plan_of(condition, fields=(("age",),)).sorts
        assert plan_of(condition, fields=(("age",),), limit=3).source[0] == "union"

    def test_long_rows_are_left_alone(self) -> None:
        """A whole index instead of all rows, where pages hold few of these."""
        selection, needs = Selection(t("age", "ne", 3)), Needs(False, (("age",),))
        for rows, way in ((100.0, "rows"), (4.0, "entries")):
            densities = {None: rows} | dict.fromkeys(("by_age", "by_city", "by_email", "by_tag", "by_street"), 500.0)
            plan = Planner(SCHEMA).plan(selection, COUNT, estimate_all, needs, densities.__getitem__)
            assert plan.way.kind == way

    @pytest.mark.parametrize(
        ("kind", "exact", "compared"),
        [
            ("string", True, True),
            ("float64", True, True),
            ("timestamp", False, True),
            ("time", False, True),
            ("decimal", False, False),
        ],
    )
    def test_kinds(self, kind: str, exact: bool, compared: bool) -> None:
        """A moment's key is without its zone, a decimal's without zeros at the end."""
        held = covered_of(Type(kind))
        assert (("x",) in held.exact, ("x",) in held.compared) == (exact, compared)
        assert ("id",) in held.exact

    def test_below_an_object_that_may_be_none(self) -> None:
        """Its entries do not tell the object's None from the field's."""
        inner = Type("object", fields=(Field("x", NUMBER),))
        assert ("o", "x") in covered_of(inner, ("o", "x")).exact
        assert ("o", "x") not in covered_of(Type("optional", (inner,)), ("o", "x")).compared

    def test_older_rows(self) -> None:
        """They must have the field as it is stored now, or something that stands in for it."""
        wide, maybe = Type("int64"), Type("optional", (TEXT,))
        assert ("x",) in covered_of(TEXT, older=[TEXT, None]).compared, "it has a fill"
        assert ("x",) in covered_of(maybe, older=[None]).compared, "it is None"
        assert ("x",) not in covered_of(wide, older=[NUMBER]).compared
        assert ("x",) not in covered_of(TEXT, older=[maybe]).compared
        assert ("x",) not in covered_of(TEXT, older=[None], fill=None).compared


def estimate_all(index: str | None, low: bytes | None, high: bytes | None) -> float:
    return COUNT


def schema_of(type: Type | None, path: tuple[str, ...], fill: bytes | None) -> Schema:
    fields = () if type is None else (Field(path[0], type, stored_fill=fill),)
    return Schema("things", "id", Type("object", fields=(Field("id", NUMBER), *fields)), (Index("by_x", (path,)),))


def covered_of(
    type: Type, path: tuple[str, ...] = ("x",), older: Sequence[Type | None] = (), fill: bytes | None = b"fill"
) -> Covered:
    """What an index at this path covers."""
    schema = schema_of(type, path, fill)
    return covered(schema, [schema_of(one, path, None) for one in older], schema.indexes[0])


class TestWhatIsRemembered:
    def test_a_way_is_taken_again_for_other_values(self) -> None:
        planner = Planner(SCHEMA)
        planner.plan(Selection(t("email", "eq", "a")), COUNT, estimate)
        again = planner.quick(Selection(t("email", "eq", "b")), COUNT)
        assert again is not None
        assert again.source == ("entries", "by_email", ((b"\x01b\0\0", b"\x01b\0\x01"),), False)

    @pytest.mark.parametrize("more", [(), (t("note", "eq", "n"),)])
    @pytest.mark.parametrize("limit", [None, 5])
    @pytest.mark.parametrize("terms", [(), order("age"), order("age", True), order("note")])
    @pytest.mark.parametrize(
        "make",
        [
            lambda a, b: t("id", "eq", a),
            lambda a, b: every(t("id", "ge", a), t("id", "lt", b)),
            lambda a, b: every(t("age", "gt", a), t("age", "le", b)),
            lambda a, b: t("age", "lt", a),
            lambda a, b: t("age", "ge", a),
            lambda a, b: every(t("age", "eq", a), t("id", "gt", b)),
            lambda a, b: every(t("age", "eq", a), t("id", "eq", b)),
            lambda a, b: every(t("city", "eq", str(a)), t("age", "gt", b)),
            lambda a, b: every(t("city", "eq", str(a)), t("age", "eq", b)),
            lambda a, b: every(t("street", "eq", str(a)), t("tags", "contains", str(b))),
        ],
    )
    def test_other_values_give_the_plan_that_thinking_gives(
        self, make: Callable[[int, int], Condition], terms: tuple[Order, ...], limit: int | None, more: tuple[Test, ...]
    ) -> None:
        for first, second in ((3, 300), (-5, 7), (9, 9), (9, 8)):
            planner = Planner(SCHEMA)
            planner.plan(Selection(flat(make(1, 2), *more), terms, limit), COUNT, estimate)
            selection = Selection(flat(make(first, second), *more), terms, limit)
            again = planner.quick(selection, COUNT)
            thought = Planner(SCHEMA).plan(selection, COUNT, estimate)
            assert again is not None
            if again.rest == selection.condition:  # every row is tested: contradictions find nothing this way too
                assert thought.source in (("keys", ()), again.source)
            else:
                assert (again.source, again.rest, again.sorts) == (thought.source, thought.rest, thought.sorts)

    def test_not_after_the_collection_has_grown(self) -> None:
        planner = Planner(SCHEMA)
        planner.plan(Selection(t("email", "eq", "a")), COUNT, estimate)
        assert planner.quick(Selection(t("email", "eq", "b")), 3 * COUNT) is None

    def test_not_for_another_form(self) -> None:
        planner = Planner(SCHEMA)
        planner.plan(Selection(t("email", "eq", "a")), COUNT, estimate)
        for other in (
            Selection(t("email", "gt", "a")),
            Selection(t("email", "eq", None)),
            Selection(t("email", "eq", "a"), limit=1),
            Selection(t("email", "eq", "a"), order("age")),
        ):
            assert planner.quick(other, COUNT) is None


def spans(*pairs: tuple[str, str | None]) -> Ranges:
    return tuple(Range(low.encode(), None if high is None else high.encode()) for low, high in pairs)


def members(ranges: Ranges) -> Iterator[str]:
    for byte in "abcdefghij":
        if any(part.low <= byte.encode() and (part.high is None or byte.encode() < part.high) for part in ranges):
            yield byte


@pytest.mark.parametrize("left", [(), (("a", "c"),), (("b", "d"), ("f", None)), (("a", "b"), ("c", "d"), ("e", "f"))])
@pytest.mark.parametrize("right", [(), (("", None),), (("c", "g"),), (("a", "e"), ("g", "h"))])
def test_ranges_are_sets(left: tuple[tuple[str, str | None], ...], right: tuple[tuple[str, str | None], ...]) -> None:
    a, b = spans(*left), spans(*right)
    assert set(members(both(a, b))) == set(members(a)) & set(members(b))
    assert set(members(either([a, b]))) == set(members(a)) | set(members(b))
