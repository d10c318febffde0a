"""What the decisions of a worker go by that is not in the state: its code, the deployment, and what the control topic says."""

from collections.abc import Callable, Mapping

from stream_engine.core.functions.catalogue import FunctionSpec
from stream_engine.core.partition.intake import leader_source
from stream_engine.core.partition.room import Room
from stream_engine.core.partition.turn import Function, Rules
from stream_engine.shell.control import ControlFollower
from stream_engine.shell.deployment import Deployment
from stream_engine.shell.routing.run_again import RunAgain


def leading_by(
    functions: dict[str, Function], checkpoint_bytes: int, deployment: Deployment, room: Room, control: ControlFollower
) -> Callable[[int], Rules]:
    """Return what gives the rules of each partition."""
    names = deployment.names
    again = RunAgain(control.values, deployment.routed)

    def in_force() -> Mapping[str, FunctionSpec]:
        catalogue = control.catalogue
        return {} if catalogue is None else catalogue.functions

    def rules(partition: int) -> Rules:
        return Rules(
            names.app,
            functions,
            deployment.logs.partitions,
            names.commands,
            leader_source(deployment.logs.journal, partition),
            partition,
            checkpoint_bytes=checkpoint_bytes,
            events_topic=names.events,
            control_topic=names.control,
            state_id=deployment.state_id,
            room=room,
            paused=control.paused,
            halted=control.halted,
            runs_again=again.sends,
            in_force=in_force,
        )

    return rules
