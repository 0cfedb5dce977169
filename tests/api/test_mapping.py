"""Model classes as schemas: every type, the markers, the class attributes, and the fit with what is stored."""

import collections
import dataclasses
import enum
import json
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Union, cast

import pytest
from annotated_types import Ge, Len
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from modelvault.errors import ModelVaultFormatError, ModelVaultSchemaError, ModelVaultValidationError
from modelvault.mapping import attach_refs, bind, check_instance, collection_name, schema_of
from modelvault.schema import MISSING, Constraint, Index, Schema, Shape, Type
from modelvault.specs import ConstraintSpec, FieldRef, IndexSpec, constrained, index, unique
from tests import models

INT, STRING = Type("int"), Type("string")
CLASSES = [cls for cls in vars(models).values() if isinstance(cls, type) and hasattr(cls, "__modelvault_primary_key__")]


def types_of(cls: type) -> dict[str, Type]:
    return {field.name: field.type for field in schema_of(cls).fields}


def model(annotation: Any, **extra: Any) -> type[BaseModel]:
    """A model with an id and one field `v`."""
    body = {"__modelvault_primary_key__": "id", "__annotations__": {"id": int, "v": annotation}, "__module__": __name__}
    return cast("type[BaseModel]", type("Model", (BaseModel,), body | extra))


def plain(annotation: Any, **extra: Any) -> type:
    """A dataclass with an id and one field `v`."""
    namespace = {"__modelvault_primary_key__": "id"} | extra
    return dataclasses.make_dataclass("Plain", [("id", int), ("v", annotation)], namespace=namespace)


# Types


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_shared_model_has_a_schema_that_the_catalog_can_keep(cls: type) -> None:
    found = schema_of(cls)
    kept = Schema.from_json(json.loads(json.dumps(found.to_json())))
    assert kept == found
    assert bind(kept, found) == found


@pytest.mark.parametrize("cls", [models.Scalars, models.PlainScalars])
def test_scalars(cls: type) -> None:
    kinds = [field.kind for field in types_of(cls).values()]
    assert kinds == [
        *("int", "bool", "int", "float64", "string", "bytes", "uuid"),
        *("timestamp", "date", "time", "timedelta", "decimal"),
    ]
    assert types_of(cls)["stamp"].python == "datetime"


@pytest.mark.parametrize("make", [model, plain])
@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (Union[None, int], Type("optional", (INT,))),  # noqa: UP007
        (int | None, Type("optional", (INT,))),
        (list, Type("list", (Type("any"),))),
        (list[int], Type("list", (INT,))),
        (tuple, Type("vartuple", (Type("any"),))),
        (tuple[int, ...], Type("vartuple", (INT,))),
        (tuple[int, str], Type("tuple", (INT, STRING))),
        (set[str], Type("set", (STRING,))),
        (frozenset[str], Type("frozenset", (STRING,))),
        (dict, Type("dict", (Type("any"), Type("any")))),
        (dict[str, int | None], Type("dict", (STRING, Type("optional", (INT,))))),
        (collections.abc.Sequence[int], Type("union", (Type("list", (INT,)), Type("vartuple", (INT,))))),
        (collections.abc.Mapping[str, int], Type("dict", (STRING, INT))),
        (collections.deque[int], Type("custom", (Type("list", (INT,)),))),
        (collections.Counter[str], Type("custom", (Type("dict", (STRING, INT)),))),
        (int | str, Type("union", (INT, STRING))),
        (int | str | None, Type("optional", (Type("union", (INT, STRING)),))),
        (Annotated[int | None, "note"], Type("optional", (INT,))),
        (Annotated[int, "a"] | Annotated[int, "b"], INT),
        (Any, Type("any")),
        (object, Type("any")),
        (Literal["a", 1], Type("literal", values=("a", 1))),
        (Literal["a", None], Type("optional", (Type("literal", values=("a",)),))),
        (models.Level, Type("enum", values=(1, 10))),
        (models.Shape, Type("enum", values=("POINT", "LINE"))),
        (models.Mixed, Type("enum", values=(1, "1", 1.5))),
        (models.Rights, Type("custom", (INT,))),
        (models.Point, Type("custom", (Type("tuple", (Type("float64"), Type("date"))),))),
        (models.Number, INT),
        (models.Pair[str], Type("tuple", (STRING, STRING))),
        (Path, Type("custom", (STRING,))),
        (IPv4Address, Type("custom", (STRING,))),
        (Fraction, Type("custom", (STRING,))),
        (complex, Type("custom", (Type("tuple", (Type("float64"), Type("float64"))),))),
    ],
)
def test_annotations(make: Callable[[Any], type], annotation: Any, expected: Type) -> None:
    if make is model and annotation in (Fraction, complex):
        found = types_of(model(annotation, model_config=ConfigDict(arbitrary_types_allowed=True)))["v"]
    else:
        found = types_of(make(annotation))["v"]
    assert found == expected


