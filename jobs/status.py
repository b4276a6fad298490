"""How far a run is, who works on it, and what became of its replicas: for a terminal, while it works or afterwards."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

sys.path[0] = str(Path(__file__).resolve().parents[1])

import tyro

from jobs.ahead import begun
from jobs.command_line import DONE, answer, parse_config, run_job, wants_json
from jobs.commands import COMMANDS

if TYPE_CHECKING:
    from pipeline.watching.status import Status

_REPLICAS, _INCIDENTS = 40, 8
_GB = 1e9
_TITLES = (
    *("replica", "node", "state", "shards", "images", "images/s"),
    *("model works", "waits for images", "memory", "GPU memory"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """Say how far a run and its score passes are, whether a session works on them, and what happened in the newest one.

    Reads what is in the folder, also from a bucket; asks no cluster, and writes nothing.
    """

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]  # folder or URL, the --out of the run


def main() -> int:
    """Look, and print what there is."""
    arguments = parse_config(Arguments, sys.argv[1:], COMMANDS["status"])
    with begun(f"looking at {arguments.run}"):
        from pipeline.files import urls
        from pipeline.watching.status import passes_of, status_of

    run = urls.absolute(arguments.run)
    found = status_of(run)
    passes = {name: status_of(run, folder) for name, folder in passes_of(run).items()}
    if wants_json():
        answer({**_document(found), "passes": {name: _document(one) for name, one in passes.items()}})
        return DONE
    print_status(found)
    for name, one in passes.items():
        print(f"\nscore pass {name}")
        print_status(one, whose="pass's")
    return DONE


def _document(found: "Status") -> dict[str, Any]:
    return {**asdict(found), "state": found.state}


def print_status(found: "Status", whose: str = "run's") -> None:
    """Print it for people. Args: whose: command it is that resumes."""
    share = found.images_committed / found.images if found.images else 1.0
    print(
        f"{found.folder}: {found.images_committed:,} of {found.images:,} images are committed ({share:.1%}), "
        f"{found.shards_committed:,} of {found.shards:,} shards"
    )
    print(_who(found, whose))
    if whose == "run's":
        for line in _release(found):
            print(line)
    if (said := found.said) is None:
        return
    is_working = found.state == "running" and not found.is_said_before and said["ended_s"] is None
    for line in _counts(said, _speaker(found), is_working=is_working):
        print(line)
    living = [one for one in said["replicas"] if one["state"] != "ended"]
    if living and is_working:
        for line in _aligned([_TITLES, *map(_row, living[:_REPLICAS])]):
            print(line)
        if len(living) > _REPLICAS:
            print(f"and {len(living) - _REPLICAS} more; --json has all")
    for line in _what_happened(said):
        print(line)
    for name, place in (("page", found.page), ("post-mortem", found.post_mortems[-1] if found.post_mortems else "")):
        if place:
            print(f"{name}: {place}")


def _who(found: "Status", whose: str) -> str:
    from pipeline.progress.words import minutes

    told = f"; last heard {minutes(found.age_s)} ago" if found.age_s is not None else ""
    if found.is_said_before:
        told = "; it has shown nothing yet" if found.state == "running" else ""
    at = f" on {found.session.host} (process {found.session.pid})" if found.session else ""
    resume = f"run the {whose} own command again to resume"
    match found.state:
        case "running":
            return f"a session{at} works on it{told}"
        case "finished":
            return "all shards are done, and no session works on it"
        case "ended" if found.said:
            reason = found.said["reason"] or "all that it had to do is done"
            advice = "" if "command again" in reason else f"; {resume}"
            return f"the newest session ended: {reason.rstrip('.') if advice else reason}{advice}"
        case "died":
            return f"the newest session{at} died without a word{told}; {resume}"
        case _:
            return f"no session works on it; {resume}"


def _release(found: "Status") -> Iterator[str]:
    yield from (f"release: {release}" for release in found.releases)
    if found.is_done and found.state == "running":
        yield "all shards are done; what is left to its session is the release"
    elif found.is_done and not found.releases:
        yield "no release yet; run the run's own command again to make it"


def _speaker(found: "Status") -> str:
    from pipeline.progress.words import minutes

    if found.is_said_before:
        return f"the session before said, {minutes(found.age_s or 0.0)} ago"
    return "this session" if found.state == "running" else "the newest session"


def _counts(said: Mapping[str, Any], speaker: str, *, is_working: bool) -> Iterator[str]:
    from pipeline.progress.words import minutes

    outcomes = ", ".join(f"{count:,} {name}" for name, count in said["outcomes"].items())
    yield f"{speaker}: {said['committed']:,} images{f' ({outcomes})' if outcomes else ''}"
    left = f"; {minutes(said['left_s'])} left" if said["left_s"] is not None else ""
    lately = f"{said['per_s']:.2f} images/s lately, "
    rate = f"{lately}{said['mean_per_s']:.2f}" if is_working else f"{said['mean_per_s']:.2f} images/s"
    yield f"rate: {rate} since it began{left if is_working else ''}"
    if is_working:
        yield (
            f"shards: {said['shards_done']:,} done, {said['shards_in_work']:,} in work, "
            f"{said['shards_waiting']:,} waiting"
        )
    if said["failures"]:
        yield "failed: " + ", ".join(f"{count:,} {reason}" for reason, count in said["failures"].items())
    if said["storage_away_s"]:
        yield f"the storage has not responded for {minutes(said['storage_away_s'])}"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows as lines; a terminal that is too narrow wraps them, and nothing is cut off."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def _row(one: Mapping[str, Any]) -> list[str]:
    from pipeline.shown import printable

    def share(value: float | None) -> str:
        return "" if value is None else f"{value:.0%}"

    def size(count_bytes: int) -> str:
        return f"{count_bytes / _GB:.2f} GB" if count_bytes else ""

    state = one["state"] if one["answered"] else f"{one['state']}, does not answer"
    pulse = one["pulse"]
    return [
        printable(text)
        for text in (
            *(one["name"], one["node"], state, " ".join(one["shards"]), f"{one['images']:,}"),
            f"{one['per_s']:.2f}" if one["per_s"] is not None else "",
            *(share(one["working_share"]), share(one["waiting_share"])),
            *(size(pulse["rss_bytes"]), size(pulse["device_bytes"])),
        )
    ]


def _what_happened(said: Mapping[str, Any]) -> Iterator[str]:
    from pipeline.watching.words import cause_in_words

    deaths = {cause: count for cause, count in said["deaths"].items() if cause != "surplus"}
    if deaths:
        causes = ", ".join(f"{cause_in_words(cause)} ({count})" for cause, count in deaths.items())
        yield f"replicas lost: {sum(deaths.values())}: {causes}; {sum(said['retries'].values())} shards went back"
    for node in said["nodes"]:
        if node["state"] != "there":
            yield f"node {node['name']}: {node['state']}{': ' + node['reason'] if node['reason'] else ''}"
    if said["blamed_images"]:
        yield f"images that killed their process: {said['blamed_images']}: {', '.join(said['blamed'])}"
    grave = [one for one in said["incidents"] if one["grave"]][-_INCIDENTS:]
    if grave:
        from pipeline.watching.post_mortem import moment

        yield "newest trouble:"
        yield from (f"  {moment(one['at_s'])}  {one['words']}" for one in grave)


if __name__ == "__main__":
    run_job(main)
