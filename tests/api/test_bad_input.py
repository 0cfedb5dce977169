"""What each bad input raises, in 0.16's words where it had some; and that a failed operation changes nothing."""

import json
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from modelvault import (
    DuplicateKeyError,
    ModelVaultFormatError,
    ModelVaultQueryError,
    ModelVaultSchemaError,
    ModelVaultTransactionError,
    ModelVaultValidationError,
    NotFoundError,
    models,
)
from tests.alike import assert_same
from tests.api.library import BOOKS, book, library, refused, without
from tests.models import Person, User, person, user

# Rows of the dict interface

ROWS: dict[str, tuple[Any, type[Exception], str]] = {
    "list as row": ([1], TypeError, "argument 'row': 'list' object is not an instance of 'dict'"),
    "None as row": (None, TypeError, "argument 'row': .* is not an instance of 'dict'"),
    "proxy as row": (MappingProxyType(book(3)), TypeError, "'mappingproxy' object is not an instance of 'dict'"),
    "key that is no text": (book(3) | {5: 1}, TypeError, "'int' object is not an instance of 'str'"),
    "no primary key": (without(book(3), "id"), ModelVaultSchemaError, 'insert row missing primary key field "id"'),
    "no field": (without(book(3), "title"), ModelVaultValidationError, "validation error at title: missing field"),
    "empty row": ({}, ModelVaultSchemaError, 'missing primary key field "id"'),
    "extra field": (book(3, zz=1), ValueError, 'unknown field "zz"'),
    "extra inside": (book(3, shelf={"room": "A", "zz": 1}), ValueError, 'unknown field in object: "zz"'),
    "missing inside": (book(3, shelf={"row": 1}), ValueError, 'missing object field "room"'),
    "None inside": (book(3, shelf={"room": None}), ValueError, 'unexpected None for required field "room"'),
    "list as object": (book(3, shelf=["A"]), ValueError, "expected dict for object type"),
    "None as object": (book(3, shelf=None), ValueError, "expected dict for object type"),
    "tuple as list": (book(3, tags=("x",)), ValueError, "expected list for list type"),
    "None as list": (book(3, tags=None), ValueError, "expected list for list type"),
    "None in list": (book(3, tags=[None]), TypeError, "instance of 'str'"),
    "text as int": (book("3"), TypeError, "'str' object cannot be interpreted as an integer"),
    "float as int": (book(3, year=2001.0), TypeError, "'float' object cannot be interpreted as an integer"),
    "None as key": (book(None), TypeError, "'NoneType' object cannot be interpreted as an integer"),
    "int as text": (book(3, title=5), TypeError, "'int' object is not an instance of 'str'"),
    "bytes as text": (book(3, title=b"x"), TypeError, "'bytes' object is not an instance of 'str'"),
    "surrogate": (book(3, title="\ud800"), UnicodeEncodeError, "surrogates not allowed"),
    "huge int": (book(2**63), OverflowError, "too large|too big|64"),
    "broken constraint": (book(3, year=1899), ModelVaultValidationError, "at year: value 1899 is below minimum 1900"),
    "broken length": (book(3, title=""), ModelVaultValidationError, "at title: string length 0 is below minimum 1"),
    "unknown variant": (
        book(3, form="film"),
        ModelVaultValidationError,
        r'validation error at form: enum value must be one of \["paper", "audio"\]',
    ),
    "int as variant": (book(3, form=1), ValueError, "expected string for enum"),
    "taken": (book(3, isbn="isbn-1"), DuplicateKeyError, "unique index violation"),
}


@pytest.mark.parametrize("name", ROWS)
async def test_bad_rows(name: str, db: Any) -> None:
    row, error, phrase = ROWS[name]
    books = await library(db)
    for action in (
        lambda: db.insert("books", row),
        lambda: books.insert(row),
        lambda: books.create(row),
        lambda: books.upsert(row),
        lambda: books.insert_many([book(7), row, book(8)]),
    ):
        await refused(db, action, error, phrase)


