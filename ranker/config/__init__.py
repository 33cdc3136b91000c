"""The `ranker` section of the config: the log, the arms, the model and how it is trained."""
