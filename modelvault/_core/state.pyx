"""What a commit left behind, what a write changes, and who knows the newest: for C code, of classes that are written in Python."""


cdef class State:
    """The roots of all trees and the definitions of all collections, as one commit left them."""


cdef class Change(State):
    """A State of one's own, to be changed through its draft."""


cdef class Newest:
    """Who knows the newest State."""

    cpdef Change inline(self):
        """In memory, while no write is open: what is changed through it is committed as it happens. Else None."""
        return None
