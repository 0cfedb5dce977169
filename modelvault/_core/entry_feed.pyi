from typing import final

from modelvault._core.feed import Feed

@final
class EntryFeed(Feed): ...