@pytest.mark.parametrize("name", list(models.Customs.model_fields))
def test_custom_values_come_back_equal_and_of_their_class(name: str) -> None:
    value = getattr(models.customs(), name)
    found = types_of(models.Customs)[name]
    if found.kind != "custom":
        return
    dump, load = found.python
    again = load(dump(value))
    assert (again, type(again)) == (value, type(value))


def test_secrets_are_stored_whole() -> None:
    dump, load = types_of(models.Customs)["password"].python
    assert dump(SecretStr("hunter2")) == "hunter2"
    assert load("hunter2").get_secret_value() == "hunter2"


def test_custom_values_of_another_class_are_refused() -> None:
    dump, _ = types_of(models.Customs)["ip"].python
    with pytest.raises(TypeError, match="expected IPv4Address, not str"):
        dump("10.0.0.1")


@pytest.mark.parametrize(
    "value",
    [
        collections.deque([1, 2]),
        collections.OrderedDict(b=1, a=2),
        collections.Counter("aab"),
        collections.defaultdict(list, {"a": [1]}),
        models.Point(1.0, date(2024, 1, 1)),
        models.Rights.READ | models.Rights.WRITE,
        models.Code("x"),
        bytearray(b"x"),
    ],
)
def test_plain_classes_come_back(value: Any) -> None:
    dump, load = types_of(plain(type(value)))["v"].python
    again = load(dump(value))
    assert (again, type(again)) == (value, type(value))


def test_default_dict_keeps_its_factory() -> None:
    _, load = types_of(models.Containers)["groups"].python
    assert load({})["new"] == []


def test_typed_dicts() -> None:
    found = types_of(models.Containers)
    assert found["movie"].python.style == "typeddict"
    dump, load = found["sparse"].python
    for value in ({"title": "a"}, {"title": "a", "year": 1}):
        assert load(dump(value)) == value


def test_enums_are_bound_to_their_members() -> None:
    found = types_of(models.Choices)
    assert found["color"].values == ("red", "green")
    assert found["color"].python == tuple(models.Color)
    assert found["member"].python == (models.Color.RED, "plain")
    assert found["literal"].python is None
    assert [type(value) for value in found["literal"].values] == [str, int, bool, bytes]


def test_use_enum_values() -> None:
    found = types_of(models.ByValue)["color"]
    dump, load = found.python
    assert (dump("red"), dump(models.Color.RED), load("red")) == ("red", "red", "red")
    assert found.items[0].python is None


def test_unions_choose_their_member() -> None:
    found = types_of(models.Unions)
    assert found["simple"].python == (int, str)
    assert found["pet"].python == (models.Cat, models.Dog)
    assert found["tagged"].python == (models.Cat, models.Dog)
    assert found["color"].python == (models.Color, str)
    assert [test(["a"]) for test in found["lists"].python] == [False, True, False]
    first, second = found["dates"].python
    assert (first(date(2024, 1, 1)), first(datetime(2024, 1, 1)), second) == (True, False, datetime)


def test_recursive_models_end_in_references() -> None:
    found = types_of(models.Node)
    assert found["parent"] == Type("optional", (Type("ref", values=(0,)),))
    assert found["children"] == Type("list", (Type("ref", values=(0,)),))
    edge = found["edge"].items[0]
    assert edge.fields[1].type == Type("optional", (Type("ref", values=(1,)),))
    assert types_of(models.Tree)["branches"].items[0].python is models.Tree


def test_recursive_aliases_end_in_any() -> None:
    found = types_of(models.AliasTypes)
    assert found["tangle"].items[0] == Type("dict", (STRING, Type("any")))
    assert found["json_value"].kind == "optional"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the type statement")
