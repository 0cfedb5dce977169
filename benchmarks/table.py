"""The results as aligned text."""

from collections.abc import Sequence

from benchmarks.compare import FLOOR, OURS
from benchmarks.run import Result
from benchmarks.targets import Verdict, number


def cell(result: Result, name: str) -> str:
    """Our cost and the floor's as they are; a peer's as a multiple of ours."""
    if name in result.failures:
        return "failed"
    cost = result.cost(name)
    if cost is None:
        return "-"
    ratio = None if name in (OURS, FLOOR) else result.ratio(name, OURS)
    return number(cost) if ratio is None else f"{number(ratio)}x"


def aligned(lines: Sequence[Sequence[str]], left: int) -> list[str]:
    """Columns of equal width; the first `left` begin at the left."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = []
    for line in lines:
        cells = [text.ljust(width) for text, width in zip(line[:left], widths, strict=False)]
        cells += [text.rjust(width) for text, width in zip(line[left:], widths[left:], strict=True)]
        texts.append("  ".join(cells).rstrip())
    return texts


def table(results: Sequence[Result], names: Sequence[str]) -> str:
    """One line a job; a heading for each section and size."""
    shown = [OURS, FLOOR, *(name for name in names if name not in (OURS, FLOOR))]
    lines = [["", "unit", *shown]]
    headings: dict[int, str] = {}
    for result in results:
        heading = f"{result.job.section}, {result.rows:,} rows"
        if heading not in headings.values():
            headings[len(lines)] = heading
        lines.append([result.job.name, result.job.unit, *(cell(result, name) for name in shown)])
    texts = aligned(lines, 2)
    out = [texts[0], "-" * len(texts[0])]
    for place, text in enumerate(texts[1:], 1):
        if place in headings:
            out += ["", headings[place]]
        out.append(text)
    return "\n".join(out)


def checklist(verdicts: Sequence[Verdict]) -> str:
    """The targets, one a line."""
    lines = [["", "target", "measured", ""]]
    lines += [[one.job, one.target, one.measured, "holds" if one.holds else "FALLS SHORT"] for one in verdicts]
    return "\n".join(aligned(lines, 4))