@pytest.mark.parametrize("name", [name for name, (row, _, _) in ROWS.items() if isinstance(row, dict) and len(row) > 6])
async def test_bad_patches_of_dicts(name: str, db: Any) -> None:
    row, error, phrase = ROWS[name]
    books = await library(db)
    patch = {key: value for key, value in row.items() if book(3).get(key, KeyError) != value or key == 5}
    await refused(db, lambda: books.update(2, patch), error, phrase)


TYPES: dict[str, tuple[Any, list[tuple[Any, Any, str | None]]]] = {
    "int64": (
        "int64",
        [
            ("1", TypeError, "'str' object cannot be interpreted as an integer"),
            (1.0, TypeError, "'float' object cannot be interpreted as an integer"),
            (None, TypeError, "'NoneType' object cannot be interpreted as an integer"),
            (2**63, OverflowError, "Python int too large to convert to C long"),
            (-(2**63) - 1, OverflowError, "too large"),
        ],
    ),
    "uint64": (
        "uint64",
        [
            (-1, OverflowError, "can't convert negative int to unsigned"),
            (2**64, OverflowError, "int too big to convert"),
        ],
    ),
    "float64": (
        "float64",
        [
            ("1", TypeError, "must be real number, not str"),
            (None, TypeError, "must be real number, not NoneType"),
            (10**400, OverflowError, "int too large to convert to float"),
        ],
    ),
    "bool": (
        "bool",
        [
            (1, TypeError, "'int' object is not an instance of 'bool'"),
            (None, TypeError, "is not an instance of 'bool'"),
        ],
    ),
    "string": ("string", [(b"x", TypeError, "'bytes' object is not an instance of 'str'"), (None, TypeError, "'str'")]),
    "bytes": ("bytes", [("x", TypeError, "Can't extract `str` to `Vec`"), (None, TypeError, "'Sequence'")]),
    "uuid": (
        "uuid",
        [
            ("x", ValueError, "badly formed hexadecimal UUID string"),
            (b"x", ValueError, "uuid must be 16 bytes"),
            (1, (AttributeError, TypeError), None),
        ],
    ),
    "timestamp": (
        "timestamp",
        [
            (value, ValueError, r"timestamp field expects int64 \(Unix microseconds\) or datetime.datetime")
            for value in ("2024", 1.5, None, 2**63)
        ],
    ),
    "list": (
        {"list": "int64"},
        [((1,), ValueError, "expected list for list type"), ({1}, ValueError, "expected list")],
    ),
    "list of text": ({"list": "string"}, [(["a", 1], TypeError, "'int' object is not an instance of 'str'")]),
    "optional": ({"optional": "int64"}, [("x", TypeError, "'str' object cannot be interpreted as an integer")]),
    "enum": ({"enum": ["a"]}, [(None, ValueError, "expected string for enum"), (1, ValueError, "expected string")]),
}


@pytest.mark.parametrize("name", TYPES)
async def test_values_of_a_wrong_type(name: str, db: Any) -> None:
    type, values = TYPES[name]
    fields = [{"path": ["id"], "type": "int64"}, {"path": ["v"], "type": type}]
    await db.register_collection("c", json.dumps(fields), "id")
    for value, error, phrase in values:
        await refused(db, lambda value=value: db.insert("c", {"id": 1, "v": value}), error, phrase)


ACCEPTED: list[tuple[Any, Any, Any]] = [
    ("int64", True, 1),
    ("uint64", 2**64 - 1, 2**64 - 1),
    ("float64", 1, 1.0),
    ("float64", Decimal("1.5"), 1.5),
    ("bytes", bytearray(b"a"), b"a"),
    ("bytes", memoryview(b"a"), b"a"),
    ("bytes", [1, 255], b"\x01\xff"),
    ("uuid", "12345678-1234-5678-1234-567812345678", UUID("12345678-1234-5678-1234-567812345678")),
    ("uuid", bytes(16), UUID(int=0)),
    ("uuid", [0] * 16, UUID(int=0)),
    ("timestamp", -5, -5),
    ("timestamp", datetime.fromisoformat("1970-01-01T00:00:01+00:00"), 1_000_000),
    ("string", type("Text", (str,), {})("x"), "x"),
]