def test_type_statements() -> None:
    scope: dict[str, Any] = {"BaseModel": BaseModel, "__name__": __name__}
    source = """
type Number = int
type Pair[T] = tuple[T, T]
type Tangle = dict[str, Tangle] | int
class Model[T](BaseModel):
    __modelvault_primary_key__ = "id"
    id: Number
    pair: Pair[str]
    tangle: Tangle
    given: T
Concrete = Model[bytes]
"""
    exec(source, scope)
    tangle = Type("union", (Type("dict", (STRING, Type("any"))), INT))
    assert list(types_of(scope["Concrete"]).values()) == [INT, Type("tuple", (STRING, STRING)), tangle, Type("bytes")]


def test_generic_models() -> None:
    found = types_of(models.Generics)
    assert [field.type for field in found["box"].fields] == [INT, Type("list", (INT,))]
    assert found["loose"].fields[0].type == Type("any")
    assert [field.type for field in found["crate"].fields] == [STRING, Type("list", (STRING,))]


def test_generic_bases_of_dataclasses() -> None:
    @dataclass
    class Texts(models.Crate[str]):
        __modelvault_primary_key__ = "value"
        more: int = 0

    assert list(types_of(Texts).values()) == [STRING, Type("list", (STRING,)), INT]


def test_text_annotations_of_a_dataclass_in_a_function() -> None:
    @dataclass
    class Local:
        __modelvault_primary_key__ = "id"
        id: "int"
        next: "Local | None" = None

    assert types_of(Local)["next"] == Type("optional", (Type("ref", values=(0,)),))


@pytest.mark.parametrize("annotation", [Callable[[], int], type[int], Iterator[int], enum.EnumMeta])
@pytest.mark.parametrize("make", [model, plain])
def test_unsupported_types(make: Callable[..., type], annotation: Any) -> None:
    extra = {"model_config": ConfigDict(arbitrary_types_allowed=True)} if make is model else {}
    with pytest.raises(ModelVaultSchemaError, match=r"unsupported model field type: .* \(\w+\.v\)"):
        schema_of(make(annotation, **extra))


def test_unsupported_types_deep_inside_name_their_path() -> None:
    class Inner(BaseModel):
        call: Callable[[], int]

    with pytest.raises(ModelVaultSchemaError, match=r"\(Plain\.v\.call\)"):
        schema_of(plain(list[Inner]))


def test_unknown_names_in_annotations() -> None:
    for cls in (model("Nowhere"), plain("Nowhere")):
        with pytest.raises(ModelVaultSchemaError, match="Nowhere"):
            schema_of(cls)


def test_a_default_of_none_makes_a_field_optional() -> None:
    assert types_of(models.Optionals)["bare"] == Type("optional", (INT,))


# Fields and shapes


def test_aliases_computed_and_excluded_fields() -> None:
    assert list(types_of(models.Aliased)) == ["id", "name", "hidden"]


def test_defaults() -> None:
    fields = {field.name: field for field in schema_of(models.Defaults).fields}
    assert fields["id"].default is MISSING and fields["id"].factory is None
    assert fields["number"].default == 5
    first, second = (cast("Callable[[], Any]", fields["items"].factory)() for _ in range(2))
    assert first == second == [1, 2] and first is not second
    assert cast("Callable[[], Any]", fields["stamp"].factory)().tzinfo is timezone.utc


@pytest.mark.parametrize(
    ("cls", "style", "uses_dict", "extras", "privates"),
    [
        (models.User, "pydantic", True, False, False),
        (models.Open, "pydantic", True, True, False),
        (models.Private, "pydantic", True, False, True),
        (models.Frozen, "pydantic", True, False, False),
        (models.Person, "dataclass", True, False, False),
        (models.Slotted, "dataclass", False, False, False),
        (models.Strict, "dataclass", False, False, False),
        (models.Fixed, "dataclass", True, False, False),
        (models.Careful, "dataclass", True, True, False),
        (models.Checked, "dataclass", True, False, False),
    ],
)
def test_shapes(cls: type, style: str, uses_dict: bool, extras: bool, privates: bool) -> None:
    found = schema_of(cls).type
    shape = found.python
    assert isinstance(shape, Shape)
    assert shape.cls is cls
    assert (shape.style, shape.uses_dict, shape.extras, shape.privates) == (style, uses_dict, extras, privates)
    assert shape.attributes == tuple(field.name for field in found.fields)


