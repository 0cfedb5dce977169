"""What the service stores, and what it takes: plain Pydantic models."""

from datetime import datetime, timezone
from typing import Annotated
from uuid import UUID, uuid4

from annotated_types import Ge, Le, MaxLen, MinLen
from fastapi import Depends
from pydantic import BaseModel, Field, StringConstraints

from modelvault import AsyncCollection, fields, models
from modelvault.fastapi import collection

Name = Annotated[str, MinLen(1), MaxLen(100)]
Age = Annotated[int, Ge(0), Le(150)]
TagName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+$", max_length=30)]


def now() -> datetime:
    return datetime.now(timezone.utc)


class NewUser(BaseModel):
    """What a client says of a user."""

    email: str
    name: Name
    age: Age
    city: str


class User(NewUser):
    """A user as it is stored and sent."""

    __modelvault_primary_key__ = "id"
    __modelvault_indexes__ = [models.unique("email"), models.index("city")]

    id: UUID = Field(default_factory=uuid4)
    created: datetime = Field(default_factory=now)


class UserPatch(BaseModel):
    """The fields of a user to change."""

    email: str | None = None
    name: Name | None = None
    age: Age | None = None
    city: str | None = None


class PostText(BaseModel):
    """What an author can change."""

    title: Annotated[str, MinLen(1), MaxLen(200)]
    text: str
    tags: Annotated[list[TagName], MaxLen(10)] = []


class NewPost(PostText):
    """What a client says of a post."""

    author: UUID


class Post(NewPost):
    """A post as it is stored and sent; `revision` counts its changes."""

    __modelvault_primary_key__ = "id"
    __modelvault_indexes__ = [models.index("author"), models.index("tags"), models.index("created")]

    id: UUID = Field(default_factory=uuid4)
    created: datetime = Field(default_factory=now)
    revision: int = 1


class Tag(BaseModel):
    """A tag, and how many posts have it: changed in the transactions that change posts."""

    __modelvault_primary_key__ = "name"
    __modelvault_indexes__ = [models.index("posts")]

    name: TagName
    posts: Annotated[int, Ge(1)] = 1


class NewComment(BaseModel):
    """What a client says of a comment."""

    author: UUID
    text: Annotated[str, MinLen(1), MaxLen(5000)]


class Comment(NewComment):
    """A comment as it is stored and sent."""

    __modelvault_primary_key__ = "id"
    __modelvault_indexes__ = [models.index("post"), models.index("author")]

    post: UUID
    id: UUID = Field(default_factory=uuid4)
    created: datetime = Field(default_factory=now)


STORED = (User, Post, Tag, Comment)

u, p, t, c = fields(User), fields(Post), fields(Tag), fields(Comment)

Users = Annotated[AsyncCollection[User], Depends(collection(User))]
Posts = Annotated[AsyncCollection[Post], Depends(collection(Post))]
Tags = Annotated[AsyncCollection[Tag], Depends(collection(Tag))]
Comments = Annotated[AsyncCollection[Comment], Depends(collection(Comment))]
