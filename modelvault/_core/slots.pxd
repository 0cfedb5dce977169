"""Instances made and filled without their classes' constructors."""

from cython cimport final


cdef extern from *:
    """
    #include <Python.h>

    /* An own reference in a slot of an instance, in place of what was there. */
    static inline void mv_fill_slot(PyObject *instance, Py_ssize_t offset, PyObject *value) {
        PyObject **place = (PyObject **)((char *)instance + offset), *old = *place;
        Py_INCREF(value);
        *place = value;
        Py_XDECREF(old);
    }

    /* What is in a slot, None if nothing is. */
    static inline PyObject *mv_get_slot(PyObject *instance, Py_ssize_t offset) {
        PyObject *value = *(PyObject **)((char *)instance + offset);
        if (value == NULL) value = Py_None;
        Py_INCREF(value);
        return value;
    }

    static inline PyObject *mv_allocate(PyObject *cls) {
        return ((PyTypeObject *)cls)->tp_alloc((PyTypeObject *)cls, 0);
    }
    """
    void fill_slot "mv_fill_slot"(object instance, Py_ssize_t offset, object value)
    object get_slot "mv_get_slot"(object instance, Py_ssize_t offset)
    object allocate "mv_allocate"(object cls)


@final
cdef class Slot:
    # An attribute in a slot of the instance: `offset` bytes into it, or 0 when it can only be set by name.
    cdef Py_ssize_t offset
    cdef str name
    cdef int fill(self, object instance, object value) except -1
    cdef object get(self, object instance)


cdef Slot find_slot(object cls, str name)
cdef bint is_plain(object cls)
cdef bint keeps_values_inline(object cls)
cdef int set_dict(object instance, object values, bint inline) except -1
