"""What a test looks at more than once: before and after, now and in the reopened file."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.worlds import World

Step = Callable[[Any], Awaitable[None]]


async def content(db: Any) -> dict[str, list[dict[str, Any]]]:
    """All rows of all collections."""
    return {name: await db.collection(name).all() for name in db.collection_names()}


async def now_and_reopened(world: World, write: Step, check: Step) -> None:
    """Write to a database and check it; on disk, check it again after closing and reopening the file."""
    async with world.open() as db:
        await write(db)
        await check(db)
    if world.place is not None:
        async with world.open() as db:
            await check(db)


def play(world: World, write: Step, check: Step) -> None:
    """`now_and_reopened` on a new database, for tests that Hypothesis calls again and again."""
    if world.path is not None:
        Path(world.path).unlink(missing_ok=True)
    world.run(lambda: now_and_reopened(world, write, check))
