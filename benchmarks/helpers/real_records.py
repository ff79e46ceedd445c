"""The option of a benchmark that measures on the records of CinC 2017 alone."""

import argparse
import os
import sys


def parse_with_records(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The options, `--data` among them; ends the program, which is no failure, where no records are named."""
    parser.add_argument("--data", default=os.environ.get("EDGEGUARD_CINC2017"))
    options = parser.parse_args()
    if options.data is None:
        print("no records of CinC 2017 (--data or EDGEGUARD_CINC2017); nothing measured")
        sys.exit()
    return options
