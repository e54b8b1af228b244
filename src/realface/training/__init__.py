"""From labelled pictures to a detector file. Needs the `train` extra; the using half never imports this."""
