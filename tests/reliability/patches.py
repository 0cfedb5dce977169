"""Mutants of the source: a step of the protocol is left out or changed, and a named test has to fail.

Each is a copy of the package in a folder of its own, with a few words exchanged and the module compiled again; nothing
in the package knows of it. `test_mutants.py` checks that every patch still has its place in the source.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = "tests/reliability/"
POWER = TESTS + "test_power.py::test_every_state_that_a_power_cut_leaves_is_whole"
FAILING = TESTS + "test_failing.py::test_every_failing_operation"
FULL = TESTS + "test_failing.py::test_commits_to_the_log_leave_room_for_their_checkpoint"
DAMAGE = TESTS + "test_damage.py::test_damage_is_noticed_or_harmless"
MACHINE = TESTS + "test_machine.py::test_every_history_agrees_with_a_dict"
ISOLATION = TESTS + "test_isolation.py::test_threads"
LOG = TESTS + "test_log.py::"
CANCELLED = TESTS + "test_cancellation.py::test_cancelled_at_every_await"
# As setup.py does it, without the time that optimization takes.
BUILD = "import setup as s; s.FLAGS[:] = ['-O0']; s.setup(ext_modules=s.extensions(), options=s.OPTIONS)"


@dataclass(frozen=True)
class Patch:
    """What is changed (each old text stands in the file once), and the test that must fail."""

    name: str
    file: str
    changes: tuple[tuple[str, str], ...]
    test: str

    def build(self, folder: Path) -> None:
        """A copy of the package there, patched and built. CalledProcessError if it does not compile."""
        shutil.rmtree(folder, ignore_errors=True)
        built = [path for pattern in ("c", "lib.*", "temp.*") for path in (ROOT / "build").glob(pattern)]
        for source in (ROOT / "modelvault", ROOT / "tests", *built):  # with their times, so that little is built again
            target = folder / source.relative_to(ROOT)
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("setup.py", "pyproject.toml"):
            shutil.copy2(ROOT / name, folder / name)
        path = folder / "modelvault" / self.file
        path.write_text(self.apply(path.read_text()))
        if path.suffix != ".py":
            command = [sys.executable, "-c", BUILD, "--quiet", "build_ext", "--inplace"]
            subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=600)

    def apply(self, source: str) -> str:
        """The changed source. ValueError if an old text does not stand there exactly once."""
        for old, new in self.changes:
            if source.count(old) != 1:
                raise ValueError(f"{self.name}: {source.count(old)} times in {self.file}: {old}")
            source = source.replace(old, new)
        return source

    def killed(self, folder: Path, seconds: float = 300, patience: int = 3) -> str:
        """How the test in a built folder fails: "fails", "crashes", "hangs", or "" if it passes."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", self.test]
        environment = {**os.environ, "PYTHONPATH": str(folder), "MODELVAULT_PATIENCE": str(patience)}
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired:
            return "hangs"
        if done.returncode in (0, 1):
            return "fails" if done.returncode else ""
        if done.returncode < 0:
            return "crashes"
        raise RuntimeError(f"{self.name}: pytest ends with {done.returncode}: {done.stdout.decode()[-1500:]}")


