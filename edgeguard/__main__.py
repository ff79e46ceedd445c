"""`python -m edgeguard` is the command line, for launchers such as torchrun that take a module."""

from edgeguard.cli import main

main()