@pytest.mark.parametrize(("type", "value", "expected"), ACCEPTED)
async def test_values_that_are_converted(type: str, value: Any, expected: Any, db: Any) -> None:
    fields = [{"path": ["id"], "type": "int64"}, {"path": ["v"], "type": type}]
    await db.register_collection("c", json.dumps(fields), "id")
    await db.insert("c", {"id": 1, "v": value})
    assert_same(await db.get("c", 1), {"id": 1, "v": expected})


async def test_optional_parts_may_be_absent_and_come_back_as_none(db: Any) -> None:
    books = await library(db)
    await books.insert({"id": 3, "title": "x", "tags": [], "shelf": {"room": "B"}, "form": "audio"})
    expected = book(3, title="x", isbn=None, year=None, tags=[], shelf={"room": "B", "row": None}, form="audio")
    assert_same(await books.get(3), expected, exact=False)


PATHS = [
    {"path": ["id"], "type": "int64"},
    {"path": ["p", "age"], "type": "int64"},
    {"path": ["p", "name"], "type": {"optional": "string"}},
]


@pytest.mark.parametrize(
    ("row", "error", "phrase"),
    [
        ({"id": 1, "p": {"name": "x"}}, ValueError, 'missing field "age"'),
        ({"id": 1, "p": 5}, ValueError, "expected dict for nested object"),
        ({"id": 1, "p": {"age": 1, "zz": 2}}, ValueError, 'unknown field in object: "zz"'),
        ({"id": 1, "p.age": 1, "p": {"age": 1}}, ValueError, 'unknown field "p.age"'),
    ],
)
async def test_bad_rows_of_paths(row: Any, error: type[Exception], phrase: str, db: Any) -> None:
    await db.register_collection("c", json.dumps(PATHS), "id")
    await refused(db, lambda: db.insert("c", row), error, phrase)


# Unknown names


async def test_unknown_collections(db: Any) -> None:
    await library(db)
    phrase = 'schema error: unknown collection name "nope"'
    for action in (
        lambda: db.insert("nope", {"id": 1}),
        lambda: db.get("nope", 1),
        lambda: db.delete("nope", 1),
    ):
        await refused(db, action, ModelVaultSchemaError, phrase)
    with pytest.raises(ModelVaultSchemaError, match=phrase):
        db.collection("nope")
    with pytest.raises(TypeError, match="instance of 'str'"):
        await db.get(5, 1)


async def test_keys_of_a_wrong_type(db: Any) -> None:
    books = await library(db)
    for action in (
        lambda: db.get("books", "1"),
        lambda: db.delete("books", "1"),
        lambda: books.get("1"),
        lambda: books.get(None),
        lambda: books.get_many([1, "1"]),
        lambda: books.delete(1.0),
        lambda: books.update("1", {"year": 2001}),
        lambda: db.collection(User).get("1"),
    ):
        await refused(db, action, TypeError, "cannot be interpreted as an integer")
    await refused(db, lambda: books.get(2**63), OverflowError, "large|big|64")


@pytest.mark.parametrize(
    ("path", "phrase"),
    [
        ("", "path must be non-empty"),
        (".", "invalid path"),
        ("shelf..room", "invalid path"),
        ((), "path must have at least one segment"),
        (5, "path must be a dotted string"),
        (None, "path must be a dotted string"),
        ("nope", "unknown field path"),
        ("shelf.nope", "unknown field path"),
        ("tags.0", "unknown field path"),
    ],
)
async def test_bad_paths(path: Any, phrase: str, db: Any) -> None:
    books = await library(db)
    with pytest.raises(ModelVaultQueryError, match=phrase):
        books.where(path, 1)
    with pytest.raises(ValueError, match=phrase):
        books.where("id", 1).and_where(path, 1)