PATCHES = [
    Patch(
        "pages are used again too early",
        "_core/space.pyx",
        (
            (
                "self.limit = min(floor, draft.generation - 1)",
                "self.limit = draft.generation",
            ),
        ),
        POWER,
    ),
    Patch(
        "readers are not asked before pages are used again",
        "_committed.py",
        (
            (
                "return min(generation, *self.pinned.values(), generation if elsewhere is None else elsewhere)",
                "return generation",
            ),
        ),
        MACHINE,
    ),
    Patch(
        "a reader keeps a meta that is not the newest any more",
        "_following.py",
        (
            (
                "if newest.generation == meta.generation:",
                "if newest.generation <= meta.generation + 1:",
            ),
        ),
        "tests/core/test_following.py",
    ),
    Patch(
        "generations of free pages in the wrong order",
        "_core/space.pyx",
        (("    put_big_endian(key, generation, 8)", "    put_big_endian(key, ~generation, 8)"),),
        "tests/core/test_space.py",
    ),
    Patch(
        "checksums of pages are not compared",
        "_core/pager.pyx",
        (
            ("        if hash != get_u64(page.data + PAGE_CHECKSUM):", "        if False:"),
            ("        if hash != ref.checksum:", "        if False:"),
        ),
        DAMAGE,
    ),
    Patch(
        "a stale page is accepted",
        "_core/pager.pyx",
        (
            ("        if get_u64(page.data + PAGE_BIRTH) != ref.birth:", "        if False:"),
            ("        if hash != ref.checksum:", "        if False:"),
        ),
        DAMAGE,
    ),
    Patch(
        "every meta goes to the same slot",
        "_core/meta.pyx",
        (("    first = 2 * (meta.generation % 2 if slot is None else slot)\n", "    first = 0\n"),),
        "tests/core/test_meta.py",
    ),
    Patch(
        "one copy of the meta",
        "_core/meta.pyx",
        (('[meta.pack(first).ljust(meta.page_size, b"\\0"), meta.pack(first + 1)])', "[meta.pack(first)])"),),
        DAMAGE,
    ),
    Patch(
        "a commit is acknowledged before its record is synced",
        "_core/commit.pyx",
        (("log.append(record, self.synced)", "log.append(record, False)"),),
        POWER,
    ),
    Patch(
        "the log's space is used again before the meta is durable",
        "_checkpoints.py",
        (
            (
                "            self._sealed = work\n",
                "            self._sealed = work\n            state.log.release(state.log.head)\n",
            ),
        ),
        POWER,
    ),
    Patch(
        "the log overwrites what no checkpoint has",
        "_core/log.pyx",
        (("return position if position + size - self.tail <= self.capacity else NOWHERE", "return position"),),
        POWER,
    ),
    Patch(
        "replay does not look at the chain",
        "_core/log.pyx",
        (("or get_u64(header + CHAIN) != self.chain\n", "\n"),),
        LOG + "test_a_record_of_an_abandoned_history_is_not_repeated",
    ),
    Patch(
        "checksums of records are not compared",
        "_core/log.pyx",
        (
            (
                " if xxh64(header + 8, aligned(size) - 8, self.seed) == get_u64(header + CHECKSUM) else None",
                "",
            ),
        ),
        DAMAGE,
    ),
    Patch(
        "a missing commit before a later one is not noticed",
        "_core/log.pyx",
        (("        self.check_later(region)\n", ""),),
        LOG + "test_damage_to_a_commit_in_the_middle_is_told_and_the_page_named",
    ),
    Patch(
        "a statement of many rows is not undone alone",
        "_statements.py",
        (
            (
                "        result = statement(write, wait)\n    except BaseException:\n        write.rewind(savepoint)",
                "        result = statement(write, wait)\n    except BaseException:\n        write.release(savepoint)",
            ),
        ),
        "tests/api/test_collection.py::test_a_statement_that_fails_in_a_group_is_undone_alone",
    ),
    Patch(
        "a savepoint does not put the roots back",
        "_core/history.pyx",
        (("        self.roots = savepoint.roots\n        if self.space", "        if self.space"),),
        MACHINE,
    ),
    Patch(
        "an I/O error does not poison the handle",
        "_core/history.pyx",
        (("            self.poisoned = self.poisoned or error", "            pass"),),
        FAILING,
    ),
    Patch(
        "no room is kept for the checkpoint of a commit to the log",
        "_core/commit.pyx",
        (("return self.size_needed(draft) <= self.reserved", "return True"),),
        FULL,
    ),
    Patch(
        "a cancelled statement does not wait for its commit",
        "_queue.py",
        (
            (
                "            if not self._withdraw(ticket) and ticket.waiter is not None:\n",
                "            if self._withdraw(ticket) and False:\n",
            ),
        ),
        CANCELLED,
    ),
    Patch(
        "an aborted transaction is committed",
        "_core/history.pyx",
        (
            (
                '        """The write never was."""\n        write.draft.rollback()',
                '        """The write never was."""\n        return self.publish(write, self.log.sequence, self.meta)',
            ),
        ),
        ISOLATION,
    ),
    Patch(
        "a commit is shown to other processes before it is durable",
        "_core/commit.pyx",
        (
            (
                "            log.append(record, ",
                "            self.history.file.publish(log.sequence + 1)\n            log.append(record, ",
            ),
        ),
        "tests/core/test_following.py::test_nobody_sees_a_commit_before_it_is_durable",
    ),
    Patch(
        "relaxed commits are not made durable in the background",
        "_checkpoints.py",
        (("            self._keeper.call(self._flush, WINDOW)\n", ""),),
        TESTS + "test_power.py::test_a_relaxed_commit_is_durable_soon",
    ),
    Patch(
        "an unfinished record is no reason to refuse a file",
        "_engine.py",
        (("        if torn and strict:", "        if False:"),),
        LOG + "test_a_torn_tail_is_left_out_or_refused_if_strict",
    ),
    Patch(
        "a group is acknowledged though its commit failed",
        "_queue.py",
        (("                ticket.error = ticket.error or twin(error)", "                pass"),),
        "tests/api/test_runner.py::test_a_failed_commit_fails_its_statements_and_later_writes",
    ),
    Patch(
        "the last pages of a full disk are not for deletes",
        "_core/commit.pyx",
        (("        space.spend_reserve = True ", "        pass "),),
        TESTS + "test_failing.py::test_a_full_disk_takes_deletes_and_then_rows_again",
    ),
    Patch(
        "a commit counts nothing anew before the file grows",
        "_checkpoints.py",
        (("        self._count_spare()  # and readers may have gone\n", ""),),
        TESTS + "test_growth.py::test_a_commit_waits_for_a_checkpoint_rather_than_let_the_file_grow",
    ),
    Patch(
        "pages that nobody gave up yet are counted as free",
        "_checkpoints.py",
        ((" - sum(self._given_up.values())) if oldest >= self._first else 0", ")"),),
        TESTS + "test_growth.py::test_whatever_comes_when",
    ),
    Patch(
        "a copy gets its name before it is durable",
        "_core/replacement.pyx",
        (
            (
                "        self.file.sync()\n        if self.old is None:",
                "        if self.old is None:",
            ),
        ),
        TESTS + "test_syscalls.py::test_a_copy_is_durable_before_it_has_its_name",
    ),
    Patch(
        "the old file goes before the new one has its name",
        "_core/replacement.pyx",
        (("        os.replace(source, target)", "        os.unlink(target)\n        os.replace(source, target)"),),
        TESTS + "test_syscalls.py::test_a_strike_leaves_old_or_new",
    ),
    Patch(
        "two writers at a time",
        "_core/file.pyx",
        (
            (
                "        cdef int code = file_lock(self.descriptor, WRITER, HOLD_ALONE)",
                "        cdef int code = 0",
            ),
        ),
        "tests/api/test_bad_files.py::test_a_second_writer_in_another_process",
    ),
    Patch(
        "who came last writes next",
        "_core/turn.pyx",
        (("            ticket = self.line.popleft()", "            ticket = self.line.pop()"),),
        "tests/api/test_transaction.py::test_writers_take_turns_in_the_order_they_came",
    ),
    Patch(
        "what has begun is not waited for",
        "_runner.py",
        (
            (
                "                interrupted = error\n                await self.hold(job.waiter)",
                "                raise",
            ),
        ),
        "tests/api/test_runner.py::test_what_has_begun_is_finished",
    ),
    Patch(
        "a fork is not noticed",
        "_access.py",
        (("        access.alert |= FORKED", "        pass"),),
        "tests/api/test_database.py::test_a_handle_does_not_survive_a_fork",
    ),
    Patch(
        "cached pages are kept for ever",
        "_core/pager.pyx",
        (("        self.cache.shrink(room - min(page.size, room))\n", ""),),
        TESTS + "test_bounds.py::test_memory_is_bounded_by_the_cache",
    ),
    Patch(
        "what came and went while somebody reads is kept",
        "_core/history.pyx",
        (
            (
                "uint64_t newest = max(self.pinned) if self.pinned else 0",
                "uint64_t newest = NO_PIN",
            ),
        ),
        "tests/core/test_engine.py::test_a_pinned_version_keeps_its_own_pages_in_memory_and_no_later_ones",
    ),
    Patch(
        "what a pinned version sees is not kept",
        "_core/history.pyx",
        (
            (
                "uint64_t newest = max(self.pinned) if self.pinned else 0",
                "uint64_t newest = 0",
            ),
        ),
        "tests/core/test_engine.py::test_a_pinned_version_keeps_its_own_pages_in_memory_and_no_later_ones",
    ),
    Patch(
        "a cold read is waited for on the event loop",
        "_access.py",
        (
            (
                "            return reader(self.engine.latest.roots, False)\n        result",
                "            return reader(self.engine.latest.roots, True)\n        result",
            ),
        ),
        TESTS + "test_bounds.py::test_warm_reads_stay_on_the_loop_and_cold_ones_leave_it",
    ),
]
