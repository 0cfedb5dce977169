"""Instances made and filled without their classes' constructors.

A slot of a class (`__slots__`) lies at a fixed offset in its instances, which the class's member descriptor knows. The
offset is taken only from a descriptor of exactly that type; for anything else values are set by name.
"""

from cpython.object cimport PyObject

cdef extern from *:
    """
    #include <Python.h>
    #include <structmember.h>

    /* What T_OBJECT_EX is called since 3.12 has the same value. */
    static Py_ssize_t mv_slot_offset(PyObject *descriptor) {
        if (!Py_IS_TYPE(descriptor, &PyMemberDescr_Type)) return 0;
        PyMemberDef *member = ((PyMemberDescrObject *)descriptor)->d_member;
        return member->type == T_OBJECT_EX && !(member->flags & READONLY) ? member->offset : 0;
    }

    static inline void mv_fill_slot(PyObject *instance, Py_ssize_t offset, PyObject *value) {
        PyObject **place = (PyObject **)((char *)instance + offset), *old = *place;
        Py_INCREF(value);
        *place = value;
        Py_XDECREF(old);
    }

    static inline PyObject *mv_get_slot(PyObject *instance, Py_ssize_t offset) {
        PyObject *value = *(PyObject **)((char *)instance + offset);
        Py_XINCREF(value);
        return value;
    }

    static inline PyObject *mv_alloc(PyObject *cls) { return ((PyTypeObject *)cls)->tp_alloc((PyTypeObject *)cls, 0); }
    """
    Py_ssize_t slot_offset "mv_slot_offset"(object descriptor)
    void fill_slot "mv_fill_slot"(object instance, Py_ssize_t offset, object value)
    PyObject* get_slot "mv_get_slot"(object instance, Py_ssize_t offset)
    object allocate "mv_alloc"(object cls)
    int PyObject_GenericSetAttr(object instance, object name, object value) except -1


cdef class Slot:
    """One slot of a class."""

    cdef int fill(self, object instance, object value) except -1:
        """Set it, past any __setattr__ of the class."""
        if self.offset:
            fill_slot(instance, self.offset, value)
            return 0
        return PyObject_GenericSetAttr(instance, self.name, value)

    cdef object get(self, object instance):
        return getattr(instance, self.name)


cdef Slot find_slot(type cls, str name):
    """The slot `name` as instances of `cls` have it."""
    cdef Slot slot = Slot.__new__(Slot)
    slot.name = name
    for base in cls.__mro__:
        if name in base.__dict__:
            slot.offset = slot_offset(base.__dict__[name])
            break
    return slot


cdef object new_instance(type cls):
    """An instance as object.__new__ would make it; its attributes are for the caller to set."""
    return allocate(cls)
