"""A user's script that kills itself in the training after so many others: ``killed_search.py STORE TRAININGS``."""

import os
import signal
import sys

import torch
from small_searches import search, train


def main(store, count):
    torch.set_num_threads(1)
    seen = []

    def fatal(model):
        train(model)
        seen.append(1)
        if len(seen) > int(count):  # trained, and not scored yet
            os.kill(os.getpid(), signal.SIGKILL)

    search(train=fatal, store=store)


if __name__ == "__main__":
    main(*sys.argv[1:])
