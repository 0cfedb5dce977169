"""FastAPI: the database for as long as the app runs, collections and transactions as dependencies, errors as statuses.

    app = FastAPI(lifespan=lifespan("app.modelvault"))
    handle_errors(app)
    Users = Annotated[AsyncCollection[User], Depends(collection(User))]

    @app.post("/users", status_code=201)
    async def create(user: User, users: Users, tx: Tx) -> User: ...

Dependencies and an `async def` handler run in one task, so what the handler does with any collection of the database
happens in its transaction. `Tx` ends when the handler has returned and its response is made, before the first byte is
sent: a client that has an answer finds the rows, and a commit that fails is an error status. FastAPI calls this the
scope "function"; with its other one, "request", the commit would come after the response.

Every dependency here is a coroutine function, although most wait for nothing: FastAPI calls others, classes too, in a
worker thread, at the price of 100 us and of the task that a transaction belongs to.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from operator import attrgetter
from typing import Annotated, Any, Final, TypeVar

from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request, Response, status
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.requests import HTTPConnection

from modelvault.collection import AsyncCollection
from modelvault.database import AsyncDatabase
from modelvault.errors import (
    ClosedError,
    CursorError,
    DuplicateKeyError,
    LockedError,
    ModelVaultTransactionError,
    ModelVaultValidationError,
    NotFoundError,
    StaleSchemaError,
)
from modelvault.pages import Page
from modelvault.query import Questions
from modelvault.transaction import AsyncTransaction

__all__ = [
    "Conditional",
    "Db",
    "Paging",
    "PagingParams",
    "Tx",
    "attach",
    "collection",
    "conditional",
    "database",
    "handle_errors",
    "lifespan",
    "responses",
    "transaction",
]

M = TypeVar("M")

MOST: Final = 1000  # rows of a page

# The app and its database


def lifespan(
    path: str | os.PathLike[str] | Callable[[], str | os.PathLike[str]], *models: type, **options: Any
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """What `FastAPI(lifespan=...)` takes: it opens the database when the app starts and closes it when it ends.

    path: of the file, or a function that gives it, called at the start; ":memory:" for a database in memory.
    models: whose collections are registered at the start, so that a schema that does not fit stops the app there.
    options: those of `AsyncDatabase.open`.
    """

    @asynccontextmanager
    async def opened(app: FastAPI) -> AsyncGenerator[None, None]:
        place = path() if callable(path) else path
        opens = AsyncDatabase.open_in_memory(**options) if place == ":memory:" else AsyncDatabase.open(place, **options)
        async with opens as db:
            for model in models:
                await db.collection(model)
            attach(app, db)
            yield

    return opened


def attach(app: FastAPI, db: AsyncDatabase) -> None:
    """Let the dependencies of this app find an open database: in a lifespan of your own, and for mounted apps."""
    app.state.modelvault = db


async def database(connection: HTTPConnection) -> AsyncDatabase:
    """The app's database. RuntimeError if there is none."""
    db = getattr(connection.app.state, "modelvault", None)
    if not isinstance(db, AsyncDatabase):
        raise RuntimeError(
            "this app has no database: pass modelvault.fastapi.lifespan(...) to FastAPI(lifespan=...), or call "
            "modelvault.fastapi.attach(app, db); a mounted app does not share the state of the outer one"
        )
    return db


Db = Annotated[AsyncDatabase, Depends(database)]
"""The app's database."""


def collection(
    model: type[M], *, validate_on_read: bool = False
) -> Callable[[AsyncDatabase], Coroutine[Any, Any, AsyncCollection[M]]]:
    """A dependency: the collection of a model. `Annotated[AsyncCollection[User], Depends(collection(User))]`."""

    async def of(db: Db) -> AsyncCollection[M]:
        return db.collection(model, validate_on_read=validate_on_read)

    return of


