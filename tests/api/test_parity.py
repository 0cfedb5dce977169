"""Both interfaces have the same names, signatures and documentation, and 0.16's names exist."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

import modelvault
from modelvault import models
from tests.worlds import TWINS

DUNDERS = {"__aiter__": "__iter__", "__aenter__": "__enter__", "__aexit__": "__exit__"}
ASYNC_ONLY = {"register"}  # the blocking collection is registered when it is made

# The reference of 0.16, as far as it is built.
DATABASE = {
    "open": "(path, *, read_only=False",
    "open_in_memory": "(",
    "path": "(self)",
    "register_collection": "(self, name, fields_json, primary_field, indexes_json=None)",
    "insert": "(self, collection, row)",
    "get": "(self, collection, pk)",
    "delete": "(self, collection, pk)",
    "transaction": "(self",
    "collection_names": "(self)",
    "collection": "(self, name",
    "open_snapshot": "(path)",
    "open_snapshot_bytes": "(data)",
    "restore_snapshot": "(snapshot_path, dest_path",
    "snapshot_bytes": "(self)",
    "export_snapshot": "(self, dest_path",
    "checkpoint": "(self)",
}
COLLECTION = {
    "insert": "(self, row)",
    "get": "(self, ",
    "delete": "(self, ",
    "update": "(self, ",
}
# Of what has more spellings now: 0.16's arguments, which `Signature.bind` must take.
BUILDER = {
    "where": ("path", "value"),
    "gt_where": ("path", "value"),
    "gte_where": ("path", "value"),
    "lt_where": ("path", "value"),
    "lte_where": ("path", "value"),
    "and_where": ("path", "value"),
    "or_where": ("other_query",),
    "order_by": ("path",),
    "limit": ("n",),
    "explain": (),
    "all": (),
}
ERRORS = {
    "ModelVaultFormatError": ValueError,
    "ModelVaultSchemaError": ValueError,
    "ModelVaultValidationError": ValueError,
    "ModelVaultQueryError": ValueError,
    "ModelVaultTransactionError": RuntimeError,
}


def members(cls: type) -> set[str]:
    public = {name for name in vars(cls) if not name.startswith("_")}
    return public | {name for name in vars(cls) if name in DUNDERS or name in DUNDERS.values()}


def bare_signature(function: Any) -> str:
    """The signature without annotations."""
    signature = inspect.signature(function)
    parameters = [part.replace(annotation=inspect.Parameter.empty) for part in signature.parameters.values()]
    return str(inspect.Signature(parameters))


def result_of(function: Any) -> str:
    """The annotated result, without what tells the two worlds apart."""
    text = str(inspect.signature(function).return_annotation)
    text = re.sub(r"\bOpening\b", "Database", text)
    return re.sub(r"\b(Async|Row)?(Iterator|Rows)\b|\bMark\b", "", re.sub(r"\bAsync(?=[A-Z])", "", text)).replace(
        "Savepoint", ""
    )


@pytest.mark.parametrize(("blocking", "asynchronous"), TWINS.items(), ids=lambda cls: cls.__name__)
def test_both_have_the_same_methods(blocking: type, asynchronous: type) -> None:
    wanted = {DUNDERS.get(name, name) for name in members(asynchronous)} - ASYNC_ONLY
    assert members(blocking) == wanted


@pytest.mark.parametrize(
    ("blocking", "asynchronous", "name"),
    [(one, other, name) for one, other in TWINS.items() for name in sorted(members(other) - ASYNC_ONLY)],
)
def test_a_method_and_its_twin(blocking: type, asynchronous: type, name: str) -> None:
    one, other = getattr(blocking, DUNDERS.get(name, name)), getattr(asynchronous, name)
    if isinstance(other, property):
        one, other = one.fget, other.fget
    assert not inspect.iscoroutinefunction(one)
    assert bare_signature(one) == bare_signature(other)
    assert result_of(one) == result_of(other)
    if not name.startswith("__"):
        assert one.__doc__
        if name not in ("open", "transaction", "collection", "savepoint", "snapshot"):
            assert one.__doc__ == other.__doc__


@pytest.mark.parametrize("name", ["Database", "AsyncDatabase"])
def test_the_reference_of_the_database(name: str) -> None:
    cls = getattr(modelvault, name)
    for method, signature in DATABASE.items():
        assert bare_signature(getattr(cls, method)).replace("'", "").startswith(signature), method
    assert isinstance(cls.recovery_info, property)


@pytest.mark.parametrize("name", ["Collection", "AsyncCollection"])
def test_the_reference_of_a_collection(name: str) -> None:
    for method, signature in COLLECTION.items():
        assert bare_signature(getattr(getattr(modelvault, name), method)).startswith(signature), method


@pytest.mark.parametrize("name", ["Query", "AsyncQuery"])
@pytest.mark.parametrize(("method", "arguments"), BUILDER.items(), ids=list(BUILDER))
def test_the_reference_of_a_query(name: str, method: str, arguments: tuple[str, ...]) -> None:
    signature = inspect.signature(getattr(getattr(modelvault, name), method))
    signature.bind("self", *arguments)
    if method not in ("or_where", "order_by"):  # takes one or more by place
        signature.bind("self", **dict.fromkeys(arguments))
    if method == "order_by":
        signature.bind("self", "path", desc=True)


def test_the_names_of_the_module() -> None:
    for name in ("Transaction", "AsyncTransaction", "Query", "AsyncQuery", "__version__"):
        assert name in modelvault.__all__
    assert set(modelvault.__all__) >= {error for error in dir(modelvault) if error.endswith("Error")}
    assert sorted(models.__all__) == models.__all__
    for name in models.__all__:
        assert hasattr(models, name)
    assert {"collection", "async_collection", "index", "unique", "constrained"} <= set(models.__all__)


@pytest.mark.parametrize(("name", "base"), ERRORS.items())
def test_the_exceptions(name: str, base: type[Exception]) -> None:
    error = getattr(modelvault, name)
    assert issubclass(error, base)
    assert issubclass(error, modelvault.ModelVaultError)
