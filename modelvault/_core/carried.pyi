from typing import final

@final
class CarriedFixed: ...

@final
class Carried: ...
