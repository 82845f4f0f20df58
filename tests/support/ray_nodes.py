"""A Ray cluster of several nodes on this machine, for tests and demonstrations."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

SMALL = 80 * 1024 * 1024  # bytes of shared memory per node, close to the minimum that Ray accepts


class Nodes:
    """Real nodes in separate processes that can be killed."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self.address: str = cluster.address

    def add(self, cpus: int = 1, gpus: int = 0) -> Any:
        """Add a node and return it, for kill()."""
        return self._cluster.add_node(num_cpus=cpus, num_gpus=gpus, object_store_memory=SMALL)

    def kill(self, node: Any) -> None:
        """Kill a node's processes without warning. The cluster still lists the node for some seconds."""
        self._cluster.remove_node(node, allow_graceful=False)


@contextlib.contextmanager
def nodes(count: int) -> Iterator[Nodes]:
    """A cluster of a head without CPUs and `count` nodes of one CPU each, while the block runs."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    # The cluster notices a dead node in about 3 s instead of 15.
    quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
    head = {"num_cpus": 0, "object_store_memory": SMALL, "include_dashboard": False, "_system_config": quick}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        cluster_nodes = Nodes(cluster)
        for _ in range(count):
            cluster_nodes.add()
        yield cluster_nodes
    finally:
        cluster.shutdown()
