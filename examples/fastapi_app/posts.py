"""Posts: with tags that are counted, revisions that are compared, and all of them as a stream."""

from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response, status
from fastapi.responses import StreamingResponse

from modelvault import Page
from modelvault.fastapi import Conditional, Paging, Tx, conditional, responses

from .models import Comments, NewPost, Post, Posts, PostText, Tags, Users, c, p
from .tags import count_tags

router = APIRouter(prefix="/posts", tags=["posts"])

Match = Annotated[Conditional, Depends(conditional())]
SureMatch = Annotated[Conditional, Depends(conditional(required=True))]


@router.post("", status_code=status.HTTP_201_CREATED, responses=responses(404))
async def create(
    new: NewPost, users: Users, posts: Posts, tags: Tags, response: Response, match: Match, tx: Tx
) -> Post:
    """Add a post; 404 if there is no such author."""
    await users.get_or_raise(new.author)
    post = Post(**new.model_dump())
    await posts.create(post)
    await count_tags(tags, [], post.tags)
    response.headers["Location"] = f"/posts/{post.id}"
    return match.tagged(post)


@router.get("")
async def find(
    posts: Posts, paging: Paging, tag: str | None = None, author: UUID | None = None, title: str | None = None
) -> Page[Post]:
    """Posts, the newest first: with a tag, by an author, with a text in the title."""
    query = posts.order_by(p.created.desc())
    if tag is not None:
        query = query.where(p.tags.contains(tag))
    if author is not None:
        query = query.where(p.author == author)
    if title is not None:
        query = query.where(p.title.contains(title))
    return await paging.page(query)


@router.get("/export")
async def export(posts: Posts) -> StreamingResponse:
    """All posts as JSON lines: one moment, however long it takes and whoever writes meanwhile."""

    async def lines() -> AsyncIterator[str]:
        async for post in posts:
            yield post.model_dump_json() + "\n"

    return StreamingResponse(lines(), media_type="application/jsonl")


@router.get("/{key}", responses=responses(304, 404))
async def read(key: UUID, posts: Posts, match: Match) -> Post:
    """One post; 304 if the client has this revision."""
    return match.check(await posts.get_or_raise(key))


@router.put("/{key}", responses=responses(404, 412, 428))
async def change(key: UUID, text: PostText, posts: Posts, tags: Tags, match: SureMatch, tx: Tx) -> Post:
    """Write a post anew; 412 if somebody else has changed it since the client read it."""
    old = match.check(await posts.get_or_raise(key))
    new = await posts.update(key, {**text.model_dump(), "revision": old.revision + 1})
    await count_tags(tags, old.tags, new.tags)
    return match.tagged(new)


@router.delete("/{key}", status_code=status.HTTP_204_NO_CONTENT, responses=responses(404, 412, 428))
async def remove(key: UUID, posts: Posts, comments: Comments, tags: Tags, match: SureMatch, tx: Tx) -> None:
    """Delete a post and its comments."""
    post = match.check(await posts.get_or_raise(key))
    await comments.where(c.post == key).delete()
    await count_tags(tags, post.tags, [])
    await posts.delete(key)
