from typing import final

@final
class Stretch: ...