async def test_bad_query_arguments(db: Any) -> None:
    books = await library(db)
    await refused(db, lambda: books.where("id", "3").all(), TypeError, "cannot be interpreted as an integer")
    await refused(db, lambda: books.where("form", 5).all(), ValueError, "expected string for enum")
    query = books.where("id", 1)
    with pytest.raises(OverflowError, match="can't convert negative int to unsigned"):
        query.limit(-1)
    with pytest.raises(ModelVaultQueryError, match="query limit 1048577 exceeds maximum 1048576"):
        query.limit(1_048_577)
    for value in (None, 1.5, "1"):
        with pytest.raises(TypeError):
            query.limit(value)
    assert await query.limit(0).all() == []


# Duplicates


async def test_a_taken_unique_value_names_index_and_value(db: Any) -> None:
    books = await library(db)
    for action in (
        lambda: books.insert(book(3, isbn="isbn-1")),
        lambda: books.create(book(3, isbn="isbn-1")),
        lambda: books.insert(book(2, isbn="isbn-1")),
        lambda: books.update(2, {"isbn": "isbn-1"}),
        lambda: books.insert_many([book(3), book(4), book(5, isbn="isbn-3")]),
    ):
        error = await refused(db, action, DuplicateKeyError, "unique index violation")
        assert error.collection == "books" and error.index == "by_isbn"
        assert error.key in ("isbn-1", "isbn-3")
        assert "by_isbn" in str(error) and str(error.key) in str(error) and "books" in str(error)
        assert isinstance(error, ModelVaultSchemaError) and isinstance(error, ValueError)


async def test_a_taken_primary_key_is_refused_by_create_only(db: Any) -> None:
    books = await library(db)
    error = await refused(db, lambda: books.create(book(1, isbn="new")), DuplicateKeyError, "primary key")
    assert (error.collection, error.index, error.key) == ("books", None, 1)
    await books.insert(book(1, isbn="new"))
    assert (await books.get(1))["isbn"] == "new"


async def test_unique_values_that_move(db: Any) -> None:
    books = await library(db)
    await books.insert(book(1))
    await books.insert_many([book(number, isbn=None) for number in (3, 4, 5)])
    await books.update(1, {"isbn": "other"})
    await books.insert(book(3, isbn="isbn-1"))
    async with db.transaction():
        await books.delete(1)
        await books.insert(book(4, isbn="other"))
    assert [row["isbn"] for row in await books.all()] == [None, "isbn-1", "other", None]


async def test_a_model_that_is_taken(db: Any) -> None:
    await library(db)
    users = db.collection(User)
    twin = user(2, email=user(1).email)
    error = await refused(db, lambda: users.insert(twin), DuplicateKeyError, "unique index violation")
    assert (error.collection, error.index, error.key) == ("users", "email_idx", user(1).email)


async def test_keys_that_are_too_long_for_a_page(db: Any) -> None:
    books = await library(db)
    users = db.collection(User)
    long = "x" * 1990
    for action, words in [
        (lambda: books.insert(book(3, isbn=long)), 'books: a value in the index "by_isbn" has'),
        (lambda: books.update(1, {"isbn": long}), 'books: a value in the index "by_isbn" has'),
        (lambda: books.insert(book(1, shelf={"room": long})), 'books: a value in the index "by_room" has'),
        (lambda: books.insert_many([book(3), book(4, isbn=long)]), 'books: a value in the index "by_isbn" has'),
        (lambda: users.create(user(2, email=long)), 'users: a value in the index "email_idx" has'),
        (lambda: users.update(1, {"email": long}), 'users: a value in the index "email_idx" has'),
    ]:
        await refused(db, action, ModelVaultSchemaError, words + ".* bytes; the limit is 1984")
    await db.register_collection("texts", json.dumps([{"path": ["id"], "type": "string"}]), "id")
    await refused(
        db, lambda: db.insert("texts", {"id": long}), ModelVaultSchemaError, "texts: the primary key has 1990"
    )
    async with db.transaction():
        await users.insert(user(2))
        await refused(db, lambda: users.insert(user(3, email=long)), ModelVaultSchemaError, "the limit is 1984")
    await books.insert(book(3, isbn="x" * 1900))
    assert [row["id"] for row in await books.where("isbn", "x" * 1900).all()] == [3]
    await db.verify()


