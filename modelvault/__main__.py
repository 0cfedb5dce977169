"""`python -m modelvault`."""

import sys

from modelvault.cli import main

if __name__ == "__main__":
    sys.exit(main())