def test_a_generic_dataclass_keeps_its_fields_in_its_dict() -> None:
    assert types_of(models.Generics)["crate"].python.uses_dict


def test_private_defaults() -> None:
    make = schema_of(models.Private).type.python.private_defaults
    assert make() == {"_seen": 7, "_log": []}
    assert make()["_log"] is not make()["_log"]


def test_class_and_init_variables_are_no_fields() -> None:
    assert list(types_of(models.Derived)) == ["id", "name", "made"]

    class WithClassVar(BaseModel):
        __modelvault_primary_key__: ClassVar[str] = "id"
        shared: ClassVar[dict[str, int]] = {}
        id: int

    assert list(types_of(WithClassVar)) == ["id"]


# Constraints


def test_constraints_of_annotated_types_and_pydantic() -> None:
    found = types_of(models.Constrained)

    def rules(name: str) -> list[tuple[str, Any]]:
        inner = found[name].items[0] if found[name].kind == "optional" else found[name]
        return [(constraint.kind, constraint.value) for constraint in inner.constraints]

    assert rules("id") == [("ge", 1)]
    assert rules("even") == [("multiple_of", 2)]
    assert rules("between") == [("gt", 0), ("le", 1)]
    assert rules("few") == [("min_len", 1), ("max_len", 3)]
    assert sorted(rules("code")) == [("max_len", 4), ("pattern", "^[a-z]+$")]
    assert rules("short") == [("min_len", 1)]
    assert rules("maybe") == [("ge", 0)]
    assert rules("price") == [("ge", 0)]
    assert rules("since") == [("ge", date(2000, 1, 1))]
    assert rules("mail") == [("email", True), ("max_length", 40)]
    assert rules("year") == [("min_i64", 1900), ("max_i64", 2100)]
    assert found["items"].items[0].constraints == (Constraint("lt", 100),)


@pytest.mark.parametrize("make", [model, plain])
@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (Annotated[int, Field(ge=1)], [("ge", 1)]),
        (Annotated[str, Len(2, 3)], [("min_len", 2), ("max_len", 3)]),
        (Annotated[str, Field(pattern=re.compile("a", re.IGNORECASE))], [("pattern", "(?i)a")]),
        (Annotated[str, Field(pattern=r"^\p{L}+$")], []),
        (Annotated[int, constrained(min_i64=1)[0]], [("min_i64", 1)]),
        (Annotated[str, constrained(email=False, nonempty=True)], [("nonempty", True)]),
    ],
)
def test_constraints_in_annotations(make: Callable[..., type], annotation: Any, expected: list[Any]) -> None:
    found = types_of(make(annotation))["v"].constraints
    assert [(constraint.kind, constraint.value) for constraint in found] == expected


def test_constraints_reach_what_a_custom_type_is_stored_as() -> None:
    assert types_of(models.Customs)["password"].items[0].constraints == (Constraint("min_len", 3),)


@pytest.mark.parametrize(
    ("specs", "error", "message"),
    [
        (constrained(bogus=1), ValueError, 'unknown constraint kind "bogus"'),
        (constrained(min_i64=None), ValueError, "min_i64 requires a value"),
        (constrained(min_i64="x"), TypeError, "min_i64 does not take 'x'"),
        (constrained(min_length=-1), TypeError, "min_length does not take -1"),
        (constrained(email="yes"), TypeError, "email does not take 'yes'"),
    ],
)
def test_bad_constraint_specs(specs: list[ConstraintSpec], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        schema_of(plain(Annotated[int, specs]))


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (Annotated[str, Ge(1)], "validation error at v: ge of string takes str, not 1"),
        (Annotated[int, Len(1)], "validation error at v: min_len applies to values that have a length"),
        (Annotated[int, constrained(regex="a")], "validation error at v: Regex constraint requires string"),
        (Annotated[str, constrained(regex="[")], "validation error at v: invalid regex in schema"),
        (list[Annotated[str, constrained(min_i64=1)]], "validation error at v: MinI64 constraint requires int64"),
    ],
)
def test_impossible_constraints(annotation: Any, message: str) -> None:
    with pytest.raises(ModelVaultValidationError, match=message):
        schema_of(plain(annotation))


