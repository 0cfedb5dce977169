"""Instances made and filled without their classes' constructors.

A slot of a class (`__slots__`) lies at a fixed offset in its instances, which the class's member descriptor knows. The
offset is taken only from a descriptor of exactly that type; for anything else values are set by name.
"""

cdef extern from *:
    """
    #include <structmember.h>

    static Py_ssize_t mv_slot_offset(PyObject *descriptor) {
        if (!Py_IS_TYPE(descriptor, &PyMemberDescr_Type)) return 0;
        PyMemberDef *member = ((PyMemberDescrObject *)descriptor)->d_member;
        return member->type == T_OBJECT_EX && !(member->flags & READONLY) ? member->offset : 0;
    }

    static int mv_is_heap(PyObject *cls) {
        return (((PyTypeObject *)cls)->tp_flags & Py_TPFLAGS_HEAPTYPE) && ((PyTypeObject *)cls)->tp_itemsize == 0
            && ((PyTypeObject *)cls)->tp_alloc == PyType_GenericAlloc;
    }

    /* 3.13+ keeps attributes inside the instance, and only the class's own descriptor keeps those and a new dict in step. */
    static int mv_is_inline(PyObject *cls) {
    #ifdef Py_TPFLAGS_INLINE_VALUES
        return (((PyTypeObject *)cls)->tp_flags & Py_TPFLAGS_INLINE_VALUES) != 0;
    #else
        return 0;
    #endif
    }
    """
    Py_ssize_t slot_offset "mv_slot_offset"(object descriptor)
    bint mv_is_inline(object cls)
    bint is_heap "mv_is_heap"(object cls)
    int PyObject_GenericSetDict(object instance, object value, void* context) except -1
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
        """What it holds; None when it is empty."""
        if self.offset:
            return get_slot(instance, self.offset)
        return getattr(instance, self.name, None)


cdef Slot find_slot(object cls, str name):
    """The slot `name` as instances of `cls` have it."""
    cdef Slot slot = Slot.__new__(Slot)
    slot.name = name
    for base in cls.__mro__:
        if name in base.__dict__:
            slot.offset = slot_offset(base.__dict__[name])
            break
    return slot


cdef bint is_plain(object cls):
    """Whether allocate() makes of `cls` what object.__new__ would: nothing but Python classes between it and object."""
    return all([base is object or is_heap(base) for base in cls.__mro__])


cdef bint keeps_values_inline(object cls):
    """Whether the `__dict__` of new instances of `cls` can be set only through the class."""
    return mv_is_inline(cls)


cdef int set_dict(object instance, object values, bint inline) except -1:
    """Make `values` the `__dict__` of a new instance."""
    if inline:
        return PyObject_GenericSetAttr(instance, "__dict__", values)
    return PyObject_GenericSetDict(instance, values, NULL)
