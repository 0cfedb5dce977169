"""The allocator of a write to a file."""

from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

from modelvault._core.draft cimport Allocator, Draft
from modelvault._core.format cimport Root
from modelvault._core.pager cimport Pager, Words
from modelvault._core.tree cimport Roots


cdef struct Run:
    # Neighbouring free pages.
    uint64_t first
    uint64_t pages


cdef struct Runs:
    # A growable array of runs.
    Run* items
    size_t count
    size_t capacity


ctypedef int (*Order)(const void*, const void*) noexcept nogil


@final
cdef class Space(Allocator):
    # Owns its arrays. What this write took and has not used yet is in `singles`, `pieces` and `bulk`.
    cdef readonly Draft draft
    cdef readonly uint64_t limit        # pages freed by this generation or an earlier one may be used again
    cdef readonly uint64_t end          # pages in use by the format once the write is committed
    cdef readonly uint64_t free_pages   # of them in the free tree
    cdef readonly uint64_t available    # pages left in singles
    cdef readonly uint64_t ceiling      # Pager.ceiling: free pages below it come first, the lowest first
    cdef public bint spend_reserve
    cdef bint full                      # the disk is: take whatever is free
    cdef Runs singles                   # for single pages, consumed in order, append only
    cdef size_t position                # of the run that is being used
    cdef uint64_t used                  # pages of it that are gone
    cdef dict pieces                    # runs for longer drafts: length -> list of first pages
    cdef Run bulk                       # a run for all longer drafts that have no piece of their length
    cdef list spared                    # (first, pages) taken, not needed, and not yet noted as free again
    cdef size_t noted                   # numbers of draft.freed that are in the free tree
    cdef uint32_t batch                 # the next batch of this generation
    cdef uint64_t recyclable            # pages from here on were taken since the innermost savepoint

    # The batches being looked at: keys in pairs (generation, batch), where each one's runs start, and all runs.
    cdef Words keys
    cdef Words starts
    cdef Runs found

    cdef uint64_t take_extent(self, uint64_t pages) except 0
    cdef int keep(self, uint64_t first, uint64_t pages) except -1
    cdef int acquire(self, Root* root, uint64_t pages) except -1
    cdef int place_extents(self, Root* root, uint64_t log_pages) except -1
    cdef bint take_piece(self, Root* root, uint64_t pages) except -1
    cdef int look_everywhere(self, error) except -1
    cdef Run take_run(self, Root* root, uint64_t pages) except *
    cdef int load(self, Root* root, uint64_t most) except -1
    cdef uint64_t most_batches(self, Root* root, uint64_t pages) noexcept
    cdef Py_ssize_t best_fit(self, uint64_t pages) noexcept
    cdef bint free_share(self, uint64_t share) noexcept
    cdef uint64_t scatter(self, Root* root, uint64_t pages, Order order) except? 0
    cdef Run cut(self, Py_ssize_t place, uint64_t pages) noexcept
    cdef uint64_t cut_scattered(self, uint64_t pages, Order order) except? 0
    cdef int store_batch_of(self, Root* root, size_t place) except -1
    cdef int store(self, Root* root, size_t index, size_t start, size_t count) except -1
    cdef int store_all(self, Root* root) except -1
    cdef int extend(self, uint64_t pages) except -1
    cdef Run behind_end(self, uint64_t pages) except *
    cdef int make_room(self, uint64_t pages) except -1
    cdef int spare_rest(self, uint64_t pages) except -1
    cdef int note_freed(self, Root* root) except -1
