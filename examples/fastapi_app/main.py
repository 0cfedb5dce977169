"""A small service over one file: users, by id.

    uvicorn main:app            (the file is users.modelvault, or what MODELVAULT_PATH says)

The lifespan opens the database once; handlers get their typed collection as a dependency. Reads of warm data run on the
event loop's own thread; what waits for the disk runs in a worker thread.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from annotated_types import Ge, Le, MaxLen, MinLen
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response, status
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from modelvault import AsyncCollection, AsyncDatabase, DuplicateKeyError, models

Name = Annotated[str, MinLen(1), MaxLen(100)]
Age = Annotated[int, Ge(0), Le(150)]


class User(BaseModel):
    """A user as it is stored, sent and received."""

    __modelvault_primary_key__ = "id"
    __modelvault_indexes__ = [models.unique("email"), models.index("city")]

    id: int
    email: str
    name: Name
    age: Age
    city: str


class UserPatch(BaseModel):
    """The fields to change."""

    email: str | None = None
    name: Name | None = None
    age: Age | None = None
    city: str | None = None


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the database for as long as the service runs."""
    async with AsyncDatabase.open(os.environ.get("MODELVAULT_PATH", "users.modelvault")) as db:
        app.state.db = db
        yield


app = FastAPI(title="Users", lifespan=lifespan)


def database(request: Request) -> AsyncDatabase:
    """The open database."""
    db: AsyncDatabase = request.app.state.db
    return db


Db = Annotated[AsyncDatabase, Depends(database)]


def collection(db: Db) -> AsyncCollection[User]:
    """The typed collection: a light view, made for each request."""
    return models.async_collection(db, User)


Users = Annotated[AsyncCollection[User], Depends(collection)]


@app.exception_handler(DuplicateKeyError)
async def taken(_: Request, error: Exception) -> JSONResponse:
    """A key or a unique value is taken: 409."""
    return JSONResponse({"detail": str(error)}, status.HTTP_409_CONFLICT)


@app.post("/users", status_code=status.HTTP_201_CREATED)
async def create(user: User, users: Users, response: Response) -> User:
    """Add a user; 409 if the id or the e-mail address is taken."""
    await users.create(user)
    response.headers["Location"] = f"/users/{user.id}"
    return user


@app.get("/users/{key}")
async def read(key: int, users: Users) -> User:
    """One user, or 404."""
    user = await users.get(key)
    if user is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"no user {key}")
    return user


@app.get("/users")
async def find(users: Users, city: str | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[User]:
    """Users in the order of their ids, all or those of a city."""
    found: list[User] = []
    async for user in users if city is None else users.where("city", city):
        found.append(user)
        if len(found) == limit:
            break
    return found


@app.patch("/users/{key}")
async def change(key: int, patch: UserPatch, users: Users, db: Db) -> User:
    """Change some fields; 404 if there is no such user, 409 if the new e-mail address is taken."""
    async with db.transaction():  # nobody deletes the user between the two
        await read(key, users)
        return await users.update(key, patch.model_dump(exclude_none=True))


@app.delete("/users/{key}", status_code=status.HTTP_204_NO_CONTENT)
async def remove(key: int, users: Users) -> None:
    """Delete a user, or 404."""
    if not await users.delete(key):
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"no user {key}")
