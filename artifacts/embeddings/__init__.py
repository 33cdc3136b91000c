"""The exported vectors: the format of the file, what writes it and what reads it."""

from artifacts.embeddings.format import ExportedRelation, hash_ids
from artifacts.embeddings.reader import Embeddings
from artifacts.embeddings.relation_scores import is_scored, scores
from artifacts.embeddings.similarity import Neighbor, similarities
from artifacts.embeddings.writer import EmbeddingsWriter, TypeWriter

__all__ = [
    "Embeddings",
    "EmbeddingsWriter",
    "ExportedRelation",
    "Neighbor",
    "TypeWriter",
    "hash_ids",
    "is_scored",
    "scores",
    "similarities",
]
