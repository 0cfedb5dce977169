"""Schemas of the dict interface: 0.16's JSON with its refusals, soundness, and the catalog's JSON."""

import json
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given

from modelvault.errors import ModelVaultFormatError, ModelVaultSchemaError, ModelVaultValidationError
from modelvault.fits import fits
from modelvault.rules import MAX_DEPTH, bare, constrain
from modelvault.schema import Constraint, Field, Index, Schema, Type
from tests import strategies

ID = {"path": ["id"], "type": "int64"}


def schema(*fields: Any, primary: str = "id", indexes: Any = None, name: str = "c") -> Schema:
    return Schema.from_fields_json(name, json.dumps([ID, *fields]), primary, indexes and json.dumps(indexes))


def refused(source: Any, message: str, error: type[Exception] = ValueError) -> None:
    with pytest.raises(error) as caught:
        Schema.from_fields_json("c", source if isinstance(source, str) else json.dumps(source), "id")
    assert message in str(caught.value)


def typed(source: Any, *constraints: Any) -> Type:
    return schema({"path": ["v"], "type": source, "constraints": list(constraints)}).fields[1].type


# fields_json


@pytest.mark.parametrize("kind", ["bool", "int64", "uint64", "float64", "string", "bytes", "uuid", "timestamp"])
def test_scalar_types_of_0_16(kind: str) -> None:
    assert typed(kind) == Type(kind)


@pytest.mark.parametrize("kind", ["date", "time", "timedelta", "decimal"])
def test_scalar_types_beyond_0_16(kind: str) -> None:
    assert typed(kind) == Type(kind)


def test_composite_types() -> None:
    source = {"optional": {"list": {"object": [{"path": ["x"], "type": {"enum": ["a", "b"]}}]}}}
    inner = Type("object", fields=(Field("x", Type("enum", values=("a", "b"))),))
    assert typed(source) == Type("optional", (Type("list", (inner,)),))


def test_unknown_keys_of_a_field_are_ignored() -> None:
    assert schema({"path": ["v"], "type": "string", "default": 7}).fields[1].type == Type("string")


def test_multi_segment_paths_become_groups() -> None:
    found = schema(
        {"path": ["p", "a"], "type": "int64"},
        {"path": ["s"], "type": "string"},
        {"path": ["p", "b", "c"], "type": {"optional": "string"}},
    )
    assert [field.name for field in found.fields] == ["id", "p", "s"]
    group = found.fields[1].type
    assert (group.kind, group.group) == ("object", True)
    assert [field.name for field in group.fields] == ["a", "b"]
    assert found.find(("p", "b", "c")) == Type("optional", (Type("string"),))
    assert found.find(("p", "x")) is None
    assert found.find(("s", "x")) is None


def test_groups_and_objects_mix() -> None:
    found = schema(
        {"path": ["p", "a"], "type": "int64"},
        {"path": ["o"], "type": {"object": [{"path": ["x", "y"], "type": "int64"}]}},
    )
    outer = found.find(("o",))
    inner = found.find(("o", "x"))
    assert outer is not None and not outer.group
    assert inner is not None and inner.group


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("not json", "at line 1 column 1"),
        ("x", "expected value at line 1 column 1"),
        ("", "EOF while parsing a value at line 1 column 0"),
        ("{}", "fields_json must be a JSON array"),
        ("[1]", "each field must be a JSON object"),
        ([{"type": "int64"}], 'missing "path"'),
        ([{"path": "id", "type": "int64"}], '"path" must be an array of strings'),
        ([{"path": [1], "type": "int64"}], "path segment must be a string"),
        ([{"path": [], "type": "int64"}], "schema error: invalid field path"),
        ([{"path": ["a", ""], "type": "int64"}], "schema error: invalid field path"),
        ([{"path": ["id"]}], 'missing "type"'),
        ([{"path": ["id"], "type": "int"}], 'unknown primitive type "int"'),
        ([{"path": ["id"], "type": 5}], '"type" must be a string or object'),
        ([{"path": ["id"], "type": {"map": "string"}}], 'unsupported "type" shape'),
        ([{"path": ["id"], "type": {"list": "string", "optional": "string"}}], 'unsupported "type" shape'),
        ([{"path": ["id"], "type": {"object": "string"}}], 'unsupported "type" shape'),
        ([{"path": ["id"], "type": {"enum": ["a", 1]}}], "enum variant must be a string"),
        ([ID, ID], "schema error: invalid field path"),
        ([{"path": ["id", "x"], "type": "int64"}, ID], "schema error: invalid field path"),
        ([ID, {"path": ["id", "x"], "type": "int64"}], "schema error: invalid field path"),
        ([{"path": ["a"], "type": "int64"}], 'schema error: primary field "id" not found as a top-level field'),
        ([{"path": ["id", "x"], "type": "int64"}], 'schema error: primary field "id" not found as a top-level field'),
        ("[" * 100_000, "recursion limit exceeded"),
    ],
)
def test_bad_fields_json(source: Any, message: str) -> None:
    refused(source, message)


