"""Training over partitions: while the workers train a bucket, the next one loads and the last one saves.

A loop of our own over PyTorch-BigGraph's files, bucket order and batch processors. PBG's own loop sends model and edges
to the workers anew for every bucket, commits only after a whole pass, and waits for every file.
"""
