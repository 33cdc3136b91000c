"""Several processes that train one model: who they are, what they tell each other, which rows each holds."""
