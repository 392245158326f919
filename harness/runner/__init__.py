"""One run: a Lightning Trainer executes a task under the energy meter, and a record says what came of it."""

import os

# Libraries draw bars of their own through tqdm, also into pipes; ours are rich's. Read when tqdm is first imported.
os.environ.setdefault("TQDM_DISABLE", "1")
