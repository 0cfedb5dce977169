"""A state machine against a dict: everything that one can do to a database, in any order, with crashes in between.

Hypothesis draws the steps and, if something is wrong, finds the shortest way there. Rows, statements, savepoints and
queries must agree with the dict at every step; after a crash, a power cut or a failed I/O the database holds what was
acknowledged, and of the step that failed all or nothing. Nothing happens in the background here, so that the same steps
do the same; the other parts are for that.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from modelvault import Database, DuplicateKeyError, fields
from modelvault._engine import entries
from modelvault._verify import Verification, verifying
from tests.faults import Faults
from tests.reliability.failing import KINDS
from tests.reliability.power import states as cuts
from tests.reliability.tally import Tally
from tests.reliability.workload import PAGE_SIZE, PATH, Installed, Prompt, Row, State, row

KEYS = 24
Keys = st.integers(0, KEYS - 1)
Draws = st.integers(0, 2**32 - 1)


class Machine(RuleBasedStateMachine):
    """One database and the dict that it must agree with."""

    durability = "full"

    def __init__(self) -> None:
        super().__init__()
        self.installed = Installed(keeper=Prompt)
        self.disk = self.installed.__enter__()
        self.rows: State = {}
        self.saved: list[State] = []  # before the transaction, and before each savepoint in it
        self.contexts: list[Any] = []  # the transaction, and the savepoints in it
        self.reading: tuple[Any, State] | None = None
        self.open()

    def open(self) -> None:
        self.db = Database.open(PATH, page_size=PAGE_SIZE, cache_size=64 * 1024)

    @property
    def collection(self) -> Any:
        return self.db.collection(Row)

    def teardown(self) -> None:
        try:
            self.stop_reading()
            while self.contexts:
                self.leave(undo=True)
            self.compare_all()
            self.db.verify()
            self.db.close()
            self.open()
            self.compare_all()
            self.db.verify()
            self.db.close()
        finally:
            self.installed.__exit__()

    # Statements

    def change(self, call: Callable[[], Any], after: State | None) -> None:
        """A statement that leads to this state; None: it must be refused, and change nothing."""
        try:
            call()
        except DuplicateKeyError:
            assert after is None, "refused without need"
        else:
            assert after is not None, "a duplicate was taken"
            self.rows = after

    def row(self, key: int, draw: int) -> Row:
        """A row with a fair chance that another one has its email."""
        pick = random.Random(draw)
        made = row(pick, key, pick.randrange(6), large=True)
        return made.model_copy(update={"email": f"{pick.randrange(3 * KEYS)}"})

    def put(self, state: State, new: Row) -> State | None:
        """The state with a row; None if another one has its email."""
        if any(old.email == new.email and old.id != new.id for old in state.values()):
            return None
        return state | {new.id: new}

    @rule(key=Keys, draw=Draws)
    def insert(self, key: int, draw: int) -> None:
        new = self.row(key, draw)
        self.change(lambda: self.collection.insert(new), self.put(self.rows, new))

    @rule(key=Keys, draw=Draws)
    def create(self, key: int, draw: int) -> None:
        new = self.row(key, draw)
        self.change(lambda: self.collection.create(new), None if key in self.rows else self.put(self.rows, new))

    @rule(keys=st.lists(Keys, min_size=1, max_size=9), draw=Draws)
    def insert_many(self, keys: list[int], draw: int) -> None:
        new = [self.row(key, draw + place) for place, key in enumerate(keys)]
        after: State | None = self.rows
        for one in new:
            after = None if after is None else self.put(after, one)
        self.change(lambda: self.collection.insert_many(new), after)

    @rule(key=Keys, batch=st.integers(0, 6), text=st.sampled_from(["", "short", "long" * 3000]))
    def update(self, key: int, batch: int, text: str) -> None:
        if key in self.rows:
            new = self.rows[key].model_copy(update={"batch": batch, "text": text})
            self.change(lambda: self.collection.update(key, {"batch": batch, "text": text}), self.rows | {key: new})

    @rule(key=Keys)
    def delete(self, key: int) -> None:
        assert self.collection.delete(key) is (key in self.rows)
        self.rows = {other: kept for other, kept in self.rows.items() if other != key}

    @rule(batch=st.integers(0, 6))
    def delete_where(self, batch: int) -> None:
        gone = {key for key, found in self.rows.items() if found.batch == batch}
        assert self.collection.where("batch", batch).delete() == len(gone)
        self.rows = {key: kept for key, kept in self.rows.items() if key not in gone}

    # Transactions

    @precondition(lambda self: not self.contexts)
    @rule()
    def begin(self) -> None:
        self.enter(self.db.transaction())

    @precondition(lambda self: 0 < len(self.contexts) < 4)
    @rule()
    def savepoint(self) -> None:
        self.enter(self.contexts[0].savepoint())

    def enter(self, context: Any) -> None:
        context.__enter__()
        self.saved.append(self.rows)
        self.contexts.append(context)

    @precondition(lambda self: self.contexts)
    @rule(undo=st.booleans())
    def leave(self, undo: bool) -> None:
        """The end of the newest savepoint, else of the transaction."""
        before = self.saved.pop()
        context = self.contexts.pop()
        if undo:
            self.rows = before
            error = Undo()
            context.__exit__(Undo, error, None)
        else:
            context.__exit__(None, None, None)

    # Reading

    @rule(key=Keys)
    def get(self, key: int) -> None:
        assert self.collection.get(key) == self.rows.get(key)

    @rule(low=st.integers(0, 6), high=st.integers(0, 6), tag=st.integers(0, 2), limit=st.integers(1, 9))
    def query(self, low: int, high: int, tag: int, limit: int) -> None:
        f = fields(Row)
        found = sorted(self.rows.values(), key=lambda one: one.id)
        between = [one for one in found if low <= one.batch < high]
        assert self.collection.where(f.batch >= low, f.batch < high).all() == sorted(between, key=lambda one: one.id)
        tagged = [one for one in found if f"t{tag}" in one.tags]
        assert self.collection.where(f.tags.contains(f"t{tag}")).count() == len(tagged)
        ordered = sorted(found, key=lambda one: (one.email, one.id))[:limit]
        assert self.collection.order_by("email").limit(limit).all() == ordered

    @rule()
    def start_reading(self) -> None:
        """Keep the last commit readable; it is read to the end later, whatever happens meanwhile."""
        self.stop_reading()
        self.reading = (self.db._twin._access.pin(), self.saved[0] if self.saved else self.rows)

    @precondition(lambda self: self.reading)
    @rule()
    def end_reading(self) -> None:
        assert self.reading is not None
        version, state = self.reading
        catalog = self.db.__catalog__
        report = Verification(PATH)
        for _ in verifying(self.db._twin._access.engine, version, report):
            pass
        assert report.ok, str(report)
        if "rows" in version.definitions:
            store = catalog.store(version.definitions["rows"])
            face = store.binding(catalog.mapped(Row)).face
            found = [face.decode(record) for _, record in entries(store.table.pager, version.roots[store.table.tree])]
            assert {one.id: one for one in found} == state
        else:
            assert not state
        self.stop_reading()

    @invariant()
    def compare(self) -> None:
        assert self.collection.count() == len(self.rows)

    @rule()
    def compare_all(self) -> None:
        if "rows" in self.db.collection_names():
            assert {one.id: one for one in self.collection.all()} == self.rows
        else:
            assert not self.rows

    @precondition(lambda self: not self.contexts)
    @rule()
    def verify(self) -> None:
        self.db.verify()

    # What happens to a database

    @precondition(lambda self: not self.contexts)
    @rule()
    def checkpoint(self) -> None:
        self.db.checkpoint()

    @precondition(lambda self: not self.contexts)
    @rule()
    def compact(self) -> None:
        self.db.compact()

    @precondition(lambda self: not self.contexts)
    @rule(draw=Draws, times=st.integers(2, 6))
    def churn(self, draw: int, times: int) -> None:
        """Rows replaced and stored again and again, so that pages are used again."""
        pick = random.Random(draw)
        for number in range(times):
            for key in pick.sample(range(KEYS), 5):
                new = row(pick, key, number, large=False).model_copy(update={"email": f"c{key}"})
                self.collection.insert(new)
                self.rows = self.rows | {key: new}
            self.db.checkpoint()

    @precondition(lambda self: not self.contexts)
    @rule()
    def reopen(self) -> None:
        self.stop_reading()
        self.db.close()
        self.open()
        self.compare_all()

    @rule()
    def kill(self) -> None:
        """The process is gone, and an open transaction with it; the file is as it was written."""
        self.start_again(bytes(self.disk.media[PATH].content))
        self.compare_all()

    @rule(draw=Draws)
    def cut_power(self, draw: int) -> None:
        """What was not synced is there in part."""
        window = self.disk.media[PATH].log.last_window()
        self.start_again(random.Random(draw).choice(list(cuts(window, random.Random(draw), 6))))
        self.compare_all()

    def start_again(self, content: bytes) -> None:
        """Open what is left; what the old handle still does, it does to another disk."""
        self.stop_reading()
        old, contexts = self.db, self.contexts
        if contexts:
            self.rows = self.saved[0]
        self.contexts, self.saved = [], []
        self.disk.hold(PATH, content)
        with suppress(OSError):
            for context in reversed(contexts):
                context.__exit__(Undo, Undo(), None)
            old.close()
        self.open()

    def stop_reading(self) -> None:
        if self.reading is not None:
            self.db._twin._access.engine.unpin(self.reading[0])
            self.reading = None

    @precondition(lambda self: not self.contexts)
    @rule(kind=st.sampled_from(sorted(KINDS)), at=st.integers(1, 12), lasting=st.booleans(), key=Keys, draw=Draws)
    def fail(self, kind: str, at: int, lasting: bool, key: int, draw: int) -> None:
        """An I/O fails under a statement and a checkpoint; then the process ends."""
        new = self.row(key, draw)
        after = self.put(self.rows, new)
        medium = self.disk.media[PATH]
        medium.faults = Faults(at, "EIO" if kind == "read" else kind, KINDS[kind], lasting)
        outcomes = [self.rows]
        try:
            if after is not None:
                outcomes = [self.rows, after]
                self.collection.insert(new)
                outcomes = [after]
            self.db.checkpoint()
        except OSError as error:
            if error.filename != PATH:
                raise AssertionError("an OSError without its file") from error
        self.start_again(bytes(medium.content))
        found = {one.id: one for one in self.collection.all()}
        assert found in outcomes, "neither before nor after"
        self.rows = found
        self.db.verify()


class Undo(Exception):
    """What a transaction or savepoint is left with to undo it."""


def run(tally: Tally, first: int, examples: int = 10**9, steps: int = 60, shrink: bool = True) -> None:
    """Histories of the machine from one seed after the other, until the time is up or so many were tried."""
    number = first
    while tally.tried < examples and not tally.over:
        tally.place = f"seed {number}"

        class Counted(Machine):
            def __init__(self) -> None:
                super().__init__()
                tally.tried += 1

        options = settings(
            max_examples=min(20, examples),
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
            print_blob=True,
        )
        try:
            run_state_machine_as_test(seed(number)(Counted), settings=options)
        except Exception as error:
            notes = "\n".join(getattr(error, "__notes__", ()))
            tally.lose(type(error).__name__, f"seed {number}: {error!r}\n{notes}")
        number += 1
        tally.detail = f"histories of up to {steps} steps, seeds {first} to {number - 1}"