async def transaction(db: Db) -> AsyncIterator[AsyncTransaction]:
    """A dependency: the request's transaction, committed before the response is sent. Any exception rolls it back.

    It needs the scope "function": `Depends(transaction, scope="function")`, which is what `Tx` is.
    """
    async with db.transaction() as tx:
        yield tx


Tx = Annotated[AsyncTransaction, Depends(transaction, scope="function")]
"""The request's transaction. Background tasks and the bodies of streaming responses come after its end."""


# Errors

STATUSES: Final[dict[type[Exception], int]] = {
    NotFoundError: status.HTTP_404_NOT_FOUND,
    DuplicateKeyError: status.HTTP_409_CONFLICT,
    StaleSchemaError: status.HTTP_409_CONFLICT,
    LockedError: status.HTTP_409_CONFLICT,
    ModelVaultTransactionError: status.HTTP_409_CONFLICT,
    ModelVaultValidationError: 422,  # Starlette has renamed its constant
    ValidationError: 422,
    CursorError: 422,
    ClosedError: status.HTTP_503_SERVICE_UNAVAILABLE,
}


def handle_errors(app: FastAPI) -> None:
    """Answer with a status where a handler lets one of our errors through, as `{"detail": ...}`.

    404: NotFoundError. 409: DuplicateKeyError, LockedError, ModelVaultTransactionError (it waited too long for its
    turn, say). 422: ModelVaultValidationError, Pydantic's ValidationError, which `update` raises for a value that does
    not fit, CursorError. 503: ClosedError. Everything else stays a 500: a damaged file or a full disk is nothing that a
    client could mend.
    """
    for error in STATUSES:
        app.add_exception_handler(error, answer)


async def answer(_: Request, error: Exception) -> JSONResponse:
    """The response for an error, by the nearest class that has a status."""
    code = next(STATUSES[cls] for cls in type(error).__mro__ if cls in STATUSES)
    return JSONResponse({"detail": complaints(error) if code == 422 else str(error)}, code)


def complaints(error: Exception) -> list[dict[str, object]]:
    """What is wrong with a request, in the form of FastAPI's own 422."""
    if isinstance(error, ValidationError):
        found = error.errors(include_url=False, include_context=False, include_input=False)
        return [{**part, "loc": ["body", *part["loc"]]} for part in found]
    place = ["query", "after"] if isinstance(error, CursorError) else ["body"]
    return [{"type": "value_error", "loc": place, "msg": str(error)}]


MEANINGS: Final = {
    304: "Not modified",
    404: "No such row",
    409: "A key or a unique value is taken, or the transaction could not be",
    412: "The row has another revision",
    428: "If-Match is required",
    503: "The database is closed",
}
NO_BODY: Final = (304,)


