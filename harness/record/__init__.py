"""The record of a run: what stands in `results/<study>/<run_id>/`, written whole or not at all."""
