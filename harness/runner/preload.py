"""What the server of worker processes imports once; nothing here starts a thread or touches a device.

A scheduler's signals go to every process of a job. The server outlives them, and its workers heed what they must
themselves; SIGUSR1 and SIGUSR2 are for the job's first process.
"""

import signal

import pytorch_lightning
import torch
import transformers

import harness.runner.run

for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, signal.SIG_IGN)

__all__ = ["harness", "pytorch_lightning", "torch", "transformers"]
