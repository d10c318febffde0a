"""What a bug is that is put back into the core, or into the shell's order of calls, for the simulation to catch."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.bends import Bend
from tests.simulation.worker import Parts
from tests.simulation.world import as_drawn


@dataclass(frozen=True)
class Mutant:
    """A bug: what to replace in the core, or which parts to build a worker of; and how to ``bend`` worlds so that it is noticed in one of some dozens.

    ``noticed_by`` is the seed of a world that notices it. It is lived first, which saves a minute where such worlds are rare; where the worlds
    have changed since, it only saves nothing.
    """

    name: str
    patches: Sequence[AbstractContextManager[Any]] = ()
    parts: Parts = field(default_factory=Parts)
    noticed_by: int = 0
    bend: Bend = as_drawn

    @contextmanager
    def alive(self) -> Iterator[Parts]:
        """Have the bug in place; yields the parts to build workers of."""
        with ExitStack() as stack:
            for change in self.patches:
                stack.enter_context(change)
            yield self.parts
