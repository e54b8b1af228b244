"""Training on several processes of one machine or of several, each with a share of every batch.

Li et al. 2020, "PyTorch Distributed: Experiences on Accelerating Data Parallel Training".
"""

import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch

from .. import errors
from ..cores import cores
from ..errors import ConfigError, RealfaceError

SEEN = 5.0
"""Seconds within which whoever started the processes has seen that one of them ended; then all are ended."""

T = TypeVar("T")


def place() -> tuple[int, int, int]:
    """The number of this process among all that `launch` started, how many its machine has, and how many machines."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return 0, 1, 1
    return int(os.environ["RANK"]), int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["GROUP_WORLD_SIZE"])


def launch(function: Callable[[], T], processes: int, nodes: int = 1, rendezvous: str = "") -> T:
    """Call a function in several processes at once; if one of them ends with an error, all are ended.

    Args:
        function: that of a module, or a `partial` of one.
        processes: how many on this machine; 1 of 1 is this one.
        nodes: how many machines call `launch` alike.
        rendezvous: `host:port` of one of them, where they meet.

    Returns:
        What it returned in the first process of this machine.

    Raises:
        KeyboardInterrupt: it was interrupted.
        RealfaceError: a process raised it, or came to another end.
        ConfigError: there are too few graphics cards for the processes, or the machines did not meet.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    if processes * nodes == 1:
        return function()
    if nodes > 1 and not rendezvous:
        raise ConfigError("several machines need --rendezvous HOST:PORT, the same on all of them")
    if torch.cuda.is_available() and processes > torch.cuda.device_count():
        raise ConfigError(f"{processes} processes need as many graphics cards; here are {torch.cuda.device_count()}")
    start = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    if start == "forkserver":  # what takes seconds to import is imported once
        multiprocessing.get_context(start).set_forkserver_preload(["realface.training.train"])
    how: dict[str, Any] = {"run_id": "realface", "max_restarts": 0, "start_method": start}
    how |= {"rdzv_backend": "c10d", "rdzv_endpoint": rendezvous or "localhost:0", "signals_to_handle": "SIGINT,SIGTERM"}
    how |= {} if rendezvous else {"local_addr": "localhost"}
    with tempfile.TemporaryDirectory() as folder:
        config = LaunchConfig(nodes, nodes, processes, DefaultLogsSpecs(folder), **how)
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        logging.disable()  # of this process, which only waits: it would tell of every end with its stack
        try:
            returned: dict[int, T] = elastic_launch(config, _process)(function)
        except SignalException:
            raise KeyboardInterrupt from None
        except RendezvousError as error:
            raise ConfigError(f"the machines did not meet at {rendezvous or 'localhost'}: {error}") from None
        except ChildFailedError as error:
            raise _error(*error.get_first_failure()) from None
        finally:
            logging.disable(logging.NOTSET)
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return returned[min(returned)]


def _process(function: Callable[[], T]) -> T:
    rank, processes, nodes = place()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, cores() // processes))
    address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = torch.distributed.TCPStore(*address) if nodes > 1 else None
    try:
        made = function()
    except KeyboardInterrupt:  # all of them are: none is to wait for what the others made
        sys.exit(130)
    except RuntimeError:  # perhaps only of another's end, from which it was cut off: that is to be seen first
        time.sleep(SEEN)
        raise
    finally:
        if store and not rank:
            store.set("over", "")
    if store and rank:  # were this the machine they met at, its end would be that of the first process, at work yet
        store.wait(["over"], timedelta(days=1))
    return made


def _error(rank: int, failure: Any) -> RealfaceError:
    """What a process raised, if it is of ours; else that it ended."""
    ended = failure.message if failure.exitcode < 0 else f"exit status {failure.exitcode}"
    told = ended if isinstance(failure.message, str) else failure.message["message"]
    name, _, message = told.partition(": ")
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, RealfaceError):
        return kind(message)
    return RealfaceError(f"process {rank} ended before the training did ({told}); --resume goes on from its last epoch")
