"""The entity map: the partition and offset of every id, and the files it is kept in."""
