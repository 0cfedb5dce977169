"""What queries ask of their collection: its fields, and its rows as Answers has them; changes by query."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from modelvault._answers import Answers
from modelvault._handle import SLICE, Handle, fixed_key
from modelvault._statements import put_part, records_of, remove_part
from modelvault._unit import Work
from modelvault.mapping import collection_name
from modelvault.partials import partial_maker
from modelvault.patches import changer
from modelvault.targets import Target, Targets

if TYPE_CHECKING:
    from modelvault._store import Binding
    from modelvault._unit import Unit
    from modelvault.conditions import Condition, Selection
    from modelvault.sources import Source

__all__ = ["Selections"]


class Selections(Answers):
    """What queries ask of their collection: its fields here, its rows in Answers."""

    __slots__ = ("_handle", "_targets", "cls", "name")

    def __init__(self, handle: Handle) -> None:
        super().__init__(handle)
        self._handle = handle
        self._targets: Targets | None = None
        self.cls: type = handle.cls
        self.name: str = handle.name

    @property
    def targets(self) -> Targets:
        """The fields of the stored schema, else of the model that will be registered; of a part, those of the whole."""
        schema = (self._handle.whole or self._handle).schema
        if self._targets is None or self._targets.schema is not schema:
            self._targets = Targets(schema)
        return self._targets

    def field(self, path: tuple[str, ...]) -> Target:
        """The field at a path; ModelVaultQueryError if there is none."""
        return self.targets.find(path)

    def check(self, condition: Condition) -> Condition:
        """The condition, its fields and values checked against the schema."""
        return self.targets.check(condition)

    def describe(self, condition: Condition) -> str:
        """The condition as a text that is the same in every process."""
        return self.targets.describe(condition)

    def same(self, other: Source) -> bool:
        """Does the other one answer from the same collection?"""
        if not isinstance(other, Selections):
            return False
        return self._handle.catalog is other._handle.catalog and self.name == other.name

    def takes(self, owner: type) -> bool:
        """Are the fields of this model class those of the collection? A dict collection takes any; paths decide."""
        cls = (self._handle.whole or self._handle).cls
        return cls is dict or issubclass(cls, owner) or issubclass(owner, cls) or collection_name(owner) == self.name

    def part(self, cls: type) -> Source:
        """The same collection as rows of a model that knows some of the fields."""
        return Selections(self._handle.part(self.targets.schema, cls))

    def partial(self, fields: tuple[tuple[str, ...], ...]) -> Callable[[Any], Any]:
        """What makes a row of the collection's model, with these fields only, of a nested dict."""
        part = self._handle.mapped if self._handle.whole is not None else self.targets.schema
        assert part is not None
        return partial_maker(part.type, fields)

    def change(self, changes: dict[tuple[str, ...], Any]) -> Callable[[Any], Any]:
        """What makes a changed, validated row of a row."""
        schema = self.targets.schema
        if (schema.primary,) in changes:
            raise fixed_key(self.name)
        return changer(changes, schema.type)

    async def update(self, selection: Selection, change: Callable[[Any], Any]) -> int:
        """Change the rows, all or none; how many there were."""

        async def alter(unit: Unit, binding: Binding, keys: list[bytes]) -> None:
            records = await unit.read(partial(records_of, binding, keys))
            rows = [binding.changed(record, change)[:2] for record in records]
            if [key for key, _ in rows] != keys:
                raise fixed_key(self.name)
            await unit.perform(partial(put_part, binding, rows))

        return await self._alter(selection, alter)

    async def delete(self, selection: Selection) -> int:
        """Delete the rows, all or none; how many there were."""

        async def alter(unit: Unit, binding: Binding, keys: list[bytes]) -> None:
            await unit.perform(partial(remove_part, binding, keys))

        return await self._alter(selection, alter)

    async def _alter(self, selection: Selection, alter: Callable[..., Awaitable[None]]) -> int:
        """Alter all rows of a selection as one transaction, or as one step of the open one."""
        handle = self._handle.whole or self._handle
        await handle.ready()
        unit = handle.unit or handle.access.attend()
        selection = selection._replace(fields=None, shape="row", distinct=False)
        if unit is not None:
            return await self._alter_in(unit, handle, selection, alter)
        async with Work(handle.access) as unit:
            return await self._alter_in(unit, handle, selection, alter)

    async def _alter_in(
        self, unit: Unit, handle: Handle, selection: Selection, alter: Callable[..., Awaitable[None]]
    ) -> int:
        """The keys first, then the rows: no row is met again where a change has moved it."""
        async with unit.savepoint(alone=True):
            finder, keys = await Selections(handle.inside(unit)).keys(selection)
            for start in range(0, len(keys), SLICE):
                part = keys[start : start + SLICE]
                await alter(unit, finder, part)
                await handle.access.breathe(len(part))
        return len(keys)
