"""A small service over one file: users, their posts with tags, and comments.

    uvicorn fastapi_app.main:app               (asyncio; the file is blog.modelvault, or what MODELVAULT_PATH says)
    hypercorn -k trio fastapi_app.main:app     (Trio)

The lifespan opens the database once and registers the collections; handlers get them as dependencies.
"""

import os

from fastapi import FastAPI

from modelvault.fastapi import handle_errors, lifespan

from . import comments, posts, tags, users
from .models import STORED


def path() -> str:
    """The database file."""
    return os.environ.get("MODELVAULT_PATH", "blog.modelvault")


app = FastAPI(title="Blog", lifespan=lifespan(path, *STORED))
handle_errors(app)
for part in (users, posts, tags, comments):
    app.include_router(part.router)
