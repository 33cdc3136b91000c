"""Several processes that train one model: who they are, what they tell each other, which rows each holds."""

import os

# Before torch is loaded: it would print a stack of its own where another process is gone, which we say in a line.
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