# Markers


@pytest.mark.parametrize(
    ("name", "collection"),
    [
        ("Book", "books"),
        ("OrderLine", "order_lines"),
        ("Bus", "buses"),
        ("News", "newses"),
        ("Category", "categorys"),
        ("Box", "boxs"),
        ("HTTPServer", "h_t_t_p_servers"),
        ("User2", "user2s"),
        ("_Priv", "__privs"),
        ("Class_Name", "class__names"),
    ],
)
def test_default_names(name: str, collection: str) -> None:
    assert collection_name(type(name, (), {})) == collection


def test_collection_marker() -> None:
    assert schema_of(plain(int, __modelvault_collection__=" things ")).name == "things"
    with pytest.raises(ModelVaultSchemaError, match="invalid collection name"):
        schema_of(plain(int, __modelvault_collection__=""))
    with pytest.raises(ModelVaultSchemaError, match="must be a string"):
        schema_of(plain(int, __modelvault_collection__=5))


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"__modelvault_primary_key__": None}, 'model must define __modelvault_primary_key__ = "field"'),
        ({"__modelvault_primary_key__": 5}, "__modelvault_primary_key__ must be a string field name"),
        ({"__modelvault_primary_key__": "nope"}, 'primary field "nope" not found as a top-level field'),
        ({"__modelvault_primary_key__": "v"}, "must use a primitive type"),
        (
            {"__modelvault_indexes__": index("v")},
            "__modelvault_indexes__ must be a list of modelvault.models.index/unique specs",
        ),
        (
            {"__modelvault_indexes__": ["v"]},
            "__modelvault_indexes__ must contain IndexSpec values from modelvault.models.index/unique",
        ),
    ],
)
def test_bad_markers(extra: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelVaultSchemaError) as caught:
        schema_of(plain(list[int], **extra))
    assert message in str(caught.value)


@pytest.mark.parametrize("cls", [models.Movie, models.Point, dict, int, "User", models.user()])
def test_only_models_and_dataclasses_make_collections(cls: Any) -> None:
    with pytest.raises(ModelVaultSchemaError, match=r"model must be a dataclass or a pydantic.BaseModel subclass"):
        schema_of(cls)


# Indexes


def test_index_specs() -> None:
    assert index("a") == IndexSpec("a", "a_idx", False)
    assert unique("a.b", "mine") == IndexSpec("a.b", "mine", True)
    assert index(FieldRef(["a", "b"])).paths == (("a", "b"),)
    assert unique(("a", FieldRef(["b", "c"]))) == IndexSpec(("a", "b.c"), "a_b.c_idx", True)
    assert index(["a", "b.c"]).paths == (("a",), ("b", "c"))
    for wrong in (5, None, [5]):
        with pytest.raises(TypeError, match="an index field must be a str or a FieldRef"):
            index(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="an index name must be a str"):
        index("a", 5)  # type: ignore[arg-type]


def indexed(*specs: IndexSpec) -> tuple[Index, ...]:
    class Inner(BaseModel):
        city: str
        other: int | None = None

    class Model(BaseModel):
        __modelvault_primary_key__ = "id"
        __modelvault_indexes__: ClassVar = list(specs)
        id: int
        name: str
        tags: list[str] = []
        sets: set[int] = set()
        home: Inner
        work: Inner | None = None
        homes: list[Inner] = []
        path: Path
        color: models.Color
        parent: "Model | None" = None
        by: dict[str, int] = {}

    return schema_of(Model).indexes