def responses(*codes: int) -> dict[int | str, dict[str, Any]]:
    """For the `responses=` of a path operation: what the OpenAPI document shall say about these statuses."""
    schema = {"type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]}
    body = {"content": {"application/json": {"schema": schema}}}
    return {code: {"description": MEANINGS[code], **({} if code in NO_BODY else body)} for code in codes}


# Pages


class PagingParams:
    """The query parameters of a list, `size` and `after`, and the page that they ask for; see `Paging`."""

    def __init__(self, request: Request, response: Response, size: int, after: str | None) -> None:
        self.request = request
        self.response = response
        self.size = size
        self.after = after

    async def page(self, query: Questions[M]) -> Page[M]:
        """The page of a query or collection; its successor's address is in the header `Link`, rel="next"."""
        page = await query.page(self.size, self.after)
        if page.next is not None:
            address = self.request.url.include_query_params(after=page.next)
            self.response.headers.append("Link", f'<{address.path}?{address.query}>; rel="next"')
        return page


async def paging_params(
    request: Request,
    response: Response,
    size: Annotated[int, Query(ge=1, le=MOST, description="How many rows at most.")] = 50,
    after: Annotated[str | None, Query(description="`next` of the page before; none for the first page.")] = None,
) -> PagingParams:
    """A dependency: the page that a request asks for."""
    return PagingParams(request, response, size, after)


Paging = Annotated[PagingParams, Depends(paging_params)]
"""`size` and `after` of a request: `return await paging.page(users.where(...))` in a handler `-> Page[User]`."""


# Revisions

TAG: Final = re.compile(r'[ \t]*(W/)?("[\x21\x23-\x7e]*")[ \t]*(?:,|$)')


class Conditional:
    """The preconditions of a request, RFC 9110: `If-Match` and `If-None-Match` against a row's revision.

    Made by the dependency `conditional`.
    """

    def __init__(
        self,
        revision: Callable[[Any], object],
        request: Request,
        response: Response,
        match: str | None,
        none_match: str | None,
    ) -> None:
        self._revision = revision
        self._reads = request.method in ("GET", "HEAD")
        self._response = response
        self._match = match
        self._none_match = none_match

    def check(self, row: M) -> M:
        """The row, if the preconditions hold for it as it is now; its ETag goes into the response.

        HTTPException 412 if they do not, 304 for a GET whose client has this revision already. Where the row is to be
        changed, check it in the transaction that changes it.
        """
        tag = self.tag(row)
        if self._match is not None and not matches(self._match, tag, weak=False):
            raise HTTPException(status.HTTP_412_PRECONDITION_FAILED, "the row has another revision", {"ETag": tag})
        if self._none_match is not None and matches(self._none_match, tag, weak=True):
            if self._reads:
                raise HTTPException(status.HTTP_304_NOT_MODIFIED, headers={"ETag": tag})
            raise HTTPException(status.HTTP_412_PRECONDITION_FAILED, "the row exists", {"ETag": tag})
        return self.tagged(row)

    def check_missing(self) -> None:
        """There is no such row: HTTPException 412 if the client expects one."""
        if self._match is not None:
            raise HTTPException(status.HTTP_412_PRECONDITION_FAILED, "there is no such row")

    def tagged(self, row: M) -> M:
        """The row as it was changed or made; its ETag goes into the response."""
        self._response.headers["ETag"] = self.tag(row)
        return row

    def tag(self, row: Any) -> str:
        """The ETag of a row. ValueError for a revision that cannot stand in one."""
        tag = f'"{self._revision(row)}"'
        if not TAG.fullmatch(tag):
            raise ValueError(f"a revision must be ASCII without quotes and blanks to be an ETag, not {tag[1:-1]!r}")
        return tag


def matches(header: str, tag: str, *, weak: bool) -> bool:
    """Whether a list of ETags has this strong one; `*` has all. weak: those that are weak count too."""
    if header.strip() == "*":
        return True
    return any(found == tag and (weak or not prefix) for prefix, found in tags(header))


def tags(header: str) -> Iterable[tuple[str, str]]:
    """The prefix ("W/" or "") and the ETag of each member of a list, up to the first that is malformed."""
    at = 0
    while at < len(header) and (found := TAG.match(header, at)):
        yield found[1] or "", found[2]
        at = found.end()


def conditional(
    revision: str | Callable[[Any], object] = "revision", *, required: bool = False
) -> Callable[[Request, Response, str | None, str | None], Coroutine[Any, Any, Conditional]]:
    """A dependency: the request's preconditions. `Annotated[Conditional, Depends(conditional())]`.

    revision: the attribute, or a function of the row, that changes with each change of it. Its text must be ASCII
    without quotes and blanks: a number, a UUID, a hash.
    required: a request without `If-Match`, which does not say which revision it means, is answered with 428.
    """
    of: Callable[[Any], object] = attrgetter(revision) if isinstance(revision, str) else revision

    async def dependency(
        request: Request,
        response: Response,
        match: Annotated[str | None, Header(alias="If-Match")] = None,
        none_match: Annotated[str | None, Header(alias="If-None-Match")] = None,
    ) -> Conditional:
        if required and match is None:
            raise HTTPException(status.HTTP_428_PRECONDITION_REQUIRED, "If-Match is required: send the row's ETag")
        return Conditional(of, request, response, match, none_match)

    return dependency
