"""Comments on posts."""

from uuid import UUID

from fastapi import APIRouter, HTTPException, Response, status

from modelvault import Page
from modelvault.fastapi import Paging, Tx, responses

from .models import Comment, Comments, NewComment, Posts, Users, c

router = APIRouter(prefix="/posts/{post}/comments", tags=["comments"])


@router.post("", status_code=status.HTTP_201_CREATED, responses=responses(404))
async def create(
    post: UUID, new: NewComment, users: Users, posts: Posts, comments: Comments, response: Response, tx: Tx
) -> Comment:
    """Comment on a post; 404 if there is no such post or author. In one transaction: neither is deleted meanwhile."""
    await posts.get_or_raise(post)
    await users.get_or_raise(new.author)
    comment = Comment(post=post, **new.model_dump())
    await comments.create(comment)
    response.headers["Location"] = f"/posts/{post}/comments/{comment.id}"
    return comment


@router.get("", responses=responses(404))
async def find(post: UUID, posts: Posts, comments: Comments, paging: Paging) -> Page[Comment]:
    """The comments on a post, the oldest first."""
    await posts.get_or_raise(post)
    return await paging.page(comments.where(c.post == post).order_by(c.created))


@router.delete("/{key}", status_code=status.HTTP_204_NO_CONTENT, responses=responses(404))
async def remove(post: UUID, key: UUID, comments: Comments, tx: Tx) -> None:
    """Delete a comment."""
    comment = await comments.get_or_raise(key)
    if comment.post != post:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"post {post} has no comment {key}")
    await comments.delete(key)
