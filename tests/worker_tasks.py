"""What the tests of workers hand to `each`; a spawned process finds it as a top-level module."""

import os

import torch


def threads(task, report):
    return torch.get_num_threads()


def chatty(task, report, last):
    """Return at once, with many tensors, after reports that in the last tasks are far more than fits into a pipe."""
    for number in range(60 if task >= last else 4):
        report((number, bytes(1_000_000 if task >= last else 1)))
    return {str(index): torch.full((3,), float(task)) for index in range(20)}


def refuses_two(task, report):
    if task == 2:
        raise ValueError("two is one too many")
    return task


def waits(task, report, folder):
    """Task 0 ends once all others run; they end only if they are stopped."""
    (folder / str(task)).write_text(str(os.getpid()))
    while task or len(list(folder.iterdir())) < 2:
        pass
    return task
