"""From labelled pictures to a detector file. Needs the `train` extra; the using half never imports this."""

import os

# Threads that wait for each other sleep: spinning, they take the cores from the processes that read pictures. An epoch
# of the native view takes a sixth less time on two cores. OpenMP asks for it once, as PyTorch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
