"""Attention over graph vectors: in their principal axes, of the ad to lists, of the context to tokens, by relations."""
