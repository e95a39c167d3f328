"""What the tests of workers hand to `each`; a spawned process finds it as a top-level module."""

import os
import signal
import time

import cv2
import torch

from nas_mer.workers import Stopped


def threads(task, report):
    return torch.get_num_threads(), cv2.getNumThreads()


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
    sign(folder, task)
    while task or len(list(folder.iterdir())) < 2:
        pass
    return task


def device(task, report, folder):
    """Say which device this process has, once another process has said so, too."""
    waits_for_two(folder, task)
    return str(report.device), os.getpid()


def waits_for_two(folder, task):
    sign(folder, task)
    while len({file.read_text() for file in folder.iterdir()}) < 2:
        time.sleep(0.01)


def sign(folder, task):
    """Leave a file with this process's number, whole from its first moment."""
    scratch = folder.with_name(f"{folder.name}-{os.getpid()}")
    scratch.write_text(str(os.getpid()))
    scratch.replace(folder / str(task))


def ends_when_asked(task, report, size):
    """Tell of each round; when asked to stop, task 0 comes to its result, others tell of much and of the last."""
    rounds = 0
    while not report.stop():
        rounds += 1
        report((rounds, b""))
        time.sleep(0.01)
    if task == 0:
        return "result"
    report((rounds, bytes(size)))
    report(("last", rounds))
    raise Stopped


def never_stops(task, report):
    report(os.getpid())
    while True:
        time.sleep(0.01)


def is_killed(task, report):
    """Task 0 is killed; the others do not end by themselves."""
    report(os.getpid())
    while task:
        time.sleep(0.01)
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGKILL)
