"""From what is on disk to tables and figures. Nothing here imports torch or starts a run."""
