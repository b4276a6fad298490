"""Events as lines for people, and which of them people may have to know of."""

import re
from dataclasses import fields
from typing import Any

from pipeline.replicas import events
from pipeline.shown import printable
from pipeline.watching.summary import Incident

_LONGEST = 400
_CAUSES = {
    "process": "its process died",
    "node": "its node is gone",
    "preempted": "its node was taken back",
    "unreachable": "it did not answer",
    "stalled": "it finished no image for too long",
    "unfit": "its node can't do the work",
    "unstarted": "its process could not be started",
    "surplus": "it was not needed",
}
_QUIET = (events.ReplicaAsked, events.ShardBegun, events.ShardCommitted, events.ShardReturned, events.Pulses)
"""Events that come all the time, and are counted only, as are replicas that only waited for a place."""
_GRAVE = (events.ImageBlamed, events.NodeDraining, events.NodeLeft, events.NodeSetAside, events.ReplicaEnded)


def incident(event: events.Event, on_node: str = "") -> Incident | None:
    """An event as something that people may have to know of; None for one that is counted only.

    Args: on_node: the node of the event's replica, if it is known.
    """
    if isinstance(event, _QUIET) or (isinstance(event, events.ReplicaEnded) and event.cause == "surplus"):
        return None
    grave = isinstance(event, _GRAVE)
    if isinstance(event, events.WorkEnded):
        grave = bool(event.reason)
    values = {field.name: getattr(event, field.name) for field in fields(event) if field.name != "at_s"}
    values = {name: clean(value) if isinstance(value, str) else value for name, value in values.items()}
    if on_node:
        values |= {"node": clean(on_node)}
    words = clean(in_words(event, on_node))
    return Incident(at_s=event.at_s, kind=kind_of(event), grave=grave, words=words, values=values)


def kind_of(event: events.Event) -> str:
    """The event's class in snake case, such as `replica_ended`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()


def in_words(event: events.Event, on_node: str = "") -> str:
    """One line about an event. Texts in it come from outside, and are not yet made harmless."""
    at = f" on {on_node}" if on_node else ""
    match event:
        case events.WorkBegan():
            of = f"{event.images - event.settled:,} of {event.images:,} images are left, in {event.shards:,} shards"
            return f"work began: {of}"
        case events.WorkEnded():
            return f"the session ends: {event.reason}" if event.reason else "all shards are done"
        case events.ReplicaPlaced():
            return f"{event.replica} started on {event.node} (process {event.pid})"
        case events.ReplicaReady():
            return f"{event.replica}{at} is ready{f' ({event.device})' if event.device else ''}"
        case events.ReplicaEnded():
            said = f": {event.said}" if event.said else ""
            return f"{event.replica}{at} is no more, {_CAUSES.get(event.cause, event.cause)}{said}"
        case events.ImageBlamed():
            return f"image {event.key} killed its process again; it is skipped and recorded as failed"
        case events.NodeJoined():
            return f"{event.node} joined"
        case events.NodeDraining():
            return f"{event.node} will be taken away; its replicas get no further shards"
        case events.NodeLeft():
            return f"{event.node} is gone"
        case events.NodeSetAside():
            return f"{event.node} is set aside: {event.reason}"
        case _:
            return kind_of(event).replace("_", " ")


def cause_in_words(cause: str) -> str:
    """Why a replica is no more, as in `its process died`."""
    return _CAUSES.get(cause, cause)


def clean(text: Any) -> str:
    """A text from outside as one line of bounded length, without control characters or secrets."""
    words = printable(" ".join(str(text).split()))
    return words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…"