def test_fields_json_must_be_a_str() -> None:
    with pytest.raises(TypeError, match="argument 'fields_json': 'list' object is not an instance of 'str'"):
        Schema.from_fields_json("c", [ID], "id")  # type: ignore[arg-type]


def test_deep_types_are_refused() -> None:
    source: Any = "string"
    for _ in range(MAX_DEPTH + 5):
        source = {"list": source}
    refused([ID, {"path": ["v"], "type": source}], "recursion limit exceeded")


def test_names_and_primary_are_stripped() -> None:
    found = Schema.from_fields_json("  users ", json.dumps([ID]), " id ")
    assert (found.name, found.primary, found.version) == ("users", "id", 1)


@pytest.mark.parametrize("name", ["", "   ", "x" * 1_000_000])
def test_invalid_collection_names(name: str) -> None:
    with pytest.raises(ModelVaultSchemaError, match="schema error: invalid collection name"):
        schema(name=name)


@pytest.mark.parametrize("name", ["a/b", "with space", "日本", "nul\x00", "x" * 1000])
def test_valid_collection_names(name: str) -> None:
    assert schema(name=name).name == name


def test_empty_primary_field() -> None:
    with pytest.raises(ModelVaultSchemaError, match="schema error: invalid collection name"):
        schema(primary="")


# Schemas that could never take a row


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"enum": []}, "without values"),
        ({"object": []}, "object without fields"),
        ({"optional": {"optional": "string"}}, "optional of optional"),
        ({"object": [{"path": ["x"], "type": "string"}, {"path": ["x"], "type": "int64"}]}, "invalid field path"),
    ],
)
def test_useless_types_are_refused(source: Any, message: str) -> None:
    refused([ID, {"path": ["v"], "type": source}], message, ModelVaultSchemaError)


@pytest.mark.parametrize(
    "kind", [{"optional": "int64"}, {"list": "int64"}, {"object": [{"path": ["x"], "type": "string"}]}, {"enum": ["a"]}]
)
def test_primary_keys_are_scalars(kind: Any) -> None:
    refused([{"path": ["id"], "type": kind}], "must use a primitive type (not optional/list/object/enum)")


# Constraints


def rules(type: Type) -> list[tuple[str, Any]]:
    return [(constraint.kind, constraint.value) for constraint in bare(type).constraints]


@pytest.mark.parametrize(
    ("kind", "constraint"),
    [
        ("int64", {"min_i64": -5}),
        ("int64", {"max_i64": 2**63 - 1}),
        ("uint64", {"min_u64": 0}),
        ("uint64", {"max_u64": 2**64 - 1}),
        ("float64", {"min_f64": 0.5}),
        ("float64", {"max_f64": 3}),
        ("string", {"min_length": 0}),
        ("bytes", {"max_length": 3}),
        ({"list": "string"}, {"min_length": 2}),
        ("string", {"regex": "^[a-z]+$"}),
        ("string", {"email": True}),
        ("string", {"url": True}),
        ("string", {"nonempty": True}),
        ("bytes", {"nonempty": True}),
        ({"list": "int64"}, {"nonempty": True}),
        ({"optional": "string"}, {"nonempty": True}),
    ],
)
def test_every_constraint(kind: Any, constraint: dict[str, Any]) -> None:
    assert rules(typed(kind, constraint)) == list(constraint.items())


