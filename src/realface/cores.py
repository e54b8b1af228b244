"""How many processor cores there are to use."""

import os


def cores() -> int:
    """Cores that this process may use: a container or `taskset` can allow fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
