"""SQL: text to terms, terms to selections of a collection, and what is left to be computed in Python."""