def test_two_keys_are_two_constraints() -> None:
    assert rules(typed("int64", {"min_i64": 1, "max_i64": 5})) == [("min_i64", 1), ("max_i64", 5)]


def test_constraints_stand_inside_the_optional() -> None:
    found = typed({"optional": "string"}, {"nonempty": True})
    assert found.constraints == ()
    assert found.items[0].constraints == (Constraint("nonempty"),)


@pytest.mark.parametrize(
    "constraint",
    [
        {"bogus": 1},
        {"min_i64": "1"},
        {"min_i64": 1.5},
        {"min_i64": True},
        {"min_i64": 2**63},
        {"min_u64": -1},
        {"min_length": -1},
        {"min_f64": "x"},
        {"max_f64": 10**400},
        {"regex": 5},
        {"email": False},
        {"email": 1},
        {"nonempty": None},
        {},
    ],
)
def test_unknown_constraints(constraint: dict[str, Any]) -> None:
    field = {"path": ["v"], "type": "int64", "constraints": [constraint]}
    refused([ID, field], "unknown constraint shape", ModelVaultSchemaError)


def test_constraints_must_be_an_array_of_objects() -> None:
    refused([ID, {"path": ["v"], "type": "int64", "constraints": {}}], '"constraints" must be an array')
    refused([ID, {"path": ["v"], "type": "int64", "constraints": [1]}], "each constraint must be a JSON object")


@pytest.mark.parametrize(
    ("kind", "constraint", "message"),
    [
        ("string", {"min_i64": 1}, "validation error at v: MinI64 constraint requires int64"),
        ("bool", {"max_i64": 1}, "validation error at v: MaxI64 constraint requires int64"),
        ("timestamp", {"min_i64": 1}, "validation error at v: MinI64 constraint requires int64"),
        ("int64", {"min_u64": 1}, "validation error at v: MinU64 constraint requires uint64"),
        ("int64", {"max_f64": 1}, "validation error at v: MaxF64 constraint requires float64"),
        ("int64", {"regex": "a"}, "validation error at v: Regex constraint requires string"),
        ("int64", {"nonempty": True}, "validation error at v: NonEmpty applies to string, bytes, or list"),
        ("int64", {"min_length": 1}, "validation error at v: MinLength applies to string, bytes, or list"),
        ("bytes", {"email": True}, "validation error at v: Email constraint requires string"),
        ("string", {"regex": "a" * 513}, "validation error: regex pattern length 513 exceeds maximum 512"),
        ("string", {"regex": "(a"}, "validation error: regex pattern has unbalanced parentheses"),
        ("string", {"regex": "a)"}, "validation error: regex pattern has unbalanced parentheses"),
        ("string", {"regex": "(a+)+"}, "validation error: regex pattern contains nested quantifiers"),
        ("string", {"regex": "["}, "validation error at v: invalid regex in schema: "),
    ],
)
def test_impossible_constraints_are_refused(kind: Any, constraint: dict[str, Any], message: str) -> None:
    field = {"path": ["v"], "type": kind, "constraints": [constraint]}
    refused([ID, field], message, ModelVaultValidationError)


def test_constraints_inside_objects_name_their_path() -> None:
    inner = {"path": ["x"], "type": "string", "constraints": [{"min_i64": 1}]}
    refused([ID, {"path": ["o"], "type": {"object": [inner]}}], "validation error at o.x: MinI64")
    refused([ID, {"path": ["p", "q"], "type": "string", "constraints": [{"min_i64": 1}]}], "at p.q: MinI64")


def test_constraints_of_a_union_go_where_they_fit() -> None:
    union = Type("union", (Type("int"), Type("string")))
    found = constrain(union, [Constraint("ge", 1), Constraint("min_len", 2)])
    assert [item.constraints for item in found.items] == [(Constraint("ge", 1),), (Constraint("min_len", 2),)]


@pytest.mark.parametrize(
    ("kind", "bound"),
    [("date", datetime(2024, 1, 1)), ("int", True), ("string", 1), ("timestamp", 5), ("decimal", "1")],
)
def test_bounds_must_compare_with_their_values(kind: str, bound: Any) -> None:
    row = Type("object", fields=(Field("id", Type(kind, constraints=(Constraint("ge", bound),))),))
    with pytest.raises(ModelVaultValidationError, match="ge of "):
        Schema("c", "id", row).check()


