"""`python -m kgated_cli`."""

from kgated_cli import main

main()
