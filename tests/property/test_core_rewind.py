"""Any sequence of routing, commits, crashes and resets: each rewind is one replay, of exactly what was reset, and nothing else is one."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_engine.core.routing.ahead import ahead
from stream_engine.core.routing.rewind import Committed, Progress, Rewind, Topic, course

_PARTITIONS = 3

Reset = tuple[int, int, set[int]]
"""From where to where a partition was reset, and what of it was routed live behind that, and written down by nobody."""


@dataclass
class World:
    """What Kafka keeps, what the worker in charge knows, and what was really done."""

    end: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(_PARTITIONS), 0))
    committed: dict[int, Committed] = field(default_factory=dict)
    progress: dict[int, Progress] = field(default_factory=dict)
    rewinds: dict[str, Rewind] = field(default_factory=dict)
    lanes: dict[int, Progress] = field(default_factory=dict)
    live: dict[int, list[int]] = field(default_factory=lambda: {number: [] for number in range(_PARTITIONS)})
    again: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    passed: dict[int, set[int]] = field(default_factory=lambda: {number: set() for number in range(_PARTITIONS)})
    wanted: list[dict[int, Reset]] = field(default_factory=list)
    reset: dict[int, Reset] = field(default_factory=dict)

    def assign(self, seen: dict[int, Committed], partition: int, steps: int) -> None:
        """Begin with a partition by what a worker saw; crash after so many of the three steps."""
        topic = Topic(seen, self.progress, ahead(self.live, self.progress))
        found = course("E", partition, {"E": topic}, self.rewinds.values())
        if found is None:
            found_progress = Progress(0, 0, 0)
        else:
            found_progress = found.progress
            if steps > 0 and found.opens is not None:
                self.rewinds.setdefault(found.opens.id, found.opens)
        if steps > 1:
            self.committed[partition] = Committed(found_progress.offset, found_progress.mark("E"))
        if steps > 2:
            self.note(partition, found_progress)
            self.lanes[partition] = found_progress

    def note(self, partition: int, one: Progress) -> None:
        """Write down progress; of what several have written the newest counts."""
        self.progress[partition] = max(one, self.progress.get(partition, one))

    def route(self, partition: int, events: int) -> None:
        """Route some events of a partition that is served."""
        lane = self.lanes.get(partition)
        for _ in range(events):
            if lane is None or lane.offset == self.end[partition]:
                break
            at = lane.offset
            if lane.is_again and (at < lane.live or at in self._ahead(lane.replay, partition)):
                self.again.setdefault((lane.replay, partition), []).append(at)
            if at >= lane.live:
                self.live[partition].append(at)
            if lane.is_again and at + 1 < max(lane.live, lane.tail):
                lane = Progress(lane.rewinds, lane.live, at + 1, lane.replay, 0, lane.tail)
            else:
                lane = Progress(lane.rewinds, max(lane.live, at + 1), at + 1)
        if lane is not None:
            self.lanes[partition] = lane

    def _ahead(self, rewind: str, partition: int) -> list[int]:
        return self.rewinds[rewind].ahead.get("E", {}).get(partition, [])

    def commit(self, steps: int) -> None:
        """Write down how far all is routed, then commit; crash in between with fewer than two steps."""
        for partition, lane in self.lanes.items():
            if steps > 0:
                self.note(partition, lane)
            if steps > 1:
                self.committed[partition] = Committed(lane.offset, lane.mark("E"))

    def rewind(self, targets: dict[int, int]) -> None:
        """Reset an inactive group: nobody routes meanwhile."""
        for partition, wanted in targets.items():
            known = self.progress.get(partition)
            if known is None:
                continue
            target = min(wanted, self.end[partition])
            self.committed[partition] = Committed(target)
            self.reset.pop(partition, None)
            ahead = {offset for offset in self.live[partition] if offset >= max(target, known.live)}
            if target >= known.live:
                self.passed[partition].update(range(known.offset, target))
            if target < known.live or ahead:
                self.reset[partition] = (target, max(target, known.live), ahead)


_event = st.tuples(st.just("append"), st.integers(0, _PARTITIONS - 1), st.integers(1, 4))
_route = st.tuples(st.just("route"), st.integers(0, _PARTITIONS - 1), st.integers(1, 5))
_commit = st.tuples(st.just("commit"), st.just(2), st.just(0))
_crash = st.tuples(st.just("crash"), st.integers(0, 2), st.integers(0, 3))
_targets = st.dictionaries(st.integers(0, _PARTITIONS - 1), st.integers(0, 12), min_size=1)
_reset = st.tuples(st.just("reset"), _targets, st.integers(0, 2**16))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(_event, _route, _route, _commit, _crash, _reset), max_size=40))
def test_rewinds_are_recognised_exactly(story: list[tuple[str, object, int]]) -> None:
    world = World()
    _start(world, [3] * _PARTITIONS)
    for what, first, second in story:
        match what, first:
            case "append", int(partition):
                world.end[partition] += second
            case "route", int(partition):
                world.route(partition, second)
            case "commit", int(steps):
                world.commit(steps)
            case "crash", int(steps):
                world.commit(steps)
                _start(world, [second, *[3] * (_PARTITIONS - 1)])
            case "reset", dict(targets):
                # The tool is let in once all workers are gone, in whatever way.
                world.commit(second % 3)
                world.lanes.clear()
                world.rewind(targets)
                _start(world, [second % 4, 3, 3], order=second)
            case _:
                raise AssertionError(what)
    _start(world, [3] * _PARTITIONS)
    for partition in range(_PARTITIONS):
        world.route(partition, 1_000)
    _judge(world)


def _start(world: World, steps: list[int], order: int = 0) -> None:
    """Have workers begin with all partitions; one that crashes on its way is followed by another one."""
    world.lanes.clear()
    partitions = [(number + order) % _PARTITIONS for number in range(_PARTITIONS)]
    # Another worker may have looked before this one wrote anything.
    seen = dict(world.committed)
    for partition, count in zip(partitions, steps, strict=True):
        world.assign(seen if order % 2 else dict(world.committed), partition, count)
    for partition in partitions:
        if partition not in world.lanes:
            world.assign(dict(world.committed), partition, 3)
    if world.reset:
        world.wanted.append(dict(world.reset))
        world.reset.clear()


def _resets(rewind: Rewind) -> dict[int, Reset]:
    ahead = rewind.ahead.get("E", {})
    return {number: (*span, set(ahead.get(number, []))) for number, span in rewind.spans.items()}


def _judge(world: World) -> None:
    found = sorted(world.rewinds.values(), key=lambda rewind: rewind.number)
    assert [_resets(rewind) for rewind in found] == world.wanted
    assert [rewind.number for rewind in found] == list(range(1, len(found) + 1))
    for rewind in found:
        later = [other for other in found if other.number > rewind.number]
        for partition, (start, stop) in rewind.spans.items():
            span = set(range(start, stop)).union(rewind.ahead.get("E", {}).get(partition, []))
            routed = set(world.again.get((rewind.id, partition), []))
            assert routed <= span
            if not any(partition in other.spans for other in later):
                assert span <= routed | world.passed[partition]
    for partition, offsets in world.live.items():
        assert set(range(world.end[partition])) <= set(offsets) | world.passed[partition]