# Models


async def test_rows_that_are_no_instances(db: Any) -> None:
    await library(db)
    users = db.collection(User)
    for row in (user(2).model_dump(), person(2), User, None, 5):
        await refused(db, lambda row=row: users.insert(row), TypeError, "expected an instance of User")
        await refused(db, lambda row=row: users.insert_many([user(2), row]), TypeError, "expected an instance of User")


async def test_instances_that_lack_a_field_or_hold_a_wrong_value(db: Any) -> None:
    await library(db)
    users = db.collection(User)
    half = User.model_construct(id=2)
    await refused(db, lambda: users.insert(half), ModelVaultValidationError, "validation error at email: missing field")
    for changes, error in [
        ({"age": "x"}, TypeError),
        ({"age": None}, TypeError),
        ({"tags": ("x",)}, ValueError),
        ({"address": {"city": 5}}, (TypeError, ValueError)),
        ({"created": "2024"}, ValueError),
    ]:
        wrong = user(2).model_copy(update=changes)
        await refused(db, lambda wrong=wrong: users.insert(wrong), error, None)


async def test_bad_patches_of_models(db: Any) -> None:
    await library(db)
    users = db.collection(User)
    for patch, error, phrase in [
        ({"nope": 1}, ValueError, 'unknown field "nope"'),
        ({"age": "x"}, ValueError, "age"),
        ({"address": {"street": 5}}, ValueError, "address"),
        ({"id": 5}, ValueError, "cannot change the primary key"),
        ({5: 1}, TypeError, "field names"),
        (5, TypeError, "a patch is a dict, a model or a dataclass"),
    ]:
        await refused(db, lambda patch=patch: users.update(1, patch), error, phrase)
    await refused(db, lambda: users.update(99, {"age": 5}), ValueError, "cannot update missing row")
    people = await db.collection(Person)
    await people.insert(person(1))
    await refused(db, lambda: people.update(1, {"nope": 1}), ValueError, 'unknown field "nope"')
    await refused(db, lambda: people.update(1, {"age": "x"}), TypeError, "cannot be interpreted as an integer")


class Bare(BaseModel):
    id: int


class Elsewhere(BaseModel):
    __modelvault_primary_key__ = "nope"
    id: int


class WithSocket:
    pass


@pytest.mark.parametrize(
    ("cls", "phrase"),
    [
        (Bare, "model must define __modelvault_primary_key__"),
        (Elsewhere, 'primary field "nope" not found'),
        (WithSocket, "model must be a dataclass or a pydantic.BaseModel subclass"),
        (5, "model must be a dataclass or a pydantic.BaseModel subclass"),
    ],
)
async def test_classes_that_are_no_models(cls: Any, phrase: str, db: Any) -> None:
    with pytest.raises(ValueError, match=phrase):
        db.collection(cls)


class Users2(BaseModel):
    __modelvault_collection__ = "users"
    __modelvault_primary_key__ = "id"
    id: int
    email: int


class Users3(BaseModel):
    __modelvault_collection__ = "users"
    __modelvault_primary_key__ = "email"
    id: int
    email: str


class Users4(BaseModel):
    __modelvault_collection__ = "users"
    __modelvault_primary_key__ = "id"
    id: int
    surprise: str


