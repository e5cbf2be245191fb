"""What a user's script does that kills itself in the training after so many others, in a process of its own."""

import os
import signal

import torch
from small_searches import search, train


def main(store, count):
    torch.set_num_threads(1)
    seen = []

    def fatal(model):
        train(model)
        seen.append(1)
        if len(seen) > count:  # trained, and not scored yet
            os.kill(os.getpid(), signal.SIGKILL)

    search(train=fatal, store=store)
