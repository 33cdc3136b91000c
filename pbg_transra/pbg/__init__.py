"""The border with torchbiggraph: operators, embedder, its config and its checkpoints."""
