"""What an app gets from modelvault.fastapi, asked through ASGI on each event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import anyio
import httpx
import pytest
from annotated_types import MaxLen
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from modelvault import AsyncCollection, AsyncDatabase, Database, ModelVaultTransactionError, Page, fields, models
from modelvault.fastapi import (
    Conditional,
    Db,
    Paging,
    Tx,
    attach,
    collection,
    conditional,
    handle_errors,
    lifespan,
    responses,
)
from tests.faults import Faults, FaultyDisk
from tests.worlds import World


class Note(BaseModel):
    """A note."""

    __modelvault_primary_key__ = "id"
    __modelvault_indexes__ = (models.unique("title"),)

    id: int
    title: Annotated[str, MaxLen(100)]
    revision: int = 1


n = fields(Note)
Notes = Annotated[AsyncCollection[Note], Depends(collection(Note))]
Match = Annotated[Conditional, Depends(conditional())]
SureMatch = Annotated[Conditional, Depends(conditional("revision", required=True))]


def make(path: str | None) -> FastAPI:
    """An app that does everything, and keeps what its background tasks saw in `app.state.seen`."""
    app = FastAPI(lifespan=lifespan(path or ":memory:", Note))
    app.state.seen = []
    handle_errors(app)

    @app.post("/notes", status_code=201)
    async def create(note: Note, notes: Notes, tx: Tx) -> Note:
        await notes.create(note)
        return note

    @app.post("/notes/pair")
    async def create_two(first: Note, second: Note, notes: Notes, tx: Tx) -> list[Note]:
        await notes.create(first)
        await notes.create(second)
        return [first, second]

    @app.post("/notes/unsure", status_code=201)
    async def create_and_fail(note: Note, notes: Notes, tx: Tx, status: int) -> Note:
        await notes.create(note)
        if status == 200:
            return None  # type: ignore[return-value]  # FastAPI refuses this response
        raise HTTPException(status)

    @app.post("/notes/later")
    async def create_later(note: Note, notes: Notes, tx: Tx, background: BackgroundTasks) -> None:
        mine = tx.collection(Note)

        async def after() -> None:
            app.state.seen.append(await notes.count())
            await notes.insert(Note(id=99, title="later"))
            try:
                await mine.insert(note)
            except ModelVaultTransactionError as error:
                app.state.seen.append(str(error))

        background.add_task(after)

    @app.get("/notes/stream")
    async def stream(notes: Notes, tx: Tx) -> StreamingResponse:
        await notes.insert(Note(id=50, title="fifty"))

        async def lines() -> AsyncIterator[str]:
            async for note in notes:
                await notes.insert(Note(id=note.id + 100, title=note.title + "+"))  # nobody holds the writer's turn
                yield f"{note.id}\n"

        return StreamingResponse(lines())

    @app.get("/notes")
    async def find(notes: Notes, paging: Paging, least: int = 0) -> Page[Note]:
        return await paging.page(notes.where(n.id >= least))

    @app.get("/notes/{key}", responses=responses(304, 404))
    async def read(key: int, notes: Notes, match: Match) -> Note:
        return match.check(await notes.get_or_raise(key))

    @app.put("/notes/{key}")
    async def put(key: int, title: str, notes: Notes, match: Match, tx: Tx) -> Note:
        old = await notes.get(key)
        if old is None:
            match.check_missing()
            new = Note(id=key, title=title)
        else:
            new = Note(id=key, title=title, revision=match.check(old).revision + 1)
        await notes.insert(new)
        return match.tagged(new)

    @app.delete("/notes/{key}", status_code=204)
    async def delete(key: int, notes: Notes, match: SureMatch, tx: Tx) -> None:
        match.check(await notes.get_or_raise(key))
        await notes.delete(key)

    @app.patch("/notes/{key}")
    async def patch(key: int, title: str, db: Db) -> Note:
        return await db.collection(Note).update(key, {"title": title})

    @app.post("/plain")
    async def insert(row: dict[str, Any], db: Db) -> None:
        await db.insert("notes", row)

    @app.get("/nothing/{what}")
    async def fail(what: str, db: Db) -> None:
        if what == "closed":
            await db.close()
            await db.collection(Note).count()
        raise OSError(what)

    return app


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://app") as client,
    ):
        yield client


async def notes_of(app: FastAPI) -> list[int]:
    db: AsyncDatabase = app.state.modelvault
    return [note.id for note in await db.collection(Note).all()]


def note(number: int, title: str | None = None) -> dict[str, Any]:
    return {"id": number, "title": title or f"note {number}", "revision": 1}


async def test_a_row_is_committed_when_the_response_begins(disk_world: World) -> None:
    """What another handle on the file sees at the very moment the first message of the response is sent."""
    if disk_world.blocking:
        return
    app = make(disk_world.path)
    seen: list[Any] = []

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                with Database.open(str(disk_world.path), read_only=True) as db:
                    seen.append((message["status"], models.collection(db, Note).get(1)))
            await send(message)

        await app(scope, receive, sending)

    transport = httpx.ASGITransport(watched)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://a") as client:
        assert (await client.post("/notes", json=note(1))).json() == note(1)
    assert seen == [(201, Note(**note(1)))]


@pytest.mark.damaged
async def test_a_commit_that_fails_is_an_error_status(disk_world: World, disks: list[FaultyDisk]) -> None:
    if disk_world.blocking:
        return
    app = make(disk_world.path)
    async with running(app) as client:
        assert (await client.post("/notes", json=note(1))).status_code == 201
        for disk in disks:
            disk.faults = Faults(at=1, on=frozenset({"sync"}), lasting=True)
        assert (await client.post("/notes", json=note(2))).status_code == 500
        assert (await client.get("/notes/2")).status_code == 404
        assert (await client.post("/notes", json=note(3))).status_code == 500
        for disk in disks:
            disk.faults = Faults()
        assert (await client.get("/notes/1")).json() == note(1)


@pytest.mark.parametrize(("wanted", "status"), [(418, 418), (200, 500)], ids=["raises", "no response"])
async def test_a_handler_that_fails_rolls_back(loop_world: World, wanted: int, status: int) -> None:
    app = make(loop_world.path)
    async with running(app) as client:
        answer = await client.post("/notes/unsure", params={"status": wanted}, json=note(1))
        assert answer.status_code == status
        assert await notes_of(app) == []
        assert (await client.post("/notes", json=note(1))).status_code == 201


async def test_all_or_nothing(loop_world: World) -> None:
    app = make(loop_world.path)
    async with running(app) as client:
        answer = await client.post("/notes/pair", json={"first": note(1), "second": note(1, "other")})
        assert answer.status_code == 409 and "notes" in answer.json()["detail"]
        assert await notes_of(app) == []


async def test_requests_at_the_same_time_take_turns(loop_world: World) -> None:
    app = make(loop_world.path)
    async with running(app) as client:
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(lambda number=number: client.post("/notes", json=note(number)))
        assert await notes_of(app) == [*range(20)]


async def test_background_tasks_come_after_the_transaction(loop_world: World) -> None:
    app = make(loop_world.path)
    async with running(app) as client:
        assert (await client.post("/notes/later", json=note(1))).status_code == 200
        assert app.state.seen == [0, "transaction error: no active transaction: this one has ended"]
        assert await notes_of(app) == [99]


async def test_a_streamed_body_comes_after_the_transaction(loop_world: World) -> None:
    app = make(loop_world.path)
    async with running(app) as client:
        await client.post("/notes", json=note(1))
        assert (await client.get("/notes/stream")).text == "1\n50\n"
        assert await notes_of(app) == [1, 50, 101, 150]


async def test_errors_are_statuses(loop_world: World) -> None:
    app = make(loop_world.path)
    async with running(app) as client:
        await client.post("/notes", json=note(1))
        assert (await client.get("/notes/9")).json() == {"detail": "no row of notes has the primary key 9"}
        assert (await client.patch("/notes/9", params={"title": "x"})).status_code == 404
        assert (await client.post("/notes", json=note(1, "other"))).status_code == 409
        assert (await client.post("/notes", json=note(2, "note 1"))).status_code == 409
        broken = await client.patch("/notes/1", params={"title": "x" * 101})
        assert broken.status_code == 422 and broken.json()["detail"][0]["loc"] == ["body", "title"]
        dicts = await client.post("/plain", json={"id": 5, "title": "x" * 101, "revision": 1})
        assert dicts.status_code == 422 and dicts.json()["detail"][0]["loc"] == ["body"]
        cursor = await client.get("/notes", params={"after": "nonsense"})
        assert cursor.status_code == 422 and cursor.json()["detail"][0]["loc"] == ["query", "after"]
        assert (await client.get("/nothing/special")).status_code == 500
        assert await notes_of(app) == [1]
        assert (await client.get("/nothing/closed")).status_code == 503


async def test_pages(loop_world: World) -> None:
    app = make(loop_world.path)
    async with running(app) as client:
        for number in range(7):
            await client.post("/notes", json=note(number))
        page = await client.get("/notes", params={"size": 3, "least": 1})
        found = [row["id"] for row in page.json()["items"]]
        while "next" in page.links:
            assert page.json()["next"] in page.links["next"]["url"]
            page = await client.get(page.links["next"]["url"])
            found += [row["id"] for row in page.json()["items"]]
        assert found == [1, 2, 3, 4, 5, 6]
        assert page.json()["next"] is None
        assert (await client.get("/notes", params={"size": 0})).status_code == 422


async def test_etags(loop_world: World) -> None:
    app = make(loop_world.path)
    async with running(app) as client:
        made = await client.put("/notes/1", params={"title": "a"})
        assert (made.status_code, made.headers["etag"]) == (200, '"1"')
        for header in ('"1"', 'W/"1"', '"9", "1"', "*"):
            known = await client.get("/notes/1", headers={"If-None-Match": header})
            assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", '"1"')
        for header in ('"2"', "1", "", '"1'):
            assert (await client.get("/notes/1", headers={"If-None-Match": header})).json()["title"] == "a"
        changed = await client.put("/notes/1", params={"title": "b"}, headers={"If-Match": '"1"'})
        assert (changed.status_code, changed.headers["etag"], changed.json()["revision"]) == (200, '"2"', 2)
        for header in ('"1"', 'W/"2"', "2"):
            late = await client.put("/notes/1", params={"title": "c"}, headers={"If-Match": header})
            assert (late.status_code, late.headers["etag"]) == (412, '"2"')
        assert (await client.put("/notes/1", params={"title": "c"}, headers={"If-None-Match": "*"})).status_code == 412
        assert (await client.put("/notes/2", params={"title": "c"}, headers={"If-Match": "*"})).status_code == 412
        assert (await client.put("/notes/2", params={"title": "c"}, headers={"If-None-Match": "*"})).status_code == 200
        assert (await client.delete("/notes/1")).status_code == 428
        assert (await client.delete("/notes/1", headers={"If-Match": '"2"'})).status_code == 204
        assert await notes_of(app) == [2]


def test_a_revision_that_cannot_be_an_etag_is_refused() -> None:
    match = Conditional(lambda row: row, Request({"type": "http", "method": "GET"}), Response(), None, None)
    assert match.tag("a-1") == '"a-1"'
    for bad in ('a"b', "a b", "ä", 'x", "y'):
        with pytest.raises(ValueError, match="ETag"):
            match.tag(bad)


def test_the_document_describes_pages_and_preconditions() -> None:
    document = make(None).openapi()
    find = document["paths"]["/notes"]["get"]
    assert {part["name"] for part in find["parameters"]} == {"least", "size", "after"}
    schema = find["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    page = document["components"]["schemas"][schema]
    assert page["properties"]["items"] == {
        "type": "array",
        "title": "Items",
        "items": {"$ref": "#/components/schemas/Note"},
    }
    assert {part.get("type") for part in page["properties"]["next"]["anyOf"]} == {"string", "null"}
    read = document["paths"]["/notes/{key}"]["get"]
    assert {part["name"] for part in read["parameters"]} == {"key", "If-Match", "If-None-Match"}
    assert "content" in read["responses"]["404"] and "content" not in read["responses"]["304"]


async def test_an_app_without_a_database_says_so(loop_world: World) -> None:
    app = FastAPI()

    @app.get("/")
    async def count(db: Db) -> int:
        return len(db.collection_names())

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
        with pytest.raises(RuntimeError, match="this app has no database: pass"):
            await client.get("/")
        async with loop_world.open() as db:
            attach(app, db)
            assert (await client.get("/")).json() == 0


async def test_a_path_may_be_a_function_and_a_schema_that_does_not_fit_stops_the_app(
    disk_world: World, tmp_path: Path
) -> None:
    if disk_world.blocking:
        return

    class Other(BaseModel):
        __modelvault_collection__ = "notes"
        __modelvault_primary_key__ = "id"

        id: str

    async with running(FastAPI(lifespan=lifespan(lambda: tmp_path / "a.modelvault", Note))):
        pass
    app = FastAPI(lifespan=lifespan(lambda: tmp_path / "a.modelvault", Other))
    with pytest.raises(ValueError, match='field "id" is stored as int'):
        async with running(app):
            pass
