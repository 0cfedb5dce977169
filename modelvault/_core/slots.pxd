"""Instances made and filled without their classes' constructors, dicts without looking their keys up."""

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

    /* An own reference in place of the value that stands `place` bytes into the keys of a dict. */
    static inline void mv_fill_place(PyObject *dict, Py_ssize_t place, PyObject *value) {
        PyObject **at = (PyObject **)((char *)((PyDictObject *)dict)->ma_keys + place), *old = *at;
        Py_INCREF(value);
        *at = value;
        Py_DECREF(old);
    }

    /* A dict that was filled so is the collector's business as soon as it holds a container. */
    static inline int mv_is_container(PyObject *value) {
        return PyObject_IS_GC(value);
    }

    static inline void mv_track(PyObject *dict) {
        if (!PyObject_GC_IsTracked(dict)) PyObject_GC_Track(dict);
    }

    /* A copy of a set. One from which nothing was ever taken is copied as it lies there: 100 ns less for nine elements. */
    static inline PyObject *mv_copy_set(PyObject *source) {
    #ifndef Py_GIL_DISABLED
        PySetObject *from = (PySetObject *)source, *made;
        if (Py_IS_TYPE(source, &PySet_Type) && from->fill == from->used) {
            size_t size = ((size_t)from->mask + 1) * sizeof(setentry);
            setentry *entry, *table = NULL;
            if (from->table != from->smalltable && (table = (setentry *)PyMem_Malloc(size)) == NULL)
                return PyErr_NoMemory();
            made = (PySetObject *)PySet_New(NULL);
            if (made == NULL) {
                PyMem_Free(table);
                return NULL;
            }
            if (table != NULL) made->table = table;
            made->mask = from->mask;
            memcpy(made->table, from->table, size);
            for (entry = made->table; entry <= made->table + made->mask; entry++) Py_XINCREF(entry->key);
            made->fill = made->used = from->used;
            return (PyObject *)made;
        }
    #endif
        return PySet_New(source);
    }

    /* A set of the same elements in half the table, or a quarter of it: Python leaves room for more, which sets of names never
       get; 62 % full is still few collisions. How Python looks is no promise: see small_set. */
    static inline PyObject *mv_small_set(PyObject *source) {
    #ifndef Py_GIL_DISABLED
        PySetObject *from = (PySetObject *)source, *made;
        size_t size = PySet_MINSIZE, i, perturb, probes;
        setentry *entry, *at;
        while (from->used * 8 > (Py_ssize_t)size * 5) size *= 2;
        if (!Py_IS_TYPE(source, &PySet_Type) || size > (size_t)from->mask) return PySet_New(source);
        made = (PySetObject *)PySet_New(NULL);
        if (made == NULL) return NULL;
        if (size > PySet_MINSIZE) {
            at = (setentry *)PyMem_Calloc(size, sizeof(setentry));
            if (at == NULL) {
                Py_DECREF(made);
                return PyErr_NoMemory();
            }
            made->table = at;
            made->mask = size - 1;
        }
        for (entry = from->table; entry <= from->table + from->mask; entry++) {
            if (entry->key == NULL || entry->hash == -1) continue;
            for (perturb = (size_t)entry->hash, i = perturb & made->mask;; i = (i * 5 + 1 + perturb) & made->mask) {
                at = made->table + i;
                probes = i + 9 <= (size_t)made->mask ? 9 : 0;
                while (at->key != NULL && probes) at++, probes--;
                if (at->key == NULL) break;
                perturb >>= 5;
            }
            Py_INCREF(entry->key);
            *at = *entry;
            made->fill = ++made->used;
        }
        return (PyObject *)made;
    #else
        return PySet_New(source);
    #endif
    }

    /* Whether two sets lie there alike, element by element: then they are equal, which is nearly always seen so. */
    static inline int mv_same_set(PyObject *one, PyObject *other) {
    #ifndef Py_GIL_DISABLED
        PySetObject *a = (PySetObject *)one, *b = (PySetObject *)other;
        return Py_IS_TYPE(one, &PySet_Type) && Py_IS_TYPE(other, &PySet_Type) && a->mask == b->mask && a->used == b->used
            && a->fill == b->fill && memcmp(a->table, b->table, ((size_t)a->mask + 1) * sizeof(setentry)) == 0;
    #else
        return 0;
    #endif
    }
    """
    void fill_place "mv_fill_place"(object target, Py_ssize_t place, object value)
    bint is_container "mv_is_container"(object value)
    void track "mv_track"(object target)
    object copy_set "mv_copy_set"(object source)
    object pack_set "mv_small_set"(object source)
    bint same_set "mv_same_set"(object one, object other)
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
cdef tuple places_of(dict template)
cdef set small_set(set names)
cdef int set_dict(object instance, object values, bint inline) except -1
