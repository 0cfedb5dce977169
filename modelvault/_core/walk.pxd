"""Whole trees: sealing and checking."""

from libc.stdint cimport uint64_t

from modelvault._core.draft cimport Draft
from modelvault._core.format cimport Root
from modelvault._core.pager cimport Pager


cdef int tree_seal(Draft draft, Root* root) except -1
cdef int tree_spill(Draft draft, Root* root) except -1
cdef int tree_drop(Draft draft, Root* root) except -1
cdef list tree_check(Pager pager, const Root* root, uint64_t newest)
