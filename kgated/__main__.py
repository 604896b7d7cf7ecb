"""`python -m kgated`."""

from kgated_cli import main

main()
