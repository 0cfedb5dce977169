"""`make fuzz`: atheris (libFuzzer) chooses the bytes for a target of fuzz.py, and keeps those that reach new code.

`python -m tests.reliability.guided TARGET SECONDS`; the corpus is kept in build/fuzz/TARGET, and a finding is a file
there which `python -m tests.reliability.guided TARGET FILE` repeats. Only Python code is instrumented: the extensions
are reached, but do not steer.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["modelvault"]):
    from tests.reliability import fuzz

ROOT = Path(__file__).parents[2]


def main(name: str, what: str) -> None:
    target = fuzz.TARGETS[name]
    folder = ROOT / "build" / "fuzz" / name
    folder.mkdir(parents=True, exist_ok=True)
    with fuzz.Ready():
        for number, sample in enumerate(target.samples()):
            (folder / f"sample{number}").write_bytes(sample)
        if Path(what).is_file():
            target.use(Path(what).read_bytes())
            return

        def one(data: bytes) -> None:
            if len(data) > 1:
                target.use(data)

        options = [
            f"-max_total_time={what}",
            "-timeout=30",
            "-rss_limit_mb=1024",
            "-max_len=65536",
            "-print_final_stats=1",
        ]
        atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={folder}/found-", str(folder)], one)
        atheris.Fuzz()  # ends the process


if __name__ == "__main__":
    main(*sys.argv[1:])
