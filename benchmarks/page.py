"""The results as a Markdown page with a picture for each topic."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import plot
from benchmarks.compare import FLOOR, OURS

INTRODUCTION = """# Benchmarks

`make bench-full` writes this page anew, and `make bench` a shorter one into `build/bench`. What is compared, and how,
is in `benchmarks/README.md` of the repository. Times are medians of interleaved rounds, every subject in its own
process. A ratio is the median over the rounds of a peer's time by ours in the same round. Trust the ratios: absolute
times belong to the machine.
"""


def write_page(report: Mapping[str, Any], folder: Path) -> None:
    """Write benchmarks.md and images/*.svg into the folder."""
    images = folder / "images"
    images.mkdir(exist_ok=True)
    parts = [INTRODUCTION, *machine(report), *targets(report)]
    largest = max((result["rows"] for result in report["results"]), default=0)
    middle = middle_of(report)
    for section in dict.fromkeys(result["section"] for result in report["results"]):
        results = [one for one in report["results"] if one["section"] == section and one["rows"] == middle]
        panels = [(one["job"], one["unit"], bars) for one in results if (bars := bars_of(one))]
        parts += [f"## {section}\n"]
        if panels:
            name = f"bench-{section.lower().replace(' ', '-')}.svg"
            (images / name).write_text(plot.chart(panels))
            parts.append(f"![{section}: costs on a logarithmic scale, shorter is better](images/{name})\n")
        parts += rows_of(results, report)
    if largest != middle or len({result["rows"] for result in report["results"]}) > 1:
        parts += growth(report, images)
    (folder / "benchmarks.md").write_text("\n".join(parts))


def middle_of(report: Mapping[str, Any]) -> int:
    """The size that most jobs were measured at."""
    sizes = [result["rows"] for result in report["results"]]
    return max(set(sizes), key=sizes.count) if sizes else 0


def machine(report: Mapping[str, Any]) -> list[str]:
    """Where it ran, and what with."""
    about = report["machine"]
    lines = [
        f"Made by `{report['command']}` on {about['platform']}, {about['cores']} cores, Python {about['python']}, at",
        f"{middle_of(report):,} rows where nothing else is said.",
    ]
    if about["load"] > about["cores"]:
        lines.append(
            f"The machine was busy: {about['load']} processes wanted its cores when this began. Trust the ratios only."
        )
    lines.append("")
    lines += ["| subject | version | durable writes | how it is written |", "|---|---|---|---|"]
    for name, peer in report["peers"].items():
        lines.append(f"| {name} | {peer['version']} | {peer['durability']} | {peer['how']} |")
    lines += [f"| {name} | absent | | {reason} |" for name, reason in report["absent"].items()]
    return [*lines, ""]


def targets(report: Mapping[str, Any]) -> list[str]:
    """The targets and whether they hold."""
    lines = ["## Targets\n", "| work | target | measured | |", "|---|---|---|---|"]
    for one in report["targets"]:
        verdict = "holds" if one["holds"] else "falls short"
        lines += [f"| {one['job']} | {one['target']} | {one['measured']} | {verdict} |"]
    lines += ["", "What stands in the way of those that fall short, with profiles: [design](design.md), section 9."]
    return [*lines, ""]


def bars_of(result: Mapping[str, Any]) -> list[tuple[str, float, str]]:
    """The bars of a job: the limit, ours, then the peers from the fastest to the slowest."""
    costs = {name: cost["median"] for name, cost in result["costs"].items() if cost["median"] > 0}
    first = [
        (name, costs.pop(name), colour) for name, colour in ((FLOOR, plot.LIMIT), (OURS, plot.OURS)) if name in costs
    ]
    return first + [(name, cost, plot.PEER) for name, cost in sorted(costs.items(), key=lambda item: item[1])]


def rows_of(results: list[Mapping[str, Any]], report: Mapping[str, Any]) -> list[str]:
    """The numbers of a section as a table."""
    names = [name for name in report["peers"] if any(name in result["costs"] for result in results)]
    lines = ["| | unit | " + " | ".join(names) + " |", "|---|---|" + "---:|" * len(names)]
    for result in results:
        cells = [plot.number(result["costs"][name]["median"]) if name in result["costs"] else "" for name in names]
        lines.append(f"| {result['job']} | {result['unit']} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def growth(report: Mapping[str, Any], images: Path) -> list[str]:
    """A picture for each job that was measured at several sizes."""
    parts = ["## How cost grows\n"]
    for job in dict.fromkeys(result["job"] for result in report["results"]):
        results = [result for result in report["results"] if result["job"] == job]
        if len(results) < 2:
            continue
        lines = []
        for name in report["peers"]:
            points = [(one["rows"], one["costs"][name]["median"]) for one in results if name in one["costs"]]
            if len(points) > 1:
                lines.append((name, points, plot.OURS if name == OURS else plot.LIMIT if name == FLOOR else plot.PEER))
        if lines:
            name = f"bench-growth-{job.split(',')[0].lower().replace(' ', '-')}.svg"
            (images / name).write_text(plot.growth(f"{job} ({results[0]['unit']}) by number of rows", lines))
            parts.append(f"![{job}: cost by number of rows](images/{name})\n")
    return parts