@pytest.mark.parametrize(
    ("cls", "error", "phrase"),
    [
        (Users2, ModelVaultFormatError, "record payload type does not match schema"),
        (Users3, ModelVaultSchemaError, "primary field"),
        (Users4, ModelVaultSchemaError, 'insert row has unknown field "surprise"'),
    ],
)
async def test_models_that_do_not_fit_what_is_stored(cls: Any, error: Any, phrase: str, db: Any) -> None:
    await library(db)

    async def use() -> None:
        await db.collection(cls).all()

    await refused(db, use, error, phrase)


# Declarations

FIELDS_ERRORS: list[tuple[Any, type[Exception], str]] = [
    ("not json", ValueError, "line 1 column"),
    ("", ValueError, "EOF while parsing a value at line 1 column 0"),
    ("{}", ValueError, "fields_json must be a JSON array"),
    ("[5]", ValueError, "each field must be a JSON object"),
    ('[{"type": "int64"}]', ValueError, 'missing "path"'),
    ('[{"path": "id", "type": "int64"}]', ValueError, '"path" must be an array of strings'),
    ('[{"path": [5], "type": "int64"}]', ValueError, "path segment must be a string"),
    ('[{"path": [], "type": "int64"}]', ValueError, "schema error: invalid field path"),
    ('[{"path": ["id"]}]', ValueError, 'missing "type"'),
    ('[{"path": ["id"], "type": "int"}]', ValueError, 'unknown primitive type "int"'),
    ('[{"path": ["id"], "type": 5}]', ValueError, '"type" must be a string or object'),
    ('[{"path": ["id"], "type": {"map": "int64"}}]', ValueError, 'unsupported "type" shape'),
    ('[{"path": ["id"], "type": {"enum": [5]}}]', ValueError, "enum variant must be a string"),
    ('[{"path": ["id"], "type": "int64", "constraints": 5}]', ValueError, '"constraints" must be an array'),
    ('[{"path": ["id"], "type": "int64", "constraints": [{"min": 5}]}]', ValueError, "unknown constraint shape"),
    ('[{"path": ["x"], "type": "int64"}]', ModelVaultSchemaError, 'primary field "id" not found as a top-level field'),
    (
        '[{"path": ["id"], "type": "int64"}, {"path": ["id"], "type": "int64"}]',
        ModelVaultSchemaError,
        "schema error: invalid field path",
    ),
    ('[{"path": ["id"], "type": {"optional": "int64"}}]', ModelVaultSchemaError, "must use a primitive type"),
    ([], TypeError, "argument 'fields_json': 'list' object is not an instance of 'str'"),
    ("[" * 100_000, ValueError, "recursion limit exceeded|line 1 column"),
]


@pytest.mark.parametrize(("fields", "error", "phrase"), FIELDS_ERRORS)
async def test_bad_field_declarations(fields: Any, error: type[Exception], phrase: str, db: Any) -> None:
    await library(db)
    await refused(db, lambda: db.register_collection("c", fields, "id"), error, phrase)
    assert db.collection_names() == ["books", "users"]


INDEX_ERRORS: list[tuple[Any, str]] = [
    ("x", "line 1 column"),
    ("{}", "indexes_json must be a JSON array"),
    ("[5]", "each index must be a JSON object"),
    ('[{"path": ["id"], "kind": "index"}]', 'index missing "name" or name is not a string'),
    ('[{"name": " ", "path": ["id"], "kind": "index"}]', 'index "name" must be non-empty'),
    ('[{"name": "i", "kind": "index"}]', 'index missing "path"'),
    ('[{"name": "i", "path": "id", "kind": "index"}]', 'index "path" must be an array of strings'),
    ('[{"name": "i", "path": ["zz"], "kind": "index"}]', 'index "i" path does not match any field in fields_json'),
    ('[{"name": "i", "path": ["tags"], "kind": "index"}]', 'index "i" path must resolve to a scalar field'),
    ('[{"name": "i", "path": ["id"]}]', 'index missing "kind" or kind is not a string'),
    ('[{"name": "i", "path": ["id"], "kind": "uniq"}]', r'index "i": kind must be "unique", .* \(got "uniq"\)'),
    (json.dumps([{"name": "i", "path": ["id"], "kind": "index"}] * 2), 'duplicate index name "i"'),
]


