"""Room that changes: nodes that join, GPUs that others have, clusters that begin with nothing."""

import copy
import json

from tests.cluster.cluster import GCS_PORT, Lab
from tests.cluster.machines import DISK, wait_until
from tests.cluster.runs import assert_whole, committed

HOLD_A_GPU = """
import ray, time
@ray.remote(num_gpus=1)
def hold():
    time.sleep(3600)
ray.init()
ray.get(hold.remote())
"""
SCALING = {
    "cluster_name": "scaling",
    "max_workers": 2,
    "provider": {"type": "fake_multinode", "use_node_id_as_ip": True, "disable_node_updaters": True},
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "gpu": {
            "resources": {"CPU": 1, "GPU": 1, "object_store_memory": 80 << 20},
            "node_config": {},
            "min_workers": 0,
            "max_workers": 2,
        },
    },
    "head_node_type": "ray.head.default",
    "auth": {},
    "docker": {},
    "file_mounts": {},
    "cluster_synced_files": [],
    "file_mounts_sync_continuously": False,
    "rsync_exclude": [],
    "rsync_filter": [],
    "initialization_commands": [],
    "setup_commands": [],
    "head_setup_commands": [],
    "worker_setup_commands": [],
    "head_start_ray_commands": [],
    "worker_start_ray_commands": [],
    "upscaling_speed": 1.0,
    "idle_timeout_minutes": 5,
}
"""Nodes with a GPU that Ray's own stand-in for a cloud starts when they are asked for."""


def test_late(lab, collection, undisturbed, out, fault):
    """a node joins late, and gets a replica"""
    lab.have(1)
    job = lab.submit(out, *collection.options())
    fault.wait_for_commits(2)
    node = lab.join()
    fault.now()
    wait_until(node.replicas, 60, lambda: f"the new node has no replica\n{job.logs()}")
    job.ends("SUCCEEDED")
    fault.after(job, 2)
    assert_whole(out, undisturbed)


def test_shared_gpus(lab, collection, undisturbed, out):
    """another job has one of two GPUs, and then gives it back"""
    (node,) = lab.have(1, 2, 2)
    other = lab.submit_command(out, "python", "-c", HOLD_A_GPU)
    wait_until(lambda: node.running("ray::hold"), 60, other.logs)
    job = lab.submit(out, *collection.options())
    wait_until(lambda: len(committed(out)) >= 4, 120, job.logs)
    assert len(node.replicas()) == 1
    other.stop()
    wait_until(lambda: len(node.replicas()) == 2, 60, lambda: f"the free GPU has no replica\n{job.logs()}")
    job.ends("SUCCEEDED")
    assert_whole(out, undisturbed)


def test_gpu_that_stays_taken(lab, collection, undisturbed, out):
    """another job takes one of two GPUs and keeps it"""
    (node,) = lab.have(1, 2, 2)
    other = lab.submit_command(out, "python", "-c", HOLD_A_GPU)
    wait_until(lambda: node.running("ray::hold"), 60, other.logs)
    job = lab.submit(out, *collection.options())
    try:
        job.ends("SUCCEEDED")
    finally:
        other.stop()
    assert_whole(out, undisturbed)


def test_from_zero(bare_lab, collection, undisturbed, out):
    """no GPU yet: a cluster that scales from zero, and whose head has no cores"""
    lab = Lab(bare_lab.network, bare_lab.store)
    lab.more_environment |= {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
    machine = lab.network.machine("scaling")
    config = copy.deepcopy(SCALING)
    config["provider"]["gcs_address"] = f"{machine.address}:{GCS_PORT}"
    machine.file(DISK / "scaling.json").write_text(json.dumps(config))
    lab.start_head("--num-cpus=0", f"--autoscaling-config={DISK}/scaling.json", machine=machine)
    job = lab.submit(out, *collection.options())
    job.ends("SUCCEEDED")
    replicas = [actor for actor in lab.actors() if actor["class_name"].startswith("Replica")]
    assert replicas
    assert all(actor["required_resources"].get("GPU") == 1 for actor in replicas)
    assert_whole(out, undisturbed)
