# Single values in a record's bytes: C only.
