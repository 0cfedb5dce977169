"""Instances made and filled without their classes' constructors."""


cdef class Slot:
    # An attribute in a slot of the instance: `offset` bytes into it, or 0 when it can only be set by name.
    cdef Py_ssize_t offset
    cdef str name
    cdef int fill(self, object instance, object value) except -1
    cdef object get(self, object instance)


cdef Slot find_slot(type cls, str name)
cdef object new_instance(type cls)
