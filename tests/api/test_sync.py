"""The blocking interface where it differs: threads, loops around it, and Ctrl-C."""

from __future__ import annotations

import asyncio
import linecache
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import anyio
import pytest

from modelvault import Database, ModelVaultTransactionError, models
from tests.models import Person, User, person, user


@pytest.fixture
def path(place: Path | None) -> str | None:
    return None if place is None else str(place / "db")


def open_at(path: str | None) -> Database:
    return Database.open_in_memory() if path is None else Database.open(path)


def in_threads(*calls: Callable[[], Any]) -> list[Any]:
    """Run all at the same time; what they returned or raised."""
    results: list[Any] = [None] * len(calls)

    def run(number: int) -> None:
        try:
            results[number] = calls[number]()
        except BaseException as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_a_first_program(path: str | None) -> None:
    with open_at(path) as db:
        people = models.collection(db, Person)
        people.insert(person(1))
        assert people.get(1) == person(1)
        assert [row.id for row in people] == [1]
        assert people.where("email", person(1).email).first() == person(1)
        with db.transaction() as tx, tx.savepoint():
            tx.collection(Person).delete(1)
        assert people.count() == 0
        assert repr(people) == "<Collection 'persons' of Person>"
        assert repr(people.where("id", 1)) == "<Query persons where id == ...>"


def test_iteration_ends_and_closes(path: str | None) -> None:
    with open_at(path) as db:
        users = db.collection(User)
        users.insert_many(user(number) for number in range(200))
        rows = iter(users)
        assert next(rows).id == 0
        rows.close()
        assert list(rows) == []
        with iter(users.where("active", True)) as found:
            assert next(found).id == 1
        assert len(list(users)) == 200
        assert max(row.id for row in users.where("active", True)) == 199


def test_threads_write_one_after_the_other(path: str | None) -> None:
    with open_at(path) as db:
        users = db.collection(User)
        users.insert(user(0, age=0))

        def add() -> None:
            for _ in range(10):
                with db.transaction():
                    row = users.get_or_raise(0)
                    users.update(0, {"age": row.age + 1})

        assert in_threads(*[add] * 4) == [None] * 4
        assert users.get_or_raise(0).age == 40


def test_threads_write_without_a_transaction(path: str | None) -> None:
    with open_at(path) as db:
        users = db.collection(User)

        def add(start: int) -> None:
            for number in range(start, start + 50):
                users.insert(user(number))
                assert users.get(number) == user(number)
                if number % 5 == 0:
                    assert users.delete(number)

        assert in_threads(*[lambda start=start: add(start) for start in range(0, 400, 100)]) == [None] * 4
        assert users.count() == 160
        assert [row.id for row in users] == [row.id for row in users.all()]


def test_in_looks_for_a_primary_key(path: str | None) -> None:
    """It went through the rows, none of which is equal to a key."""
    with open_at(path) as db:
        users = db.collection(User)
        users.insert_many(map(user, range(10)))
        assert 3 in users and user(3) in users and user(3).model_copy(update={"name": "another"}) in users
        assert 10 not in users and user(10) not in users
        assert all(row in users for row in users)
        with pytest.raises(TypeError, match='field "id" of users'):
            assert "3" not in users
        with db.transaction() as tx:
            users.delete(3)
            assert 3 not in users and 3 not in tx.collection(User)
            users.insert(user(30))
            assert 30 in users
        with pytest.raises(TypeError, match=r"a query has no keys: ask get\(key\) of the collection, or exists\(\)"):
            assert 3 in users.where("active", True)  # type: ignore[operator]
        with pytest.raises(TypeError, match="len"):
            len(users)  # type: ignore[arg-type]
        assert users  # a collection is there, whatever is in it


def test_another_thread_is_not_in_the_transaction(path: str | None) -> None:
    with open_at(path) as db:
        users = db.collection(User)

        def impatient() -> None:
            with db.transaction(timeout=0.02):
                raise AssertionError

        with db.transaction() as tx:
            users.insert(user(1))
            inside = tx.collection(User)
            seen, joined, refused = in_threads(lambda: users.get(1), lambda: inside.get(1), impatient)
            assert seen is None
            assert joined == user(1)
            assert isinstance(refused, ModelVaultTransactionError)
        assert users.get(1) == user(1)


def test_readers_do_not_wait_for_a_writer(path: str | None) -> None:
    with open_at(path) as db:
        users = db.collection(User)
        users.insert_many(user(number) for number in range(500))
        stop = threading.Event()

        def read() -> int:
            count = 0
            while not stop.is_set():
                assert users.get_or_raise(count % 500).id == count % 500
                assert users.where("email", user(7).email).count() == 1
                count += 1
            return count

        def write() -> None:
            try:
                for number in range(100):
                    users.update(number, {"name": "x" * number})
                    users.insert(user(1000 + number))
                    users.delete(1000 + number)
            finally:
                stop.set()

        counts = in_threads(read, write, read)
        assert isinstance(counts[0], int), counts
        assert isinstance(counts[2], int), counts
        assert users.count() == 500


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_it_works_inside_a_running_loop(path: str | None, backend: str) -> None:
    async def main() -> None:
        with open_at(path) as db:
            users = db.collection(User)
            users.insert(user(1))
            with db.transaction():
                users.insert(user(2))
            assert [row.id for row in users] == [1, 2]

    anyio.run(main, backend=backend)


