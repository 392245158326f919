"""Energy: sources behind one protocol, the meter that puts windows around work, and figures with their provenance."""
