"""Read a Dockerfile as stages of instructions; just what the project's own Dockerfile needs."""

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

_CONTINUED = re.compile(r"\\\s*\n")


@dataclass(frozen=True)
class Stage:
    """One stage: its parent, an image or an earlier stage, and its instructions in order."""

    name: str
    parent: str
    instructions: tuple[tuple[str, str], ...]

    def arguments(self, operation: str) -> list[str]:
        """Return the arguments of each instruction of a kind."""
        return [argument for found, argument in self.instructions if found == operation]

    def words(self, operation: str) -> list[str]:
        """Return the words of the last instruction of a kind in exec form."""
        form = self.arguments(operation)[-1]
        return json.loads(form[form.index("[") :])


def read_dockerfile(path: Path) -> dict[str, Stage]:
    """Return the stages by name, in the file's order."""
    text = "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("#"))
    stages: dict[str, Stage] = {}
    for line in _CONTINUED.sub(" ", text).splitlines():
        if not line.strip():
            continue
        operation, argument = line.strip().split(None, 1)
        if operation == "FROM":
            parent, _as, name = argument.split()
            stages[name] = Stage(name, parent, ())
        else:
            last = stages[next(reversed(stages))]
            stages[last.name] = Stage(last.name, last.parent, (*last.instructions, (operation, argument)))
    return stages


def lineage(stages: dict[str, Stage], name: str) -> list[Stage]:
    """Return a stage and those it is built on, oldest first."""
    stage = stages[name]
    return [*(lineage(stages, stage.parent) if stage.parent in stages else []), stage]


def copied_from_context(stages: dict[str, Stage]) -> set[str]:
    """Return every path that COPY or a bind mount takes from the build context."""
    taken: set[str] = set()
    for stage in stages.values():
        for argument in stage.arguments("COPY"):
            words = shlex.split(argument)
            if not any(word.startswith("--from=") for word in words):
                taken.update(word for word in words[:-1] if not word.startswith("--"))
        for argument in stage.arguments("RUN"):
            mounts = [dict(_pairs(mount)) for mount in re.findall(r"--mount=(\S+)", argument)]
            taken.update(mount["source"] for mount in mounts if mount["type"] == "bind" and "from" not in mount)
    return taken


def _pairs(mount: str) -> list[tuple[str, str]]:
    return [(key, value) for key, _equals, value in (part.partition("=") for part in mount.split(","))]