def test_indexes_over_fields_nested_fields_lists_and_several() -> None:
    specs = [
        unique("name"),
        index("home.city"),
        index("work.other"),
        index("tags"),
        index(["color", "home.city"], "both"),
    ]
    found = indexed(*specs, index("path"))
    assert [(part.name, part.paths, part.unique) for part in found] == [
        ("name_idx", (("name",),), True),
        ("home.city_idx", (("home", "city"),), False),
        ("work.other_idx", (("work", "other"),), False),
        ("tags_idx", (("tags",),), False),
        ("both", (("color",), ("home", "city")), False),
        ("path_idx", (("path",),), False),
    ]


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ([index("nope")], 'index "nope_idx" path does not match any field: nope'),
        ([index("home.nope")], "path does not match any field: home.nope"),
        ([index("name.x")], "path does not match any field: name.x"),
        ([index("parent.name")], "path does not match any field: parent.name"),
        ([index("homes.city")], "path does not match any field: homes.city"),
        ([index("home")], "must resolve to a scalar field or a list of scalars: home is object"),
        ([index("homes")], "must resolve to a scalar field or a list of scalars: homes is object"),
        ([index("by")], "by is dict"),
        ([index("name"), unique("name")], 'duplicate index name "name_idx"'),
        ([index("")], "path does not match any field"),
        ([index("name", " ")], "invalid index name"),
        ([index([])], "has an empty path"),
        ([index(["tags", "sets"])], "names more than one list"),
        ([index(["name", "name"])], "names a path twice"),
    ],
)
def test_bad_indexes(specs: list[IndexSpec], message: str) -> None:
    with pytest.raises(ModelVaultSchemaError) as caught:
        indexed(*specs)
    assert message in str(caught.value)


# Field references


def test_field_references() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydantic's, about the field that hides a method

        class Book(BaseModel):
            __modelvault_primary_key__ = "id"
            id: int
            title: str = "t"
            copy: int = 0  # type: ignore[assignment]

    attach_refs(Book, schema_of(Book))
    title: Any = Book.title
    assert isinstance(title, FieldRef)
    assert (title.path, repr(title)) == (["title"], "FieldRef('title')")
    assert callable(Book.copy)  # what the class has already stays
    attach_refs(Book, schema_of(Book))
    assert Book.title is title
    assert Book(id=1).title == "t"
    assert schema_of(Book).fields[1].default == "t"
    with pytest.raises(AttributeError):
        _ = Book.model_construct().id


def test_a_subclass_does_not_inherit_references_as_defaults() -> None:
    class Book(BaseModel):
        __modelvault_primary_key__ = "id"
        id: int
        title: str

    attach_refs(Book, schema_of(Book))
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        class Child(Book):
            title: str
            pages: int

    with pytest.raises(ValueError, match="Field required"):
        Child(pages=1)  # type: ignore[call-arg]
    assert all(info.is_required() for info in Child.model_fields.values())
    assert not hasattr(Child, "title")
    assert Child(id=1, title="t", pages=2).title == "t"
    attach_refs(Child, schema_of(Child))
    assert cast("Any", Child).title is not cast("Any", Book).title
    assert schema_of(Child).fields[0].default is MISSING


def test_a_dataclass_subclass_does_not_inherit_references_as_defaults() -> None:
    @dataclass
    class Book:
        __modelvault_primary_key__ = "id"
        id: int
        title: str
        pages: int = 3

    attach_refs(Book, schema_of(Book))

    @dataclass
    class Child(Book):
        title: str
        extra: list[int] = field(default_factory=list)

    with pytest.raises(TypeError, match="missing 2 required positional arguments"):
        Child()  # type: ignore[call-arg]
    assert Child(1, "t") == Child(1, "t", 3, [])
    assert isinstance(Book.title, FieldRef)
    assert Book.pages == 3
    assert Book(1, "t").title == "t"
    assert dataclasses.replace(Book(1, "t"), id=2).title == "t"


def test_slots_keep_their_descriptors() -> None:
    attach_refs(models.Slotted, schema_of(models.Slotted))
    assert models.Slotted(1).name == "n"


def test_check_instance() -> None:
    check_instance(models.User, models.user())
    with pytest.raises(TypeError, match=r"expected an instance of User, not a dict; make one with User\(\*\*row\)"):
        check_instance(models.User, {"id": 1})
    with pytest.raises(TypeError, match="expected an instance of User, not an instance of Person"):
        check_instance(models.User, models.person())


# Opening an existing collection


def stored(*fields: dict[str, Any], indexes: Any = None) -> Schema:
    return Schema.from_fields_json(
        "c", json.dumps([{"path": ["id"], "type": "int64"}, *fields]), "id", indexes and json.dumps(indexes)
    )


