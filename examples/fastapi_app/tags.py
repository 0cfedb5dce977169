"""Tags: counted whenever posts change, in the same transaction, so that the numbers are always right."""

from collections import Counter
from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Query

from modelvault import AsyncCollection

from .models import Tag, Tags, t

router = APIRouter(prefix="/tags", tags=["tags"])


@router.get("")
async def most_used(tags: Tags, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> list[Tag]:
    """The tags that most posts have."""
    return await tags.order_by(t.posts.desc(), t.name).limit(limit).all()


async def count_tags(tags: AsyncCollection[Tag], before: Iterable[str], after: Iterable[str]) -> None:
    """A post had some tags and has others now; call it in the transaction that changes the post."""
    changes = Counter(set(after))
    changes.subtract(set(before))
    for name, step in changes.items():
        tag = await tags.get(name)
        posts = step if tag is None else tag.posts + step
        if posts == 0:
            await tags.delete(name)
        elif step:
            await tags.insert(Tag(name=name, posts=posts))
