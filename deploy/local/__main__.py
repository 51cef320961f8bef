"""`python -m deploy.local`: the command line of the local stack."""

import sys

import typer

from deploy.local import commands
from deploy.local.demo.command import demo
from deploy.local.processes import LocalStackError
from deploy.local.story import story
from deploy.verify.command import verify

cli = typer.Typer(
    help="Plumbline on one machine.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
for command in (
    commands.up,
    demo,
    commands.down,
    commands.status,
    commands.logs,
    commands.reset,
    commands.token,
    commands.consume,
    verify,
    story,
):
    cli.command()(command)

if __name__ == "__main__":
    try:
        cli()
    except LocalStackError as error:
        sys.exit(str(error))
