"""`python -m vafnebula.cli`: what the installed program runs."""

from vafnebula.cli import main

main(prog_name="vafnebula")
