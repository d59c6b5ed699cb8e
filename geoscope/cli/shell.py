"""How every command ends: one clear line and an exit code, never a traceback unless asked for.

Exit codes: 0 done; 2 bad input, said in one line on stderr; 130 stopped with Ctrl-C; 1 a bug of geoscope.
"""

import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from typer.core import TyperGroup

from geoscope.errors import Cancelled, GeoscopeError

BAD_INPUT, STOPPED, BUG = 2, 130, 1
DEBUG = "--debug"


class OneLineErrors(TyperGroup):
    """A group of commands whose errors are one line on stderr; `--debug` anywhere adds the traceback."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        """Run a command line and exit with its code."""
        words = list(sys.argv[1:] if args is None else args)
        is_debugging = DEBUG in words
        words = [word for word in words if word != DEBUG]
        options["standalone_mode"] = False
        try:
            code = super().main(words, *rest, **options)
        except (KeyboardInterrupt, Cancelled, typer.Abort) as error:
            code = _complain("stopped; nothing half-written was left behind", STOPPED, error, is_debugging)
        except GeoscopeError as error:
            code = _complain(str(error), BAD_INPUT, error, is_debugging)
        except OSError as error:
            code = _complain(_describe_os_error(error), BAD_INPUT, error, is_debugging)
        except Exception as error:
            code = _end_badly(error, is_debugging)
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command; Ctrl-C becomes an error of our own before the shell library answers it."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Cancelled("stopped") from None


def _end_badly(error: Exception, is_debugging: bool) -> int:
    """A usage error of the shell library is bad input; anything else is a bug of ours."""
    describe = getattr(error, "format_message", None)
    if describe is None:
        message = f"a bug in geoscope: {type(error).__name__}: {error}; run again with {DEBUG} and report it"
        return _complain(message, BUG, error, is_debugging)
    message = describe()
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(message)
        return BAD_INPUT
    where = f" ({context.command_path} --help shows how)" if context is not None else ""
    return _complain(f"{message.rstrip('.')}{where}", BAD_INPUT, error, is_debugging)


def _describe_os_error(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


def _complain(message: str, code: int, error: BaseException, is_debugging: bool) -> int:
    if is_debugging:
        traceback.print_exception(error, file=sys.stderr)
    typer.echo(f"geoscope: {' '.join(message.split())}", err=True)
    return code


@contextmanager
def progress_bar(title: str) -> Iterator[Any]:
    """Give a function ``progress(stage, share)`` that draws a bar on a terminal, gone when the block ends."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=1.0)

        def progress(stage: str, share: float) -> None:
            bar.update(task, description=f"{title}: {stage}" if stage else title, completed=share)

        yield progress
