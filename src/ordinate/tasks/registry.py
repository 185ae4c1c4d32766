"""Tasks by name, for the command line."""

from functools import cache

from ordinate.experiment.task import Task
from ordinate.ground.discovery import offered
from ordinate.ground.errors import choose

__all__ = ["get_task", "list_tasks"]


@cache
def _tasks() -> dict[str, type[Task]]:
    return offered("ordinate.tasks", "TASKS")


def list_tasks() -> list[str]:
    """The names of the tasks, sorted."""
    return sorted(_tasks())


def get_task(name: str) -> type[Task]:
    """The task called `name`.

    Raises:
        InputError: there is none of that name.
    """
    return _tasks()[choose("task", name, _tasks())]