# Indexes


def test_indexes() -> None:
    found = schema(
        {"path": ["o"], "type": {"object": [{"path": ["x"], "type": {"optional": "string"}}]}},
        {"path": ["p", "a"], "type": {"enum": ["a"]}},
        indexes=[
            {"name": " one ", "path": ["id"], "kind": "unique"},
            {"name": "two", "path": ["o", "x"], "kind": "index"},
            {"name": "three", "path": ["p", "a"], "kind": "non_unique"},
            {"name": "four", "path": ["id"], "kind": "index"},
            {"name": "five", "paths": [["id"], ["o", "x"]], "kind": "index"},
        ],
    )
    assert found.indexes == (
        Index("one", (("id",),), True),
        Index("two", (("o", "x"),)),
        Index("three", (("p", "a"),)),
        Index("four", (("id",),)),
        Index("five", (("id",), ("o", "x"))),
    )
    assert found.index("two") == found.indexes[1]
    assert found.index("none") is None


@pytest.mark.parametrize("source", [None, "", "  ", "[]"])
def test_no_indexes(source: str | None) -> None:
    assert Schema.from_fields_json("c", json.dumps([ID]), "id", source).indexes == ()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({}, "indexes_json must be a JSON array"),
        ([1], "each index must be a JSON object"),
        ([{"path": ["id"], "kind": "index"}], 'index missing "name" or name is not a string'),
        ([{"name": 5, "path": ["id"], "kind": "index"}], 'index missing "name" or name is not a string'),
        ([{"name": " ", "path": ["id"], "kind": "index"}], 'index "name" must be non-empty'),
        ([{"name": "i", "path": ["id"], "kind": "index"}] * 2, 'duplicate index name "i"'),
        ([{"name": "i", "kind": "index"}], 'index missing "path"'),
        ([{"name": "i", "path": "id", "kind": "index"}], 'index "path" must be an array of strings'),
        ([{"name": "i", "path": [1], "kind": "index"}], 'index "path" must be an array of strings'),
        ([{"name": "i", "path": [], "kind": "index"}], "schema error: invalid field path"),
        ([{"name": "i", "path": ["x"], "kind": "index"}], 'index "i" path does not match any field in fields_json'),
        (
            [{"name": "i", "path": ["l"], "kind": "index"}],
            'index "i" path must resolve to a scalar field (not list or object root)',
        ),
        (
            [{"name": "i", "path": ["o"], "kind": "index"}],
            'index "i" path must resolve to a scalar field (not list or object root)',
        ),
        ([{"name": "i", "path": ["id"]}], 'index missing "kind" or kind is not a string'),
        (
            [{"name": "i", "path": ["id"], "kind": "uniq"}],
            'index "i": kind must be "unique", "index", or "non_unique" (got "uniq")',
        ),
        ([{"name": "i", "paths": [["id"], ["id"]], "kind": "index"}], "names a path twice"),
    ],
)
def test_bad_indexes(source: Any, message: str) -> None:
    fields = [
        {"path": ["l"], "type": {"list": "string"}},
        {"path": ["o"], "type": {"object": [{"path": ["x"], "type": "string"}]}},
    ]
    with pytest.raises(ValueError) as caught:
        Schema.from_fields_json("c", json.dumps([ID, *fields]), "id", json.dumps(source))
    assert message in str(caught.value)


def test_indexes_over_lists_and_their_limits() -> None:
    row = Type(
        "object",
        fields=(
            Field("id", Type("int")),
            Field("a", Type("list", (Type("string"),))),
            Field("b", Type("set", (Type("int"),))),
        ),
    )
    Schema("c", "id", row, (Index("i", (("a",),)),)).check()
    with pytest.raises(ModelVaultSchemaError, match="more than one list"):
        Schema("c", "id", row, (Index("i", (("a",), ("b",))),)).check()


# The catalog's JSON


def round_trip(source: Schema) -> Schema:
    return Schema.from_json(json.loads(json.dumps(source.to_json())))


@given(strategies.rows())
def test_catalog_json_round_trips(row: Type) -> None:
    source = Schema("c", "id", row, (Index("i", (("id",),), True),), 3)
    assert round_trip(source) == source
    assert json.dumps(round_trip(source).to_json()) == json.dumps(source.to_json())