def test_an_asynchronous_iterable_is_for_the_other_interface() -> None:
    async def rows() -> Any:
        await asyncio.sleep(0)
        yield user(1)

    with Database.open_in_memory() as db:
        users: Any = db.collection(User)
        source = rows()
        with pytest.raises(RuntimeError, match="use AsyncDatabase"):
            users.insert_many(source)
        assert users.count() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_does_not_tear_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Database.open(str(tmp_path / "db")) as db:
        users = db.collection(User)
        users.insert(user(1))
        engine = db._twin._access.engine
        commit = engine.commit

        def slow_commit(write: Any) -> Any:
            signal.raise_signal(signal.SIGINT)
            return commit(write)

        monkeypatch.setattr(engine, "commit", slow_commit)
        with pytest.raises(KeyboardInterrupt):
            users.create(user(2))
        with pytest.raises(KeyboardInterrupt), db.transaction():
            users.insert(user(3))
        monkeypatch.undo()
        assert [row.id for row in users] == [1, 2, 3]
        users.insert(user(4))
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_row_that_is_not_there_is_deleted_without_a_commit(path: str | None) -> None:
    with open_at(path) as db:
        users = db.collection(User)
        for number in range(300):  # enough for a log
            users.insert(user(number))
        before = db.stats()["sequence"]
        assert users.delete(1000) is False and db.stats()["sequence"] == before
        assert users.delete(7) is True and db.stats()["sequence"] == before + 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_at_any_time_loses_nothing(tmp_path: Path) -> None:
    """Changes of one row each, one after the other, while interrupts come at random and another thread writes, too."""
    main, begun, over, draw = threading.get_ident(), threading.Event(), threading.Event(), Random(7)
    stored: set[int] = set()
    interrupts = 0

    def interrupt() -> None:
        begun.wait()
        while not over.wait(draw.random() / 1000):
            signal.pthread_kill(main, signal.SIGINT)

    def write_too() -> None:
        for number in range(10_000, 20_000):
            if over.is_set():
                return
            users.insert(user(number))

    with Database.open(str(tmp_path / "db")) as db:
        users = db.collection(User)
        users.insert(user(0))
        threads = [threading.Thread(target=interrupt), threading.Thread(target=write_too)]
        for thread in threads:
            thread.start()
        number = 0
        try:
            while number < 1500:
                try:
                    if not begun.is_set():
                        begun.set()
                    number += 1
                    users.insert(user(number))
                    stored.add(number)
                    if number % 3 == 0:
                        stored.discard(number - 2)
                        users.delete(number - 2)
                except KeyboardInterrupt:
                    interrupts += 1
        finally:
            while signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
                with suppress(KeyboardInterrupt):
                    signal.signal(signal.SIGINT, signal.SIG_IGN)
            over.set()
            for thread in threads:
                thread.join()
        assert interrupts
        with db.transaction(timeout=1):
            users.insert(user(0))
        assert stored <= {row.id for row in users}
    with Database.open(str(tmp_path / "db")) as db:
        assert stored <= {row.id for row in db.collection(User)}


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.filterwarnings("ignore:a transaction was dropped:ResourceWarning")
def test_ctrl_c_anywhere_leaves_a_usable_handle(path: str | None) -> None:
    """Any line of our own code may be interrupted."""
    with open_at(path) as db:
        users = db.collection(User)

        def attempt(number: int) -> None:
            users.insert(user(number))
            with db.transaction():
                users.delete(number)
                users.insert(user(number))

        for at in range(1, 2000, 7 if path else 3):
            interrupted = interrupt_at(at, lambda at=at: attempt(at))
            with db.transaction(timeout=1):
                users.insert(user(100_000))
            users.insert(user(100_001))
            if not interrupted:
                break
        else:
            raise AssertionError("it never ran through")


def interrupt_at(at: int, function: Callable[[], None]) -> bool:
    """Call the function with a KeyboardInterrupt on the at-th line of the package; whether it came so far."""
    count = 0

    def trace(frame: Any, event: str, _: object) -> Any:
        nonlocal count
        code = frame.f_code
        if "/modelvault/" not in code.co_filename or "_runner" in code.co_filename or code.co_name == "__del__":
            return None
        # On its way out a `with` has a line event at which no signal is ever handled.
        if event == "line" and "mutex" not in linecache.getline(code.co_filename, frame.f_lineno):
            count += 1
            if count == at:
                signal.raise_signal(signal.SIGINT)
        return trace

    sys.settrace(trace)
    try:
        function()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False
