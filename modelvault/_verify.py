"""Everything that is wrong with one version of a database, said at once.

Every page is read from the file and looked at; the trees, the free space and the log have to share the pages of the
file among them; every row has to be readable and to have its index entries, every entry its row. A part that is damaged
does not keep the others from being checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from modelvault._core.draft import Draft
from modelvault._core.entry import EntryShape
from modelvault._core.record import Face, RecordCodec
from modelvault._core.space import free_runs
from modelvault._core.survey import Survey
from modelvault._core.walk import Tree
from modelvault._definitions import CATALOG, FREE
from modelvault._engine import Engine, Version
from modelvault._frozen import fresh, frozen, mutable, replace
from modelvault._store import Store, key_codec, record_version
from modelvault.errors import CorruptionError, ModelVaultValidationError
from modelvault.lineage import is_optional
from modelvault.members import tagged
from modelvault.schema import Field, Index, Type

__all__ = ["Problem", "Verification", "verifying"]

MOST: Final = 100  # problems that are listed
META_PAGES: Final = 4
NAMES: Final = {CATALOG: "the catalog", FREE: "the list of free pages"}


@frozen
class Problem:
    """One thing that is wrong, and where, as far as that is known."""

    message: str
    page: int | None = None
    collection: str | None = None
    index: str | None = None
    key: Any = None

    def __str__(self) -> str:
        return self.message


@mutable
class Verification:
    """What `verify` found: how many `pages`, `rows`, index `entries` and `collections` there are, and the `problems`.

    Of those the first hundred are listed.
    """

    path: str
    pages: int = 0
    rows: int = 0
    entries: int = 0
    collections: int = 0
    problems: list[Problem] = fresh(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def __str__(self) -> str:
        if self.ok:
            return f"{self.path}: ok ({self.pages:,} pages, {self.rows:,} rows, {self.entries:,} index entries)"
        count = len(self.problems)
        return "\n".join([f"{self.path}: {count} problem{'s' if count > 1 else ''}", *map(str, self.problems)])

    def raise_if_damaged(self) -> None:
        """CorruptionError, with this report, unless all is well."""
        if self.ok:
            return
        first, more = self.problems[0], len(self.problems) - 1
        words = f"{first}{f'; and {more} more: see the report' if more else ''}"
        raise CorruptionError(words, page=first.page, path=self.path, report=self)


def verifying(engine: Engine, version: Version, report: Verification) -> Iterator[int]:
    """Check a pinned version, and enter what is wrong into the report; yields bytes read. OSError."""
    engine.checkpoints.wait()
    return Verifying(engine, version, report).run()


class Verifying:
    """One verification under way."""

    def __init__(self, engine: Engine, version: Version, report: Verification) -> None:
        self._engine = engine
        self._version = version
        self._report = report
        self._newest = 0 if engine.volatile else version.generation
        self._damaged = False  # pages of the collection
        self._owners = bytearray(0 if engine.volatile else version.page_count)

    def run(self) -> Iterator[int]:
        """See `verifying`."""
        version, report = self._version, self._report
        seen: set[int] = set()
        for tree in () if self._engine.volatile else (CATALOG, FREE):
            seen.add(tree)
            yield from self._walk(tree, NAMES[tree])
        for definition in version.definitions.values():
            report.collections += 1
            seen |= {definition["tree"], *(tree for _, tree in definition["indexes"])}
            yield from self._collection(definition)
        for tree in range(2, len(version.roots)):
            if tree not in seen:
                yield from self._walk(tree, "an index or collection under way")
        if not self._engine.volatile:
            self._check_space()

    def _note(self, message: str, **where: Any) -> None:
        """Report a problem, unless there are enough."""
        if len(self._report.problems) < MOST:
            self._report.problems.append(Problem(message, **where))

    @property
    def _full(self) -> bool:
        """Whether enough problems are known."""
        return len(self._report.problems) >= MOST

    # Pages

    def _walk(self, tree: int, what: str, **where: Any) -> Iterator[int]:
        """Look at all pages of a tree of which the content does not matter."""
        for _ in self._leaves(tree, what, False, **where):
            yield self._engine.pager.page_size

    def _leaves(self, tree: int, what: str, values: bool, **where: Any) -> Iterator[list[tuple[bytes, bytes | None]]]:
        """The leaves of a tree; what keeps one from being read is noted."""
        root = self._version.roots[tree]
        survey = Survey(self._engine.pager, root, self._owners, self._newest)
        noted = 0
        while True:
            leaf = survey.next_leaf(values)
            for page, words, low, high in survey.damage[noted:]:
                noted += 1
                self._damaged = True
                store = where.get("store")
                key = unpacked(store, low) if store is not None and low is not None and low == high else None
                named = {name: value for name, value in where.items() if name != "store"}
                self._note(f"{what}: {words}", page=page or None, key=key, **named)
            if leaf is None:
                break
            yield leaf
        self._report.pages += survey.pages
        if not survey.damage and survey.entries != root[3]:
            named = {name: value for name, value in where.items() if name != "store"}
            self._note(f"{what} has {survey.entries} entries and should have {root[3]}", **named)

    def _check_space(self) -> None:
        """Every page has to be reached, free, or the log's, and one of them only."""
        version, owners = self._version, self._owners
        meta = version.meta
        sound = self._report.ok
        try:
            runs = [(first, pages, "free") for _, first, pages in self._free_runs()]
        except CorruptionError as error:
            self._note(f"the list of free pages: {error}", page=error.page)
            return
        runs += [(first, pages, "given up") for first, pages in version.freed]
        runs += [(0, META_PAGES, "a meta page"), (meta.log_page, meta.log_pages, "the log's")]
        for first, pages, what in runs:
            page = owners.find(1, first, first + pages)
            while page >= 0:
                self._note(f"page {page} is {what}, and used besides", page=page)
                page = owners.find(1, page + 1, first + pages)
            owners[first : first + pages] = b"\1" * pages
        lost = owners.count(0)
        if lost and sound:
            page = owners.index(0)
            self._note(f"{lost} pages are neither used nor free, first page {page}", page=page)

    def _free_runs(self) -> list[tuple[int, int, int]]:
        """The free pages as the file says: (first page, pages, generation)."""
        return free_runs(self._engine.pager, self._version.roots, self._version.page_count)

    # Rows

    def _collection(self, definition: dict[str, Any]) -> Iterator[int]:
        """Check a collection: rows, then each index, then one against the other."""
        name = definition["name"]
        self._damaged = False
        try:
            store = Store(self._engine.pager, definition)
        except Exception as error:
            self._note(f"{name}: its definition cannot be understood: {error}", collection=name)
            return
        yield from self._rows(store)
        for (index, tree), described in zip(definition["indexes"], store.schema.indexes, strict=True):
            yield from self._entries(store, described, index, tree)
        if self._damaged:
            return
        try:
            store.table.check(self._version.roots)
        except CorruptionError:
            yield from self._compare(store)

    def _rows(self, store: Store) -> Iterator[int]:
        """Read and decode every row; its values have to be what the schema allows."""
        codecs = store.codecs(tagged(store.schema.type))
        face, rules = Face(codecs, store.schema.primary), RecordCodec(loose(tagged(store.schema.type)), 0)
        for leaf in self._leaves(store.definition["tree"], store.name, True, collection=store.name, store=store):
            for key, record in leaf:
                self._report.rows += 1
                if record is None:
                    continue
                try:
                    rules.encode(face.decode(record))
                except Exception as error:
                    value = unpacked(store, key)
                    what = "breaks a rule" if isinstance(error, ModelVaultValidationError) else "cannot be decoded"
                    self._note(f"{store.name}: the row {value!r} {what}: {error}", collection=store.name, key=value)
            yield sum(len(key) + len(record or b"") for key, record in leaf)

    def _entries(self, store: Store, index: Index, name: str, tree: int) -> Iterator[int]:
        """Look at every entry of an index; of a unique one, that no value is there twice."""
        shape = EntryShape(store.extractors(index.paths)[store.schema.version])
        before: bytes | None = None
        where = {"collection": store.name, "index": name}
        for leaf in self._leaves(tree, f"index {name} of {store.name}", False, **where):
            self._report.entries += len(leaf)
            for entry, _ in leaf:
                parts = shape.split(entry)
                if parts is None:
                    self._note(f"index {name} of {store.name} has an entry that cannot be one", **where)
                elif index.unique and parts[0] == before and not self._is_exempt(store, index, parts[1]):
                    key = unpacked(store, parts[1])
                    self._note(
                        f"index {name} of {store.name}: the row {key!r} has another row's value", key=key, **where
                    )
                before = None if parts is None else parts[0]
            yield sum(len(entry) for entry, _ in leaf)

    def _is_exempt(self, store: Store, index: Index, key: bytes) -> bool:
        """Whether a unique index takes no notice of a row."""
        record = store.table.record(self._version.roots, key)
        extractor = None if record is None else store.extractors(index.paths).get(record_version(record))
        return record is None or extractor is None or extractor.exempt(record)

    def _compare(self, store: Store) -> Iterator[int]:
        """Name the rows that lack an entry, and the entries that have no row."""
        roots, draft = self._version.roots, Draft(self._engine.pager, 0, True)
        for index, (name, number) in zip(store.schema.indexes, store.definition["indexes"], strict=True):
            tree, extractors = Tree(draft, roots[number]), store.extractors(index.paths)
            where = {"collection": store.name, "index": name}
            for key, record in Tree(draft, roots[store.definition["tree"]]).items():
                if any(tree.get(entry + key) is None for entry in values_of(extractors, record) or ()):
                    value = unpacked(store, key)
                    self._note(f"the row {value!r} of {store.name} has no entry in index {name}", key=value, **where)
                if self._full:
                    return
            yield 0
            shape = EntryShape(extractors[store.schema.version])
            for entry, _ in Tree.items(tree):
                parts = shape.split(entry)
                row = None if parts is None else store.table.record(roots, parts[1])
                values = None if row is None else values_of(extractors, row)
                if parts is not None and (row is None or (values is not None and parts[0] not in values)):
                    value = unpacked(store, parts[1])
                    self._note(
                        f"index {name} of {store.name} has an entry without a row: {value!r}", key=value, **where
                    )
                if self._full:
                    return
            yield 0


def values_of(extractors: dict[int, Any], record: bytes) -> list[bytes] | None:
    """What a record has in an index; None if it cannot be read, which `_rows` has told already."""
    extractor = extractors.get(record_version(record))
    try:
        return None if extractor is None else [*extractor.extract(record)]
    except CorruptionError:
        return None


def loose(type: Type) -> Type:
    """The type with all fields optional: rows may lack what the version that they were written under did not have."""
    items = tuple(map(loose, type.items))
    return replace(type, items=items, fields=tuple(map(loose_field, type.fields)))


def loose_field(field: Field) -> Field:
    """A field that need not have a value."""
    inner = loose(field.type)
    given = is_optional(inner) or inner.group
    return Field(field.name, inner if given else Type("optional", (inner,)))


def unpacked(store: Store, key: bytes) -> Any:
    """A primary key as a value; as bytes if it cannot be one."""
    try:
        return key_codec(store.schema).unpack(key)
    except Exception:
        return key
