"""The object store is away, or the machine of the driver dies."""

import time

from tests.cluster.runs import assert_whole


def test_store_away(lab, collection, undisturbed, out, fault):
    """the object store is away for a minute: it is waited for"""
    lab.have(2)
    job = lab.submit(out, *collection.options())
    fault.wait_for_commits(3)
    fault.now()
    lab.store.unplug()
    time.sleep(60)
    lab.store.plug()
    job.ends("SUCCEEDED")
    fault.after(job, 2)
    assert_whole(out, undisturbed)


def test_driver_dies(lab, collection, undisturbed, out, fault):
    """the node of the driver dies: the same command goes on"""
    lab.have(2)
    place = lab.join(0, 0, "--resources", '{"driver": 1}')
    job = lab.submit(out, *collection.options(), entrypoint_resources={"driver": 1})
    fault.wait_for_commits(3)
    place.power_off()
    fault.now()
    job.ends("FAILED", 200)
    again = lab.submit(out, *collection.options())
    again.ends("SUCCEEDED")
    fault.after(again, 2)
    assert "resuming" in again.logs()
    assert_whole(out, undisturbed)
