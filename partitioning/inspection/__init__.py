"""What is asked of sources without a build: sizes, columns, names of relations, what a log is like, whom to forget."""