@pytest.mark.parametrize(("indexes", "phrase"), INDEX_ERRORS)
async def test_bad_index_declarations(indexes: str, phrase: str, db: Any) -> None:
    await library(db)
    await refused(db, lambda: db.register_collection("c", json.dumps(BOOKS), "id", indexes), ValueError, phrase)


async def test_bad_collection_names(db: Any) -> None:
    await library(db)
    for name, phrase in [
        ("", "invalid collection name"),
        ("   ", "invalid collection name"),
        (" books ", 'duplicate collection name: "books"'),
        ("x" * 1_000_000, "invalid collection name"),
    ]:
        action = lambda name=name: db.register_collection(name, json.dumps(BOOKS), "id")  # noqa: E731
        await refused(db, action, ModelVaultSchemaError, f"schema error: {phrase}")
    assert await db.register_collection("Books", json.dumps(BOOKS), "id") == (3, 1)
    await db.register_collection("a/\0 \xe9", json.dumps(BOOKS), "id")
    assert db.collection_names() == ["Books", "a/\0 \xe9", "books", "users"]


# Transactions


async def test_transactions_used_wrongly(db: Any) -> None:
    books = await library(db)
    tx = db.transaction()
    with pytest.raises(ModelVaultTransactionError, match="no active transaction"):
        await tx.__aexit__(None, None, None)
    async with tx:
        with pytest.raises(ModelVaultTransactionError, match="nested transactions are not supported"):
            await db.transaction().__aenter__()
        with pytest.raises(ModelVaultTransactionError, match="nested transactions are not supported"):
            await tx.__aenter__()
        await books.insert(book(3))
    assert len(await books.all()) == 3
    async with tx:
        await books.delete(3)
    assert len(await books.all()) == 2
    with pytest.raises(ModelVaultTransactionError, match="no active transaction"):
        tx.savepoint()


async def test_a_failed_statement_leaves_the_transaction_as_it_was(db: Any) -> None:
    books = await library(db)
    async with db.transaction():
        await books.insert(book(3))
        for name in ("taken", "broken constraint", "extra field", "no field", "text as int"):
            row, error, phrase = ROWS[name]
            await refused(db, lambda row=row: books.insert(row), error, phrase)
            await refused(db, lambda row=row: books.insert_many([book(9), row]), error, phrase)
        await books.insert(book(4))
    assert [row["id"] for row in await books.all()] == [1, 2, 3, 4]


async def test_a_failed_block_leaves_nothing(db: Any) -> None:
    books = await library(db)

    async def block() -> None:
        async with db.transaction():
            await books.insert(book(3))
            await books.update(1, {"year": 1950})
            await books.delete(2)
            await db.register_collection("c", json.dumps(BOOKS), "id")
            await db.collection(Person).insert(person(1))
            raise KeyError("mine")

    await refused(db, block, KeyError, "mine")
    assert db.collection_names() == ["books", "users"]


def test_models_module_checks_its_database() -> None:
    with pytest.raises(TypeError, match="argument 'db'"):
        models.collection(object(), User)
    with pytest.raises(TypeError, match="argument 'db'"):
        models.async_collection(object(), User)


async def test_what_an_error_of_a_query_names(db: Any) -> None:
    """The field and its collection, and what was asked; not the class that asked, which has two names."""
    books = await library(db)
    with pytest.raises(ValueError, match=r'enum value must be one of .*: field "form" of books'):
        await books.where("form", "papyrus").all()
    with pytest.raises(NotFoundError, match=r"^no row of books fits: books where id == \.\.\.$"):
        await books.where("id", -1).one()
    with pytest.raises(ModelVaultQueryError, match=r"^query error: more than one row of books fits: books where"):
        await books.where().one()
