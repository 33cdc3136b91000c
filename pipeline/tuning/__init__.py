"""`transra tune`: settings of the model, chosen by the valid split."""
