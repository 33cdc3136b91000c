"""What a finished run keeps for its readers, below its directory: the graph, and the vectors learned from it."""

GRAPH = "graph"
EXPORT = "export"
EMBEDDINGS = "embeddings.h5"  # in EXPORT
MANIFEST = "manifest.json"  # what it was made from, and SHA-256 of what it holds
