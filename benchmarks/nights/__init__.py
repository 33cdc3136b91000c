"""Nights: what a day more takes, beside everything anew, and what it is worth."""
