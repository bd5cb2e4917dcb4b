"""List the benchmarks, or run one: python benchmarks/ [NAME options]."""

import sys

from common.command import run

if __name__ == "__main__":
    run(sys.argv[1:])
