"""What the server of worker processes imports once; nothing here starts a thread or touches a device."""

import pytorch_lightning
import torch
import transformers

import harness.runner.run

__all__ = ["harness", "pytorch_lightning", "torch", "transformers"]
