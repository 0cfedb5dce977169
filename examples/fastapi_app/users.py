"""Users: made, found, changed, and deleted with all that is theirs."""

from uuid import UUID

from fastapi import APIRouter, Response, status

from modelvault import Page
from modelvault.fastapi import Paging, Tx, responses

from .models import Comments, NewUser, Posts, Tags, User, UserPatch, Users, c, p, u
from .tags import count_tags

router = APIRouter(prefix="/users", tags=["users"])


@router.post("", status_code=status.HTTP_201_CREATED, responses=responses(409))
async def create(new: NewUser, users: Users, response: Response) -> User:
    """Add a user; 409 if the e-mail address is taken."""
    user = User(**new.model_dump())
    await users.create(user)
    response.headers["Location"] = f"/users/{user.id}"
    return user


@router.get("")
async def find(users: Users, paging: Paging, city: str | None = None) -> Page[User]:
    """Users, all or those of a city."""
    return await paging.page(users if city is None else users.where(u.city == city))


@router.get("/{key}", responses=responses(404))
async def read(key: UUID, users: Users) -> User:
    """One user."""
    return await users.get_or_raise(key)


@router.patch("/{key}", responses=responses(404, 409))
async def change(key: UUID, patch: UserPatch, users: Users) -> User:
    """Change some fields; 409 if the new e-mail address is taken."""
    return await users.update(key, patch.model_dump(exclude_none=True))


@router.delete("/{key}", status_code=status.HTTP_204_NO_CONTENT, responses=responses(404))
async def remove(key: UUID, users: Users, posts: Posts, comments: Comments, tags: Tags, tx: Tx) -> None:
    """Delete a user with their posts, the comments on these, and their comments elsewhere: all of it, or nothing."""
    await users.get_or_raise(key)
    async for post in posts.where(p.author == key):
        await comments.where(c.post == post.id).delete()
        await count_tags(tags, post.tags, [])
    await posts.where(p.author == key).delete()
    await comments.where(c.author == key).delete()
    await users.delete(key)
