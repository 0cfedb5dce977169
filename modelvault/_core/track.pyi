from typing import final

@final
class Track: ...
