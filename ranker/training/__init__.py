"""One model, trained in one process or in several."""