def test_bind_keeps_the_stored_layout() -> None:
    class Place(BaseModel):
        b: int
        a: str

    class Model(BaseModel):
        __modelvault_primary_key__ = "id"
        when: datetime
        color: models.Color
        place: Place
        path: Path
        id: int

    kept = stored(
        {"path": ["place", "a"], "type": "string"},
        {"path": ["when"], "type": "timestamp"},
        {"path": ["color"], "type": {"enum": ["green", "red"]}},
        {"path": ["place", "b"], "type": "uint64"},
        {"path": ["path"], "type": "string"},
    )
    found = bind(kept, schema_of(Model))
    assert [part.name for part in found.fields] == ["id", "place", "when", "color", "path"]
    assert found.type.python.attributes == ("id", "place", "when", "color", "path")
    place = found.find(("place",))
    assert place is not None and place.group and place.python.cls is Place
    assert [part.type for part in place.fields] == [STRING, Type("uint64")]
    assert found.fields[2].type.python == "datetime"
    assert found.fields[3].type.python == (models.Color.GREEN, models.Color.RED)
    assert found.fields[4].type.kind == "custom" and found.fields[0].type.kind == "int64"


def test_bind_a_model_that_knows_a_part() -> None:
    index_json = [{"name": "i", "path": ["a"], "kind": "index"}]
    kept = stored({"path": ["a"], "type": "string"}, {"path": ["v"], "type": "string"}, indexes=index_json)
    found = bind(kept, schema_of(plain(str)))
    assert found.type.python.attributes == ("id", None, "v")
    assert found.indexes == kept.indexes


@pytest.mark.parametrize(
    ("fields", "cls", "error", "message"),
    [
        ([], plain(int), ModelVaultSchemaError, 'schema error: insert row has unknown field "v"'),
        (
            [{"path": ["v"], "type": "string"}],
            plain(int),
            ModelVaultFormatError,
            "format error: record payload type does not match schema",
        ),
        (
            [{"path": ["v"], "type": {"optional": "int64"}}],
            plain(int),
            ModelVaultFormatError,
            'field "v" is stored as optional[int64], the model says int',
        ),
        (
            [{"path": ["v"], "type": {"enum": ["red"]}}],
            plain(models.Color),
            ModelVaultFormatError,
            "is stored as enum['red'], the model says enum['red', 'green']",
        ),
        (
            [{"path": ["v"], "type": {"object": [{"path": ["x"], "type": "string"}]}}],
            plain(models.Place),
            ModelVaultSchemaError,
            'unknown field "v.',
        ),
        (
            [{"path": ["v"], "type": "int64"}],
            plain(int, __modelvault_primary_key__="v"),
            ModelVaultSchemaError,
            "schema error: primary field",
        ),
        (
            [{"path": ["v"], "type": "int64"}],
            plain(int, __modelvault_indexes__=[index("v")]),
            ModelVaultSchemaError,
            "schema error: incompatible schema change: model index definitions do not match collection catalog",
        ),
        (
            [{"path": ["v"], "type": "int64", "constraints": [{"min_i64": 1}]}],
            plain(int),
            ModelVaultSchemaError,
            "schema error: incompatible schema change: model constraints do not match collection catalog",
        ),
    ],
)
def test_bind_refuses_what_differs(fields: Any, cls: type, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        bind(stored(*fields), schema_of(cls))
    assert message in str(caught.value)


def test_nested_models_must_agree_whole() -> None:
    inner = [{"path": [name], "type": "string"} for name in ("street", "city", "zip", "more")]
    kept = stored({"path": ["v"], "type": {"object": inner}})
    with pytest.raises(ModelVaultFormatError, match=r'field "v.more" is stored as string, the model does not have it'):
        bind(kept, schema_of(plain(models.Place)))


# Imports


def test_pydantic_is_imported_only_for_those_who_use_it() -> None:
    source = """
import sys
import modelvault.mapping, modelvault.patches
from dataclasses import dataclass
from pathlib import Path
from ipaddress import IPv4Address
@dataclass
class Row:
    __modelvault_primary_key__ = "id"
    id: int
    path: Path
    ip: IPv4Address
modelvault.mapping.schema_of(Row)
assert "pydantic" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", source], check=True)


def test_addresses_of_either_version() -> None:
    dump, load = types_of(models.Customs)["either"].python
    for address in (IPv4Address("10.0.0.1"), IPv6Address("::1")):
        assert load(dump(address)) == address
