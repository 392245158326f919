"""One run: a Lightning Trainer executes a task under the energy meter, and a record says what came of it."""

import logging
import os

# Libraries draw bars of their own through tqdm, also into pipes; ours are rich's. Read when tqdm is first imported.
os.environ.setdefault("TQDM_DISABLE", "1")
# At their import these warn of what nobody asked for: parts compiled for other boards, and torch's own deprecations.
for _name in ("torchao", "torch.utils._pytree"):
    logging.getLogger(_name).setLevel(logging.ERROR)
