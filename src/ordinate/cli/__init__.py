"""The command line: `ordinate papers`, `reproduce`, `compare`, `train`, `embed`, `bench`, `data`, `report`.

Exit status: 0 done, and no claim failed; 1 a claim failed; 2 bad usage or bad input (one clear line, no traceback); 3 something absent is needed (the line names the command that
gets it); 130 interrupted, with what was done kept. `ORDINATE_TRACEBACK=1` shows where an error came from.
"""

from ordinate.cli.app import main

__all__ = ["main"]
