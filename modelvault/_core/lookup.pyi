from typing import final

@final
class Lookup: ...
