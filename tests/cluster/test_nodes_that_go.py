"""Nodes that go while they work: their shards are done by others, and nobody is blamed for it."""

import time

import pytest

from tests.cluster.machines import DISK, wait_until
from tests.cluster.runs import assert_whole

NOTICE_S = 10
TALLY = DISK / "tally"


def test_nothing(lab, collection, undisturbed, out):
    """nothing happens"""
    lab.have(3)
    job = lab.submit(out, *collection.options())
    job.ends("SUCCEEDED")
    assert_whole(out, undisturbed)


def test_power(lab, collection, undisturbed, out, fault):
    """a node loses its power, and none takes its place"""
    nodes = lab.have(3)
    job = lab.submit(out, *collection.options())
    fault.wait_for_commits(3)
    nodes[0].power_off()
    fault.now()
    job.ends("SUCCEEDED")
    fault.after(job, 2)
    assert_whole(out, undisturbed)


def test_drain(lab, collection, undisturbed, out, fault):
    """a node is drained with ten seconds' notice, and none takes its place"""
    nodes = lab.have(3)
    job = lab.submit(out, *collection.options())
    fault.wait_for_commits(3)
    lab.drain(nodes[0], NOTICE_S)
    fault.now()
    time.sleep(NOTICE_S)
    nodes[0].power_off()
    job.ends("SUCCEEDED")
    fault.after(job, 2)
    assert_whole(out, undisturbed)


@pytest.mark.parametrize("seconds", [20, 60])
def test_cable(lab, collection, undisturbed, out, fault, seconds):
    """a node's cable is pulled for some time"""
    nodes = lab.have(3)
    job = lab.submit(out, *collection.options())
    fault.wait_for_commits(3)
    nodes[0].unplug()
    fault.now()
    time.sleep(seconds)
    nodes[0].plug()
    job.ends("SUCCEEDED")
    fault.after(job, 2)
    assert_whole(out, undisturbed)


@pytest.mark.parametrize("how", ["shut down", "drained", "without power"])
def test_preempted(lab, few, few_undisturbed, out, fault, how):
    """three nodes are preempted one after the other at the same image"""
    nodes = lab.have(4)
    job = lab.submit(out, *few.options(f"fake:sleep_s=4,tally={TALLY}"))
    for _ in range(3):
        node = wait_until(lambda: at_work(nodes), 100, job.last_lines)
        node.is_spoiled = True
        time.sleep(2)
        if how == "drained":
            lab.drain(node, NOTICE_S)
            time.sleep(NOTICE_S)
        if how == "without power":
            node.power_off()
        else:
            node.shut_down()
        fault.now()
        nodes.remove(node)
    job.ends("SUCCEEDED")
    fault.after(job, 1, left=few.count, sleep_s=4)
    assert_whole(out, few_undisturbed)


def at_work(nodes):
    """The node whose replica is at the only shard: it has noted the first image on its own disk."""
    return next((node for node in nodes if node.file(TALLY).exists()), None)