def test_catalog_json_keeps_every_kind_of_value() -> None:
    values = ("a", 1, True, 1.5, float("inf"), b"\x00", UUID(int=1), datetime(2024, 1, 1), date(2024, 1, 1))
    values += (time(1, 2), timedelta(days=-1, microseconds=3), Decimal("1.50"))  # type: ignore[assignment]
    constraints = tuple(Constraint("ge", bound) for bound in (1, 2.5, Decimal("0.1")))
    row = Type(
        "object",
        fields=(
            Field("id", Type("decimal", constraints=constraints)),
            Field("v", Type("literal", values=values)),
            Field("u", Type("union", (Type("int"), Type("custom", (Type("string"),)), Type("any")))),
            Field("r", Type("optional", (Type("ref", values=(0,)),))),
            Field("g", Type("object", fields=(Field("x", Type("bool")),), group=True)),
        ),
    )
    source = Schema("c", "id", row)
    found = round_trip(source)
    assert found == source
    assert [type(value) for value in found.fields[1].type.values] == [type(value) for value in values]


def test_catalog_json_of_a_later_form_is_refused() -> None:
    source = schema().to_json()
    with pytest.raises(ModelVaultFormatError, match="form 99"):
        Schema.from_json(source | {"form": 99})


@pytest.mark.parametrize(
    "damage",
    [
        {"fields": [["id", "nonsense"]]},
        {"fields": [["id"]]},
        {"fields": [["id", {"kind": "literal", "values": [{"uuid": "x"}]}]]},
        {"fields": [["id", {"kind": "int", "constraints": [["bogus", 1]]}]]},
        {"fields": 5},
        {"primary": "x"},
        {"name": 5},
        {"indexes": [["i", [["nope"]], True]]},
    ],
)
def test_damaged_catalog_json_is_refused(damage: dict[str, Any]) -> None:
    with pytest.raises(ModelVaultFormatError):
        Schema.from_json(schema().to_json() | damage)


def test_unions_from_the_catalog_choose_by_value() -> None:
    union = Type("union", (Type("int"), Type("bool"), Type("list", (Type("int"),)), Type("list", (Type("string"),))))
    row = Type("object", fields=(Field("id", Type("int")), Field("u", union)))
    rule = round_trip(Schema("c", "id", row)).fields[1].type.python
    assert rule[:2] == (int, bool)
    assert [test([1]) for test in rule[2:]] == [True, False]
    assert [test(["a"]) for test in rule[2:]] == [False, True]


# Which values fit a type


@given(strategies.rows().flatmap(lambda row: strategies.st.tuples(strategies.st.just(row), strategies.values(row))))
def test_values_fit_their_type(pair: tuple[Type, Any]) -> None:
    row, value = pair
    assert fits(replaced_timestamps(row))(value)


def replaced_timestamps(type: Type) -> Type:
    """The dict interface takes and gives timestamps as integers."""
    if type.kind == "timestamp":
        return Type("int64")
    return Type(
        type.kind,
        tuple(replaced_timestamps(item) for item in type.items),
        tuple(Field(field.name, replaced_timestamps(field.type)) for field in type.fields),
        type.values,
    )


@pytest.mark.parametrize(
    ("type", "value"),
    [
        (Type("int"), True),
        (Type("int", constraints=(Constraint("ge", 1),)), 0),
        (Type("date"), datetime(2024, 1, 1)),
        (Type("string"), 1),
        (Type("enum", values=("a",)), "b"),
        (Type("literal", values=(1,)), True),
        (Type("literal", values=(1,)), []),
        (Type("tuple", (Type("int"),)), (1, 2)),
        (Type("dict", (Type("string"), Type("int"))), {"a": "b"}),
        (Type("optional", (Type("int"),)), "x"),
        (Type("object", fields=(Field("x", Type("int")),)), {}),
        (Type("object", fields=(Field("x", Type("int")),)), {"x": 1, "y": 2}),
        (Type("union", (Type("int"), Type("string"))), 1.5),
        (Type("custom", (Type("string"),)), 5),
    ],
)
def test_values_that_do_not_fit(type: Type, value: Any) -> None:
    assert not fits(type)(value)
