"""One run: a Lightning Trainer executes a task under the energy meter, and a record says what came of it."""
